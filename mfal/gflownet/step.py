"""One training step: what to draw, the rollout, the loss, the gradient, the update.

All of it is pure and traced once. With a mesh of devices the part from rollout to gradient runs on
each device for its share of the trajectories, and only sums are exchanged.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, PartitionSpec

from mfal.envs.types import Environment, State
from mfal.gflownet import replay as replays
from mfal.gflownet.config import Metrics, Params, TrainConfig, TrainState
from mfal.gflownet.exploration import exploration_at
from mfal.gflownet.gradient import loss_and_weights, policy_gradient
from mfal.gflownet.losses import Balance, make_loss
from mfal.gflownet.policy import Policy
from mfal.gflownet.replay import ReplayBuffer
from mfal.gflownet.rewards import LogReward
from mfal.gflownet.rollout import backward_rollout, draw_noise, rollout
from mfal.gflownet.temperature import LogZ, condition_of, draw_beta
from mfal.gflownet.trajectories import Noise, Plan, aligned

__all__ = ["Parts", "conditions_at", "train_step"]


@dataclass(frozen=True)
class Parts:
    """What the compiled functions close over."""

    env: Environment
    policy: Policy
    log_z: LogZ
    log_reward: LogReward
    intermediate: LogReward | None
    config: TrainConfig
    optimiser: optax.GradientTransformation = field(repr=False)
    mesh: Mesh | None = None


def train_step(parts: Parts, state: TrainState, reward_params: Any) -> tuple[TrainState, Metrics]:
    """One step: the next state and what to tell of it."""
    env, config = parts.env, parts.config
    key, key_noise, key_beta, key_replay, key_data = jax.random.split(state.key, 5)
    batch = config.batch_size
    noise = draw_noise(key_noise, env, batch, config.exploration.dithers)
    beta = draw_beta(config.temperature, key_beta, batch)
    plan, places = _make_plan(parts, state, key_replay, key_data, beta)

    learn = partial(_learn, parts)
    if parts.mesh is not None:
        axis = parts.mesh.axis_names[0]
        # Prefixes of the arguments' trees: the same everywhere, split by rows, split by columns.
        one: Any = PartitionSpec()
        all_: Any = PartitionSpec(axis)
        later: Any = PartitionSpec(None, axis)
        plan_spec = None if plan is None else Plan(all_, later, later)
        learn = jax.shard_map(
            learn,
            mesh=parts.mesh,
            in_specs=(one, one, one, Noise(later, all_), all_, plan_spec),
            out_specs=(one, one, _Batch(all_, all_, all_, later, later, all_)),
            check_vma=False,
        )
    grads, row, seen = learn(state.params, reward_params, state.step, noise, beta, plan)

    params = state.params
    if config.log_z_from_batch and config.loss != "vargrad":
        params = {**params, "log_z": parts.log_z.start(params["log_z"], state.step, row.log_z)}
    updates, opt_state = parts.optimiser.update(grads, state.opt_state, params)
    params = optax.apply_updates(params, updates)
    buffer = state.replay
    if buffer is not None and config.replay is not None:
        buffer = _remember(config, buffer, seen, places)
    if config.loss != "vargrad":
        row = row._replace(
            log_z=parts.log_z(params["log_z"], conditions_at(parts, jnp.ones((1,))))[0]
        )
    return TrainState(params, opt_state, key, state.step + 1, buffer, state.data), row


class _Batch(NamedTuple):
    """What the replay buffer wants to know of a batch."""

    log_reward: jax.Array
    loss: jax.Array
    followed: jax.Array
    index: jax.Array  # type: ignore[assignment]
    value: jax.Array
    final: State


class _Sums(NamedTuple):
    """What is summed over the batch, and so over devices."""

    grads: Params
    loss: jax.Array
    estimate: jax.Array
    usable: jax.Array
    log_reward: jax.Array
    fresh: jax.Array
    length: jax.Array
    best: jax.Array
    """[devices], each one's best log-reward in its own place."""


