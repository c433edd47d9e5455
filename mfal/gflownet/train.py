"""The trainer: rollout, loss, gradient and update as one compiled function.

    trainer = make_trainer(env, log_reward, TrainConfig())
    state = trainer.init(jax.random.key(0))
    state, metrics = trainer.run(state, reward_params, num_steps=1000)
    samples = trainer.sample(state, reward_params, jax.random.key(1), 256)

`run` shows a progress bar on a terminal. `mfal.gflownet.runner.run_in_folder` does so, too, writes
every step's metrics as JSON lines, saves checkpoints and goes on after a kill. Beside them: `exact`
and `estimates` measure the result, `checkpoint` saves and resumes, `progress` shows and logs,
`rewards` composes transforms of rewards.

The reward's parameters are an argument of `run`: a new proxy costs no compilation. Many steps run
per dispatch, the state is donated, and nothing waits for the host.

Loss, network, optimiser and conditions can be one's own: see `make_trainer`. To train with several
seeds at once, map over keys; nothing is shown then, and nothing is checked on the way:

    def one(key):
        return trainer.run(trainer.init(key), reward_params, 1000, bar=False)

    states, metrics = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 8))

On several devices, give a mesh: `make_trainer(..., mesh=jax.make_mesh((8,), ("batch",)))`. The
random numbers of a batch don't depend on how it is spread, so neither does the result, but for the
order of sums. On several hosts, call `jax.distributed.initialize()` in each process before anything
else, make the mesh over all of `jax.devices()`, and run the same script with the same seed.
"""

import functools
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mfal.envs.types import Environment
from mfal.errors import MfalError
from mfal.gflownet import replay as replays
from mfal.gflownet.conditions import Conditions, make_log_z, num_conditions
from mfal.gflownet.config import DataSet, Metrics, Params, Samples, TrainConfig, TrainState
from mfal.gflownet.faults import refuse_faults
from mfal.gflownet.losses import Balance, Loss, as_loss, make_loss
from mfal.gflownet.network import OwnPolicy, make_own_policy
from mfal.gflownet.policy import Policy, make_policy
from mfal.gflownet.progress import bar_on_terminal
from mfal.gflownet.rewards import LogReward
from mfal.gflownet.sample import sample, strong, told_of
from mfal.gflownet.step import Parts, rewards_of, train_step

__all__ = ["DataSet", "Metrics", "Samples", "TrainConfig", "TrainState", "Trainer", "make_trainer"]


class Trainer(NamedTuple):
    """A trainer as a value."""

    init: Callable[..., TrainState]
    """(key, data=None) to a fresh state; `data` is a `DataSet` or None."""
    run: Callable[..., tuple[TrainState, Metrics]]
    """(state, reward_params, num_steps, callback=None, bar=True) to the later state and metrics.
    The given state is donated: don't use it again. The callback, if any, is called as
    callback(done, metrics_of_dispatch) for each dispatch, while the next one runs. Without one, a
    progress bar is shown where standard error is a terminal, unless `bar` is False."""
    sample: Callable[..., Samples]
    """(state, reward_params, key, num, beta=1.0, condition=None, chunk=None) to samples. A
    condition is one such as `Conditions.draw` gives; `chunk` is how many are drawn at a time, so
    that memory doesn't grow with `num` (other random numbers than without). With a mesh, devices
    share the work."""
    policy: Policy | OwnPolicy
    env: Environment
    config: TrainConfig
    log_z: Callable[..., jax.Array]
    """(params, beta=1.0, condition=None) to log Z, [] float32."""
    parts: Parts
    """What the compiled functions close over."""


