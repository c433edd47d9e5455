"""Grids that share the symmetry of a framework, so that each orbit of points is computed once."""

import math
import os
from typing import Any, NamedTuple

import numba
import numpy as np

from mfal.oracles.bond_valence.framework import Framework

__all__ = ["NOISE", "Grid", "intended_order", "morton_order", "symmetric_grid"]

TOLERANCE = 1e-5
"""Å by which ions may miss their images: far below what would show in an energy."""

NOISE = 0.1
"""Å by which ions may miss the places of a higher symmetry and still be meant to be there."""

# Multiples to which the number of points along an axis is rounded up: those that put the
# translations of some space groups on the grid.
_MULTIPLES = (1, 2, 3, 4, 6, 12)


class Grid(NamedTuple):
    """A regular grid over the cell, point (i, j, k) at fractions (i/n1, j/n2, k/n3)."""

    shape: tuple[int, int, int]
    representative: np.ndarray
    """[n1 n2 n3] int32, the flat index of the point that stands for each point's orbit."""
    order: int
    """Symmetry operations of the framework, those included that the grid does not keep."""


def symmetric_grid(framework: Framework, resolution: float) -> Grid:
    """A grid with neighbours at most `resolution` (Å) apart that keeps much of the symmetry.

    Equivalent axes get the same number of points, and numbers are rounded up where that puts screw
    axes, glide planes and centrings onto the grid and saves more than the added points cost. The
    symmetry is that of the framework alone, often higher than the crystal's.
    """
    lengths = np.linalg.norm(framework.lattice, axis=1)
    least = np.maximum(np.ceil(lengths / resolution - 1e-9), 3).astype(int)
    rotations, translations = _operations(framework)
    # Axes that some operation turns into each other must be divided alike.
    coupled = (rotations != 0).any(axis=0)
    coupled = coupled | coupled.T
    coupled = np.linalg.matrix_power(coupled.astype(int), 3) > 0
    alike = np.array([least[row].max() for row in coupled])
    best, best_cost = (least, np.zeros(1, int)), math.inf
    for start in (least, alike):
        for multiple in _MULTIPLES:
            shape = -(-start // multiple) * multiple
            kept = _compatible(rotations, translations, shape)
            # A point costs some ten times as much in the map as in the sweep that follows.
            cost = float(np.prod(shape)) * (1.0 / len(kept) + 0.1)
            if cost < best_cost:
                best, best_cost = (shape, kept), cost
    shape, kept = best
    matrix = rotations[kept] * shape[:, None] // shape[None, :]
    shift = np.rint(translations[kept] * shape).astype(np.int64)
    representative = _orbits(shape, matrix.astype(np.int64), shift)
    a, b, c = (int(n) for n in shape)
    return Grid((a, b, c), representative, len(rotations))


def intended_order(framework: Framework) -> int:
    """Symmetry operations of the framework if its ions may be `NOISE` off their places.

    Where it is larger than `Grid.order` the ions miss the places of a higher symmetry by little:
    rounded or noisy coordinates, which barriers feel.
    """
    # The wide tolerance makes spglib give up some attempts, of which it tells on standard error.
    os.environ.setdefault("SPGLIB_WARNING", "OFF")
    return len(_operations(framework, NOISE)[0])


def _operations(
    framework: Framework, tolerance: float = TOLERANCE
) -> tuple[np.ndarray, np.ndarray]:
    """Rotations [G, 3, 3] and translations [G, 3] of the framework, the identity at least."""
    import spglib

    anions, cations = framework.anion_constants, framework.cation_constants
    rows = np.zeros((len(anions) + len(cations), 4))
    rows[: len(anions), :3], rows[len(anions) :, :2] = anions, cations
    rows[len(anions) :, 3] = 1.0
    # Ions that share a site count as one of a kind of its own: spglib wants distinct places.
    places = np.concatenate([framework.anion_position, framework.cation_position])
    _, site = np.unique(np.round(places, 6) % 1.0, axis=0, return_inverse=True)
    contents: dict[int, list[tuple[float, ...]]] = {}
    for k, row in zip(site, np.round(rows, 9), strict=True):
        contents.setdefault(int(k), []).append(tuple(row))
    kinds: dict[tuple[tuple[float, ...], ...], int] = {}
    _, first = np.unique(site, return_index=True)
    types = [kinds.setdefault(tuple(sorted(contents[k])), len(kinds) + 1) for k in sorted(contents)]
    found = None
    try:
        cell: Any = (framework.lattice, places[first], types)
        found = spglib.get_symmetry(cell, symprec=tolerance)
    except Exception:  # spglib's errors have no common base; without symmetry all is as before
        found = None
    if found is None:
        return np.eye(3, dtype=int)[None], np.zeros((1, 3))
    return np.asarray(found["rotations"], int), np.asarray(found["translations"], float)


def _compatible(rotations: np.ndarray, translations: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Which operations map the grid onto itself; they form a group."""
    scaled = rotations * shape[:, None]
    whole = (scaled % shape[None, :] == 0).all(axis=(1, 2))
    steps = translations * shape
    return np.flatnonzero(whole & (np.abs(steps - np.rint(steps)) < 1e-4).all(axis=1))


def morton_order(index: np.ndarray) -> np.ndarray:
    """Sorts grid points [n, 3] along a Morton curve, any run of which is compact; [n] int64."""
    code = np.zeros(len(index), np.int64)
    for bit in range(12):
        for axis in range(3):
            code |= ((index[:, axis] >> bit) & 1) << (3 * bit + 2 - axis)
    return np.argsort(code, kind="stable")


@numba.njit(cache=True)
def _orbits(shape, matrix, shift):  # type: ignore[no-untyped-def]
    """The first point of each orbit along `order`, for all points."""
    n1, n2, n3 = shape[0], shape[1], shape[2]
    representative = np.full(n1 * n2 * n3, -1, np.int32)
    for v in range(len(representative)):
        if representative[v] >= 0:
            continue
        i, j, k = v // (n2 * n3), (v // n3) % n2, v % n3
        for g in range(len(matrix)):
            m = matrix[g]
            a = (m[0, 0] * i + m[0, 1] * j + m[0, 2] * k + shift[g, 0]) % n1
            b = (m[1, 0] * i + m[1, 1] * j + m[1, 2] * k + shift[g, 1]) % n2
            c = (m[2, 0] * i + m[2, 1] * j + m[2, 2] * k + shift[g, 2]) % n3
            representative[(a * n2 + b) * n3 + c] = v
    return representative
