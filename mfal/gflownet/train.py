"""The trainer: rollout, loss, gradient and update as one compiled function.

    trainer = make_trainer(env, log_reward, TrainConfig())
    state = trainer.init(jax.random.key(0))
    state, metrics = trainer.run(state, reward_params, num_steps=1000)
    samples = trainer.sample(state, reward_params, jax.random.key(1), 256)

The reward's parameters are an argument of `run`: a new proxy costs no compilation. Many steps run
per dispatch, the state is donated, and nothing waits for the host.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from mfal.envs.types import Environment, State
from mfal.errors import MfalError
from mfal.gflownet import replay as replays
from mfal.gflownet.exploration import ExplorationConfig, exploration_at
from mfal.gflownet.gradient import loss_and_weights, policy_gradient
from mfal.gflownet.losses import Balance, make_loss
from mfal.gflownet.policy import Policy, PolicyConfig, make_policy
from mfal.gflownet.replay import ReplayBuffer, ReplayConfig
from mfal.gflownet.rewards import LogReward
from mfal.gflownet.rollout import Noise, Plan, Trajectories, backward_rollout, draw_noise, rollout
from mfal.gflownet.temperature import LogZ, TemperatureConfig, condition_of, draw_beta

__all__ = ["DataSet", "Metrics", "Samples", "TrainConfig", "TrainState", "Trainer", "make_trainer"]

Params = dict[str, Any]


@dataclass(frozen=True)
class TrainConfig:
    """All that is fixed when a trainer is compiled."""

    batch_size: int = 64
    """Trajectories a step."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    """Network."""
    loss: str = "tb"
    """tb, vargrad, db or subtb."""
    subtb_lambda: float = 0.9
    """Weight ratio of a sub-trajectory to one that is a step shorter."""
    learning_rate: float = 1e-3
    """Of the network, Adam."""
    log_z_learning_rate: float = 0.1
    """Of log Z, Adam."""
    log_z_from_batch: bool = True
    """Start log Z at the first batch's estimate instead of at zero."""
    clip_norm: float | None = None
    """Largest norm of the network's gradient."""
    exploration: ExplorationConfig = field(default_factory=ExplorationConfig)
    """Behaviour while training."""
    replay: ReplayConfig | None = None
    """Replay buffer, or none."""
    data_share: float = 0.0
    """Share of each batch that leads to terminal states of a data set, drawn backward."""
    temperature: TemperatureConfig | None = None
    """Train for a range of inverse temperatures at once, the policy being told which."""
    steps_per_dispatch: int = 50
    """Training steps of one compiled call."""

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.steps_per_dispatch < 1:
            raise MfalError(
                f"batch_size {self.batch_size}, steps_per_dispatch {self.steps_per_dispatch}",
                "give positive numbers",
            )
        if not 0 <= self.data_share <= 1:
            raise MfalError(f"data_share {self.data_share}", "give a share from 0 to 1")
        if self.num_replayed + self.num_from_data > self.batch_size:
            raise MfalError("shares of replay and data exceed the batch", "lower one of them")

    @property
    def num_replayed(self) -> int:
        """Trajectories of a batch that are replayed."""
        return round(self.batch_size * self.replay.share) if self.replay else 0

    @property
    def num_from_data(self) -> int:
        """Trajectories of a batch that lead to states of the data set."""
        return round(self.batch_size * self.data_share)


class DataSet(NamedTuple):
    """Terminal states to train on."""

    states: State
    """[N] terminal states."""
    weight: jax.Array
    """[N] float32, drawn in proportion; 0 for padding."""


class TrainState(NamedTuple):
    """All that evolves: enough to go on bit for bit."""

    params: Params
    """"policy": of the network; "log_z": of log Z."""
    opt_state: Any
    key: jax.Array
    step: jax.Array
    """[] int32, training steps done."""
    replay: ReplayBuffer | None
    data: DataSet | None


class Metrics(NamedTuple):
    """What a training step tells; `run` stacks them, [num_steps] each."""

    loss: jax.Array
    log_z: jax.Array
    """Learned, or the batch's estimate where the loss learns none; at beta = 1 if conditional."""
    log_reward: jax.Array
    """Mean over the freshly drawn trajectories."""
    best_log_reward: jax.Array
    length: jax.Array
    """Mean number of actions."""
    grad_norm: jax.Array
    dropped: jax.Array
    """Trajectories left out because their reward was not finite."""


class Samples(NamedTuple):
    """Independent draws from the policy, without exploration."""

    states: State
    """[B] terminal states."""
    log_pf: jax.Array
    """[B] float32, of the trajectory that led there."""
    log_pb: jax.Array
    """[B] float32, of the same trajectory backward."""
    log_reward: jax.Array
    """[B] float32, at beta = 1."""
    length: jax.Array
    """[B] int32."""


