"""Samples of the best target-fidelity value, from beliefs about a pool of crystals."""

import chex
import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr

__all__ = ["gumbel_maxima"]

_BISECTIONS = 40


def gumbel_maxima(
    key: jax.Array, mean: jax.Array, std: jax.Array, num_samples: int, floor: jax.Array | float
) -> jax.Array:
    """Samples of max_i f_i for independent Gaussians, by a Gumbel fit to the exact quantiles.

    P(max <= z) = prod_i Phi((z - mean_i)/std_i); its quartiles are found by bisection and a Gumbel
    distribution is laid through them (Wang & Jegelka, ICML 2017). Neglecting the correlations
    overestimates the maximum slightly, which errs towards exploring.

    Args:
      key: PRNG key.
      mean: [N].
      std: [N], non-negative. Rows to leave out: mean -inf (or very low), std 0.
      num_samples: K.
      floor: the best value known to exist; no sample lies below it.

    Returns:
      [K] float32.
    """
    chex.assert_rank([mean, std], 1)
    chex.assert_equal_shape([mean, std])
    std = jnp.maximum(std, 1e-6)
    low = jnp.max(jnp.where(jnp.isfinite(mean), mean, -jnp.inf)) - 5 * jnp.max(std)
    high = jnp.max(jnp.where(jnp.isfinite(mean), mean + 6 * std, -jnp.inf)) + 1e-3

    def quantile(probability: float) -> jax.Array:
        def halve(_: int, bracket: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            a, b = bracket
            middle = (a + b) / 2
            below = jnp.sum(log_ndtr((middle - mean) / std)) < jnp.log(probability)
            return jnp.where(below, middle, a), jnp.where(below, b, middle)

        return sum(jax.lax.fori_loop(0, _BISECTIONS, halve, (low, high))) / 2

    first, median, third = quantile(0.25), quantile(0.5), quantile(0.75)
    # F(z) = exp(-exp(-(z - location)/scale)): quartiles differ by 1.5725 scales.
    scale = (third - first) / (jnp.log(jnp.log(4.0)) - jnp.log(jnp.log(4.0 / 3.0)))
    location = median + scale * jnp.log(jnp.log(2.0))
    samples = location + jnp.maximum(scale, 1e-9) * jax.random.gumbel(key, (num_samples,))
    return jnp.maximum(samples, floor)
