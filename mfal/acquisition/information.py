"""Information about the best target-fidelity value, per unit cost.

With f* the maximum of the target fidelity and y_m a noisy observation at fidelity m of one crystal,
the general-purpose information bound of Moss, Leslie, Gonzalez & Rayson, J. Mach. Learn. Res. 22,
235 (2021), arXiv:2102.03324 (GIBBON) is

    I(y_m; f*) >= E_{f*} [ -1/2 log(1 - rho^2 r (gamma + r)) ],
    gamma = (f* - mu_target) / sigma_target,   r = phi(gamma) / Phi(gamma),

rho the correlation between y_m and the target truth. Given f*, the target truth is a Gaussian cut
off at f*, of variance sigma^2 (1 - r (gamma + r)): the bound takes the answer's distribution for a
Gaussian of the variance that is left.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr
from jax.scipy.stats import norm

__all__ = [
    "InformationParams",
    "answer_correlation",
    "information_about_maximum",
    "information_gain_per_cost",
    "truncation",
]

# Below this the difference gamma + r has lost its digits in float32; a series takes over.
_SERIES = -6.0
_MAX_GAMMA = 1e4
_MAX_SQUARED_CORRELATION = 1.0 - 1e-4


class InformationParams(NamedTuple):
    """What the information is about; a pytree, so that a new round doesn't recompile."""

    maxima: jax.Array
    """[K], samples of the best target-fidelity value f*, in the unit of the target score."""
    noise: jax.Array
    """[M], least standard deviation of an observation, in each fidelity's unit: a prediction's own
    noise level counts where it is larger. Zeros let the prediction decide."""
    costs: jax.Array
    """[M], positive, cost of one query at each fidelity."""


def truncation(gamma: jax.Array) -> jax.Array:
    """Share of a standard Gaussian's variance that is lost when it is cut off above gamma.

    r (gamma + r) with r = phi(gamma)/Phi(gamma); falls from 1 (gamma -> -inf) to 0, 2/pi at 0.
    """
    gamma = jnp.clip(gamma, -_MAX_GAMMA, _MAX_GAMMA)
    near = jnp.maximum(gamma, _SERIES)
    ratio = jnp.exp(norm.logpdf(near) - log_ndtr(near))
    inverse = 1.0 / jnp.minimum(gamma, _SERIES) ** 2
    far = 1.0 - inverse * (1.0 - inverse * (6.0 - inverse * (50.0 - 518.0 * inverse)))
    return jnp.clip(jnp.where(gamma > _SERIES, ratio * (near + ratio), far), 0.0, 1.0)


def answer_correlation(covariance: jax.Array, noise: jax.Array) -> jax.Array:
    """Correlation of each fidelity's noisy answer with the target's truth.

    Args:
      covariance: [M, M], of the truths; the last is the target.
      noise: [M], standard deviation of the answers around their truths.

    Returns:
      [M], in [-1, 1]; zero for a fidelity whose covariance with the target is zero.
    """
    chex.assert_shape(covariance, (noise.shape[0], noise.shape[0]))
    variance = jnp.diagonal(covariance)
    scale = jnp.sqrt(jnp.maximum((variance + noise**2) * variance[-1], 1e-30))
    return jnp.clip(covariance[:, -1] / scale, -1.0, 1.0)


def information_about_maximum(
    maxima: jax.Array, mean: jax.Array, std: jax.Array, correlation: jax.Array
) -> jax.Array:
    """The bound on I(y; f*) in nats for an answer of given correlation with the target truth.

    Args:
      maxima: [K], samples of f*.
      mean: [], of the target truth.
      std: [], of the target truth.
      correlation: [...], between answers and the target truth.

    Returns:
      [...], nats, non-negative, at most 4.7.
    """
    chex.assert_rank(maxima, 1)
    lost = truncation((maxima - mean) / jnp.maximum(std, 1e-12))
    squared = jnp.minimum(correlation**2, _MAX_SQUARED_CORRELATION)
    return jnp.mean(-0.5 * jnp.log1p(-squared[..., None] * lost), axis=-1)


def information_gain_per_cost(
    params: InformationParams, mean: jax.Array, covariance: jax.Array
) -> jax.Array:
    """Information about f* per unit cost of asking one crystal, at each fidelity.

    Args:
      params: samples of f*, noise levels, costs.
      mean: [M], posterior means of the crystal.
      covariance: [M, M], posterior covariance of its truths.

    Returns:
      [M], nats per unit cost, non-negative and bounded.
    """
    correlation = answer_correlation(covariance, params.noise)
    std = jnp.sqrt(jnp.maximum(covariance[-1, -1], 0.0))
    return information_about_maximum(params.maxima, mean[-1], std, correlation) / params.costs