class Trainer(NamedTuple):
    """A trainer as a value."""

    init: Callable[..., TrainState]
    """(key, data=None) to a fresh state; `data` is a `DataSet` or None."""
    run: Callable[..., tuple[TrainState, Metrics]]
    """(state, reward_params, num_steps, callback=None) to the later state and the metrics. The
    given state is donated: don't use it again. The callback, if any, is called as
    callback(done, metrics_of_dispatch) after each dispatch, and makes the host wait."""
    sample: Callable[..., Samples]
    """(state, reward_params, key, num, beta=1.0) to samples."""
    policy: Policy
    env: Environment
    config: TrainConfig
    log_z: Callable[..., jax.Array]
    """(params, beta=1.0) to log Z, [] float32."""


@dataclass(frozen=True)
class _Parts:
    """What the compiled functions close over."""

    env: Environment
    policy: Policy
    log_z: LogZ
    log_reward: LogReward
    intermediate: LogReward | None
    config: TrainConfig
    optimiser: optax.GradientTransformation = field(repr=False)
    mesh: Mesh | None = None


def make_trainer(
    env: Environment,
    log_reward: LogReward,
    config: TrainConfig | None = None,
    *,
    intermediate: LogReward | None = None,
    mesh: Mesh | None = None,
) -> Trainer:
    """A trainer for an environment and a reward.

    Args:
      env: any environment under the contract.
      log_reward: `(reward_params, terminal_state) -> []`, traceable, without batch axis.
      config: what is fixed at compilation.
      intermediate: the same for states on the way, the log-reward already earned; given, the loss
        is the forward-looking one (db and subtb only).
      mesh: one-dimensional mesh of devices that the batch is spread over.

    Raises:
      MfalError: if the options don't fit together.
    """
    config = config or TrainConfig()
    axis = None if mesh is None else mesh.axis_names[0]
    loss = make_loss(config.loss, subtb_lambda=config.subtb_lambda, axis_name=axis)
    if intermediate is not None and not loss.needs_flow:
        raise MfalError(
            f"loss {config.loss!r} has no forward-looking form", "choose db or subtb instead"
        )
    if mesh is not None and config.batch_size % mesh.size:
        raise MfalError(
            f"batch of {config.batch_size} on {mesh.size} devices",
            f"make batch_size a multiple of {mesh.size}",
        )
    conditional = config.temperature is not None
    policy = make_policy(
        env, config.policy, flow=loss.needs_flow, conditions=1 if conditional else 0
    )
    parts = _Parts(
        env=env,
        policy=policy,
        log_z=LogZ(conditional),
        log_reward=log_reward,
        intermediate=intermediate,
        config=config,
        optimiser=_make_optimiser(config),
        mesh=mesh,
    )
    dispatch = jax.jit(partial(_dispatch, parts), donate_argnums=0)
    sample = jax.jit(partial(_sample, parts), static_argnames="num")

    def run(
        state: TrainState,
        reward_params: Any,
        num_steps: int,
        callback: Callable[[int, Metrics], None] | None = None,
    ) -> tuple[TrainState, Metrics]:
        if config.num_from_data and state.data is None:
            raise MfalError("data_share without data", "give init a DataSet, or set the share to 0")
        reward_params = _strong(reward_params)
        stacked, done = [], 0
        while done < num_steps:
            count = min(config.steps_per_dispatch, num_steps - done)
            # A NumPy integer would be another type, and another compilation.
            state, metrics = dispatch(state, reward_params, jnp.int32(count))
            metrics = jax.tree.map(lambda leaf: leaf[:count], metrics)  # noqa: B023
            stacked.append(metrics)
            done += count
            if callback is not None:
                callback(done, metrics)
        if not stacked:
            empty = jnp.zeros((0,), jnp.float32)
            return state, Metrics(*([empty] * len(Metrics._fields)))
        return state, jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *stacked)

    def log_z(params: Params, beta: float = 1.0) -> jax.Array:
        return parts.log_z(params["log_z"], _conditions(parts, jnp.full((1,), beta)))[0]

    return Trainer(
        init=partial(_init, parts),
        run=run,
        sample=lambda state, reward_params, key, num, beta=1.0: sample(
            state.params, _strong(reward_params), key, jnp.float32(beta), num=num
        ),
        policy=policy,
        env=env,
        config=config,
        log_z=log_z,
    )


