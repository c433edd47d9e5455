"""A crystal's primitive cell, and the way back to the cell that it was given in.

    small = to_primitive(structure)
    same = from_primitive(small, small.cell)

Nothing is rotated, shifted or idealised, so a primitive cell that has been relaxed or strained
gives the same crystal in the larger cell.
"""

from typing import Any, NamedTuple

import numpy as np
import spglib
from pymatgen.core import Lattice, Structure

from mfal.crystals.structures import SYMPREC
from mfal.errors import MfalError

__all__ = ["PrimitiveCell", "from_primitive", "to_primitive"]


class PrimitiveCell(NamedTuple):
    """A primitive cell, and how the given cell is made of it."""

    cell: Structure
    multiples: np.ndarray
    """[3, 3] int: the given lattice vectors, as rows, are `multiples @` the primitive ones."""
    atom: np.ndarray
    """[n] int: of each given atom its like in the primitive cell."""
    offset: np.ndarray
    """[n, 3] int: primitive lattice vectors from that one to it."""


def to_primitive(structure: Structure, symprec: float = SYMPREC) -> PrimitiveCell:
    """The primitive cell of an ordered structure.

    Args:
      structure: in any cell; its charges stay with its atoms and don't tell sites apart.
      symprec: Å, how far atoms may miss the places of their like.

    Raises:
      MfalError: partial occupancies, or atoms on top of one another.
    """
    formula = structure.composition.reduced_formula
    if not structure.is_ordered:
        raise MfalError(f"{formula}: partial occupancies", "order the cell first")
    given = structure.lattice.matrix
    numbers = [site.specie.Z for site in structure]
    contents: Any = (given, structure.frac_coords, numbers)
    try:
        dataset = spglib.get_symmetry_dataset(contents, symprec=symprec)
    except Exception as error:  # spglib's errors have no common base
        raise MfalError(
            f"{formula}: no symmetry found ({error})", "check that no two atoms share a position"
        ) from error
    if dataset is None:
        raise MfalError(f"{formula}: no symmetry found", "check that no two atoms share a position")
    multiples = np.rint(given @ np.linalg.inv(dataset.primitive_lattice)).astype(int)
    lattice = np.linalg.inv(multiples) @ given
    _, first, atom = np.unique(dataset.mapping_to_primitive, return_index=True, return_inverse=True)
    positions = structure.cart_coords
    offset = np.rint((positions - positions[first][atom]) @ np.linalg.inv(lattice)).astype(int)
    cell = Structure(
        Lattice(lattice),
        [structure[int(i)].specie for i in first],
        positions[first],
        coords_are_cartesian=True,
    )
    return PrimitiveCell(cell, multiples, atom, offset)


def from_primitive(primitive: PrimitiveCell, cell: Structure) -> Structure:
    """The structure in the cell that it was given in, its atoms in the order given.

    Args:
      primitive: of the structure.
      cell: the primitive cell, as it was or deformed, its atoms in the same order.
    """
    lattice = cell.lattice.matrix
    positions = cell.cart_coords[primitive.atom] + primitive.offset @ lattice
    return Structure(
        Lattice(primitive.multiples @ lattice),
        [cell[int(i)].specie for i in primitive.atom],
        positions,
        coords_are_cartesian=True,
        to_unit_cell=True,
    )
