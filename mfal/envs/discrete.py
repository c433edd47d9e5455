"""An environment of discrete actions from the five functions that only its author can write."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mfal.envs.observe import observe_from
from mfal.envs.types import Action, Environment, Features, Stage, State
from mfal.errors import MfalError

__all__ = ["discrete_environment"]


def discrete_environment(
    initial_state: State,
    *,
    action_mask: Callable[[State], jax.Array],
    step: Callable[[State, jax.Array], State],
    parent_mask: Callable[[State], jax.Array],
    undo: Callable[[State, jax.Array], State],
    max_steps: int,
    features: Callable[[State], Features] | None = None,
    vocabulary: int = 0,
    name: str = "own",
) -> Environment:
    """An `Environment` whose actions are 0 to A - 1 and carry no value.

    What follows from the five functions is filled in: a state without legal actions is terminal and
    absorbs, there is one stage, and no Jacobian. `mfal.envs.laws.broken_laws` checks the rest.

    Args:
      initial_state: a pytree of arrays.
      action_mask: state to legal actions, [A] bool.
      step: (state, action [] int32) to the next state; called with legal actions.
      parent_mask: state to the actions that may have led to it, [A] bool.
      undo: (state, action [] int32) to the parent; called with what `parent_mask` allows.
      max_steps: no trajectory is longer.
      features: what a policy sees; if left out, the state's numbers as they are, which should then
        be of the order of one (counts of a few atoms, say).
      vocabulary: number of token values of `features`, 0 where it has no tokens.
      name: for messages.

    Raises:
      MfalError: where the functions don't fit together.

    How many of six sites hold F, Cl and Br; action k fills one more:

    >>> env = discrete_environment(
    ...     jnp.zeros(3, jnp.int32),
    ...     action_mask=lambda counts: jnp.full(3, counts.sum() < 6),
    ...     step=lambda counts, k: counts.at[k].add(1),
    ...     parent_mask=lambda counts: counts > 0,
    ...     undo=lambda counts, k: counts.at[k].add(-1),
    ...     max_steps=6,
    ... )
    >>> from mfal.envs.laws import broken_laws
    >>> broken_laws(env, jax.random.key(0))
    []
    """
    # Definite types: a weakly typed leaf would change its type on the way.
    start = jax.tree.map(lambda x: jnp.asarray(x, jnp.asarray(x).dtype), initial_state)
    if max_steps < 1:
        raise MfalError(f"environment {name}: max_steps {max_steps}", "give at least 1")
    num_actions = _size(name, "action_mask", jax.eval_shape(action_mask, start))
    backward = _size(name, "parent_mask", jax.eval_shape(parent_mask, start))
    if backward != num_actions:
        raise MfalError(
            f"environment {name}: {num_actions} actions forward, {backward} backward",
            "let action_mask and parent_mask speak of the same actions",
        )
    index = jnp.zeros((), jnp.int32)
    for what, function in (("step", step), ("undo", undo)):
        made, wanted = _types(jax.eval_shape(function, start, index)), _types(start)
        if made != wanted:
            raise MfalError(
                f"environment {name}: {what} turns a state of {wanted} into {made}",
                "return arrays of the same shapes and types",
            )

    def is_terminal(state: State) -> jax.Array:
        return ~jnp.any(action_mask(state))

    def absorbing_step(state: State, action: Action) -> State:
        done = is_terminal(state)
        after = step(state, action.index)
        return jax.tree.map(lambda old, new: jnp.where(done, old, new), state, after)

    view = _numbers if features is None else features
    shapes = jax.eval_shape(view, start)
    return Environment(
        name=name,
        stages=(Stage("action", 0, num_actions, continuous=False),),
        num_actions=num_actions,
        max_steps=max_steps,
        vocabulary=vocabulary,
        num_dense=shapes.dense.shape[0],
        initial_state=lambda: start,
        action_mask=action_mask,
        step=absorbing_step,
        parent_mask=parent_mask,
        undo=lambda state, action: undo(state, action.index),
        recover_value=lambda state, index: jnp.zeros((), jnp.float32),
        log_jacobian=lambda state, action: jnp.zeros((), jnp.float32),
        is_terminal=is_terminal,
        features=view,
        observe=observe_from(view, vocabulary),
    )


def _numbers(state: State) -> Features:
    leaves = [jnp.ravel(leaf).astype(jnp.float32) for leaf in jax.tree.leaves(state)]
    return Features(jnp.zeros((0,), jnp.int32), jnp.concatenate(leaves))


def _size(name: str, what: str, shape: Any) -> int:
    if len(getattr(shape, "shape", ())) != 1 or shape.dtype != jnp.bool_ or not shape.shape[0]:
        raise MfalError(
            f"environment {name}: {what} returns {_types(shape)}",
            "return a bool for each action, an array [A]",
        )
    return int(shape.shape[0])


def _types(tree: Any) -> str:
    """Structure, shapes and types in words, such as "int32[3]"."""
    named = jax.tree.map(lambda x: f"{x.dtype}{list(x.shape)}", tree)
    return str(named).replace("'", "")
