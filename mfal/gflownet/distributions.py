"""The distributions of a policy: masked categorical, and a mixture of bounded densities.

Both are distrax distributions, and these are what the rollout and the losses run. Beside `sample`,
which takes a key, each has `invert`: a draw from uniform numbers made beforehand, which is all that
a training step needs and what makes its draws independent of how the batch is spread.

Distrax's own `Categorical` and `MixtureSameFamily` are not used there: the first normalises its
logits twice over and draws from as many Gumbel numbers as there are actions, where one uniform
number will do. Tests hold both classes to them. Training with these classes takes 1.02 times the
CPU time that it took with bare functions, and gives the same bits (hypergrid 4x8, batch 64, 2x128;
median of 30 pairs of 100 steps that took turns on a busy machine, quartiles .94 and 1.07).

The bounded density is the logistic distribution cut to [0, 1],

    f(x) = sech^2((x - m) / 2s) / (4 s (F(1) - F(0))),    F(x) = sigmoid((x - m) / s),

which is finite with finite gradients on the whole closed interval (a Beta is neither at 0 and 1),
tends to the uniform density for large s, and is sampled by inverting F.
"""

from typing import Any, NamedTuple

import chex
import distrax
import jax
import jax.numpy as jnp
from jax import lax

__all__ = [
    "BoundedMixture",
    "MaskedCategorical",
    "Mixture",
    "TruncatedLogistic",
    "mask_logits",
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


class MaskedCategorical(distrax.Distribution):
    """The categorical distribution over the legal indices, by a softmax of their logits.

    Without a legal index a draw is 0, and log-probabilities are finite and mean nothing.
    """

    def __init__(self, logits: jax.Array, mask: jax.Array) -> None:
        """Logits [..., A] and legal indices [..., A] bool."""
        super().__init__()
        chex.assert_equal_shape([logits, mask])
        self._mask = mask
        self._logits = mask_logits(logits, mask)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Empty: one index."""
        return ()

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of the logits without their last axis."""
        return self._logits.shape[:-1]

    @property
    def probs(self) -> jax.Array:
        """[..., A] float32, zero where illegal."""
        return jnp.where(self._mask, jax.nn.softmax(self._logits), 0.0)

    def log_normaliser(self) -> jax.Array:
        """Log of the sum of exp(logits) over the legal indices, [...] float32."""
        return jax.nn.logsumexp(self._logits, axis=-1)

    def log_prob(self, value: Any) -> jax.Array:
        """Log-probability of legal indices, [...] float32."""
        # A masked sum, which on CPU beats a gather.
        chosen = _places(self._logits) == value[..., None]
        logit = jnp.sum(jnp.where(chosen, self._logits, 0.0), axis=-1)
        return logit - self.log_normaliser()

    def entropy(self) -> jax.Array:
        """In nats, [...] float32."""
        log_probs = jax.nn.log_softmax(self._logits)
        return -jnp.sum(jnp.where(self._mask, self.probs * log_probs, 0.0), axis=-1)

    def mode(self) -> jax.Array:
        """The likeliest index, [...] int32."""
        return jnp.argmax(self._logits, axis=-1).astype(jnp.int32)

    def invert(self, uniform: jax.Array) -> jax.Array:
        """The index at which the cumulative probability passes `uniform`.

        Args:
          uniform: [...] float32 in [0, 1).

        Returns:
          [...] int32, always legal.
        """
        masked, mask = self._logits, self._mask
        weight = jnp.exp(masked - jnp.max(masked, axis=-1, keepdims=True)) * mask.astype(
            jnp.float32
        )
        cumulative = _cumulative_sum(weight)
        threshold = uniform[..., None] * cumulative[..., -1:]
        passed = mask & (cumulative > threshold)
        # Least and greatest places, as plain reductions: on CPU some times faster than `argmax`.
        place = _places(masked)
        first = jnp.min(jnp.where(passed, place, mask.shape[-1]), axis=-1)
        # Rounding may carry the threshold past every step: the last legal index catches it.
        last = jnp.max(jnp.where(mask, place, 0), axis=-1)
        return jnp.minimum(first, last)

    def _sample_n(self, key: Any, n: int) -> jax.Array:
        uniform = jax.random.uniform(key, (n, *self.batch_shape), jnp.float32)
        return jax.vmap(self.invert)(uniform)


class BoundedMixture(distrax.Distribution):
    """A mixture of truncated logistic densities on [0, 1]."""

    def __init__(self, mixture: Mixture) -> None:
        """Parameters, [..., K] each."""
        super().__init__()
        chex.assert_equal_shape(list(mixture))
        self._mixture = mixture

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Empty: one number."""
        return ()

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of the parameters without their last axis."""
        return self._mixture.log_weight.shape[:-1]

    def log_prob(self, value: Any) -> jax.Array:
        """Log density at values [...] in [0, 1]."""
        mixture = self._mixture
        density = _log_density(value[..., None], mixture.loc, mixture.scale)
        return jax.nn.logsumexp(mixture.log_weight + density, axis=-1)

    def invert(self, uniform_component: jax.Array, uniform: jax.Array) -> jax.Array:
        """A draw, [...] in (0, 1), from two uniform numbers [...] each."""
        mixture = self._mixture
        every = jnp.ones(mixture.log_weight.shape, bool)
        component = MaskedCategorical(mixture.log_weight, every).invert(uniform_component)
        chosen = _places(mixture.loc) == component[..., None]
        loc = jnp.sum(jnp.where(chosen, mixture.loc, 0), axis=-1)
        scale = jnp.sum(jnp.where(chosen, mixture.scale, 0), axis=-1)
        return _invert(uniform, loc, scale)

    def _sample_n(self, key: Any, n: int) -> jax.Array:
        uniform = jax.random.uniform(key, (2, n, *self.batch_shape), jnp.float32)
        return jax.vmap(self.invert)(*uniform)


def mask_logits(logits: jax.Array, mask: jax.Array) -> jax.Array:
    """Logits with the illegal ones out of the way, [..., A] float32.

    The gradient is exactly zero for illegal indices, and for a row with one legal index.
    """
    return jnp.where(mask, logits.astype(jnp.float32), _ILLEGAL)


def value_mixture(raw: jax.Array) -> Mixture:
    """Mixture parameters from a network's output, [..., 3, K] to three of [..., K]."""
    raw = raw.astype(jnp.float32)
    scale = jnp.clip(_MIN_SCALE + jax.nn.softplus(raw[..., 2, :]), _MIN_SCALE, _MAX_SCALE)
    return Mixture(
        log_weight=jax.nn.log_softmax(raw[..., 0, :]),
        loc=jax.nn.sigmoid(raw[..., 1, :]),
        scale=scale,
    )


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
    before = _product(inside[..., -1], _upper(blocks) - jnp.eye(blocks, dtype=jnp.float32))
    total = inside + before[..., None]
    return total.reshape(*weight.shape[:-1], blocks * _BLOCK)[..., :size]


def _upper(size: int) -> jax.Array:
    return jnp.triu(jnp.ones((size, size), jnp.float32))


def _places(like: jax.Array) -> jax.Array:
    """Numbers along the last axis, int32, of the rank of an array."""
    return lax.broadcast_to_rank(jnp.arange(like.shape[-1], dtype=jnp.int32), like.ndim)


def _product(left: jax.Array, right: jax.Array) -> jax.Array:
    # Probabilities need all digits; accelerators would round the operands by default.
    return jnp.matmul(left, right, precision=lax.Precision.HIGHEST)
