"""Estimates of sampling quality where the space is too large to enumerate.

For a terminal state x and trajectories drawn backward from it,

    p(x) = E over P_B(trajectory | x) of P_F(trajectory) / P_B(trajectory | x),

so that the mean of the weights w = P_F / P_B estimates the probability (density) with which the
policy ends in x, without bias, and their effective sample size says how far to trust it. From
below and above, with trajectories drawn forward from the policy and backward from samples of the
target (Malkin et al. 2022, arXiv:2210.00580; Blessing et al. 2024, arXiv:2406.07423):

    E under P_F of [log R + log P_B - log P_F]  <=  log Z  <=  E under the target of the same.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mfal.envs.types import State
from mfal.gflownet.backward import backward_rollout
from mfal.gflownet.config import Params, Samples
from mfal.gflownet.rewards import LogReward
from mfal.gflownet.rollout import draw_noise, rollout
from mfal.gflownet.sample import told_of
from mfal.gflownet.step import Parts
from mfal.gflownet.train import Trainer

__all__ = [
    "Diversity",
    "LogProb",
    "Quality",
    "correlation",
    "evidence_bounds",
    "log_prob",
    "measure_diversity",
    "measure_quality",
    "top_k",
]


class LogProb(NamedTuple):
    """Estimated log p(x) of terminal states."""

    value: jax.Array
    """[N] float32."""
    effective_size: jax.Array
    """[N] float32, 1 to the number of backward trajectories."""
    lower: jax.Array
    """[N] float32, mean of the log weights: its expectation is at most log p(x)."""


class Quality(NamedTuple):
    """How well a policy samples in proportion to the reward, on held-out states."""

    correlation: jax.Array
    """Pearson, of estimated log p with log R; 1 at the solution."""
    rank_correlation: jax.Array
    """Spearman, of the same."""
    spread: jax.Array
    """Standard deviation of log p - log R; 0 at the solution."""
    log_z_lower: jax.Array
    """Evidence lower bound, from the policy's own samples."""
    log_z_upper: jax.Array
    """Evidence upper bound if the held-out states are drawn in proportion to the reward."""
    log_z_estimate: jax.Array
    """Log of the mean importance weight of the policy's own samples."""
    effective_share: jax.Array
    """Effective sample size of those weights over their number; 1 at the solution."""


class Diversity(NamedTuple):
    """The best of a sample and how much they differ."""

    mean_log_reward: jax.Array
    distance: jax.Array
    """Mean pairwise distance among the best."""
    modes: jax.Array
    """[] int32: of those above the threshold, how many are further than the radius from every
    better one."""


def log_prob(trainer: Trainer, num_trajectories: int = 10) -> Callable[..., LogProb]:
    """A compiled `(params, states, key, beta=1.0, condition=None) -> LogProb` of N terminal states.

    Args:
      trainer: whose policy is asked; `params` are those of its state.
      num_trajectories: backward trajectories a state. One is exact where states have one parent.
    """
    return partial(_log_prob, trainer.parts, num_trajectories)


def _log_prob(
    parts: Parts,
    num_trajectories: int,
    params: Params,
    states: State,
    key: jax.Array,
    beta: jax.Array | float = 1.0,
    condition: Any = None,
) -> LogProb:
    told = told_of(parts, beta, condition, 1)[0]
    return _compiled_log_prob(parts, num_trajectories)(params, states, key, told)


@lru_cache(maxsize=16)
def _compiled_log_prob(parts: Parts, num_trajectories: int) -> Callable[..., LogProb]:
    """`(params, states, key, told [C]) -> LogProb`; equal trainers share it."""
    env, policy, config = parts.env, parts.policy, parts.config
    uniform = config.policy.backward == "uniform"

    @jax.jit
    def estimate(params: Params, states: State, key: jax.Array, told: jax.Array) -> LogProb:
        count = jax.tree.leaves(states)[0].shape[0]
        conditions = jnp.broadcast_to(told, (count, told.shape[0]))

        def one(key: jax.Array) -> jax.Array:
            plan, log_pb, _ = backward_rollout(
                env, policy, params["policy"], key, states, conditions=conditions
            )
            drawn = rollout(
                env,
                policy,
                params["policy"],
                draw_noise(key, env, count),
                plan=plan,
                conditions=conditions,
                uniform_backward=uniform,
                keep="nothing",
            )
            return jnp.sum(drawn.log_pf, axis=0) - log_pb

        weights = lax.map(one, jax.random.split(key, num_trajectories))
        total = jax.nn.logsumexp(weights, axis=0)
        return LogProb(
            value=total - jnp.log(num_trajectories),
            effective_size=jnp.exp(2 * total - jax.nn.logsumexp(2 * weights, axis=0)),
            lower=jnp.mean(weights, axis=0),
        )

    return estimate


