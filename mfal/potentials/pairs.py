"""Every pair of atoms within a cutoff, over all periodic images, exactly once.

The cell may be skewed, shorter than the cutoff, or much longer; atoms may lie outside it. Runs on
the host in numpy and float64.
"""

from typing import NamedTuple

import numpy as np

from mfal.errors import MfalError

__all__ = ["Pairs", "pairs_within"]

_MOST_NEIGHBOURS = 2000.0
"""Mean number of neighbours of an atom above which a cell is refused as collapsed. Within 6 Å the
densest of solids, diamond, has 160."""
_CLOSEST = 1e-3
"""Å. Atoms nearer than that lie on top of one another: directions between them mean nothing."""
_CHUNK = 4_000_000
"""Distances held at once."""


class Pairs(NamedTuple):
    """Undirected pairs, each once: first < second, or the same atom and one of two images."""

    first: np.ndarray
    """[P] index of the one atom."""
    second: np.ndarray
    """[P] index of the other."""
    image: np.ndarray
    """[P, 3] whole lattice vectors: the other atom is at `positions[second] + image @ cell`."""
    distance: np.ndarray
    """[P] Å."""


def pairs_within(positions: np.ndarray, cell: np.ndarray, cutoff: float) -> Pairs:
    """All pairs nearer than the cutoff.

    Args:
      positions: [N, 3] Å, not necessarily inside the cell.
      cell: [3, 3] Å, lattice vectors as rows; periodic in all three.
      cutoff: Å.

    Raises:
      MfalError: if a number is not finite, the cell is flat or so dense that tables would be
        absurd, or two atoms coincide.
    """
    positions = np.asarray(positions, np.float64).reshape(-1, 3)
    cell = np.asarray(cell, np.float64)
    _check(positions, cell, cutoff)
    reduced, transform = _reduced_cell(cell)
    inverse = np.linalg.inv(reduced)
    fractional = positions @ inverse
    wraps = np.floor(fractional)
    fractional -= wraps
    wrapped = fractional @ reduced

    # An image lies within reach only if it is inside the atoms' own range of fractional
    # coordinates, widened by the cutoff over the distance of the lattice planes.
    reach = cutoff * np.linalg.norm(inverse, axis=0)
    low, high = fractional.min(0), fractional.max(0)
    first_image = np.ceil(low - reach - high)
    ranges = [np.arange(a, b + 1) for a, b in zip(first_image, -first_image, strict=True)]
    images = np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, 1, 3)
    ghosts = fractional + images
    image, atom = np.nonzero(np.all((ghosts >= low - reach) & (ghosts <= high + reach), -1))
    ghost_places = ghosts[image, atom] @ reduced

    first, ghost = _near(wrapped, ghost_places, atom, cutoff)
    second, shift = atom[ghost], images[image[ghost], 0]
    vectors = ghost_places[ghost] - wrapped[first]
    distance = np.sqrt(np.einsum("pk,pk->p", vectors, vectors))
    # An atom meets its own image both ways round; one of the two is kept.
    positive = shift @ np.array([1e12, 1e6, 1.0]) > 0
    keep = (distance < cutoff) & ((first != second) | positive)
    first, second, distance, shift = first[keep], second[keep], distance[keep], shift[keep]
    if len(distance) and distance.min() < _CLOSEST:
        worst = int(distance.argmin())
        raise MfalError(
            f"atoms {first[worst]} and {second[worst]} lie on top of one another",
            "give structures whose atoms are apart",
        )
    whole = shift + wraps[first] - wraps[second]
    return Pairs(first, second, np.rint(whole @ transform).astype(np.int32), distance)


def _check(positions: np.ndarray, cell: np.ndarray, cutoff: float) -> None:
    if not (np.isfinite(positions).all() and np.isfinite(cell).all()):
        raise MfalError("a position or a lattice vector is not finite", "check the structure")
    volume = abs(np.linalg.det(cell))
    dense = len(positions) / max(volume, 1e-300) * 4 / 3 * np.pi * cutoff**3
    if dense > _MOST_NEIGHBOURS:
        raise MfalError(
            f"a cell of {volume:.3g} Å³ with {len(positions)} atoms: each would have some "
            f"{dense:.3g} neighbours within {cutoff:g} Å",
            "check the lattice",
        )


def _reduced_cell(cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Short lattice vectors of the same lattice, and the integer matrix that makes them.

    Each vector is shortened by the others until none gets shorter; a skewed cell then needs no
    more images than a straight one.
    """
    reduced, transform = cell.copy(), np.eye(3)
    for _ in range(200):
        gram = reduced @ reduced.T
        squares = np.diag(gram)
        steps = np.rint(gram / squares[None, :])
        np.fill_diagonal(steps, 0.0)
        gain = 2 * steps * gram - steps**2 * squares[None, :]
        row, column = np.unravel_index(np.argmax(gain), (3, 3))
        if gain[row, column] <= 1e-9 * squares[row]:
            return reduced, transform
        reduced[row] -= steps[row, column] * reduced[column]
        transform[row] -= steps[row, column] * transform[column]
    return reduced, transform


def _near(
    places: np.ndarray, ghosts: np.ndarray, atom: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of atoms and of ghosts, not of a lower atom, at about the cutoff or nearer.

    Squares by products: |x - y|² = x² + y² - 2 x·y, one matrix product instead of a table of
    vectors. Rounding is covered by a margin; the caller computes the exact distance.
    """
    centre = places.mean(0)
    places, ghosts = places - centre, ghosts - centre
    margin = 1e-9 * (1 + np.square(ghosts).sum(-1).max())
    limits = cutoff**2 + margin - np.square(ghosts).sum(-1)
    rows = max(1, _CHUNK // max(1, len(ghosts)))
    found = []
    for start in range(0, len(places), rows):
        some = places[start : start + rows]
        near = np.square(some).sum(-1)[:, None] - 2 * some @ ghosts.T < limits
        near &= np.arange(start, start + len(some))[:, None] <= atom
        found.append(np.argwhere(near) + np.array([start, 0]))
    pairs = np.concatenate(found)
    return pairs[:, 0], pairs[:, 1]