def make_trainer(
    env: Environment,
    log_reward: LogReward,
    config: TrainConfig | None = None,
    *,
    intermediate: LogReward | None = None,
    loss: Loss | Callable[[Balance], jax.Array] | None = None,
    network: Any = None,
    optimiser: optax.GradientTransformation | None = None,
    conditions: Conditions | None = None,
    reward_params: Any = None,
    mesh: Mesh | None = None,
) -> Trainer:
    """A trainer for an environment and a reward.

    The same arguments give a trainer that shares what is compiled.

    Args:
      env: any environment under the contract.
      log_reward: `(reward_params, terminal_state) -> []`, traceable, without batch axis; with
        conditions of one's own `(reward_params, terminal_state, condition) -> []`.
      config: what is fixed at compilation.
      intermediate: the same for states on the way, the log-reward already earned; given, the loss
        is the forward-looking one (db and subtb only).
      loss: a loss of one's own in place of `TrainConfig.loss`: a function of a
        `mfal.gflownet.losses.Balance` to [B], or a `Loss`, which also says what it needs.
      network: a network of one's own in place of the default: a Flax module from the observation
        to logits, or a `mfal.gflownet.network.Network`. It is differentiated automatically.
      optimiser: of the network, in place of Adam at `TrainConfig.learning_rate` and `clip_norm`:
        any optax transformation, with a schedule of its own if it likes. log Z keeps its Adam.
      conditions: what the policy is told of one of a family of rewards, drawn for each trajectory.
      reward_params: such as `run` will be given; given here, too, the reward is tried at once.
      mesh: one-dimensional mesh of devices that the batch is spread over.

    Raises:
      MfalError: if the options don't fit together.
    """
    config = config or TrainConfig()
    axis = None if mesh is None else mesh.axis_names[0]
    named = make_loss(config.loss, subtb_lambda=config.subtb_lambda, axis_name=axis)
    chosen = named if loss is None else as_loss(loss)
    if intermediate is not None and not chosen.needs_flow:
        raise MfalError(
            f"loss {chosen.name!r} has no forward-looking form", "choose db or subtb instead"
        )
    if mesh is not None and config.batch_size % (mesh.size * config.micro_batches):
        raise MfalError(
            f"batch of {config.batch_size} on {mesh.size} devices in {config.micro_batches} parts",
            f"make batch_size a multiple of {mesh.size * config.micro_batches}",
        )
    if mesh is not None:
        # Whatever kind of axes was made: here the compiler places what lies outside `shard_map`.
        mesh = Mesh(mesh.devices, mesh.axis_names)
    told = num_conditions(config.temperature, conditions)
    needs_flow = chosen.needs_flow
    policy = (
        make_policy(env, config.policy, flow=needs_flow, conditions=told)
        if network is None
        else make_own_policy(env, network, config.policy, flow=needs_flow, conditions=told)
    )
    log_z = make_log_z(config.temperature, conditions)
    parts = Parts(
        env=env,
        policy=policy,
        log_z=log_z,
        log_reward=log_reward,
        intermediate=intermediate,
        config=config,
        loss=chosen,
        optimiser=_make_optimiser(
            optimiser or _adam(config.learning_rate, config.clip_norm),
            _adam(config.log_z_learning_rate, None),
            conditions is not None,
        ),
        conditions=conditions,
        mesh=mesh,
    )
    if reward_params is not None:
        final = jax.tree.map(lambda leaf: leaf[None], env.initial_state())
        told_one = jnp.zeros((1, told), jnp.float32)
        jax.eval_shape(partial(rewards_of, parts), reward_params, final, told_one)
    return Trainer(
        init=partial(_init, parts),
        run=partial(_run, parts),
        sample=partial(sample, parts),
        policy=policy,
        env=env,
        config=config,
        log_z=partial(_log_z, parts),
        parts=parts,
    )


class _Compiled(NamedTuple):
    dispatch: Callable[..., tuple[TrainState, Metrics]]
    spread: Callable[[TrainState], TrainState]


@functools.lru_cache(maxsize=16)
def _compiled(parts: Parts) -> _Compiled:
    """Compiled functions of a trainer; equal ones share them."""
    # The same on all devices, before and after: where the compiler is free to choose, what comes
    # out of the first dispatch may lie otherwise than what went in, and is another compilation.
    everywhere = None if parts.mesh is None else NamedSharding(parts.mesh, PartitionSpec())
    return _Compiled(
        jax.jit(partial(_dispatch, parts), donate_argnums=0, out_shardings=everywhere),
        jax.jit(lambda state: state, out_shardings=everywhere),
    )


