"""Batches of crystals of which some rows are made anew, neighbour tables and all else. Host."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from mfal.errors import MfalError
from mfal.potentials.neighbours import NeighbourTables, Sizes, sizes_of
from mfal.potentials.types import Potential

__all__ = ["renewed", "with_rows"]

Tree = TypeVar("Tree")


def renewed(
    potential: Potential,
    neighbours: NeighbourTables,
    rows: np.ndarray,
    positions: jax.Array,
    cell: jax.Array,
    species: np.ndarray,
    larger: Sequence[Sizes] = (),
) -> tuple[NeighbourTables, Mapping[int, str]]:
    """The tables with those of some crystals made anew, at the sizes kept where they suffice.

    Args:
      potential: whose tables these are.
      neighbours: tables of all crystals.
      rows: [rows] int, the crystals to be done; the others' tables are kept, padded further if need
        be.
      positions: [crystals, N, 3] Å.
      cell: [crystals, 3, 3] Å.
      species: [crystals, N].
      larger: sizes of which the first that suffices is taken where those kept don't; sizes of their
        own where none does.

    Returns:
      The tables, and why there are none for some of the rows, whose tables mean nothing.
    """
    skin, sizes = float(neighbours.skin[0]), sizes_of(neighbours)
    made: dict[int, NeighbourTables] = {}
    refused: dict[int, str] = {}
    for row in np.asarray(rows).tolist():
        one = (np.asarray(positions[row]), np.asarray(cell[row]), species[row])
        try:
            made[row] = potential.neighbours(*one, skin=skin, sizes=sizes)
        except MfalError as error:
            refused[row] = error.what
    needed = [sizes_of(fresh) for fresh in made.values()]
    if any(size != sizes for size in needed):
        # The others' tables are made again where they were made before, so they hold what they did.
        places, cells = np.array(neighbours.positions), np.array(neighbours.cell)
        places[list(made)] = np.asarray(positions)[list(made)]
        cells[list(made)] = np.asarray(cell)[list(made)]
        kinds = np.array(species)
        kinds[list(refused)] = 0
        largest = Sizes(*(max(column) for column in zip(*needed, strict=True)))
        roomy = (s for s in larger if all(a <= b for a, b in zip(largest, s, strict=True)))
        largest = next(roomy, largest)
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
        return jnp.asarray(array)

    return jax.tree.map(replaced, batch, *rows.values())


def _like(old: NeighbourTables, new: NeighbourTables) -> NeighbourTables:
    """The same dtypes."""
    return NeighbourTables(*(jnp.asarray(n, o.dtype) for n, o in zip(new, old, strict=True)))
