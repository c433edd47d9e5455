"""A choice of fidelity on top of any environment."""

from functools import lru_cache
from typing import Any, Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from mfal.envs.observe import observe_from
from mfal.envs.types import Action, Environment, Features, Stage
from mfal.errors import MfalError

__all__ = ["FidelityState", "with_fidelity"]


class FidelityState(NamedTuple):
    """An object under way and the fidelity at which it is to be queried."""

    inner: Any
    """State of the wrapped environment."""
    fidelity: jax.Array
    """[] int32, 0 to M - 1; -1 not chosen."""


@lru_cache(maxsize=64)
def with_fidelity(
    env: Environment, num_fidelities: int, when: Literal["first", "last", "any"] = "last"
) -> Environment:
    """The environment with M further actions, of which each trajectory takes exactly one.

    Equal arguments give the same environment, and so share what is compiled for it.

    Args:
      env: any environment.
      num_fidelities: M, at least 1.
      when: before all other actions, after them, or at any point (then a state with its fidelity
        has one more parent, and the backward policy matters).

    >>> from mfal.envs.hypergrid import HypergridSpec, hypergrid
    >>> env = with_fidelity(hypergrid(HypergridSpec(dimensions=1, side=2)), 3)
    >>> state = env.step(env.initial_state(), Action(jnp.int32(1), jnp.float32(0)))
    >>> env.action_mask(state).tolist()
    [False, False, True, True, True]
    >>> state = env.step(state, Action(jnp.int32(4), jnp.float32(0)))
    >>> int(state.fidelity), bool(env.is_terminal(state))
    (2, True)
    """
    if num_fidelities < 1 or when not in ("first", "last", "any"):
        raise MfalError(
            f"{num_fidelities} fidelities chosen {when!r}",
            'give at least 1, "first", "last" or "any"',
        )
    first = env.num_actions
    choices = np.arange(num_fidelities, dtype=np.int32)

    def open_parts(state: FidelityState) -> tuple[jax.Array, jax.Array]:
        """Whether the inner environment may move, and whether a fidelity may be chosen."""
        unset = state.fidelity < 0
        if when == "first":
            return ~unset, unset
        if when == "last":
            return unset, unset & env.is_terminal(state.inner)
        return jnp.ones((), bool), unset

    def initial_state() -> FidelityState:
        return FidelityState(env.initial_state(), jnp.int32(-1))

    def action_mask(state: FidelityState) -> jax.Array:
        inner, own = open_parts(state)
        own_mask = jnp.broadcast_to(own, (num_fidelities,))
        return jnp.concatenate([env.action_mask(state.inner) & inner, own_mask])

    def parent_mask(state: FidelityState) -> jax.Array:
        own = choices == state.fidelity
        inner = env.parent_mask(state.inner)
        if when == "first":
            own &= ~jnp.any(inner)
        elif when == "last":
            inner &= state.fidelity < 0
        return jnp.concatenate([inner, own])

    def moved(state: FidelityState, action: Action, inner: Any, fidelity: jax.Array) -> Any:
        own = action.index >= first
        kept = jax.tree.map(lambda old, new: jnp.where(own, old, new), state.inner, inner)
        return FidelityState(kept, jnp.where(own, fidelity, state.fidelity).astype(jnp.int32))

    def inner_action(action: Action) -> Action:
        return Action(jnp.minimum(action.index, first - 1), action.value)

    def step(state: FidelityState, action: Action) -> FidelityState:
        chex.assert_shape(action.index, ())
        new = env.step(state.inner, inner_action(action))
        chosen = jnp.where(state.fidelity < 0, action.index - first, state.fidelity)
        return moved(state, action, new, chosen)

    def undo(state: FidelityState, action: Action) -> FidelityState:
        old = env.undo(state.inner, inner_action(action))
        return moved(state, action, old, jnp.int32(-1))

    def recover_value(state: FidelityState, index: jax.Array) -> jax.Array:
        value = env.recover_value(state.inner, jnp.minimum(index, first - 1))
        return jnp.where(index >= first, 0, value)

    def log_jacobian(state: FidelityState, action: Action) -> jax.Array:
        return jnp.where(
            action.index >= first, 0, env.log_jacobian(state.inner, inner_action(action))
        )

    vocabulary = env.vocabulary + num_fidelities

    def features(state: FidelityState) -> Features:
        inner = env.features(state.inner)
        # The token for none moves with the size of the vocabulary.
        tokens = jnp.where(inner.tokens == env.vocabulary, vocabulary, inner.tokens)
        own = jnp.where(state.fidelity < 0, vocabulary, env.vocabulary + state.fidelity)
        return Features(jnp.append(tokens, own).astype(jnp.int32), inner.dense)

    return Environment(
        name=f"{env.name} at {num_fidelities} fidelities",
        stages=(*env.stages, Stage("fidelity", first, num_fidelities, continuous=False)),
        num_actions=first + num_fidelities,
        max_steps=env.max_steps + 1,
        vocabulary=vocabulary,
        num_dense=env.num_dense,
        initial_state=initial_state,
        action_mask=action_mask,
        step=step,
        parent_mask=parent_mask,
        undo=undo,
        recover_value=recover_value,
        log_jacobian=log_jacobian,
        is_terminal=lambda state: (state.fidelity >= 0) & env.is_terminal(state.inner),
        features=features,
        observe=observe_from(features, vocabulary),
    )
