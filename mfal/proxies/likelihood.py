"""How probable an observation is, whole or censored, under a predicted distribution."""

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr
from jax.scipy.stats import norm

__all__ = ["log_likelihood"]


def log_likelihood(
    value: jax.Array, censoring: jax.Array, mean: jax.Array, std: jax.Array
) -> jax.Array:
    """Log-likelihood of an observation under N(mean, std^2), the tobit form.

    log N(y; mean, std) where exact, log Phi((y - mean)/std) for an upper limit y, and
    log Phi((mean - y)/std) for a lower limit y (Tobin, Econometrica 26, 24 (1958)). The exact part
    is a density, in 1/[unit of value]; the limits are probabilities.

    Args:
      value: [...], the measurement or the limit.
      censoring: [...] int, -1 upper limit, 0 exact, +1 lower limit.
      mean: [...], predicted.
      std: [...], predicted, positive.

    Returns:
      [...] float32.
    """
    z = (value - mean) / std
    exact = norm.logpdf(z) - jnp.log(std)
    # One evaluation serves both limits; the exact rows get a harmless zero in it.
    limit = log_ndtr(-censoring * z)
    return jnp.where(censoring == 0, exact, limit)
