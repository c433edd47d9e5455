"""Acquisition values at one fidelity: what is a crystal worth to the search for the best.

All are pure functions of Gaussian beliefs, [...] in, [...] out, larger is better, for the caller to
`jit` and `vmap`; what is known exactly (a standard deviation of zero) gives the limit. Values of
upper confidence bounds and Thompson draws carry the unit of the score; `positive` turns them into
what a sampler can be trained on.
"""

import chex
import jax
import jax.numpy as jnp
from jax.scipy.special import erfcx, log_ndtr
from jax.scipy.stats import norm

from mfal.acquisition.information import information_about_maximum

__all__ = [
    "expected_improvement",
    "knowledge_gradient",
    "log_expected_improvement",
    "max_value_entropy",
    "positive",
    "thompson",
    "upper_confidence_bound",
]

# Stands for a standard deviation of zero; far below any that a belief about a score has.
_LEAST = 1e-9
# Standard deviations beyond which float32 loses the difference of two squares.
_FAR = 30.0


def upper_confidence_bound(mean: jax.Array, std: jax.Array, beta: float | jax.Array) -> jax.Array:
    """Optimism: mean + beta std (Srinivas et al., ICML 2010)."""
    return mean + beta * std


def expected_improvement(mean: jax.Array, std: jax.Array, best: float | jax.Array) -> jax.Array:
    """E[max(f - best, 0)] = (mean - best) Phi(z) + std phi(z), z = (mean - best)/std."""
    std = jnp.maximum(std, _LEAST)
    z = (mean - best) / std
    return std * (z * norm.cdf(z) + norm.pdf(z))


def log_expected_improvement(mean: jax.Array, std: jax.Array, best: float | jax.Array) -> jax.Array:
    """Logarithm of the expected improvement, finite where that underflows.

    For z < -1, phi(z) + z Phi(z) = phi(z) [1 + z sqrt(pi/2) erfcx(-z/sqrt 2)] (Ament et al.,
    NeurIPS 2023); far below, the bracket is taken from its series 1/z^2 - 3/z^4.
    """
    std = jnp.maximum(std, _LEAST)
    z = (mean - best) / std
    near = jnp.maximum(z, -1.0)
    direct = jnp.log(near * norm.cdf(near) + norm.pdf(near))
    middle = jnp.clip(z, -10.0, -1.0)
    bracket = 1 + middle * (jnp.pi / 2) ** 0.5 * erfcx(-middle / 2**0.5)
    far = jnp.minimum(z, -10.0)
    series = jnp.log(1 - 3 / far**2) - 2 * jnp.log(-far)
    tail = norm.logpdf(z) + jnp.where(z > -10.0, jnp.log(jnp.maximum(bracket, 1e-12)), series)
    return jnp.log(std) + jnp.where(z > -1.0, direct, tail)


def thompson(key: jax.Array, members: jax.Array) -> jax.Array:
    """One posterior sample of the pool: a member drawn at random, the same for all crystals.

    Args:
      key: PRNG key.
      members: [N, E].

    Returns:
      [N].
    """
    chex.assert_rank(members, 2)
    return members[:, jax.random.randint(key, (), 0, members.shape[1])]


def max_value_entropy(
    mean: jax.Array, std: jax.Array, maxima: jax.Array, noise: float | jax.Array = 0.0
) -> jax.Array:
    """Information about the best value from asking at the target fidelity, nats.

    Without noise this is max-value entropy search, mean of gamma r / 2 - log Phi(gamma) (Wang &
    Jegelka, ICML 2017); with noise, where that has no closed form, the bound of
    `information_about_maximum`.

    Args:
      mean: [...].
      std: [...].
      maxima: [K], samples of the best value.
      noise: standard deviation of an observation.
    """

    def exact(f: jax.Array) -> jax.Array:
        gamma = jnp.clip((f - mean) / std, -_FAR, _FAR)
        log_phi = log_ndtr(gamma)
        ratio = jnp.exp(norm.logpdf(gamma) - log_phi)
        return gamma * ratio / 2 - log_phi

    def bound(f: jax.Array) -> jax.Array:
        correlation = std / jnp.sqrt(std**2 + noise**2)
        return jax.vmap(information_about_maximum, in_axes=(None, 0, 0, 0))(
            f[None], mean.ravel(), std.ravel(), correlation.ravel()
        ).reshape(mean.shape)

    mean, std = jnp.broadcast_arrays(jnp.asarray(mean), jnp.maximum(std, _LEAST))
    noisy = jnp.asarray(noise) > 0
    values = jax.vmap(lambda f: jnp.where(noisy, bound(f), exact(f)))(maxima)
    return jnp.mean(values, axis=0)


def knowledge_gradient(
    mean: jax.Array, truth_answer: jax.Array, answer_variance: jax.Array
) -> jax.Array:
    """Expected rise of the best posterior mean of the pool after each answer, [Q].

    An answer with standard normal surprise Z moves the means to mean + slope Z, slope = cov(f, y) /
    sd(y); the expectation of the maximum of these lines over Z is taken exactly along their upper
    envelope (Frazier, Powell & Dayanik, INFORMS J. Comput. 21, 599 (2009)).

    Args:
      mean: [N], target-fidelity means of the pool.
      truth_answer: [N, Q], covariance of the pool's truths with each possible answer.
      answer_variance: [Q], noise included.
    """
    chex.assert_shape(truth_answer, (mean.shape[0], answer_variance.shape[0]))
    slopes = truth_answer / jnp.sqrt(jnp.maximum(answer_variance, _LEAST**2))
    return jax.vmap(lambda slope: _rise_of_maximum(mean, slope), in_axes=1)(slopes)


def _rise_of_maximum(intercept: jax.Array, slope: jax.Array) -> jax.Array:
    """E[max_i (a_i + b_i Z)] - max_i a_i for standard normal Z, lines a, b of length N."""
    order = jnp.lexsort((intercept, slope))
    a, b = intercept[order], slope[order]
    size = len(a)

    # For each line, where it lies above all others: between the last crossing with a flatter line
    # and the first with a steeper one. Equal slopes: only the highest counts.
    rise, gap = a[:, None] - a[None, :], b[None, :] - b[:, None]
    crossing = rise / jnp.where(gap == 0, 1.0, gap)  # where line j overtakes line i
    index = jnp.arange(size)
    later_equal = (gap == 0) & (index[None, :] > index[:, None])
    start = jnp.max(jnp.where(gap < 0, crossing, -jnp.inf), axis=1)
    end = jnp.min(jnp.where(gap > 0, crossing, jnp.inf), axis=1)
    lives = (start < end) & ~jnp.any(later_equal, axis=1)
    start, end = jnp.where(lives, start, 0.0), jnp.where(lives, end, 0.0)
    share = norm.cdf(end) - norm.cdf(start)
    moment = norm.pdf(start) - norm.pdf(end)
    return jnp.sum(jnp.where(lives, a * share + b * moment, 0.0)) - jnp.max(intercept)


def positive(value: jax.Array, low: float | jax.Array, high: float | jax.Array) -> jax.Array:
    """A value in units of a pool's range, [low, high] to [0, 1], bounded by 0 and 2."""
    return jnp.clip((value - low) / jnp.maximum(high - low, _LEAST), 0.0, 2.0)