@jax.jit
def evidence_bounds(samples: Samples, held_out: LogProb, log_reward: jax.Array) -> jax.Array:
    """Lower and upper bound on log Z, [2].

    Args:
      samples: of the policy.
      held_out: of states drawn in proportion to the reward; else the second is no bound.
      log_reward: [N] of the held-out states.
    """
    lower = jnp.mean(samples.log_reward + samples.log_pb - samples.log_pf)
    return jnp.stack([lower, jnp.mean(log_reward - held_out.lower)])


def measure_quality(
    trainer: Trainer, log_reward: LogReward, *, num_samples: int = 1024, num_trajectories: int = 10
) -> Callable[..., Quality]:
    """A compiled `(state, reward_params, held_out_states, key) -> Quality`."""
    estimate = log_prob(trainer, num_trajectories)

    def measure(state: Any, reward_params: Any, held_out: State, key: jax.Array) -> Quality:
        key_sample, key_back = jax.random.split(key)
        samples = trainer.sample(state, reward_params, key_sample, num_samples)
        probability = estimate(state.params, held_out, key_back)
        return finish(samples, probability, rewards(reward_params, held_out))

    @jax.jit
    def rewards(reward_params: Any, states: State) -> jax.Array:
        return jax.vmap(log_reward, in_axes=(None, 0))(reward_params, states)

    @jax.jit
    def finish(samples: Samples, probability: LogProb, log_reward: jax.Array) -> Quality:
        weights = samples.log_reward + samples.log_pb - samples.log_pf
        total = jax.nn.logsumexp(weights)
        lower, upper = evidence_bounds(samples, probability, log_reward)
        return Quality(
            correlation=correlation(probability.value, log_reward),
            rank_correlation=correlation(_ranks(probability.value), _ranks(log_reward)),
            spread=jnp.std(probability.value - log_reward),
            log_z_lower=lower,
            log_z_upper=upper,
            log_z_estimate=total - jnp.log(num_samples),
            effective_share=jnp.exp(2 * total - jax.nn.logsumexp(2 * weights)) / num_samples,
        )

    return measure


@jax.jit
def correlation(x: jax.Array, y: jax.Array) -> jax.Array:
    """Pearson correlation of two [N] arrays."""
    x, y = x - jnp.mean(x), y - jnp.mean(y)
    return jnp.sum(x * y) / jnp.sqrt(jnp.maximum(jnp.sum(x * x) * jnp.sum(y * y), 1e-30))


@partial(jax.jit, static_argnames="count")
def top_k(samples: Samples, count: int) -> Samples:
    """The `count` samples of highest reward, best first."""
    _, place = lax.top_k(samples.log_reward, count)
    return jax.tree.map(lambda leaf: leaf[place], samples)


@partial(jax.jit, static_argnames="distance")
def measure_diversity(
    best: Samples,
    distance: Callable[[State, State], jax.Array],
    *,
    threshold: jax.Array | float,
    radius: jax.Array | float,
) -> Diversity:
    """Diversity of the best samples, and how many modes they stand for.

    Args:
      best: from `top_k`, best first.
      distance: between two unbatched terminal states, [].
      threshold: log-reward from which a sample may count as a mode.
      radius: distance within which two samples are the same mode.
    """
    count = best.log_reward.shape[0]
    matrix = jax.vmap(lambda a: jax.vmap(lambda b: distance(a, b))(best.states))(best.states)
    others = ~jnp.eye(count, dtype=bool)

    def claim(number: jax.Array, modes: jax.Array) -> jax.Array:
        near = jnp.any(modes & (matrix[number] <= radius))
        return modes.at[number].set(~near & (best.log_reward[number] >= threshold))

    modes = lax.fori_loop(0, count, claim, jnp.zeros((count,), bool))
    return Diversity(
        mean_log_reward=jnp.mean(best.log_reward),
        distance=jnp.sum(jnp.where(others, matrix, 0.0)) / max(count * (count - 1), 1),
        modes=jnp.sum(modes, dtype=jnp.int32),
    )


def _ranks(x: jax.Array) -> jax.Array:
    return jnp.argsort(jnp.argsort(x)).astype(jnp.float32)
