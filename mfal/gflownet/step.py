"""One training step: what to draw, the rollout, the loss, the gradient, the update.

All of it is pure and traced once. With a mesh of devices the part from rollout to gradient runs on
each device for its share of the trajectories, and only sums are exchanged.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from mfal.envs.types import Environment, State
from mfal.errors import MfalError
from mfal.gflownet import replay as replays
from mfal.gflownet.backward import backward_rollout
from mfal.gflownet.conditions import Conditions, Drawn, OwnLogZ, draw_conditions
from mfal.gflownet.config import Metrics, Params, TrainConfig, TrainState
from mfal.gflownet.exploration import exploration_at
from mfal.gflownet.gradient import autodiff_gradient, loss_and_weights, policy_gradient
from mfal.gflownet.losses import Balance, Loss
from mfal.gflownet.network import OwnPolicy
from mfal.gflownet.policy import Policy
from mfal.gflownet.replay import ReplayBuffer
from mfal.gflownet.rewards import LogReward
from mfal.gflownet.rollout import draw_noise, rollout
from mfal.gflownet.sums import Seen, Sums, over_devices, over_micro_batches
from mfal.gflownet.temperature import LogZ, condition_of
from mfal.gflownet.trajectories import Noise, Plan, Trajectories, aligned

__all__ = ["Parts", "rewards_of", "train_step"]


@dataclass(frozen=True)
class Parts:
    """What the compiled functions close over. Equal parts share what is compiled."""

    env: Environment
    policy: Policy | OwnPolicy
    log_z: LogZ | OwnLogZ
    log_reward: LogReward
    intermediate: LogReward | None
    config: TrainConfig
    loss: Loss
    optimiser: optax.GradientTransformation = field(repr=False)
    conditions: Conditions | None = None
    mesh: Mesh | None = None

    @property
    def starts_log_z(self) -> bool:
        """Whether log Z starts at the first batch's estimate."""
        return self.config.log_z_from_batch and self.loss.learns_log_z

    @property
    def keeps_activations(self) -> bool:
        """Whether the gradient is the hand-written one, which reads what the rollout kept."""
        return isinstance(self.policy, Policy) and not self.config.rematerialise


def train_step(parts: Parts, state: TrainState, reward_params: Any) -> tuple[TrainState, Metrics]:
    """One step: the next state and what to tell of it."""
    env, config = parts.env, parts.config
    key, key_noise, key_beta, key_replay, key_data = jax.random.split(state.key, 5)
    batch = config.batch_size
    noise = draw_noise(key_noise, env, batch, config.exploration.dithers)
    drawn = draw_conditions(config.temperature, parts.conditions, key_beta, batch)
    plan, places = _make_plan(parts, state, key_replay, key_data, drawn)

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
            in_specs=(one, one, one, Noise(later, all_), Drawn(all_, all_), plan_spec),
            out_specs=(one, one, Seen(all_, all_, all_, later, later, all_)),
            check_vma=False,
        )
    grads, row, seen = learn(state.params, reward_params, state.step, noise, drawn, plan)

    params = state.params
    if parts.starts_log_z:
        params = {**params, "log_z": parts.log_z.start(params["log_z"], state.step, row.log_z)}
    # Optax's own arithmetic mixes types, which a caller may have forbidden for all others.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        updates, opt_state = parts.optimiser.update(grads, state.opt_state, params)
        params = optax.apply_updates(params, updates)
    buffer = state.replay
    if buffer is not None and config.replay is not None:
        buffer = _remember(config, buffer, seen, places)
    if parts.loss.learns_log_z and parts.conditions is None:
        here = condition_of(config.temperature, jnp.ones((1,), jnp.float32))
        row = row._replace(log_z=parts.log_z(params["log_z"], here)[0])
    return TrainState(params, opt_state, key, state.step + 1, buffer, state.data), row


def rewards_of(parts: Parts, reward_params: Any, final: State, conditions: jax.Array) -> jax.Array:
    """Log-rewards of terminal states [B], [B] float32.

    Raises:
      MfalError: if the reward isn't one number.
    """

    def one(state: State, condition: jax.Array) -> jax.Array:
        if parts.conditions is None:
            found = parts.log_reward(reward_params, state)
        else:
            found = parts.log_reward(reward_params, state, condition)  # type: ignore[call-arg]
        found = jnp.asarray(found)
        real = jnp.issubdtype(found.dtype, jnp.floating) or jnp.issubdtype(found.dtype, jnp.integer)
        if found.shape != () or not real:
            raise MfalError(
                f"a log-reward of {found.dtype}{list(found.shape)}",
                "return one real number, an array of shape [], for one state",
            )
        return found.astype(jnp.float32)

    return jax.vmap(one)(final, conditions)


def _learn(
    parts: Parts,
    params: Params,
    reward_params: Any,
    step: jax.Array,
    noise: Noise,
    drawn: Drawn,
    plan: Plan | None,
) -> tuple[Params, Metrics, Seen]:
    """Gradients of a batch, or of this device's part of it with sums over all devices."""
    config = parts.config
    axis = None if parts.mesh is None else parts.mesh.axis_names[0]
    accumulate = partial(_accumulate, parts, params, reward_params, step)
    if config.micro_batches == 1:
        mine, seen = accumulate(noise, drawn, plan)
    else:
        mine, seen = over_micro_batches(config.micro_batches, accumulate, noise, drawn, plan)
    sums = over_devices(mine, axis)
    row = Metrics(
        loss=sums.loss,
        log_z=sums.estimate / jnp.maximum(sums.counted, 1),
        log_reward=sums.log_reward / jnp.maximum(sums.fresh, 1),
        best_log_reward=jnp.max(sums.best),
        length=sums.length / config.batch_size,
        grad_norm=_norm(sums.grads["policy"]),
        dropped=config.batch_size - sums.usable,
        zero=sums.zero,
        unended=sums.unended,
    )
    return sums.grads, row, seen


