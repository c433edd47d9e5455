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

On several devices, give a mesh: `make_trainer(..., mesh=jax.make_mesh((8,), ("batch",)))`. The
random numbers of a batch don't depend on how it is spread, so neither does the result, but for the
order of sums. On several hosts, call `jax.distributed.initialize()` in each process before anything
else, make the mesh over all of `jax.devices()`, and run the same script with the same seed.
"""

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
from mfal.gflownet.config import DataSet, Metrics, Params, Samples, TrainConfig, TrainState
from mfal.gflownet.losses import make_loss
from mfal.gflownet.policy import Policy, make_policy
from mfal.gflownet.progress import bar_on_terminal
from mfal.gflownet.rewards import LogReward
from mfal.gflownet.rollout import draw_noise, rollout
from mfal.gflownet.step import Parts, conditions_at, train_step
from mfal.gflownet.temperature import LogZ

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
    """(state, reward_params, key, num, beta=1.0) to samples."""
    policy: Policy
    env: Environment
    config: TrainConfig
    log_z: Callable[..., jax.Array]
    """(params, beta=1.0) to log Z, [] float32."""


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
    if mesh is not None:
        # Whatever kind of axes was made: here the compiler places what lies outside `shard_map`.
        mesh = Mesh(mesh.devices, mesh.axis_names)
    conditional = config.temperature is not None
    policy = make_policy(
        env, config.policy, flow=loss.needs_flow, conditions=1 if conditional else 0
    )
    parts = Parts(
        env=env,
        policy=policy,
        log_z=LogZ(conditional),
        log_reward=log_reward,
        intermediate=intermediate,
        config=config,
        optimiser=_make_optimiser(config),
        mesh=mesh,
    )
    # The same on all devices, before and after: where the compiler is free to choose, what comes
    # out of the first dispatch may lie otherwise than what went in, and is another compilation.
    everywhere = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    dispatch = jax.jit(partial(_dispatch, parts), donate_argnums=0, out_shardings=everywhere)
    spread = jax.jit(lambda state: state, out_shardings=everywhere)
    sample = jax.jit(partial(_sample, parts), static_argnames="num")

    def run(
        state: TrainState,
        reward_params: Any,
        num_steps: int,
        callback: Callable[[int, Metrics], None] | None = None,
        *,
        bar: bool = True,
    ) -> tuple[TrainState, Metrics]:
        if config.num_from_data and state.data is None:
            raise MfalError("data_share without data", "give init a DataSet, or set the share to 0")
        reward_params = _strong(reward_params)
        if mesh is not None and any(x.sharding != everywhere for x in jax.tree.leaves(state)):
            state = spread(state)
        stacked: list[Metrics] = []
        done = told = 0
        with ExitStack() as stack:
            if callback is None and bar and num_steps > config.steps_per_dispatch:
                callback = stack.enter_context(bar_on_terminal(num_steps, config.batch_size))
            while done < num_steps:
                count = min(config.steps_per_dispatch, num_steps - done)
                # A NumPy integer would be another type, and another compilation.
                state, metrics = dispatch(state, reward_params, jnp.int32(count))
                if callback is not None and stacked:
                    # Told one dispatch late: the device works on while the host reads.
                    told += len(stacked[-1].loss)
                    callback(told, stacked[-1])
                stacked.append(jax.tree.map(lambda leaf: leaf[:count], metrics))  # noqa: B023
                done += count
            if callback is not None and stacked:
                callback(done, stacked[-1])
        if not stacked:
            empty = jnp.zeros((0,), jnp.float32)
            return state, Metrics(*([empty] * len(Metrics._fields)))
        return state, jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *stacked)

    def log_z(params: Params, beta: float = 1.0) -> jax.Array:
        return parts.log_z(params["log_z"], conditions_at(parts, jnp.full((1,), beta)))[0]

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


def _make_optimiser(config: TrainConfig) -> optax.GradientTransformation:
    network = optax.adam(config.learning_rate)
    if config.clip_norm is not None:
        network = optax.chain(optax.clip_by_global_norm(config.clip_norm), network)
    return optax.multi_transform(
        {"policy": network, "log_z": optax.adam(config.log_z_learning_rate)},
        {"policy": "policy", "log_z": "log_z"},
    )


def _init(parts: Parts, key: jax.Array, data: DataSet | None = None) -> TrainState:
    key_policy, key_log_z, key = jax.random.split(key, 3)
    env, config = parts.env, parts.config
    features = env.features(env.initial_state())
    conditions = conditions_at(parts, jnp.ones((1,)))[0]
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


def _sample(
    parts: Parts, params: Params, reward_params: Any, key: jax.Array, beta: jax.Array, *, num: int
) -> Samples:
    trajectories = rollout(
        parts.env,
        parts.policy,
        params["policy"],
        draw_noise(key, parts.env, num),
        conditions=conditions_at(parts, jnp.full((num,), beta)),
        uniform_backward=parts.config.policy.backward == "uniform",
    )
    log_reward = jax.vmap(parts.log_reward, in_axes=(None, 0))(reward_params, trajectories.final)
    return Samples(
        states=trajectories.final,
        log_pf=jnp.sum(trajectories.log_pf, axis=0),
        log_pb=jnp.sum(trajectories.log_pb, axis=0),
        log_reward=log_reward,
        length=trajectories.length,
    )
