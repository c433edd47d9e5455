"""Neighbour lists of tiles of points, for the kernel of `mfal.oracles.bond_valence.site_energy`.

Each tile gets the images of the framework's ions within the cut-off of any of its points, found
once and in float64, with positions relative to the tile's centre; and, in float64 as well, what the
pairs on the repulsive cores add.
"""

import math
from typing import NamedTuple

import numba
import numpy as np

from mfal.oracles.bond_valence.framework import Framework
from mfal.oracles.bond_valence.pair_potentials import CUT_OFF

__all__ = ["CLOSEST", "CORE", "TileLists", "lattice_shifts", "tile_lists"]

CORE = 1.5
"""Å; closer pairs are computed in float64."""
CLOSEST = 0.01
"""Å; a cation's distance is clamped to it, so that a point on it stays finite."""


class TileLists(NamedTuple):
    """What the kernel reads for one structure, N points a tile; entries past a list's end add 0."""

    points: np.ndarray  # [3, tiles, N] float32, Å from the tile's centre
    anions: np.ndarray  # [tiles, A, 6] float32: x, y, z, alpha, alpha R_min, D0 / 2
    cations: np.ndarray  # [tiles, C, 5] float32: x, y, z, strength, inverse screening length
    cores: np.ndarray  # [tiles, N] float64, eV: what pairs within `CORE` lack in the kernel


def tile_lists(framework: Framework, points: np.ndarray) -> TileLists:
    """Neighbour lists, and float64 cores, of tiles of fractional points [tiles, N, 3]."""
    places = points @ framework.lattice
    centres = 0.5 * (places.min(axis=1) + places.max(axis=1))
    relative = places - centres[:, None]
    radii = np.sqrt((relative**2).sum(axis=-1).max(axis=1))
    shifts = lattice_shifts(framework.lattice, CUT_OFF, points.reshape(-1, 3))
    anion = framework.anion_constants
    anions = np.stack([anion[:, 1], anion[:, 1] * anion[:, 0], 0.5 * anion[:, 2]], axis=-1)
    cores = np.zeros(relative.shape[:2])
    near = lattice_shifts(framework.lattice, CORE, points.reshape(-1, 3))
    for positions, constants in (
        (framework.anion_position, anions),
        (framework.cation_position, framework.cation_constants),
    ):
        images = (positions[:, None] + near).reshape(-1, 3) @ framework.lattice
        owner = np.repeat(np.arange(len(positions)), len(near))
        counts, found = _search(images, centres, (CORE + radii) ** 2)
        _add_cores(cores, relative, images, owner, constants, centres, counts, found)
    return TileLists(
        np.ascontiguousarray(np.moveaxis(relative, -1, 0), np.float32),
        _neighbours(framework.lattice, framework.anion_position, anions, shifts, centres, radii),
        _neighbours(
            framework.lattice,
            framework.cation_position,
            framework.cation_constants,
            shifts,
            centres,
            radii,
        ),
        cores,
    )


@numba.njit(cache=True, nogil=True)
def _add_cores(  # type: ignore[no-untyped-def]
    cores, relative, images, owner, constants, centres, counts, found
):
    """Adds E(R) - E(CORE) of every pair closer than `CORE`, in float64.

    The constants are those of the kernel: three of them for a Morse well, two for a repulsion.
    """
    morse = constants.shape[1] == 3
    start = 0
    for tile in range(len(centres)):
        for k in range(counts[tile]):
            image = found[start + k]
            x = images[image, 0] - centres[tile, 0]
            y = images[image, 1] - centres[tile, 1]
            z = images[image, 2] - centres[tile, 2]
            one = constants[owner[image]]
            if morse:
                exponential = math.exp(one[1] - one[0] * CORE)
                edge = one[2] * exponential * (exponential - 2.0)
            else:
                edge = one[0] * math.erfc(CORE * one[1]) / CORE
            for point in range(relative.shape[1]):
                dx = relative[tile, point, 0] - x
                dy = relative[tile, point, 1] - y
                dz = relative[tile, point, 2] - z
                square = dx * dx + dy * dy + dz * dz
                if square >= CORE * CORE:
                    continue
                distance = math.sqrt(square)
                if morse:
                    exponential = math.exp(one[1] - one[0] * distance)
                    energy = one[2] * exponential * (exponential - 2.0)
                else:
                    distance = max(distance, CLOSEST)
                    energy = one[0] * math.erfc(distance * one[1]) / distance
                cores[tile, point] += energy - edge
        start += counts[tile]


def lattice_shifts(lattice: np.ndarray, cut_off: float, points: np.ndarray) -> np.ndarray:
    """Lattice vectors that bring an ion of the home cell within reach of the points, [S, 3]."""
    reach = cut_off * np.linalg.norm(np.linalg.inv(lattice), axis=0)
    low = np.floor(points.min(axis=0) - reach).astype(int) - 1
    high = np.ceil(points.max(axis=0) + reach).astype(int)
    axes = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _neighbours(
    lattice: np.ndarray,
    positions: np.ndarray,
    constants: np.ndarray,
    shifts: np.ndarray,
    centres: np.ndarray,
    radii: np.ndarray,
) -> np.ndarray:
    """Images within the cut-off of each tile: [tiles, L, 3 + constants] float32, zeros after."""
    images = (positions[:, None] + shifts).reshape(-1, 3) @ lattice
    owner = np.repeat(np.arange(len(positions)), len(shifts))
    near = _near_box(images, centres.min(axis=0), centres.max(axis=0), CUT_OFF + radii.max())
    images, owner = images[near], owner[near]
    counts, found = _search(images, centres, (CUT_OFF + radii) ** 2)
    return _fill(images, owner, constants, centres, counts, found)


def _near_box(images: np.ndarray, low: np.ndarray, high: np.ndarray, reach: float) -> np.ndarray:
    """Whether each image lies within `reach` of a box."""
    outside = np.maximum(np.maximum(low - images, images - high), 0.0)
    return (outside**2).sum(axis=1) <= reach**2


@numba.njit(cache=True, nogil=True)
def _search(
    images: np.ndarray, centres: np.ndarray, reach_squared: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How many images each tile meets, and which, one tile after the other."""
    counts = np.zeros(len(centres), np.int64)
    found = np.empty(1024, np.int32)
    total = 0
    for tile in range(len(centres)):
        for image in range(len(images)):
            dx = images[image, 0] - centres[tile, 0]
            dy = images[image, 1] - centres[tile, 1]
            dz = images[image, 2] - centres[tile, 2]
            if dx * dx + dy * dy + dz * dz < reach_squared[tile]:
                if total == len(found):
                    grown = np.empty(2 * total, np.int32)
                    grown[:total] = found
                    found = grown
                found[total] = image
                total += 1
                counts[tile] += 1
    return counts, found[:total]


@numba.njit(cache=True, nogil=True)
def _fill(
    images: np.ndarray,
    owner: np.ndarray,
    constants: np.ndarray,
    centres: np.ndarray,
    counts: np.ndarray,
    found: np.ndarray,
) -> np.ndarray:
    longest = 0
    for count in counts:
        longest = max(longest, count)
    fields = constants.shape[1]
    lists = np.zeros((len(centres), longest, 3 + fields), np.float32)
    lists[:, :, 0] = 9e3  # far away: an entry that is no image adds nothing
    start = 0
    for tile in range(len(centres)):
        for k in range(counts[tile]):
            image = found[start + k]
            for axis in range(3):
                lists[tile, k, axis] = images[image, axis] - centres[tile, axis]
            for field in range(fields):
                lists[tile, k, 3 + field] = constants[owner[image], field]
        start += counts[tile]
    return lists
