"""The hypergrid of Bengio et al. (2021, arXiv:2106.04399), the usual GFlowNet benchmark.

A state is a corner of a D-dimensional grid of given side; an action raises one coordinate by one
or stops. Any corner may be the end, and a corner is reached along many paths, so the backward
policy matters.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from mfal.envs.observe import observe_from
from mfal.envs.types import Action, Environment, Features, Stage
from mfal.errors import MfalError

__all__ = [
    "HypergridReward",
    "HypergridSpec",
    "HypergridState",
    "hypergrid",
    "hypergrid_log_reward",
]


@dataclass(frozen=True)
class HypergridSpec:
    """Size of the grid."""

    dimensions: int = 4
    """Number of coordinates."""
    side: int = 8
    """Corners along each coordinate."""

    def __post_init__(self) -> None:
        if self.dimensions < 1 or self.side < 2:
            raise MfalError(
                f"hypergrid of {self.dimensions} dimensions and side {self.side}",
                "give at least 1 dimension and side 2",
            )


class HypergridState(NamedTuple):
    """A corner, and whether the trajectory has stopped there."""

    position: jax.Array
    """[D] int32, 0 to side - 1."""
    stopped: jax.Array
    """[] bool."""


class HypergridReward(NamedTuple):
    """R0, R1, R2 of the standard reward; its defaults are the paper's."""

    base: float | jax.Array = 1e-3
    plateau: float | jax.Array = 0.5
    peak: float | jax.Array = 2.0


@lru_cache(maxsize=64)
def hypergrid(spec: HypergridSpec) -> Environment:
    """The grid as an environment; action d raises coordinate d, action D stops.

    Equal specs give the same environment, and so share what is compiled for it.

    >>> env = hypergrid(HypergridSpec(dimensions=2, side=3))
    >>> state = env.step(env.initial_state(), Action(jnp.int32(1), jnp.float32(0)))
    >>> state.position.tolist(), env.action_mask(state).tolist()
    ([0, 1], [True, True, True])
    """
    dims, side = spec.dimensions, spec.side
    stop = dims
    axes = np.arange(dims, dtype=np.int32)

    def initial_state() -> HypergridState:
        return HypergridState(jnp.zeros((dims,), jnp.int32), jnp.zeros((), bool))

    def action_mask(state: HypergridState) -> jax.Array:
        legal = jnp.append(state.position < side - 1, True)
        return legal & ~state.stopped

    def step(state: HypergridState, action: Action) -> HypergridState:
        chex.assert_shape(action.index, ())
        raised = state.position + (axes == action.index).astype(jnp.int32)
        position = jnp.where(state.stopped, state.position, raised)
        return HypergridState(position, state.stopped | (action.index == stop))

    def parent_mask(state: HypergridState) -> jax.Array:
        lowered = jnp.append(state.position > 0, False)
        return jnp.where(state.stopped, np.arange(dims + 1) == stop, lowered)

    def undo(state: HypergridState, action: Action) -> HypergridState:
        lowered = state.position - (axes == action.index).astype(jnp.int32)
        position = jnp.where(state.stopped, state.position, lowered)
        return HypergridState(position, jnp.zeros((), bool))

    def features(state: HypergridState) -> Features:
        tokens = jnp.asarray(axes * side) + state.position
        return Features(tokens, jnp.zeros((0,), jnp.float32))

    return Environment(
        name=f"hypergrid {dims}x{side}",
        stages=(Stage("move", 0, dims + 1, continuous=False),),
        num_actions=dims + 1,
        max_steps=dims * (side - 1) + 1,
        vocabulary=dims * side,
        num_dense=0,
        initial_state=initial_state,
        action_mask=action_mask,
        step=step,
        parent_mask=parent_mask,
        undo=undo,
        recover_value=lambda state, index: jnp.zeros((), jnp.float32),
        log_jacobian=lambda state, action: jnp.zeros((), jnp.float32),
        is_terminal=lambda state: state.stopped,
        features=features,
        observe=observe_from(features, dims * side),
    )


@lru_cache(maxsize=64)
def hypergrid_log_reward(
    spec: HypergridSpec,
) -> Callable[[HypergridReward, HypergridState], jax.Array]:
    """The standard reward, as `log_reward(reward_params, terminal_state)`.

    R = R0 + R1 prod_d [0.25 < |u_d - 0.5|] + R2 prod_d [0.3 < |u_d - 0.5| < 0.4], with
    u = position / (side - 1). Source: Bengio et al. 2021, section 4.1.
    """

    def reward(params: HypergridReward, state: HypergridState) -> jax.Array:
        distance = jnp.abs(state.position.astype(jnp.float32) / (spec.side - 1) - 0.5)
        plateau = jnp.all(distance > 0.25).astype(jnp.float32)
        peak = jnp.all((distance > 0.3) & (distance < 0.4)).astype(jnp.float32)
        return jnp.log(params.base + params.plateau * plateau + params.peak * peak)

    return reward
