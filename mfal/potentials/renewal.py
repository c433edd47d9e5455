"""Batches of crystals of which some rows are made anew, neighbour tables and all else. Host."""

from collections.abc import Mapping
from typing import TypeVar

import jax
import numpy as np

from mfal.errors import MfalError
from mfal.potentials.neighbours import NeighbourTables, Sizes, enlarged, sizes_of
from mfal.potentials.types import Array, Potential

__all__ = ["fresh_tables", "renewed", "with_rows"]

Tree = TypeVar("Tree")


def fresh_tables(
    potential: Potential,
    neighbours: NeighbourTables,
    rows: np.ndarray,
    positions: Array,
    cell: Array,
    species: np.ndarray,
) -> tuple[dict[int, NeighbourTables], dict[int, str]]:
    """New tables of some crystals of a batch, at the sizes of the old where they suffice.

    Args:
      potential: whose tables these are.
      neighbours: tables of all crystals.
      rows: [rows] int, the crystals to be done.
      positions: [crystals, N, 3] Å.
      cell: [crystals, 3, 3] Å.
      species: [crystals, N].

    Returns:
      Tables of each crystal, without the axis of the batch, and why there are none for others.
    """
    skin, sizes = float(neighbours.skin[0]), sizes_of(neighbours)
    positions, cell = np.asarray(positions), np.asarray(cell)
    made: dict[int, NeighbourTables] = {}
    refused: dict[int, str] = {}
    for row in np.asarray(rows).tolist():
        one = (positions[row], cell[row], species[row])
        try:
            made[row] = potential.neighbours(*one, skin=skin, sizes=sizes)
        except MfalError as error:
            refused[row] = error.what
    return made, refused


def renewed(
    potential: Potential,
    neighbours: NeighbourTables,
    rows: np.ndarray,
    positions: jax.Array,
    cell: jax.Array,
    species: np.ndarray,
) -> tuple[NeighbourTables, Mapping[int, str]]:
    """The tables with those of some crystals made anew, at the sizes kept where they suffice.

    Where they don't, the others' tables are kept and padded further, by an eighth more than is
    needed now, lest they be outgrown again soon. For the arguments see `fresh_tables`.

    Returns:
      The tables, and why there are none for some of the rows, whose tables mean nothing.
    """
    skin, sizes = float(neighbours.skin[0]), sizes_of(neighbours)
    made, refused = fresh_tables(potential, neighbours, rows, positions, cell, species)
    needed = [sizes_of(fresh) for fresh in made.values()]
    if any(size != sizes for size in needed):
        # The others' tables are made again where they were made before, so they hold what they did.
        places, cells = np.array(neighbours.positions), np.array(neighbours.cell)
        places[list(made)] = np.asarray(positions)[list(made)]
        cells[list(made)] = np.asarray(cell)[list(made)]
        kinds = np.array(species)
        kinds[list(refused)] = 0
        largest = Sizes(*(max(column) for column in zip(*needed, strict=True)))
        room = [1.125 if a > b else 1.0 for a, b in zip(largest, sizes, strict=True)]
        largest = enlarged(largest, room)
        wider = potential.neighbours(places, cells, kinds, skin=skin, sizes=largest)
        return _like(neighbours, wider), refused
    return with_rows(neighbours, made), refused


def with_rows(batch: Tree, rows: Mapping[int, Tree]) -> Tree:
    """A batch, a pytree with a leading axis throughout, of which some rows are replaced."""
    if not rows:
        return batch

    def replaced(leaf: jax.Array, *parts: jax.Array) -> jax.Array:
        # In numpy: nothing has to be compiled for each number of rows.
        array = np.array(leaf)
        array[list(rows)] = np.stack([np.asarray(part) for part in parts])
        return jax.device_put(array)

    return jax.tree.map(replaced, batch, *rows.values())


def _like(old: NeighbourTables, new: NeighbourTables) -> NeighbourTables:
    """The same dtypes."""
    return NeighbourTables(
        *(jax.device_put(np.asarray(n, o.dtype)) for n, o in zip(new, old, strict=True))
    )
