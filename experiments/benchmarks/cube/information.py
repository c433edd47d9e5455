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

import chex
import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr
from jax.scipy.stats import norm

__all__ = ["information_about_maximum", "truncation"]

# Below this the difference gamma + r has lost its digits in float32; a series takes over.
_SERIES = -6.0
_MAX_GAMMA = 1e4
_MAX_SQUARED_CORRELATION = 1.0 - 1e-4


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