def _strong(params: Any) -> Any:
    """Arrays of definite type: Python numbers are weakly typed, which would compile anew."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.asarray(x).dtype), params)


def _norm(tree: Any) -> jax.Array:
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))


def _make_optimiser(config: TrainConfig) -> optax.GradientTransformation:
    network = optax.adam(config.learning_rate)
    if config.clip_norm is not None:
        network = optax.chain(optax.clip_by_global_norm(config.clip_norm), network)
    return optax.multi_transform(
        {"policy": network, "log_z": optax.adam(config.log_z_learning_rate)},
        {"policy": "policy", "log_z": "log_z"},
    )


def _init(parts: _Parts, key: jax.Array, data: DataSet | None = None) -> TrainState:
    key_policy, key_log_z, key = jax.random.split(key, 3)
    env, config = parts.env, parts.config
    features = env.features(env.initial_state())
    conditions = _conditions(parts, jnp.ones((1,)))[0]
    features = features._replace(dense=jnp.concatenate([features.dense, conditions]))
    params = {
        "policy": parts.policy.init(key_policy, features)["params"],
        "log_z": parts.log_z.init(key_log_z),
    }
    buffer = None
    if config.replay is not None:
        buffer = replays.empty_buffer(env, config.replay.capacity)
    return TrainState(
        params=params,
        opt_state=parts.optimiser.init(params),
        key=key,
        step=jnp.zeros((), jnp.int32),
        replay=buffer,
        data=data,
    )


def _dispatch(
    parts: _Parts, state: TrainState, reward_params: Any, count: jax.Array
) -> tuple[TrainState, Metrics]:
    """`count` training steps, up to `steps_per_dispatch`; metrics beyond the count are zero."""
    blank = jnp.zeros((parts.config.steps_per_dispatch,), jnp.float32)
    metrics = Metrics(*([blank] * len(Metrics._fields)))

    def body(number: jax.Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
        state, metrics = carry
        state, row = _train_step(parts, state, reward_params)
        return state, jax.tree.map(lambda all_, one: all_.at[number].set(one), metrics, row)

    return lax.fori_loop(0, count, body, (state, metrics))


def _train_step(parts: _Parts, state: TrainState, reward_params: Any) -> tuple[TrainState, Metrics]:
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
            log_z=parts.log_z(params["log_z"], _conditions(parts, jnp.ones((1,))))[0]
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


def _learn(
    parts: _Parts,
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

    def total(x: jax.Array) -> jax.Array:
        return x if axis is None else lax.psum(x, axis)

    loss = make_loss(config.loss, subtb_lambda=config.subtb_lambda, axis_name=axis)
    conditions = _conditions(parts, beta)
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
        first = total(jnp.sum(jnp.where(usable, estimate, 0.0)))
        first = first / jnp.maximum(total(jnp.sum(usable)), 1)
        balance = balance._replace(log_z=log_z + jnp.where(step == 0, first, 0.0))

    def per_trajectory(b: Balance) -> jax.Array:
        # A reward that isn't a number must not reach the others of its batch.
        return jnp.where(usable, loss.per_trajectory(b), 0.0)

    value, weights, by_log_z = loss_and_weights(per_trajectory, balance, batch)
    grads = {
        "policy": policy_gradient(parts.policy, params["policy"], trajectories, weights),
        "log_z": pull_log_z(by_log_z)[0],
    }
    grads = jax.tree.map(total, grads)

    fresh = usable if plan is None else usable & ~plan.follow
    fresh_count = jnp.maximum(total(jnp.sum(fresh)), 1)
    best = jnp.max(jnp.where(usable, log_reward, -jnp.inf))
    row = Metrics(
        loss=total(value),
        log_z=total(jnp.sum(jnp.where(usable, estimate, 0.0)))
        / jnp.maximum(total(jnp.sum(usable)), 1),
        log_reward=total(jnp.sum(jnp.where(fresh, log_reward, 0.0))) / fresh_count,
        best_log_reward=best if axis is None else lax.pmax(best, axis),
        length=total(jnp.sum(trajectories.length)) / batch,
        grad_norm=_norm(grads["policy"]),
        dropped=total(jnp.sum(~usable)).astype(jnp.float32),
    )
    seen = _Batch(
        log_reward=jnp.where(usable, log_reward, -1e9),
        loss=jnp.where(usable, lax.stop_gradient(loss.per_trajectory(balance)), 0.0),
        followed=jnp.zeros(raw.shape, bool) if plan is None else plan.follow,
        index=trajectories.rows.index,
        value=trajectories.rows.value,
        final=trajectories.final,
    )
    return grads, row, seen


def _make_plan(
    parts: _Parts, state: TrainState, key_replay: jax.Array, key_data: jax.Array, beta: jax.Array
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
        conditions = _conditions(parts, beta[-from_data:])
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


def _sample(
    parts: _Parts, params: Params, reward_params: Any, key: jax.Array, beta: jax.Array, *, num: int
) -> Samples:
    trajectories = draw_trajectories(parts, params, key, beta, num)
    log_reward = jax.vmap(parts.log_reward, in_axes=(None, 0))(reward_params, trajectories.final)
    return Samples(
        states=trajectories.final,
        log_pf=jnp.sum(trajectories.log_pf, axis=0),
        log_pb=jnp.sum(trajectories.log_pb, axis=0),
        log_reward=log_reward,
        length=trajectories.length,
    )


def draw_trajectories(
    parts: _Parts, params: Params, key: jax.Array, beta: jax.Array, num: int
) -> Trajectories:
    """Trajectories of the policy itself."""
    return rollout(
        parts.env,
        parts.policy,
        params["policy"],
        draw_noise(key, parts.env, num),
        conditions=_conditions(parts, jnp.full((num,), beta)),
        uniform_backward=parts.config.policy.backward == "uniform",
    )


def _conditions(parts: _Parts, beta: jax.Array) -> jax.Array:
    return condition_of(parts.config.temperature, beta)
