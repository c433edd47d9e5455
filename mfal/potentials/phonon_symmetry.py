"""Force constants of equivalent atoms from those of one of them.

An operation of the space group takes x to W x + w, the atom i of cell 0 to the atom i' of cell t_i,
and turns Cartesian vectors by R. Force constants turn with the crystal,

    Phi(i' 0, j' l') = R Phi(i 0, j l) R^T ,     l' = W l + t_j - t_i ,

so that only one atom of each kind of site needs be displaced (Parlinski, Li & Kawazoe, Phys. Rev.
Lett. 78, 4063 (1997), doi:10.1103/PhysRevLett.78.4063). In a supercell l counts modulo its own
lattice vectors, which an operation must keep to be of use.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mfal.crystals.operations import Operations

__all__ = ["Equivalence", "find_equivalence", "spread"]


class Equivalence(NamedTuple):
    """Which atoms are alike."""

    like: np.ndarray
    """[n] int: of each atom the one whose force constants give its own."""
    operation: np.ndarray
    """[n] int: the operation that takes that one to it."""

    @property
    def representatives(self) -> list[int]:
        """Atoms that stand for themselves."""
        return [int(i) for i in np.flatnonzero(self.like == np.arange(len(self.like)))]


def find_equivalence(operations: Operations, repeats: tuple[int, int, int]) -> Equivalence:
    """Which atoms of a cell are alike under operations that keep a supercell's lattice.

    Args:
      operations: of the cell.
      repeats: cells of the supercell along each lattice vector.
    """
    scale = np.array(repeats, float)
    inside = operations.rotations * scale[None, None, :] / scale[None, :, None]
    keeps = np.abs(inside - np.rint(inside)).max(axis=(1, 2)) < 1e-9
    atoms = operations.permutations.shape[1]
    like, operation = np.full(atoms, -1), np.zeros(atoms, int)
    for i in range(atoms):
        if like[i] >= 0:
            continue
        for g in np.flatnonzero(keeps):
            target = operations.permutations[g, i]
            if like[target] < 0:
                like[target], operation[target] = i, g
    return Equivalence(like, operation)


def spread(
    constants: Mapping[int, np.ndarray],
    equivalence: Equivalence,
    operations: Operations,
    positions: np.ndarray,
    cell: np.ndarray,
    repeats: tuple[int, int, int],
) -> np.ndarray:
    """The force constants of all atoms.

    Args:
      constants: of each representative, [3, L n, 3], the supercell's atoms cell by cell with the
        last lattice vector counting fastest.
      equivalence: by `find_equivalence`.
      operations: of the cell.
      positions: [n, 3] Å, the cell's atoms.
      cell: [3, 3] Å, lattice vectors as rows.
      repeats: cells of the supercell along each lattice vector.

    Returns:
      [n, 3, L n, 3].
    """
    fractional = positions @ np.linalg.inv(cell)
    axes = np.meshgrid(*(np.arange(n) for n in repeats), indexing="ij")
    cells = np.stack(axes, -1).reshape(-1, 3)
    atoms = len(positions)
    found = []
    for target in range(atoms):
        source, g = equivalence.like[target], equivalence.operation[target]
        rotation, permutation = operations.rotations[g], operations.permutations[g]
        images = fractional @ rotation.T + operations.translations[g]
        shifts = np.rint(images - fractional[permutation]).astype(int)
        turn = cell.T @ rotation @ np.linalg.inv(cell.T)
        lattice = (cells @ rotation.T)[:, None] + shifts - shifts[source]
        place = np.ravel_multi_index(
            tuple(np.moveaxis(lattice % np.array(repeats), -1, 0)), repeats
        )
        index = (place * atoms + permutation).ravel()
        made = np.empty_like(constants[source])
        made[:, index] = np.einsum("xa,aJb,yb->xJy", turn, constants[source], turn)
        found.append(made)
    return np.stack(found)
