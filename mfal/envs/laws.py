"""The laws that every environment keeps, as a check that takes any environment.

1. Forward and backward agree: `undo(step(s, a), a) == s` for legal a, and a is legal backward from
   `step(s, a)`; and for every backward action b of s, `step(undo(s, b), b) == s`, with the value
   that `recover_value` gives, and b is legal forward from `undo(s, b)`.
2. No dead end: a state has a legal action exactly if it is not terminal.
3. Every state but the initial one has a parent; the initial one has none.
4. Trajectories end within `max_steps`; a terminal state absorbs.
5. Shapes and types never change; features stay in range and agree with `observe`.

Whether terminal states obey the environment's own constraints, and all of them can be reached, is
for the environment's tests.
"""

from typing import Any

import jax
import jax.numpy as jnp

from mfal.envs.random import random_rollout
from mfal.envs.types import Action, Environment, State

__all__ = ["broken_laws"]

VALUE_TOLERANCE = 1e-3
"""Slack of floating-point leaves after a value has gone through `recover_value` and back."""


def broken_laws(env: Environment, key: jax.Array, num: int = 64) -> list[str]:
    """Laws that random trajectories break; empty for a sound environment.

    >>> from mfal.envs.hypergrid import HypergridSpec, hypergrid
    >>> env = hypergrid(HypergridSpec(dimensions=2, side=3))
    >>> broken_laws(env, jax.random.key(0))
    []
    >>> broken_laws(env._replace(undo=lambda state, action: state), jax.random.key(0))
    ['b is legal from undo(s, b)', 'step(undo(s, b), b) is s', 'undo(step(s, a), a) is s']
    """
    found = _static_laws(env)
    if found:
        return found
    # Compiling costs far more than running here, so it is kept short.
    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else {}
    check = jax.jit(lambda key: _count_breaches(env, key, num), compiler_options=options)
    counts = check(key)
    return sorted(law for law, breaches in counts.items() if int(breaches))


def _static_laws(env: Environment) -> list[str]:
    found = []
    start = 0
    for stage in env.stages:
        if stage.start != start or stage.size < 1:
            found.append(f"stage {stage.name!r} follows the one before it")
        start += stage.size
    if start != env.num_actions:
        found.append("stages cover all actions")

    state = env.initial_state()
    action = Action(jnp.int32(0), jnp.float32(0.5))

    def result(function: Any, *args: Any) -> Any:
        """Structure, shapes and types of what a function returns."""
        shaped = jax.eval_shape(function, *args)
        leaves = [(leaf.shape, jnp.dtype(leaf.dtype)) for leaf in jax.tree.leaves(shaped)]
        return jax.tree.structure(shaped), leaves

    def array(*shape: int, dtype: Any = jnp.float32) -> Any:
        return result(lambda: jnp.zeros(shape, dtype))

    same_state = result(lambda: state)
    mask, scalar = array(env.num_actions, dtype=bool), array()
    wanted = {
        "step": (result(env.step, state, action), same_state),
        "undo": (result(env.undo, state, action), same_state),
        "action_mask": (result(env.action_mask, state), mask),
        "parent_mask": (result(env.parent_mask, state), mask),
        "is_terminal": (result(env.is_terminal, state), array(dtype=bool)),
        "recover_value": (result(env.recover_value, state, action.index), scalar),
        "log_jacobian": (result(env.log_jacobian, state, action), scalar),
        "observe": (result(env.observe, state), array(env.vocabulary + env.num_dense)),
    }
    for name, (given, right) in wanted.items():
        if given != right:
            found.append(f"{name} has the right shape and type")
    return found


