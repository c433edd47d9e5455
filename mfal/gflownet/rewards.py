"""Rewards, and transforms of rewards that compose.

A reward is `log_reward(reward_params, terminal_state) -> []`, without batch axis. Its parameters
are an argument, so that a new proxy, a new temperature or a new clip costs no compilation. A
transform maps a log-reward to a log-reward, with parameters of its own:

>>> import jax.numpy as jnp
>>> log_reward, wrap = transform_reward(lambda scale, x: scale * x, clip(), temper())
>>> params = wrap(jnp.float32(2.0), (ClipParams(-1.0, 5.0), jnp.float32(10.0)))
>>> float(log_reward(params, jnp.float32(4.0)))
50.0
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mfal.envs.types import State
from mfal.errors import MfalError

__all__ = [
    "ClipParams",
    "LogReward",
    "RewardTransform",
    "StandardiseParams",
    "TransformedParams",
    "clip",
    "floor",
    "from_score",
    "standardise",
    "temper",
    "transform_reward",
]

LogReward = Callable[[Any, State], jax.Array]
"""(reward_params, terminal state) to [] float32."""

RewardTransform = Callable[[Any, jax.Array], jax.Array]
"""(its own params, log-reward []) to log-reward []."""


class TransformedParams(NamedTuple):
    """Parameters of a transformed reward."""

    inner: Any
    """Of the reward itself."""
    transforms: tuple[Any, ...]
    """Of each transform, in order of application."""


class ClipParams(NamedTuple):
    """Bounds of a log-reward."""

    low: float | jax.Array
    high: float | jax.Array


class StandardiseParams(NamedTuple):
    """Centre and spread of a score."""

    mean: float | jax.Array
    spread: float | jax.Array


def transform_reward(
    log_reward: LogReward, *transforms: RewardTransform
) -> tuple[LogReward, Callable[[Any, tuple[Any, ...]], TransformedParams]]:
    """A reward followed by transforms, first to last, and how to bundle the parameters."""

    def transformed(params: TransformedParams, state: State) -> jax.Array:
        value = log_reward(params.inner, state)
        for transform, own in zip(transforms, params.transforms, strict=True):
            value = transform(own, value)
        return value

    def wrap(inner: Any, params: tuple[Any, ...]) -> TransformedParams:
        if len(params) != len(transforms):
            raise MfalError(
                f"{len(params)} parameters for {len(transforms)} reward transforms",
                "give one for each transform, in order",
            )
        return TransformedParams(inner, tuple(params))

    return transformed, wrap


def temper() -> RewardTransform:
    """R to R^beta; the parameter is beta, the inverse temperature."""
    return lambda beta, value: beta * value


def clip() -> RewardTransform:
    """Keep a log-reward within `ClipParams`; what isn't a number becomes the lower bound."""

    def apply(params: ClipParams, value: jax.Array) -> jax.Array:
        known = jnp.where(jnp.isnan(value), params.low, value)
        return jnp.clip(known, params.low, params.high)

    return apply


def floor() -> RewardTransform:
    """R to R + c, so that the logarithm stays bounded; the parameter is log c."""
    return lambda log_floor, value: jnp.logaddexp(value, log_floor)


def standardise() -> RewardTransform:
    """(x - mean) / spread with `StandardiseParams`."""
    return lambda params, value: (value - params.mean) / params.spread


def from_score(shape: str = "exponential") -> RewardTransform:
    """A score, larger is better, to a log-reward.

    "exponential": log R = x (times beta by `temper`); "power": log R = log softplus(x), a reward
    linear in good scores and falling exponentially in bad ones; "logistic": log R = log sigmoid(x),
    bounded above. The parameter is not read; give `()`.
    """
    shapes: dict[str, Callable[[jax.Array], jax.Array]] = {
        "exponential": lambda x: x,
        # log softplus(x) tends to x far below zero, where softplus itself underflows.
        "power": lambda x: jnp.where(x < -15.0, x, jnp.log(jax.nn.softplus(jnp.maximum(x, -15.0)))),
        "logistic": jax.nn.log_sigmoid,
    }
    if shape not in shapes:
        raise MfalError(f"reward shape {shape!r}", f"choose one of {', '.join(shapes)}")
    apply = shapes[shape]
    return lambda params, value: apply(value)