def _over_devices(mine: Any, axis: str | None) -> Any:
    """The sum of a tree over devices, all as float32.

    As one vector, for the devices wait for each other at each exchange.
    """
    mine = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), mine)
    if axis is None:
        return mine
    flat, restore = ravel_pytree(mine)
    return restore(lax.psum(flat, axis))


def _learn(
    parts: Parts,
    params: Params,
    reward_params: Any,
    step: jax.Array,
    noise: Noise,
    beta: jax.Array,
    plan: Plan | None,
) -> tuple[Params, Metrics, _Batch]:
    """Gradients of a batch, or of this device's part of it with sums over all devices."""
    config, env = parts.config, parts.env
    axis = None if parts.mesh is None else parts.mesh.axis_names[0]
    batch = config.batch_size
    loss = make_loss(config.loss, subtb_lambda=config.subtb_lambda, axis_name=axis)
    conditions = conditions_at(parts, beta)
    intermediate = parts.intermediate
    trajectories = rollout(
        env,
        parts.policy,
        params["policy"],
        noise,
        exploration=exploration_at(config.exploration, step),
        plan=plan,
        conditions=conditions,
        uniform_backward=config.policy.backward == "uniform",
        intermediate=None if intermediate is None else partial(intermediate, reward_params),
    )
    raw = jax.vmap(parts.log_reward, in_axes=(None, 0))(reward_params, trajectories.final)
    usable = jnp.isfinite(raw)
    log_reward = jnp.where(usable, raw, 0.0)

    def log_z_of(log_z_params: Any) -> jax.Array:
        return parts.log_z(log_z_params, conditions)

    log_z, pull_log_z = jax.vjp(log_z_of, params["log_z"])
    balance = Balance(
        log_pf=trajectories.log_pf,
        log_pb=trajectories.log_pb,
        log_flow=trajectories.log_flow,
        log_z=log_z,
        log_reward=beta * log_reward,
        energy=beta * trajectories.energy,
        length=trajectories.length,
    )
    estimate = balance.log_reward + jnp.sum(balance.log_pb, 0) - jnp.sum(balance.log_pf, 0)
    if config.log_z_from_batch and config.loss != "vargrad":

        def first() -> jax.Array:
            mine = (jnp.sum(jnp.where(usable, estimate, 0.0)), jnp.sum(usable))
            total, count = _over_devices(mine, axis)
            return total / jnp.maximum(count, 1)

        # Devices wait for each other here, so only where there is something to learn from it.
        start = lax.cond(step == 0, first, lambda: jnp.float32(0))
        balance = balance._replace(log_z=log_z + start)

    def per_trajectory(b: Balance) -> jax.Array:
        # A reward that isn't a number must not reach the others of its batch.
        return jnp.where(usable, loss.per_trajectory(b), 0.0)

    value, weights, by_log_z = loss_and_weights(per_trajectory, balance, batch)
    if config.log_z_from_batch and config.loss == "tb" and config.temperature is None:
        # The batch's mean is where this derivative vanishes: what is left of it is rounding, which
        # depends on the number of devices and which Adam would make a step of full size.
        by_log_z = jnp.where(step == 0, 0.0, by_log_z)
    grads = {
        "policy": policy_gradient(parts.policy, params["policy"], trajectories, weights),
        "log_z": pull_log_z(by_log_z)[0],
    }
    fresh = usable if plan is None else usable & ~plan.follow
    devices = 1 if parts.mesh is None else parts.mesh.size
    place = 0 if axis is None else lax.axis_index(axis)
    best = jnp.max(jnp.where(usable, log_reward, -jnp.inf))
    mine = _Sums(
        grads=grads,
        loss=value,
        estimate=jnp.sum(jnp.where(usable, estimate, 0.0)),
        usable=jnp.sum(usable),
        log_reward=jnp.sum(jnp.where(fresh, log_reward, 0.0)),
        fresh=jnp.sum(fresh),
        length=jnp.sum(trajectories.length),
        best=jnp.zeros((devices,)).at[place].set(best),
    )
    sums = _over_devices(mine, axis)
    grads = sums.grads
    row = Metrics(
        loss=sums.loss,
        log_z=sums.estimate / jnp.maximum(sums.usable, 1),
        log_reward=sums.log_reward / jnp.maximum(sums.fresh, 1),
        best_log_reward=jnp.max(sums.best),
        length=sums.length / batch,
        grad_norm=_norm(grads["policy"]),
        dropped=batch - sums.usable,
    )
    seen = _Batch(
        log_reward=jnp.where(usable, log_reward, -1e9),
        loss=jnp.where(usable, lax.stop_gradient(loss.per_trajectory(balance)), 0.0),
        followed=jnp.zeros(raw.shape, bool) if plan is None else plan.follow,
        index=aligned(trajectories.rows.index, trajectories.column),
        value=aligned(trajectories.rows.value, trajectories.column),
        final=trajectories.final,
    )
    return grads, row, seen


