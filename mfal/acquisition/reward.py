"""From what a question is worth to the reward of a sampler: positive and bounded."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["RewardParams", "bounded_log_reward", "default_reward"]


class RewardParams(NamedTuple):
    """The shape of the reward as a function of a question's worth; a pytree of scalars."""

    scale: jax.Array
    """[], the worth that earns a reward of one, say a high quantile over a pool."""
    exponent: jax.Array
    """[], positive: how sharply the sampler prefers high values."""
    floor: jax.Array
    """[], positive: share of `scale` added everywhere, so that no reward vanishes."""
    ceiling: jax.Array
    """[], above one: multiple of `scale` at which the reward is cut."""


def default_reward(scale: jax.Array | float, exponent: float = 2.0) -> RewardParams:
    """A reward within [0.01, 10] ** exponent, about one at `scale`."""
    return RewardParams(
        jnp.asarray(scale, jnp.float32),
        jnp.asarray(exponent, jnp.float32),
        jnp.asarray(0.01, jnp.float32),
        jnp.asarray(10.0, jnp.float32),
    )


def bounded_log_reward(params: RewardParams, value: jax.Array) -> jax.Array:
    """Log R = exponent * log(floor + min(value / scale, ceiling)), finite for every value.

    A value that is negative or not a number counts as zero.
    """
    ratio = jnp.where(value > 0, value / params.scale, 0.0)
    return params.exponent * jnp.log(params.floor + jnp.minimum(ratio, params.ceiling))
