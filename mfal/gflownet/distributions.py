"""The distributions of a policy: masked categorical, and a mixture of bounded densities.

Both exist twice. As distrax distributions they are what a user composes and tests against; as
functions of noise drawn beforehand they are what the rollout runs, since one uniform number a draw
is all they need. Tests hold the two forms to each other.

The bounded density is the logistic distribution cut to [0, 1],

    f(x) = sech^2((x - m) / 2s) / (4 s (F(1) - F(0))),    F(x) = sigmoid((x - m) / s),

which is finite with finite gradients on the whole closed interval (a Beta is neither at 0 and 1),
tends to the uniform density for large s, and is sampled by inverting F.
"""

from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp

__all__ = [
    "Mixture",
    "TruncatedLogistic",
    "bounded_mixture",
    "draw_index",
    "draw_value",
    "mask_logits",
    "masked_categorical",
    "mixture_log_prob",
    "value_mixture",
]

# Finite, so that a row without any legal action still has finite values and gradients.
_ILLEGAL = -1e9
# Bounds of the scale: the sharpest density is 1 / (4 * 0.005) = 50 high; the flattest is uniform
# to 0.3 %.
_MIN_SCALE, _MAX_SCALE = 0.005, 10.0
# Least distance of a drawn value from 0 and 1.
_EDGE = 1e-6
_BLOCK = 16


class Mixture(NamedTuple):
    """Parameters of a mixture of K truncated logistic densities."""

    log_weight: jax.Array
    """[..., K], normalised."""
    loc: jax.Array
    """[..., K], in (0, 1)."""
    scale: jax.Array
    """[..., K], 0.005 to 10."""


class TruncatedLogistic(distrax.Distribution):
    """The logistic distribution with location in [0, 1], cut to [0, 1]."""

    def __init__(self, loc: jax.Array, scale: jax.Array) -> None:
        super().__init__()
        self._loc, self._scale = jnp.broadcast_arrays(jnp.asarray(loc), jnp.asarray(scale))

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Empty: one number."""
        return ()

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of the parameters."""
        return self._loc.shape

    def _sample_n(self, key: Any, n: int) -> jax.Array:
        uniform = jax.random.uniform(key, (n, *self.batch_shape), self._loc.dtype)
        return _invert(uniform, self._loc, self._scale)

    def log_prob(self, value: Any) -> jax.Array:
        """Log density of values in [0, 1]; -inf outside."""
        inside = (value >= 0) & (value <= 1)
        return jnp.where(
            inside, _log_density(jnp.clip(value, 0, 1), self._loc, self._scale), -jnp.inf
        )

    def __getitem__(self, index: Any) -> "TruncatedLogistic":
        """The distribution of a part of the batch."""
        return TruncatedLogistic(self._loc[index], self._scale[index])


def masked_categorical(logits: jax.Array, mask: jax.Array) -> distrax.Categorical:
    """The categorical distribution over the legal indices; at least one must be legal."""
    return distrax.Categorical(logits=mask_logits(logits, mask))


def bounded_mixture(mixture: Mixture) -> distrax.MixtureSameFamily:
    """The mixture as a distrax distribution."""
    return distrax.MixtureSameFamily(
        mixture_distribution=distrax.Categorical(logits=mixture.log_weight),
        components_distribution=TruncatedLogistic(mixture.loc, mixture.scale),
    )


def mask_logits(logits: jax.Array, mask: jax.Array) -> jax.Array:
    """Logits with the illegal ones out of the way, [..., A] float32.

    The gradient is exactly zero for illegal indices, and for a row with one legal index.
    """
    return jnp.where(mask, logits.astype(jnp.float32), _ILLEGAL)


def draw_index(logits: jax.Array, mask: jax.Array, uniform: jax.Array) -> jax.Array:
    """The index at which the cumulative softmax of the legal logits passes `uniform`.

    Args:
      logits: [..., A] float32.
      mask: [..., A] bool. Without a legal index the answer is 0.
      uniform: [...] float32 in [0, 1).

    Returns:
      [...] int32, always legal.
    """
    masked = mask_logits(logits, mask)
    weight = jnp.exp(masked - jnp.max(masked, axis=-1, keepdims=True)) * mask
    cumulative = _cumulative_sum(weight)
    threshold = uniform[..., None] * cumulative[..., -1:]
    passed = mask & (cumulative > threshold)
    # Least and greatest places, as plain reductions: on CPU some times faster than `argmax`.
    place = jnp.arange(mask.shape[-1], dtype=jnp.int32)
    first = jnp.min(jnp.where(passed, place, mask.shape[-1]), axis=-1)
    # Rounding may carry the threshold past every step: the last legal index catches it.
    last = jnp.max(jnp.where(mask, place, 0), axis=-1)
    return jnp.minimum(first, last)