def _make_plan(
    parts: Parts, state: TrainState, key_replay: jax.Array, key_data: jax.Array, beta: jax.Array
) -> tuple[Plan | None, jax.Array]:
    """Actions that the last rows of the batch follow: replayed ones, then those from data."""
    config, env = parts.config, parts.env
    replayed, from_data = config.num_replayed, config.num_from_data
    places = jnp.zeros((0,), jnp.int32)
    if not replayed and not from_data:
        return None, places
    fresh = config.batch_size - replayed - from_data
    blocks = [
        Plan(
            jnp.zeros((fresh,), bool),
            jnp.zeros((env.max_steps, fresh), jnp.int32),
            jnp.zeros((env.max_steps, fresh), jnp.float32),
        )
    ]
    if replayed and state.replay is not None:
        plan, places = replays.draw(state.replay, key_replay, replayed)
        blocks.append(plan)
    if from_data and state.data is not None:
        key_row, key_back = jax.random.split(key_data)
        logits = jnp.log(state.data.weight)
        row = jax.random.categorical(key_row, logits, shape=(from_data,))
        final = jax.tree.map(lambda leaf: leaf[row], state.data.states)
        conditions = conditions_at(parts, beta[-from_data:])
        plan, _, _ = backward_rollout(
            env, parts.policy, state.params["policy"], key_back, final, conditions=conditions
        )
        blocks.append(plan)
    plan = Plan(
        jnp.concatenate([block.follow for block in blocks]),
        jnp.concatenate([block.index for block in blocks], axis=1),
        jnp.concatenate([block.value for block in blocks], axis=1),
    )
    return plan, places


def _remember(
    config: TrainConfig, buffer: ReplayBuffer, seen: _Batch, places: jax.Array
) -> ReplayBuffer:
    """Renew the priorities of what was replayed, then add what was freshly drawn."""
    settings = config.replay
    if settings is None:
        return buffer
    if settings.priority == "reward":
        priority = settings.exponent * seen.log_reward
    elif settings.priority == "loss":
        priority = settings.exponent * jnp.log(seen.loss + 1e-12)
    else:
        priority = jnp.zeros_like(seen.loss)
    fresh = config.batch_size - config.num_replayed - config.num_from_data
    again = slice(fresh, fresh + config.num_replayed)
    buffer = replays.set_priority(buffer, places, priority[again], seen.followed[again])
    part = (seen.index[:, :fresh], seen.value[:, :fresh])
    final = jax.tree.map(lambda leaf: leaf[:fresh], seen.final)
    return replays.add(buffer, *part, final, priority[:fresh])


def _norm(tree: Any) -> jax.Array:
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))


def conditions_at(parts: Parts, beta: jax.Array) -> jax.Array:
    """What the policy is told of inverse temperatures [B]: [B, 0 or 1]."""
    return condition_of(parts.config.temperature, beta)
