"""Gathers whose gradients are gathers.

The transpose of `rows[index]` adds every copy back to its row: a scatter, which is serial on a CPU
and slow on an accelerator. Where the inverse of the index is at hand as a padded table, the
transpose is a gather and a sum instead. The two functions here are each other's transposes, so
they can be differentiated in reverse mode any number of times (not in forward mode: take
`jax.jacrev` of forces, not `jax.jacfwd`).

An index past the end stands for "none" and reads as zero.
"""

import jax
import jax.numpy as jnp

__all__ = ["at_both_ends", "collect", "gather"]


@jax.custom_vjp
def gather(rows: jax.Array, index: jax.Array, inverse: jax.Array) -> jax.Array:
    """Copies of rows.

    Args:
      rows: [M, F].
      index: [...] int, rows to copy.
      inverse: [M, D] int, for each row the flat places in `index` where it is copied to.

    Returns:
      [..., F].
    """
    return _take(rows, index)


@jax.custom_vjp
def collect(values: jax.Array, inverse: jax.Array, index: jax.Array) -> jax.Array:
    """Sums of values over the places of each row.

    Args:
      values: [..., F].
      inverse: [M, D] int, for each row the flat places in the leading axes of `values` to add.
      index: [...] int, the row that each value is added to.

    Returns:
      [M, F].
    """
    flat = values.reshape(-1, values.shape[-1])
    return jax.lax.platform_dependent(flat, inverse, cpu=_sum_one_by_one, default=_sum_at_once)


def _take(rows: jax.Array, index: jax.Array) -> jax.Array:
    return jnp.take(rows, index, axis=0, mode="fill", fill_value=0)


def _sum_at_once(values: jax.Array, inverse: jax.Array) -> jax.Array:
    return _take(values, inverse).sum(-2)


def _sum_one_by_one(values: jax.Array, inverse: jax.Array) -> jax.Array:
    """The same in half the time of a CPU: the sums stay in its cache, and no copies are written."""

    def add(place: jax.Array, sums: jax.Array) -> jax.Array:
        index = jax.lax.dynamic_index_in_dim(inverse, place, 1, keepdims=False)
        return sums + _take(values, index)

    start = jnp.zeros((len(inverse), values.shape[-1]), values.dtype)
    return jax.lax.fori_loop(0, inverse.shape[1], add, start)


def _gather_forward(
    rows: jax.Array, index: jax.Array, inverse: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return gather(rows, index, inverse), (index, inverse)


def _gather_backward(
    tables: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, None, None]:
    index, inverse = tables
    return collect(cotangent, inverse, index), None, None


def _collect_forward(
    values: jax.Array, inverse: jax.Array, index: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return collect(values, inverse, index), (inverse, index)


def _collect_backward(
    tables: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, None, None]:
    inverse, index = tables
    return gather(cotangent, index, inverse), None, None


@jax.custom_vjp
def at_both_ends(shared: jax.Array) -> jax.Array:
    """[2, P, F] of what the two ends of pairs [P, F] share.

    The transpose of a broadcast would be a reduction over an axis of two, to which XLA's CPU
    back-end gives ten times the time of this one, an addition.
    """
    return jnp.broadcast_to(shared, (2, *shared.shape))


def _ends_forward(shared: jax.Array) -> tuple[jax.Array, None]:
    return at_both_ends(shared), None


def _ends_backward(_: None, cotangent: jax.Array) -> tuple[jax.Array]:
    return (cotangent[0] + cotangent[1],)


at_both_ends.defvjp(_ends_forward, _ends_backward)
gather.defvjp(_gather_forward, _gather_backward)
collect.defvjp(_collect_forward, _collect_backward)
