"""The smallest supercell that is wide enough for dynamics."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import spglib

from mfal.errors import MfalError

__all__ = ["cell_widths", "smallest_supercell", "wide_supercell"]

_TRIED = 10_000
"""Supercells that are reduced before a plain multiple of the cell is taken."""


def cell_widths(cell: np.ndarray) -> np.ndarray:
    """[3] Å, the distance between opposite faces of a cell [3, 3] with lattice vectors as rows.

    >>> cell_widths(np.diag([2.0, 3.0, 4.0])).tolist()
    [2.0, 3.0, 4.0]
    """
    return 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)


def smallest_supercell(cell: np.ndarray, width: float) -> np.ndarray:
    """Integers [3, 3] whose product with the cell has all widths, with as few cells as may be.

    Every supercell of n cells is one of the Hermite normal forms of determinant n; each is taken in
    its Niggli reduced basis, whose widths are the largest. Among the smallest that are wide enough
    the widest is taken. Where a cell is so small that there are too many, it is a plain multiple.

    Args:
      cell: [3, 3] Å, lattice vectors as rows.
      width: Å, of which no width falls short.

    Raises:
      MfalError: a cell without volume.
    """
    if not abs(np.linalg.det(cell)) > 1e-6:
        raise MfalError("a cell without volume", "check its lattice")
    key = tuple(np.asarray(cell, float).round(6).ravel().tolist())
    return np.array(_smallest(key, float(width)))


@lru_cache(maxsize=256)
def _smallest(key: tuple[float, ...], width: float) -> tuple[tuple[int, ...], ...]:
    cell = np.array(key).reshape(3, 3)
    plain = np.diag(np.ceil(width / cell_widths(cell) - 1e-9).astype(int))
    most = round(np.linalg.det(plain))
    tried = 0
    # A parallelepiped has at least the volume of the box of its widths.
    for number in range(max(1, int(np.ceil(width**3 / abs(np.linalg.det(cell))))), most):
        best, matrix = 0.0, plain
        for form in _normal_forms(number):
            if tried == _TRIED:
                return _as_tuple(plain)
            reduced = spglib.niggli_reduce(form @ cell)
            tried += 1
            if reduced is None:
                continue
            least = float(cell_widths(reduced).min())
            if least > best + 1e-6:
                best, matrix = least, np.rint(reduced @ np.linalg.inv(cell)).astype(int)
        if best >= width - 1e-6:
            return _as_tuple(matrix)
    return _as_tuple(plain)


def _as_tuple(matrix: np.ndarray) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(x) for x in row) for row in matrix)


def _normal_forms(number: int) -> Iterator[np.ndarray]:
    """All lower triangular Hermite normal forms of one determinant.

    Rows are vectors: a multiple of an earlier one may be added to each, so that what stands below a
    diagonal entry counts modulo that entry. There are 7, 13, 35, 31, 91, ... for determinants of 2,
    3, 4, 5, 6, ... (OEIS A001001), one for each sublattice.
    """
    for a in range(1, number + 1):
        if number % a:
            continue
        for b in range(1, number // a + 1):
            if (number // a) % b:
                continue
            c = number // a // b
            for d in range(a):
                for e in range(a):
                    for f in range(b):
                        yield np.array([[a, 0, 0], [d, b, 0], [e, f, c]])


def wide_supercell(
    positions: np.ndarray, cell: np.ndarray, species: np.ndarray, width: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A crystal repeated until every width is reached: positions, cell, species.

    Args:
      positions: [n, 3] Å.
      cell: [3, 3] Å, lattice vectors as rows; a primitive one leaves most choice.
      species: [n] of any kind.
      width: Å.
    """
    matrix = smallest_supercell(cell, width)
    large = matrix @ cell
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) @ matrix
    low, high = corners.min(0), corners.max(0)
    grid = np.stack(np.meshgrid(*map(np.arange, low, high + 1), indexing="ij"), -1).reshape(-1, 3)
    inside = grid @ np.linalg.inv(matrix)
    kept = grid[((inside > -1e-9) & (inside < 1 - 1e-9)).all(1)]
    places = (kept[:, None] @ cell + positions).reshape(-1, 3)
    return places, large, np.tile(species, len(kept))
