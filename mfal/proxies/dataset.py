"""Observations as a table of fixed capacity, so that a growing data set doesn't recompile."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.errors import MfalError

__all__ = ["ABOVE", "BELOW", "EXACT", "Dataset", "capacity_for", "make_dataset"]

BELOW = -1
"""Censoring of an upper limit: the truth lies at or below `value` (a detection limit)."""
EXACT = 0
"""No censoring: `value` was measured."""
ABOVE = 1
"""Censoring of a lower limit: the truth lies at or above `value`. A class label "fast" at 1e-4 is
a lower limit at -4, "not fast" an upper limit at -4."""


class Dataset(NamedTuple):
    """N rows of (crystal, fidelity, value), of which only the valid ones count."""

    crystal: Any
    """Input pytree with leading axis [N]: a `Crystal`, or whatever the featuriser takes."""
    fidelity: jax.Array
    """[N] int32, 0 to M - 1; M - 1 is the target."""
    value: jax.Array
    """[N] float32, a score: larger is better."""
    censoring: jax.Array
    """[N] int32: BELOW, EXACT or ABOVE."""
    valid: jax.Array
    """[N] bool; padding is False."""
    group: jax.Array
    """[N] int32, 0 to N - 1: rows that are held out together (the same crystal at several
    fidelities, or a whole family of materials)."""
    material: jax.Array
    """[N] int32, 0 to N - 1: rows of the same crystal, whose fidelities can be compared."""


def capacity_for(rows: int, smallest: int = 64) -> int:
    """The padded length for a number of rows: doubling from `smallest`, so shapes rarely change.

    >>> capacity_for(3), capacity_for(64), capacity_for(65)
    (64, 64, 128)
    """
    return max(smallest, 1 << max(rows - 1, 0).bit_length())


def make_dataset(
    crystal: Any,
    fidelity: Sequence[int] | np.ndarray,
    value: Sequence[float] | np.ndarray,
    censoring: Sequence[int] | np.ndarray | None = None,
    *,
    group: Sequence[int] | np.ndarray | None = None,
    capacity: int | None = None,
) -> Dataset:
    """Pads observations to a capacity.

    Args:
      crystal: input pytree with leading axis [n].
      fidelity: [n] int.
      value: [n] scores, larger is better; finite.
      censoring: [n], EXACT throughout if left out.
      group: [n] labels, any integers; rows of equal label are held out together. If left out, rows
        of equal `crystal` form a group.
      capacity: padded length; `capacity_for(n)` if left out.

    Raises:
      MfalError: for values that are not finite, lengths that differ, or too small a capacity.
    """
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(crystal)]
    rows = len(np.asarray(fidelity))
    capacity = capacity_for(rows) if capacity is None else capacity
    fidelities = np.asarray(fidelity, np.int32).reshape(rows)
    values = np.asarray(value, np.float32)
    censored = np.zeros(rows, np.int32) if censoring is None else np.asarray(censoring, np.int32)
    if rows > capacity:
        raise MfalError(f"{rows} observations exceed the capacity {capacity}", "raise the capacity")
    lengths = {len(values), len(censored), *(len(leaf) for leaf in leaves)}
    if lengths != {rows}:
        raise MfalError(f"observations have columns of lengths {sorted(lengths | {rows})}", "align")
    if not np.isfinite(values).all():
        bad = int(np.flatnonzero(~np.isfinite(values))[0])
        raise MfalError(
            f"observation {bad} has the value {values[bad]}",
            "leave failed observations out and clip infinite ones to the oracle's bounds",
        )
    flat = np.concatenate(
        [leaf.reshape(rows, int(np.prod(leaf.shape[1:]))).astype(float) for leaf in leaves]
        + [np.zeros((rows, 1))],
        axis=1,
    )
    material = np.unique(flat, axis=0, return_inverse=True)[1].reshape(rows).astype(np.int32)
    labels = material if group is None else np.unique(np.asarray(group), return_inverse=True)[1]

    def pad(array: np.ndarray) -> jax.Array:
        width = [(0, capacity - rows)] + [(0, 0)] * (array.ndim - 1)
        # The last row stands in for the padding, so that featurisers see nothing strange there.
        return jnp.asarray(np.pad(array, width, mode="edge" if rows else "constant"))

    padded = [pad(leaf if leaf.dtype != np.float64 else leaf.astype(np.float32)) for leaf in leaves]
    return Dataset(
        crystal=jax.tree.unflatten(jax.tree.structure(crystal), padded),
        fidelity=pad(fidelities),
        value=pad(values),
        censoring=pad(censored),
        valid=jnp.arange(capacity) < rows,
        group=pad(labels.reshape(rows).astype(np.int32)),
        material=pad(material),
    )
