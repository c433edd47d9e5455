"""Random search: trajectories of uniformly chosen legal actions, and the density of their ends."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mfal.envs.types import Action, Environment, State

__all__ = ["Rollout", "log_density", "pick_legal", "random_rollout", "sample_uniformly"]


class Rollout(NamedTuple):
    """Random trajectories, time first. Steps after the end repeat the terminal state."""

    states: State
    """[max_steps + 1, num, ...], before each action and at the end."""
    actions: Action
    """[max_steps, num]."""
    live: jax.Array
    """[max_steps, num] bool, whether the trajectory had not ended."""


def pick_legal(mask: jax.Array, place: jax.Array) -> jax.Array:
    """The legal action at a place in [0, 1); if that is uniform, all are equally likely.

    One random number an action in place of one for each logit, which is what makes drawing cheap.

    Args:
      mask: [A] bool, the legal actions.
      place: [] float32 in [0, 1).

    Returns:
      [] int32, the index of an action; 0 where none is legal.
    """
    before = jnp.cumsum(mask.astype(jnp.int32))
    count = before[-1]
    # The float32 product may round up to the count.
    rank = jnp.minimum((place * count).astype(jnp.int32), count - 1)
    return jnp.where(count > 0, jnp.sum(before <= rank), 0).astype(jnp.int32)


def random_rollout(env: Environment, key: jax.Array, num: int) -> Rollout:
    """Independent trajectories; those of `sample_uniformly` for the same key."""

    def one(key: jax.Array) -> Rollout:
        keys = jax.random.split(key, env.max_steps)
        end, (states, actions, live) = jax.lax.scan(_random_step(env), env.initial_state(), keys)
        states = jax.tree.map(lambda x, last: jnp.concatenate([x, last[None]]), states, end)
        return Rollout(states, actions, live)

    return jax.vmap(one, out_axes=1)(jax.random.split(key, num))


def sample_uniformly(env: Environment, key: jax.Array, num: int) -> State:
    """Independent terminal states, leading axis [num].

    Every legal action of a state is equally likely, and every value uniform in [0, 1]. This isn't
    the uniform distribution over crystals; it is what a search without a model does.
    """

    def one(key: jax.Array) -> State:
        keys = jax.random.split(key, env.max_steps)
        step = _random_step(env)
        return jax.lax.scan(lambda s, k: (step(s, k)[0], None), env.initial_state(), keys)[0]

    return jax.vmap(one)(jax.random.split(key, num))


def log_density(env: Environment, state: State) -> jax.Array:
    """Log of the density with which `sample_uniformly` draws a terminal state, [] float32.

    With respect to the environment's own measure: counting times Lebesgue on the free parameters.
    States must have one parent each, as a crystal's do when its elements come in order; the
    trajectory is then the state's own, and the density the product along it of

        1 / (number of legal actions) / |J| .
    """

    def back(carry: tuple[State, jax.Array], _: None) -> tuple[tuple[State, jax.Array], None]:
        state, total = carry
        mask = env.parent_mask(state)
        index = jnp.argmax(mask).astype(jnp.int32)
        action = Action(index, env.recover_value(state, index))
        parent = env.undo(state, action)
        legal = jnp.maximum(jnp.sum(env.action_mask(parent)), 1)
        step = -jnp.log(legal.astype(jnp.float32)) - env.log_jacobian(parent, action)
        found = jnp.any(mask)  # the initial state has no parent
        state = jax.tree.map(lambda a, b: jnp.where(found, a, b), parent, state)
        return (state, total + jnp.where(found, step, 0.0)), None

    return jax.lax.scan(back, (state, jnp.zeros(())), None, length=env.max_steps)[0][1]


def _random_step(
    env: Environment,
) -> Callable[[State, jax.Array], tuple[State, tuple[State, Action, jax.Array]]]:
    """One step of a scan: the next state, and the state, the action, and whether it was live."""

    def step(state: State, key: jax.Array) -> tuple[State, tuple[State, Action, jax.Array]]:
        place, value = jax.random.uniform(key, (2,))
        action = Action(pick_legal(env.action_mask(state), place), value)
        live = ~env.is_terminal(state)
        return env.step(state, action), (state, action, live)  # a terminal state absorbs

    return step
