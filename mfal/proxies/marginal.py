"""The log density of a Gaussian vector, with a gradient that takes one inverse.

Differentiating through a Cholesky factorisation costs several triangular solves with matrices. The
gradient is known: with a = inv(K) y,

    d/dK [-1/2 y' inv(K) y - 1/2 log det K] = 1/2 (a a' - inv(K))

(Rasmussen & Williams 2006, eq. 5.9).
"""

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

__all__ = ["log_marginal"]


@jax.custom_vjp
def log_marginal(covariance: jax.Array, y: jax.Array) -> jax.Array:
    """Log density of y [N] ~ N(0, covariance [N, N]), without its constant -N/2 log(2 pi)."""
    return _forward(covariance, y)[0]


def _forward(covariance: jax.Array, y: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    lower = jnp.linalg.cholesky(covariance)
    white = solve_triangular(lower, y, lower=True)
    return -0.5 * white @ white - jnp.sum(jnp.log(jnp.diagonal(lower))), (lower, white)


def _backward(kept: tuple[jax.Array, jax.Array], slope: jax.Array) -> tuple[jax.Array, jax.Array]:
    lower, white = kept
    inverse = solve_triangular(lower, jnp.eye(len(white), dtype=lower.dtype), lower=True)
    weights = inverse.T @ white
    by_covariance = 0.5 * (jnp.outer(weights, weights) - inverse.T @ inverse)
    return slope * by_covariance, -slope * weights


log_marginal.defvjp(_forward, _backward)