def _count_breaches(env: Environment, key: jax.Array, num: int) -> dict[str, jax.Array]:
    key_walk, key_back, key_value = jax.random.split(key, 3)
    walk = random_rollout(env, key_walk, num)
    times = env.max_steps + 1

    def over_states(function: Any) -> Any:
        return jax.vmap(jax.vmap(function))

    def joined(first: Any, second: Any) -> Any:
        return jax.tree.map(lambda x, y: jnp.concatenate([x, y]), first, second)

    def parted(tree: Any, at: int) -> tuple[Any, Any]:
        return jax.tree.map(lambda x: x[:at], tree), jax.tree.map(lambda x: x[at:], tree)

    def at(mask: jax.Array, index: jax.Array) -> jax.Array:
        return jnp.take_along_axis(mask, index[..., None], axis=-1)[..., 0]

    before, _ = parted(walk.states, -1)
    _, after = parted(walk.states, 1)
    end = jax.tree.map(lambda x: x[-1:], walk.states)
    terminal = over_states(env.is_terminal)(walk.states)

    # One parent of each state, at random.
    backward = over_states(env.parent_mask)(walk.states)
    noise = jax.random.uniform(key_back, backward.shape)
    back_index = jnp.argmax(jnp.where(backward, noise, -1), axis=-1).astype(jnp.int32)
    has_parent = jnp.any(backward, axis=-1)
    value = over_states(env.recover_value)(walk.states, back_index)
    back_action = Action(back_index, value)
    undone, parents = parted(
        over_states(env.undo)(joined(after, walk.states), joined(walk.actions, back_action)),
        times - 1,
    )
    # A terminal state under any action at all.
    anything = Action(
        jax.random.randint(key_value, (1, num), 0, env.num_actions, jnp.int32),
        jnp.full((1, num), 0.5, jnp.float32),
    )
    redone, absorbed = parted(
        over_states(env.step)(joined(parents, end), joined(back_action, anything)), times
    )
    legal, parents_legal = parted(over_states(env.action_mask)(joined(walk.states, parents)), times)
    back_legal = at(parents_legal, back_index)

    initial = jnp.zeros(terminal.shape, bool).at[0].set(True)
    features = over_states(env.features)(walk.states)
    tokens_ok = (features.tokens >= 0) & (features.tokens <= env.vocabulary)
    observed = over_states(env.observe)(walk.states)
    ones = jnp.sum(features.tokens < env.vocabulary, axis=-1)
    same_sum = jnp.isclose(jnp.sum(observed[..., : env.vocabulary], -1), ones)
    same_dense = jnp.all(observed[..., env.vocabulary :] == features.dense, axis=-1)
    jacobian = over_states(env.log_jacobian)(before, walk.actions)

    breaches = {
        "undo(step(s, a), a) is s": walk.live & ~_equal(undone, before, 2, 0.0),
        "a is legal backward from step(s, a)": walk.live & ~at(backward[1:], walk.actions.index),
        "step(undo(s, b), b) is s": has_parent & ~_equal(redone, walk.states, 2, VALUE_TOLERANCE),
        "b is legal from undo(s, b)": has_parent & ~back_legal,
        "a state has actions unless it is terminal": jnp.any(legal, -1) == terminal,
        "every state but the initial one has a parent": has_parent == initial,
        "trajectories end within max_steps": ~terminal[-1],
        "terminal states absorb": terminal[-1:] & ~_equal(absorbed, end, 2, 0.0),
        "tokens lie in the vocabulary": ~jnp.all(tokens_ok, -1),
        "observe agrees with features": ~(same_sum & same_dense),
        "features and log_jacobian are finite": ~jnp.isfinite(jacobian)
        | ~jnp.all(jnp.isfinite(features.dense[:-1]), -1),
        "recovered values lie in [0, 1]": has_parent & ~((value >= 0) & (value <= 1)),
    }
    return {law: jnp.sum(breach) for law, breach in breaches.items()}


def _equal(a: State, b: State, batch_axes: int, tolerance: float) -> jax.Array:
    """Whether states agree in all leaves, over leading batch axes."""
    same = []
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        close = x == y
        if jnp.issubdtype(x.dtype, jnp.floating) and tolerance:
            close = jnp.abs(x - y) <= tolerance * jnp.maximum(1, jnp.abs(y))
        same.append(jnp.all(close, axis=tuple(range(batch_axes, close.ndim))))
    return jnp.all(jnp.stack(same), axis=0)
