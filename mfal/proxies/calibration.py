"""How good predicted distributions are, and how to mend their width.

All functions take arrays of held-out values with predicted means and standard deviations; the
states of the proxies hold what follows from them (`mfal.proxies.relation.Reliability`).
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jax.scipy.stats import norm

__all__ = [
    "conformal_factor",
    "coverage",
    "crps_gaussian",
    "held_out_score",
    "sharpness",
]


def coverage(value: jax.Array, mean: jax.Array, std: jax.Array, level: float) -> jax.Array:
    """Share of values inside the central Gaussian interval of probability `level`, []."""
    half = ndtri(0.5 + level / 2)
    return jnp.mean(jnp.abs(value - mean) <= half * std)


def sharpness(std: jax.Array, level: float) -> jax.Array:
    """Mean width of the central Gaussian intervals of probability `level`, [], in the value's unit.

    Of two forecasts that cover what they promise the narrower is the better one (Gneiting,
    Balabdaoui & Raftery, J. R. Stat. Soc. B 69, 243 (2007)).
    """
    return 2 * ndtri(0.5 + level / 2) * jnp.mean(std)


def crps_gaussian(value: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
    """Continuous ranked probability score of N(mean, std^2), [...], in the value's unit.

    std [z (2 Phi(z) - 1) + 2 phi(z) - 1/sqrt(pi)] (Gneiting & Raftery, J. Am. Stat. Assoc. 102, 359
    (2007)); smaller is better, and for a point forecast it is the absolute error.
    """
    z = (value - mean) / std
    return std * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - jnp.pi**-0.5)


def held_out_score(value: jax.Array, mean: jax.Array, std: jax.Array, use: jax.Array) -> jax.Array:
    """Mean log density of held-out observations, nats; -inf where there is none to judge by.

    Args:
      value: [N].
      mean: [N], of each, predicted without it.
      std: [N], of its observation, predicted without it.
      use: [N] bool, the rows that count.
    """
    count = jnp.sum(use)
    # A clip bounds what one outlier can do to the mean of few.
    density = jnp.maximum(norm.logpdf((value - mean) / std), -12.5) - jnp.log(std)
    return jnp.where(count > 0, jnp.sum(jnp.where(use, density, 0.0)) / count, -jnp.inf)


def conformal_factor(surprise: jax.Array, valid: jax.Array, level: float) -> jax.Array:
    """Multiple of the standard deviation that covers new values with probability `level`.

    The ceil(level (n + 1))-th smallest of the held-out |surprise| (split conformal prediction,
    Lei et al., J. Am. Stat. Assoc. 113, 1094 (2018)); exact in finite samples whatever the
    distribution, as long as new rows are exchangeable with the held-out ones: hold out whole
    families, and it covers new families. Without enough rows for the level the Gaussian's factor
    stands in where it is larger than the largest surprise.

    Args:
      surprise: [N], (value - mean) / std of held-out rows.
      valid: [N] bool.
      level: 0 to 1.

    Returns:
      [] float32.
    """
    ordered = jnp.sort(jnp.where(valid, jnp.abs(surprise), jnp.inf))
    count = jnp.sum(valid)
    rank = jnp.ceil(level * (count + 1)).astype(jnp.int32)
    gaussian = ndtri(0.5 + level / 2)
    largest = ordered[jnp.maximum(count - 1, 0)]
    too_few = jnp.where(count > 0, jnp.maximum(gaussian, largest), gaussian)
    return jnp.where(rank <= count, ordered[jnp.clip(rank - 1, 0, len(ordered) - 1)], too_few)
