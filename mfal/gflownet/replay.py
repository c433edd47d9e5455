"""A prioritised replay buffer as a pytree.

It keeps whole trajectories as their actions, and the terminal state so that the reward can be
asked again: rewards change when the proxy is fitted anew. A trajectory is replayed by following its
actions, so its log-probabilities are always those of the present policy.
"""

from dataclasses import dataclass
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from mfal.envs.types import Environment, State
from mfal.errors import MfalError
from mfal.gflownet.trajectories import Plan

__all__ = ["ReplayBuffer", "ReplayConfig", "add", "draw", "empty_buffer", "set_priority"]

_PRIORITIES = ("reward", "loss", "uniform")


@dataclass(frozen=True)
class ReplayConfig:
    """Size and use of the replay buffer."""

    capacity: int = 4096
    """Trajectories kept; the oldest is overwritten."""
    share: float = 0.25
    """Share of each batch that is replayed."""
    priority: str = "reward"
    """Draw in proportion to reward^exponent, |loss|^exponent, or uniformly."""
    exponent: float = 0.5
    """See `priority`."""

    def __post_init__(self) -> None:
        if self.priority not in _PRIORITIES:
            raise MfalError(
                f"replay priority {self.priority!r}", f"choose one of {', '.join(_PRIORITIES)}"
            )
        if self.capacity < 1 or not 0 <= self.share < 1:
            raise MfalError(
                f"replay capacity {self.capacity}, share {self.share}",
                "give a positive capacity and a share from 0 to below 1",
            )


class ReplayBuffer(NamedTuple):
    """Trajectories seen, N places."""

    index: jax.Array  # type: ignore[assignment]  # hides tuple.index, which nothing needs
    """[N, T] int32."""
    value: jax.Array
    """[N, T] float32."""
    final: State
    """[N] terminal states."""
    log_priority: jax.Array
    """[N] float32; -inf where the place is empty."""
    cursor: jax.Array
    """[] int32, place that is written next."""


def empty_buffer(env: Environment, capacity: int) -> ReplayBuffer:
    """A buffer with nothing in it."""
    blank = env.initial_state()
    return ReplayBuffer(
        index=jnp.zeros((capacity, env.max_steps), jnp.int32),
        value=jnp.zeros((capacity, env.max_steps), jnp.float32),
        final=jax.tree.map(lambda x: jnp.broadcast_to(x, (capacity, *jnp.shape(x))), blank),
        log_priority=jnp.full((capacity,), -jnp.inf, jnp.float32),
        cursor=jnp.zeros((), jnp.int32),
    )


def add(
    buffer: ReplayBuffer,
    index: jax.Array,
    value: jax.Array,
    final: State,
    log_priority: jax.Array,
) -> ReplayBuffer:
    """Write trajectories over the oldest places.

    Args:
      buffer: what to write to.
      index: [R, B] int32 actions, R at least the number of steps.
      value: [R, B] float32, their values.
      final: [B] terminal states.
      log_priority: [B] float32, finite.
    """
    chex.assert_equal_shape([index, value])
    chex.assert_shape(log_priority, (index.shape[1],))
    capacity, steps = buffer.index.shape
    batch = min(log_priority.shape[0], capacity)
    place = (buffer.cursor + jnp.arange(batch, dtype=jnp.int32)) % capacity
    return ReplayBuffer(
        index=buffer.index.at[place].set(index[:steps, :batch].T),
        value=buffer.value.at[place].set(value[:steps, :batch].T),
        final=jax.tree.map(lambda old, new: old.at[place].set(new[:batch]), buffer.final, final),
        log_priority=buffer.log_priority.at[place].set(log_priority[:batch]),
        cursor=(buffer.cursor + batch) % capacity,
    )


def draw(buffer: ReplayBuffer, key: jax.Array, count: int) -> tuple[Plan, jax.Array]:
    """Draw trajectories to follow, with replacement, in proportion to their priority.

    Returns:
      The plan, and the places [count]. Nothing is to be followed while the buffer is empty.
    """
    filled = jnp.isfinite(buffer.log_priority)
    top = jnp.max(jnp.where(filled, buffer.log_priority, -jnp.inf), initial=-1e30)
    weight = jnp.where(filled, jnp.exp(buffer.log_priority - top), 0.0)
    cumulative = jnp.cumsum(weight)
    level = jax.random.uniform(key, (count,), jnp.float32) * cumulative[-1]
    last = weight.shape[0] - 1
    place = jnp.minimum(jnp.searchsorted(cumulative, level, side="right"), last)
    # Rounding must not lead to an empty place.
    place = jnp.where(filled[place], place, jnp.argmax(weight).astype(place.dtype)).astype(
        jnp.int32
    )
    follow = jnp.broadcast_to(jnp.any(filled), (count,))
    return Plan(follow, buffer.index[place].T, buffer.value[place].T), place


def set_priority(
    buffer: ReplayBuffer, place: jax.Array, log_priority: jax.Array, valid: jax.Array
) -> ReplayBuffer:
    """Renew priorities at drawn places; entries that aren't `valid` keep theirs."""
    capacity = buffer.log_priority.shape[0]
    target = jnp.where(valid, place, capacity)
    return buffer._replace(
        log_priority=buffer.log_priority.at[target].set(log_priority, mode="drop")
    )
