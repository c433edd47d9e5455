"""What training steps sum over trajectories: over devices, and over the parts of a batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from mfal.envs.types import State
from mfal.gflownet.conditions import Drawn
from mfal.gflownet.config import Params
from mfal.gflownet.trajectories import Noise, Plan

__all__ = ["Seen", "Sums", "over_devices", "over_micro_batches"]


class Seen(NamedTuple):
    """What the replay buffer wants to know of a batch."""

    log_reward: jax.Array
    loss: jax.Array
    followed: jax.Array
    index: jax.Array  # type: ignore[assignment]
    value: jax.Array
    final: State


class Sums(NamedTuple):
    """What is summed over the batch, and so over devices and micro-batches."""

    grads: Params
    loss: jax.Array
    estimate: jax.Array
    counted: jax.Array
    usable: jax.Array
    zero: jax.Array
    unended: jax.Array
    log_reward: jax.Array
    fresh: jax.Array
    length: jax.Array
    best: jax.Array
    """[devices], each one's best log-reward in its own place."""


def over_devices(mine: Any, axis: str | None) -> Any:
    """The sum of a tree over devices, all as float32.

    As one vector, for the devices wait for each other at each exchange.
    """
    mine = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), mine)
    if axis is None:
        return mine
    flat, restore = ravel_pytree(mine)
    return restore(lax.psum(flat, axis))


def over_micro_batches(
    count: int,
    accumulate: Callable[..., tuple[Sums, Seen]],
    noise: Noise,
    drawn: Drawn,
    plan: Plan | None,
) -> tuple[Sums, Seen]:
    """The sums of micro-batches, one after the other, and all that was seen."""

    def rows(leaf: jax.Array) -> jax.Array:
        return leaf.reshape(count, leaf.shape[0] // count, *leaf.shape[1:])

    def columns(leaf: jax.Array) -> jax.Array:
        parted = leaf.reshape(leaf.shape[0], count, leaf.shape[1] // count, *leaf.shape[2:])
        return jnp.moveaxis(parted, 1, 0)

    parted = (
        Noise(columns(noise.uniform), rows(noise.dither)),
        jax.tree.map(rows, drawn),
        None if plan is None else Plan(rows(plan.follow), columns(plan.index), columns(plan.value)),
    )
    shape = jax.eval_shape(accumulate, *jax.tree.map(lambda leaf: leaf[0], parted))[0]
    blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)
    blank = blank._replace(best=jnp.full_like(blank.best, -jnp.inf))

    def body(total: Sums, part: Any) -> tuple[Sums, Seen]:
        mine, seen = accumulate(*part)
        added = jax.tree.map(jnp.add, total, mine)
        return added._replace(best=jnp.maximum(total.best, mine.best)), seen

    total, seen = lax.scan(body, blank, parted)

    def whole(leaf: jax.Array) -> jax.Array:
        return leaf.reshape(-1, *leaf.shape[2:])

    def whole_columns(leaf: jax.Array) -> jax.Array:
        moved = jnp.moveaxis(leaf, 0, 1)
        return moved.reshape(moved.shape[0], -1, *moved.shape[3:])

    return total, Seen(
        log_reward=whole(seen.log_reward),
        loss=whole(seen.loss),
        followed=whole(seen.followed),
        index=whole_columns(seen.index),
        value=whole_columns(seen.value),
        final=jax.tree.map(whole, seen.final),
    )