def _accumulate(
    parts: Parts,
    params: Params,
    reward_params: Any,
    step: jax.Array,
    noise: Noise,
    drawn: Drawn,
    plan: Plan | None,
) -> tuple[Sums, Seen]:
    """What some trajectories add to the sums over a batch, and what the buffer wants of them."""
    config, loss, beta = parts.config, parts.loss, drawn.beta
    axis = None if parts.mesh is None else parts.mesh.axis_names[0]
    intermediate = parts.intermediate
    trajectories = rollout(
        parts.env,
        parts.policy,
        params["policy"],
        noise,
        exploration=exploration_at(config.exploration, step),
        plan=plan,
        conditions=drawn.conditions,
        uniform_backward=config.policy.backward == "uniform",
        intermediate=None if intermediate is None else partial(intermediate, reward_params),
        keep="all" if parts.keeps_activations else "inputs",
    )
    raw = rewards_of(parts, reward_params, trajectories.final, drawn.conditions)
    # A reward that isn't a number must not reach the others of its batch.
    counted = usable = jnp.isfinite(raw)
    log_reward = jnp.where(counted, raw, 0.0)

    def log_z_of(log_z_params: Any) -> jax.Array:
        return parts.log_z(log_z_params, drawn.conditions)

    log_z, pull_log_z = jax.vjp(log_z_of, params["log_z"])
    balance = Balance(
        log_pf=trajectories.log_pf,
        log_pb=trajectories.log_pb,
        log_flow=trajectories.log_flow,
        log_z=log_z,
        log_reward=beta * log_reward,
        energy=None if intermediate is None else beta * trajectories.energy,
        length=trajectories.length,
        counted=counted,
        final=trajectories.final,
    )
    estimate = balance.log_reward + jnp.sum(balance.log_pb, 0) - jnp.sum(balance.log_pf, 0)
    if parts.starts_log_z:

        def first() -> jax.Array:
            mine = (jnp.sum(jnp.where(counted, estimate, 0.0)), jnp.sum(counted))
            total, count = over_devices(mine, axis)
            return total / jnp.maximum(count, 1)

        # Devices wait for each other here, so only where there is something to learn from it.
        start = lax.cond(step == 0, first, lambda: jnp.float32(0))
        balance = balance._replace(log_z=log_z + start)
    if config.zero_reward_gap is not None:
        zero = raw == -jnp.inf
        usable = counted | zero
        held = lax.stop_gradient(balance.log_z)
        balance = balance._replace(
            log_reward=jnp.where(zero, held - config.zero_reward_gap, balance.log_reward),
            log_z=jnp.where(zero, held, balance.log_z),
            zero=zero,
        )

    def per_trajectory(b: Balance) -> jax.Array:
        return jnp.where(usable, loss.per_trajectory(b), 0.0)

    value, weights, by_log_z = loss_and_weights(per_trajectory, balance, config.batch_size)
    if parts.starts_log_z and loss.name == "tb" and drawn.conditions.shape[1] == 0:
        # The batch's mean is where this derivative vanishes: what is left of it is rounding, which
        # depends on the number of devices and which Adam would make a step of full size.
        by_log_z = jnp.where(step == 0, 0.0, by_log_z)
    gradient: Any = policy_gradient if parts.keeps_activations else autodiff_gradient
    grads = {
        "policy": gradient(parts.policy, params["policy"], trajectories, weights),
        "log_z": pull_log_z(by_log_z)[0],
    }
    fresh = counted if plan is None else counted & ~plan.follow
    devices = 1 if parts.mesh is None else parts.mesh.size
    place = 0 if axis is None else lax.axis_index(axis)
    best = jnp.max(jnp.where(counted, log_reward, -jnp.inf))
    mine = Sums(
        grads=grads,
        loss=value,
        estimate=jnp.sum(jnp.where(counted, estimate, 0.0)),
        counted=jnp.sum(counted),
        usable=jnp.sum(usable),
        zero=jnp.sum(raw == -jnp.inf),
        unended=jnp.sum(_unended(parts.env, trajectories)),
        log_reward=jnp.sum(jnp.where(fresh, log_reward, 0.0)),
        fresh=jnp.sum(fresh),
        length=jnp.sum(trajectories.length),
        best=jnp.zeros((devices,), jnp.float32).at[place].set(best),
    )
    seen = Seen(
        log_reward=jnp.where(counted, log_reward, -1e9),
        loss=jnp.where(usable, lax.stop_gradient(loss.per_trajectory(balance)), 0.0),
        followed=jnp.zeros(raw.shape, bool) if plan is None else plan.follow,
        index=aligned(trajectories.rows.index, trajectories.column),
        value=aligned(trajectories.rows.value, trajectories.column),
        final=trajectories.final,
    )
    return mine, seen


def _unended(env: Environment, trajectories: Trajectories) -> jax.Array:
    """Which trajectories stand where no trajectory should end, or had no action to take, [B]."""
    stuck = jnp.any(jnp.isposinf(trajectories.log_pf), axis=0)
    return stuck | ~jax.vmap(env.is_terminal)(trajectories.final)


def _make_plan(
    parts: Parts, state: TrainState, key_replay: jax.Array, key_data: jax.Array, drawn: Drawn
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
        conditions = drawn.conditions[-from_data:]
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
    config: TrainConfig, buffer: ReplayBuffer, seen: Seen, places: jax.Array
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
