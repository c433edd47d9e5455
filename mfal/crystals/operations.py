"""Symmetry operations of a crystal as arrays that act on its atoms, and crystals made to obey them.

An operation takes fractional coordinates x to W x + w, and atom i to the place of the atom that its
permutation names. Everything here is numpy on the host; spglib finds the operations.
"""

from typing import Any, NamedTuple

import numpy as np

from mfal.errors import MfalError

__all__ = ["Operations", "find_operations", "no_symmetry", "symmetrised"]


class Operations(NamedTuple):
    """A space group's operations modulo the lattice vectors of the cell they act on."""

    rotations: np.ndarray
    """[G, 3, 3] int, W of fractional coordinates as columns."""
    translations: np.ndarray
    """[G, 3] fractions of lattice vectors, w."""
    permutations: np.ndarray
    """[G, N] int: operation g takes atom i to where atom permutations[g, i] is."""


def no_symmetry(atoms: int) -> Operations:
    """No symmetry but the lattice's."""
    return Operations(np.eye(3, dtype=int)[None], np.zeros((1, 3)), np.arange(atoms)[None])


def find_operations(
    positions: np.ndarray, cell: np.ndarray, species: np.ndarray, symprec: float = 0.01
) -> Operations:
    """The operations of a crystal.

    Args:
      positions: [N, 3] Å.
      cell: [3, 3] Å, lattice vectors as rows; any cell, primitive or not.
      species: [N] atomic numbers.
      symprec: Å, how far atoms may miss the places of their symmetry.

    Raises:
      MfalError: where spglib finds nothing: atoms on top of one another.
    """
    import spglib

    fractional = np.asarray(positions, np.float64) @ np.linalg.inv(cell)
    try:
        contents: Any = (cell, fractional, species)
        found = spglib.get_symmetry_dataset(contents, symprec=symprec)
    except Exception as error:  # spglib's errors have no common base
        raise MfalError(
            f"no symmetry found within {symprec:g} Å ({error})",
            "check that no two atoms share a position",
        ) from error
    if found is None:
        raise MfalError(
            f"no symmetry found within {symprec:g} Å", "check that no two atoms share a position"
        )
    rotations = np.asarray(found.rotations, int)
    translations = np.asarray(found.translations, np.float64)
    images = np.einsum("gab,nb->gna", rotations, fractional) + translations[:, None]
    permutations = np.empty(images.shape[:2], int)
    kinds = np.asarray(species)
    for g, image in enumerate(images):
        gaps = image[:, None] - fractional
        gaps -= np.rint(gaps)
        squares = np.einsum("ijk,kl,ijl->ij", gaps, cell @ cell.T, gaps)
        squares[kinds[:, None] != kinds] = np.inf
        permutations[g] = squares.argmin(1)
    # With a wide tolerance two atoms may come nearest to one place; such an operation is no use.
    proper = np.all(np.sort(permutations, axis=1) == np.arange(len(kinds)), axis=1)
    if not proper.all():
        return no_symmetry(len(kinds))
    return Operations(rotations, translations, permutations)


def symmetrised(
    positions: np.ndarray, cell: np.ndarray, operations: Operations
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest crystal that obeys the operations exactly: means over what they make of it.

    The cell gets the mean metric tensor and keeps its orientation.

    Returns:
      Positions [N, 3] Å and cell [3, 3] Å, float64.
    """
    rotations = operations.rotations.astype(np.float64)
    cell = np.asarray(cell, np.float64)
    fractional = np.asarray(positions, np.float64) @ np.linalg.inv(cell)
    metric = cell @ cell.T
    metric = np.einsum("gba,bc,gcd->ad", rotations, metric, rotations) / len(rotations)
    # cell M with M symmetric: M M = cell^-1 metric cell^-T.
    inverse = np.linalg.inv(cell)
    values, vectors = np.linalg.eigh(inverse @ metric @ inverse.T)
    cell = cell @ (vectors * np.sqrt(values)) @ vectors.T
    images = np.einsum("gab,nb->gna", rotations, fractional) + operations.translations[:, None]
    gaps = images - fractional[operations.permutations]
    gaps -= np.rint(gaps)
    moves = np.zeros_like(fractional)
    np.add.at(moves, operations.permutations, gaps / len(rotations))
    return (fractional + moves) @ cell, cell