def value_mixture(raw: jax.Array) -> Mixture:
    """Mixture parameters from a network's output, [..., 3, K] to three of [..., K]."""
    raw = raw.astype(jnp.float32)
    scale = jnp.clip(_MIN_SCALE + jax.nn.softplus(raw[..., 2, :]), _MIN_SCALE, _MAX_SCALE)
    return Mixture(
        log_weight=jax.nn.log_softmax(raw[..., 0, :]),
        loc=jax.nn.sigmoid(raw[..., 1, :]),
        scale=scale,
    )


def draw_value(mixture: Mixture, uniform_component: jax.Array, uniform: jax.Array) -> jax.Array:
    """A draw from the mixture, [...] in (0, 1), from two uniform numbers [...] each."""
    every = jnp.ones(mixture.log_weight.shape, bool)
    component = draw_index(mixture.log_weight, every, uniform_component)
    chosen = jnp.arange(every.shape[-1]) == component[..., None]
    loc = jnp.sum(jnp.where(chosen, mixture.loc, 0), axis=-1)
    scale = jnp.sum(jnp.where(chosen, mixture.scale, 0), axis=-1)
    return _invert(uniform, loc, scale)


def mixture_log_prob(mixture: Mixture, value: jax.Array) -> jax.Array:
    """Log density of the mixture at values [...] in [0, 1]."""
    density = _log_density(value[..., None], mixture.loc, mixture.scale)
    return jax.nn.logsumexp(mixture.log_weight + density, axis=-1)


def _ends(loc: jax.Array, scale: jax.Array) -> tuple[jax.Array, jax.Array]:
    """F(0) and F(1) - F(0)."""
    # A difference of tanh keeps more digits than one of sigmoids where the scale is large.
    low, high = -loc / (2 * scale), (1 - loc) / (2 * scale)
    return jax.nn.sigmoid(2 * low), 0.5 * (jnp.tanh(high) - jnp.tanh(low))


def _log_density(value: jax.Array, loc: jax.Array, scale: jax.Array) -> jax.Array:
    z = (value - loc) / scale
    _, mass = _ends(loc, scale)
    return -jnp.log(scale) - jax.nn.softplus(z) - jax.nn.softplus(-z) - jnp.log(mass)


def _invert(uniform: jax.Array, loc: jax.Array, scale: jax.Array) -> jax.Array:
    below, mass = _ends(loc, scale)
    level = jnp.clip(below + uniform * mass, 1e-7, 1 - 1e-7)
    value = loc + scale * (jnp.log(level) - jnp.log1p(-level))
    return jnp.clip(value, _EDGE, 1 - _EDGE)


def _cumulative_sum(weight: jax.Array) -> jax.Array:
    """Cumulative sum along the last axis, by two levels of small triangular products.

    On CPU this is some times faster than the logarithmic passes of `jnp.cumsum`.
    """
    size = weight.shape[-1]
    if size <= 2 * _BLOCK:
        return _product(weight, _upper(size))
    blocks = -(-size // _BLOCK)
    padding = [(0, 0)] * (weight.ndim - 1) + [(0, blocks * _BLOCK - size)]
    grouped = jnp.pad(weight, padding).reshape(*weight.shape[:-1], blocks, _BLOCK)
    inside = _product(grouped, _upper(_BLOCK))
    before = _product(inside[..., -1], _upper(blocks) - jnp.eye(blocks))
    total = inside + before[..., None]
    return total.reshape(*weight.shape[:-1], blocks * _BLOCK)[..., :size]


def _upper(size: int) -> jax.Array:
    return jnp.triu(jnp.ones((size, size), jnp.float32))


def _product(left: jax.Array, right: jax.Array) -> jax.Array:
    # Probabilities need all digits; accelerators would round the operands by default.
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)