def _run(
    parts: Parts,
    state: TrainState,
    reward_params: Any,
    num_steps: int,
    callback: Callable[[int, Metrics], None] | None = None,
    *,
    bar: bool = True,
) -> tuple[TrainState, Metrics]:
    config, mesh = parts.config, parts.mesh
    if config.num_from_data and state.data is None:
        raise MfalError("data_share without data", "give init a DataSet, or set the share to 0")
    reward_params = strong(reward_params)
    compiled = _compiled(parts)
    # Within another compiled function nothing can be looked at.
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(state))
    if mesh is not None and not traced:
        everywhere = NamedSharding(mesh, PartitionSpec())
        if any(leaf.sharding != everywhere for leaf in jax.tree.leaves(state)):
            state = compiled.spread(state)
    stacked: list[Metrics] = []
    done = told = 0

    def tell(metrics: Metrics) -> None:
        """Told one dispatch late: the device works on while the host reads."""
        nonlocal told
        if not traced:
            refuse_faults(parts, metrics, told)
        told += len(metrics.loss)
        if callback is not None:
            callback(told, metrics)

    with ExitStack() as stack:
        if callback is None and bar and not traced and num_steps > config.steps_per_dispatch:
            callback = stack.enter_context(bar_on_terminal(num_steps, config.batch_size))
        while done < num_steps:
            count = min(config.steps_per_dispatch, num_steps - done)
            # A NumPy integer would be another type, and another compilation.
            state, metrics = compiled.dispatch(state, reward_params, jnp.int32(count))
            if stacked:
                tell(stacked[-1])
            stacked.append(jax.tree.map(lambda leaf: leaf[:count], metrics))  # noqa: B023
            done += count
        if stacked:
            tell(stacked[-1])
    if not stacked:
        empty = jnp.zeros((0,), jnp.float32)
        return state, Metrics(*([empty] * len(Metrics._fields)))
    return state, jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *stacked)


def _log_z(
    parts: Parts, params: Params, beta: float | jax.Array = 1.0, condition: Any = None
) -> jax.Array:
    if not parts.loss.learns_log_z:
        raise MfalError(
            f"loss {parts.loss.name!r} learns no log Z",
            "take the last of metrics.log_z, or mfal.gflownet.estimates.measure_quality",
        )
    told = told_of(parts, beta, condition, 1)
    return parts.log_z(params["log_z"], told)[0]


@functools.cache
def _adam(learning_rate: float, clip_norm: float | None) -> optax.GradientTransformation:
    network = optax.adam(learning_rate)
    if clip_norm is not None:
        network = optax.chain(optax.clip_by_global_norm(clip_norm), network)
    return network


@functools.lru_cache(maxsize=64)
def _make_optimiser(
    network: optax.GradientTransformation, number: optax.GradientTransformation, own: bool
) -> optax.GradientTransformation:
    """The network's optimiser, and log Z's. Its own network, if any, learns as the policy does."""
    labels = {"constant": "log_z", "network": "policy"} if own else "log_z"
    return optax.multi_transform(
        {"policy": network, "log_z": number}, {"policy": "policy", "log_z": labels}
    )


def _init(parts: Parts, key: jax.Array, data: DataSet | None = None) -> TrainState:
    key_policy, key_log_z, key = jax.random.split(key, 3)
    env, config = parts.env, parts.config
    features = env.features(env.initial_state())
    told = jnp.zeros((num_conditions(config.temperature, parts.conditions),), jnp.float32)
    features = features._replace(dense=jnp.concatenate([features.dense, told]))
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
        # A copy, since `run` donates the state: what was given serves the next trainer, too.
        data=jax.tree.map(jnp.array, data),
    )


def _dispatch(
    parts: Parts, state: TrainState, reward_params: Any, count: jax.Array
) -> tuple[TrainState, Metrics]:
    """`count` training steps, up to `steps_per_dispatch`; metrics beyond the count are zero."""
    blank = jnp.zeros((parts.config.steps_per_dispatch,), jnp.float32)
    metrics = Metrics(*([blank] * len(Metrics._fields)))

    def body(number: jax.Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
        state, metrics = carry
        state, row = train_step(parts, state, reward_params)
        return state, jax.tree.map(lambda all_, one: all_.at[number].set(one), metrics, row)

    return lax.fori_loop(0, count, body, (state, metrics))
