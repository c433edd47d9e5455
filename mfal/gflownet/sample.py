"""Samples of a trained policy: all at once, in chunks, or spread over devices."""

import functools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from mfal.errors import MfalError
from mfal.gflownet.conditions import num_conditions
from mfal.gflownet.config import Params, Samples, TrainState
from mfal.gflownet.rollout import draw_noise, rollout
from mfal.gflownet.step import Parts, rewards_of
from mfal.gflownet.temperature import condition_of
from mfal.gflownet.trajectories import Noise

__all__ = ["sample", "strong", "told_of"]


def sample(
    parts: Parts,
    state: TrainState,
    reward_params: Any,
    key: jax.Array,
    num: int,
    beta: float | jax.Array = 1.0,
    condition: Any = None,
    chunk: int | None = None,
) -> Samples:
    """See `mfal.gflownet.train.Trainer.sample`."""
    if num < 1 or (chunk is not None and chunk < 1):
        raise MfalError(f"{num} samples in chunks of {chunk}", "give positive numbers")
    told = told_of(parts, beta, condition, 1)[0]
    draw = _compiled(parts, num, None if chunk is None or chunk >= num else chunk)
    return draw(state.params, strong(reward_params), key, told)


def told_of(parts: Parts, beta: float | jax.Array, condition: Any, num: int) -> jax.Array:
    """What the policy is told, [num, C]: of an inverse temperature or a condition of one's own.

    Raises:
      MfalError: where a condition is wanted and missing, or given and not wanted.
    """
    if (condition is None) != (parts.conditions is None):
        raise MfalError(
            f"condition {condition} for a trainer "
            + ("without conditions" if parts.conditions is None else "with conditions"),
            "leave it out" if parts.conditions is None else "give one such as `draw` gives",
        )
    if condition is None:
        return condition_of(parts.config.temperature, jnp.full((num,), beta, jnp.float32))
    condition = jnp.asarray(condition, jnp.float32)
    size = num_conditions(None, parts.conditions)
    if condition.shape != (size,):
        raise MfalError(f"condition of shape {list(condition.shape)}", f"give [{size}] numbers")
    return jnp.broadcast_to(condition, (num, size))


def strong(params: Any) -> Any:
    """Arrays of definite type: Python numbers are weakly typed, which would compile anew.

    They become float32 and int32, whatever the process' default.
    """

    def definite(x: Any) -> jax.Array:
        if isinstance(x, float):
            return jnp.float32(x)
        if isinstance(x, int) and not isinstance(x, bool):
            return jnp.int32(x)
        return jnp.asarray(x, jnp.asarray(x).dtype)

    return jax.tree.map(definite, params)


@functools.lru_cache(maxsize=32)
def _compiled(parts: Parts, num: int, chunk: int | None) -> Any:
    """`(params, reward_params, key, told [C]) -> Samples`; equal trainers share it."""
    # Whole on every device, so that any host can read it.
    everywhere = None if parts.mesh is None else NamedSharding(parts.mesh, PartitionSpec())

    @partial(jax.jit, out_shardings=everywhere)
    def draw(params: Params, reward_params: Any, key: jax.Array, told: jax.Array) -> Samples:
        part = partial(_draw, parts, params, reward_params, told)
        if chunk is None:
            return part(draw_noise(key, parts.env, num))
        keys = jax.random.split(key, -(-num // chunk))
        many = lax.map(lambda key: part(draw_noise(key, parts.env, chunk)), keys)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:num], many)

    return draw


def _draw(
    parts: Parts, params: Params, reward_params: Any, told: jax.Array, noise: Noise
) -> Samples:
    """Samples from noise; with a mesh, each device makes those of its share of it."""
    make = partial(_samples, parts)
    mesh = parts.mesh
    if mesh is not None and noise.uniform.shape[1] % mesh.size == 0:
        axis = mesh.axis_names[0]
        one: Any = PartitionSpec()
        all_: Any = PartitionSpec(axis)
        later: Any = PartitionSpec(None, axis)
        make = jax.shard_map(
            make,
            mesh=mesh,
            in_specs=(one, one, one, Noise(later, all_)),
            out_specs=all_,
            check_vma=False,
        )
    return make(params, reward_params, told, noise)


def _samples(
    parts: Parts, params: Params, reward_params: Any, told: jax.Array, noise: Noise
) -> Samples:
    batch = noise.uniform.shape[1]
    conditions = jnp.broadcast_to(told, (batch, told.shape[0]))
    trajectories = rollout(
        parts.env,
        parts.policy,
        params["policy"],
        noise,
        conditions=conditions,
        uniform_backward=parts.config.policy.backward == "uniform",
        keep="nothing",
    )
    return Samples(
        states=trajectories.final,
        log_pf=jnp.sum(trajectories.log_pf, axis=0),
        log_pb=jnp.sum(trajectories.log_pb, axis=0),
        log_reward=rewards_of(parts, reward_params, trajectories.final, conditions),
        length=trajectories.length,
    )
