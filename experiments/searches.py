"""Searches without a policy over any environment: random, Metropolis, genetic.

They work on sequences of actions, so that they need nothing but the environment's contract. Each
evaluates `num * steps` terminal states in all, as a GFlowNet does with `num` trajectories a step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mfal.envs.random import pick_legal
from mfal.envs.types import Action, Environment, State

__all__ = ["Visited", "genetic", "grow", "metropolis", "random_search"]

LogWeight = Callable[[Any, State], jax.Array]


class Visited(NamedTuple):
    """Terminal states that a search has evaluated, with their weights."""

    states: State
    """Leading axes [steps, num]."""
    log_weight: jax.Array
    """[steps, num]"""


def grow(
    env: Environment, suggested: Action, use: jax.Array, key: jax.Array
) -> tuple[State, Action, jax.Array]:
    """A trajectory that takes suggested actions where it can, and uniform ones elsewhere.

    Args:
      env: the environment.
      suggested: actions with leading axis [max_steps].
      use: [max_steps] bool, where to take the suggested action if it is legal.
      key: of the uniform draws.

    Returns:
      The terminal state, its actions [max_steps], and its number of steps.
    """

    def step(state: State, at: Any) -> tuple[State, Any]:
        wanted, use, key = at
        place, value = jax.random.uniform(key, (2,))
        mask = env.action_mask(state)
        done = env.is_terminal(state)
        taken = use & mask[wanted.index]
        action = Action(
            jnp.where(taken, wanted.index, pick_legal(mask, place)).astype(jnp.int32),
            jnp.where(taken, wanted.value, value),
        )
        return env.step(state, action), (action, ~done)  # a terminal state absorbs

    keys = jax.random.split(key, env.max_steps)
    state, (actions, live) = jax.lax.scan(step, env.initial_state(), (suggested, use, keys))
    return state, actions, jnp.sum(live)


def _random(env: Environment, key: jax.Array) -> tuple[State, Action, jax.Array]:
    blank = Action(jnp.zeros(env.max_steps, jnp.int32), jnp.zeros(env.max_steps))
    return grow(env, blank, jnp.zeros(env.max_steps, bool), key)


def random_search(
    env: Environment, log_weight: LogWeight, params: Any, key: jax.Array, num: int, steps: int
) -> Visited:
    """Independent draws, all legal actions alike."""

    def step(_: None, key: jax.Array) -> tuple[None, Visited]:
        states = jax.vmap(lambda k: _random(env, k)[0])(jax.random.split(key, num))
        return None, Visited(states, jax.vmap(log_weight, (None, 0))(params, states))

    return jax.lax.scan(step, None, jax.random.split(key, steps))[1]


def metropolis(
    env: Environment, log_weight: LogWeight, params: Any, key: jax.Array, num: int, steps: int
) -> Visited:
    """`num` chains whose stationary density is that of the random search times exp(log_weight).

    A move keeps the first j actions, j uniform below the most steps, and draws the rest anew. With
    p the random search's density of sequences, p(x) q(x -> x') = p(prefix) p(x | prefix)
    p(x' | prefix) / max_steps is symmetric, so that a move is accepted with probability
    min(1, exp(w(x') - w(x))) (Metropolis et al., J. Chem. Phys. 21, 1087 (1953)).
    `Visited` holds the chains' places, the start among them.
    """
    places = jnp.arange(env.max_steps)

    def move(key: jax.Array, state: State, actions: Action, weight: jax.Array) -> Any:
        key_cut, key_grow, key_accept = jax.random.split(key, 3)
        cut = jax.random.randint(key_cut, (), 0, env.max_steps)
        fresh, theirs, _ = grow(env, actions, places < cut, key_grow)
        other = log_weight(params, fresh)
        accept = jnp.log(jax.random.uniform(key_accept)) < other - weight
        return jax.tree.map(
            lambda new, old: jnp.where(accept, new, old),
            (fresh, theirs, other),
            (state, actions, weight),
        )

    def step(chains: Any, key: jax.Array) -> tuple[Any, Visited]:
        after = jax.vmap(move)(jax.random.split(key, num), *chains)
        return after, Visited(chains[0], chains[2])

    key_start, key_run = jax.random.split(key)
    states, actions, _ = jax.vmap(lambda k: _random(env, k))(jax.random.split(key_start, num))
    weights = jax.vmap(log_weight, (None, 0))(params, states)
    return jax.lax.scan(step, (states, actions, weights), jax.random.split(key_run, steps))[1]


def genetic(
    env: Environment, log_weight: LogWeight, params: Any, key: jax.Array, num: int, steps: int
) -> Visited:
    """A population of `num`, of which the better half and its children live on.

    Each of the generation's children takes its first actions from one parent and the rest, where
    legal, from another; one action in six is drawn anew. Parents win tournaments of two. Of
    parents and children the best `num` survive, those of equal weight but once.
    """
    places = jnp.arange(env.max_steps)

    def child(key: jax.Array, actions: Action, weight: jax.Array) -> Any:
        key_pick, key_cut, key_change, key_grow = jax.random.split(key, 4)
        rivals = jax.random.randint(key_pick, (2, 2), 0, num)
        better = jnp.where(weight[rivals[:, 0]] > weight[rivals[:, 1]], rivals[:, 0], rivals[:, 1])
        cut = jax.random.randint(key_cut, (), 0, env.max_steps)
        mixed = jax.tree.map(
            lambda leaf: jnp.where(places < cut, leaf[better[0]], leaf[better[1]]), actions
        )
        keep = jax.random.uniform(key_change, (env.max_steps,)) > 1 / 6
        state, theirs, _ = grow(env, mixed, keep, key_grow)
        return state, theirs, log_weight(params, state)

    def step(population: Any, key: jax.Array) -> tuple[Any, Visited]:
        _, actions, weight = population
        born = jax.vmap(child, (0, None, None))(jax.random.split(key, num), actions, weight)
        both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), population, born)
        order = jnp.argsort(-both[2])
        again = jnp.concatenate([jnp.zeros(1, bool), jnp.diff(both[2][order]) == 0])
        # Copies go to the end, or the population would soon consist of one crystal.
        order = order[jnp.argsort(again, stable=True)][:num]
        return jax.tree.map(lambda leaf: leaf[order], both), Visited(born[0], born[2])

    key_start, key_run = jax.random.split(key)
    states, actions, _ = jax.vmap(lambda k: _random(env, k))(jax.random.split(key_start, num))
    weights = jax.vmap(log_weight, (None, 0))(params, states)
    start = (states, actions, weights)
    visited = jax.lax.scan(step, start, jax.random.split(key_run, steps - 1))[1]
    first = jax.tree.map(lambda leaf: leaf[None], Visited(states, weights))
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, visited)
