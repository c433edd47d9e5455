"""Exact metrics on environments small enough to enumerate: no sampling noise.

The graph is enumerated once, on the host. The distribution that a policy has over terminal states
then follows by dynamic programming, compiled: mass starts at the initial state and moves along
the edges, one step at a time, until all of it rests in terminal states.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mfal.envs.types import Action, Environment, Features, State
from mfal.errors import MfalError
from mfal.gflownet.distributions import MaskedCategorical
from mfal.gflownet.network import OwnPolicy
from mfal.gflownet.policy import Policy, apply_policy

__all__ = [
    "ExactMetrics",
    "StateGraph",
    "compare",
    "enumerate_states",
    "exact_metrics",
    "terminal_distribution",
]


class StateGraph(NamedTuple):
    """All states reachable from the initial one, S of them, the initial one first."""

    states: State
    """[S]"""
    features: Features
    """[S]"""
    mask: jax.Array
    """[S, A] bool, legal forward actions."""
    successor: jax.Array
    """[S, A] int32, where a legal action leads; S where illegal."""
    terminal: jax.Array
    """[S] bool."""
    max_steps: int


class ExactMetrics(NamedTuple):
    """How far a policy is from sampling in proportion to the reward."""

    total_variation: jax.Array
    """0 to 1."""
    jensen_shannon: jax.Array
    """In nats, 0 to log 2."""
    log_z: jax.Array
    """Log of the sum of all rewards."""
    log_z_error: jax.Array
    """Learned log Z less the true one."""


def enumerate_states(env: Environment, *, limit: int = 200_000) -> StateGraph:
    """Enumerate an environment without continuous stages.

    Raises:
      MfalError: if there are continuous stages, or more than `limit` states.
    """
    if any(stage.continuous for stage in env.stages):
        raise MfalError(f"{env.name} has continuous stages", "use the estimates for large spaces")
    actions = jnp.arange(env.num_actions, dtype=jnp.int32)

    @jax.jit
    def expand(states: State) -> tuple[State, jax.Array]:
        def one(state: State) -> tuple[State, jax.Array]:
            after = jax.vmap(lambda i: env.step(state, Action(i, jnp.float32(0))))(actions)
            return after, env.action_mask(state)

        return jax.vmap(one)(states)

    frontier = jax.tree.map(lambda x: np.asarray(x)[None], env.initial_state())
    known: dict[bytes, int] = {_keys(frontier)[0]: 0}
    levels, masks, successors = [], [], []
    while (size := len(jax.tree.leaves(frontier)[0])) > 0:
        after, mask = _in_bucket(expand, frontier, size)
        legal = np.argwhere(mask)
        children = jax.tree.map(lambda x, at=legal: x[at[:, 0], at[:, 1]], after)
        successor = np.full(mask.shape, -1, np.int32)
        fresh = []
        for row, key in enumerate(_keys(children)):
            if key not in known:
                known[key] = len(known)
                fresh.append(row)
            successor[legal[row, 0], legal[row, 1]] = known[key]
        if len(known) > limit:
            raise MfalError(f"{env.name} has more than {limit} states", "enumerate a smaller one")
        levels.append(frontier)
        masks.append(mask)
        successors.append(successor)
        frontier = jax.tree.map(lambda x, at=fresh: x[np.array(at, int)], children)
    states = jax.tree.map(lambda *parts: jnp.asarray(np.concatenate(parts)), *levels)
    successor = np.concatenate(successors)
    return StateGraph(
        states=states,
        features=jax.jit(jax.vmap(env.features))(states),
        mask=jnp.asarray(np.concatenate(masks)),
        successor=jnp.asarray(np.where(successor < 0, len(known), successor)),
        terminal=jax.jit(jax.vmap(env.is_terminal))(states),
        max_steps=env.max_steps,
    )


def terminal_distribution(
    graph: StateGraph, policy: Policy | OwnPolicy, params: Any, conditions: jax.Array | None = None
) -> jax.Array:
    """Probability of ending in each state, [S] float32; zero where the state isn't terminal.

    Args:
      graph: from `enumerate_states`.
      policy: network.
      params: of the network.
      conditions: [C'] numbers that the policy is conditioned on.
    """
    features = graph.features
    count = graph.terminal.shape[0]
    if conditions is not None:
        more = jnp.broadcast_to(conditions, (count, conditions.shape[-1]))
        features = features._replace(dense=jnp.concatenate([features.dense, more], axis=-1))
    heads = apply_policy(policy, params, features)
    moves = MaskedCategorical(heads.logits, graph.mask).probs

    def spread(carry: tuple[jax.Array, jax.Array], _: None) -> Any:
        mass, resting = carry
        flow = (mass[:, None] * moves).reshape(-1)
        mass = jax.ops.segment_sum(flow, graph.successor.reshape(-1), count + 1)[:count]
        return (mass, resting + jnp.where(graph.terminal, mass, 0.0)), None

    start = jnp.zeros((count,), jnp.float32).at[0].set(1.0)
    (_, resting), _ = lax.scan(spread, (start, jnp.zeros_like(start)), None, length=graph.max_steps)
    return resting


def compare(probability: jax.Array, log_reward: jax.Array, log_z: jax.Array) -> ExactMetrics:
    """Compare a distribution with the reward.

    Args:
      probability: [S] float32.
      log_reward: [S] float32, -inf where the state isn't terminal.
      log_z: learned, [].
    """
    chex.assert_equal_shape([probability, log_reward])
    chex.assert_shape(log_z, ())
    true_log_z = jax.nn.logsumexp(log_reward)
    target = jnp.exp(log_reward - true_log_z)
    middle = 0.5 * (probability + target)

    def divergence(p: jax.Array) -> jax.Array:
        safe = jnp.where(p > 0, p, 1.0)
        return jnp.sum(jnp.where(p > 0, p * jnp.log(safe / jnp.where(p > 0, middle, 1.0)), 0.0))

    return ExactMetrics(
        total_variation=0.5 * jnp.sum(jnp.abs(probability - target)),
        jensen_shannon=0.5 * (divergence(probability) + divergence(target)),
        log_z=true_log_z,
        log_z_error=log_z - true_log_z,
    )


def exact_metrics(
    graph: StateGraph,
    policy: Policy | OwnPolicy,
    log_reward: Callable[[Any, State], jax.Array],
) -> Callable[..., ExactMetrics]:
    """A compiled `(params, reward_params, log_z, conditions=None, beta=1.0) -> ExactMetrics`.

    For a policy trained over a range of temperatures, give the inverse temperature `beta` that is
    meant, what the policy is told of it (`condition_of(config.temperature, beta)`), and log Z there
    (`trainer.log_z(params, beta)`): the target is then R^beta.

    Raises:
      MfalError: if the policy is conditioned and no conditions are given, or the other way round.
    """
    told = policy.num_dense - graph.features.dense.shape[-1]

    @jax.jit
    def compiled(
        params: Any,
        reward_params: Any,
        log_z: jax.Array,
        conditions: jax.Array | None,
        beta: jax.Array,
    ) -> ExactMetrics:
        rewards = jax.vmap(log_reward, in_axes=(None, 0))(reward_params, graph.states)
        rewards = jnp.where(graph.terminal, beta * rewards, -jnp.inf)
        return compare(terminal_distribution(graph, policy, params, conditions), rewards, log_z)

    def measure(
        params: Any,
        reward_params: Any,
        log_z: jax.Array | float,
        conditions: jax.Array | None = None,
        beta: jax.Array | float = 1.0,
    ) -> ExactMetrics:
        given = 0 if conditions is None else jnp.shape(conditions)[-1]
        if given != told:
            raise MfalError(
                f"{given} conditions for a policy that is told {told}",
                "leave them out"
                if not told
                else "give conditions=condition_of(config.temperature, beta) and beta, or those "
                "of one's own",
            )
        wide = (jnp.asarray(x, jnp.float32) for x in (log_z, beta))
        log_z, beta = wide
        return compiled(params, reward_params, log_z, conditions, beta)

    return measure


def _keys(states: State) -> list[bytes]:
    count = len(jax.tree.leaves(states)[0])
    if not count:
        return []
    leaves = [np.ascontiguousarray(leaf).reshape(count, -1) for leaf in jax.tree.leaves(states)]
    return [row.tobytes() for row in np.concatenate([x.view(np.uint8) for x in leaves], axis=1)]


def _in_bucket(expand: Callable[[State], Any], states: State, size: int) -> Any:
    """Apply to states padded to a power of two, so that few shapes are compiled."""
    bucket = 1 << (size - 1).bit_length()
    padded = jax.tree.map(
        lambda x: np.concatenate([x, np.repeat(x[:1], bucket - size, axis=0)]), states
    )
    return jax.tree.map(lambda x: np.asarray(x)[:size], expand(padded))
