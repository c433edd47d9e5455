"""The log density of a Gaussian vector, with a gradient that takes one inverse.

Differentiating through a Cholesky factorisation costs several triangular solves with matrices. The
gradient is known: with a = inv(K) y,

    d/dK [-1/2 y' inv(K) y - 1/2 log det K] = 1/2 (a a' - inv(K))

(Rasmussen & Williams 2006, eq. 5.9). Factor and inverse are made together from blocks: products run
on XLA's threads, while LAPACK's own threads, on large matrices, wait for each other busily, which
costs several times the work where the processor is shared.
"""

import chex
import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

__all__ = ["log_marginal"]

_BLOCK = 64
"""Rows that LAPACK factorises at once; it takes one thread for so few."""


@jax.custom_vjp
def log_marginal(covariance: jax.Array, y: jax.Array) -> jax.Array:
    """Log density of y [N] ~ N(0, covariance [N, N]), without its constant -N/2 log(2 pi)."""
    chex.assert_shape(covariance, (y.shape[0], y.shape[0]))
    return _forward(covariance, y)[0]


def _forward(covariance: jax.Array, y: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    lower, inverse = _factorise(covariance)
    white = inverse @ y
    value = -0.5 * white @ white - jnp.sum(jnp.log(jnp.diagonal(lower)))
    return value, (inverse, white)


def _backward(kept: tuple[jax.Array, jax.Array], slope: jax.Array) -> tuple[jax.Array, jax.Array]:
    inverse, white = kept
    weights = inverse.T @ white
    by_covariance = 0.5 * (jnp.outer(weights, weights) - inverse.T @ inverse)
    return slope * by_covariance, -slope * weights


log_marginal.defvjp(_forward, _backward)


def _factorise(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Lower Cholesky factor L of a matrix [N, N] and its inverse, by halves.

    With A = [[B, C'], [C, D]]: L = [[K, 0], [P, M]], K K' = B, P = C inv(K)', M M' = D - P P', and
    inv(L) = [[inv(K), 0], [-inv(M) P inv(K), inv(M)]].
    """
    size = len(matrix)
    if size <= _BLOCK:
        lower = jnp.linalg.cholesky(matrix)
        eye = jnp.eye(size, dtype=matrix.dtype)
        return lower, solve_triangular(lower, eye, lower=True)
    half = _BLOCK * max(size // _BLOCK // 2, 1)
    first, first_inverse = _factorise(matrix[:half, :half])
    panel = matrix[half:, :half] @ first_inverse.T
    second, second_inverse = _factorise(matrix[half:, half:] - panel @ panel.T)
    zero = jnp.zeros((half, size - half), matrix.dtype)
    below = -second_inverse @ (panel @ first_inverse)
    return (
        jnp.block([[first, zero], [panel, second]]),
        jnp.block([[first_inverse, zero], [below, second_inverse]]),
    )
