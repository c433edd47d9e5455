"""Bond-valence site energies of a mobile cation at many points of a framework.

The sum runs over all periodic images within the cut-off. Points are gathered into small compact
tiles; each tile gets, once and in float64, the list of the images that can reach it, with positions
relative to the tile's centre. The kernel then walks through the lists with the points of all tiles
on the vector axis, in float32: relative positions are small, so little is lost to rounding. On the
repulsive cores an energy changes by up to 1e5 eV/Å, too steep for float32: the kernel takes pairs
closer than `CORE` as if they were that far apart, and what they lack, a pair or two a point, is
added in float64 (`mfal.oracles.bond_valence.tiles`). Lists are padded to a few fixed lengths and
tiles are processed in chunks of fixed size, so that structures of any size and number share a
handful of compiled programs.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from mfal.oracles.bond_valence.framework import Framework
from mfal.oracles.bond_valence.pair_potentials import CUT_OFF, coulomb_energy, morse_energy
from mfal.oracles.bond_valence.symmetry import Grid, morton_order
from mfal.oracles.bond_valence.tiles import CLOSEST, CORE, lattice_shifts, tile_lists

__all__ = [
    "energy_map",
    "energy_maps",
    "grid_shape",
    "reference_energies",
    "site_energies",
    "symmetric_map",
]

_POINTS = 512  # points of a tile: some 1.6 Å on a side at a resolution of 0.2 Å
_TILES = (8, 32)  # tiles of a chunk: few for a rest, many otherwise
_UNROLL = 8  # list entries fused into one pass over the points


def grid_shape(lattice: np.ndarray, resolution: float) -> tuple[int, int, int]:
    """Points along a, b and c so that neighbours are no more than `resolution` (Å) apart.

    >>> grid_shape(4.1 * np.eye(3), 0.2)
    (21, 21, 21)
    """
    lengths = np.linalg.norm(lattice, axis=1)
    a, b, c = (max(int(np.ceil(length / resolution - 1e-9)), 3) for length in lengths)
    return a, b, c


def energy_map(
    framework: Framework, shape: tuple[int, int, int], origin: Sequence[float] = (0.0, 0.0, 0.0)
) -> np.ndarray:
    """Energies on a regular grid over the cell, [n1, n2, n3] float64, eV, right to 1e-4 eV.

    Args:
      framework: the ions that stay.
      shape: points along each axis; point (i, j, k) lies at (i/n1, j/n2, k/n3) + origin.
      origin: fractional shift of the whole grid.
    """
    return energy_maps([framework], [shape], [origin])[0]


def energy_maps(
    frameworks: Sequence[Framework],
    shapes: Sequence[tuple[int, int, int]],
    origins: Sequence[Sequence[float]] | None = None,
) -> list[np.ndarray]:
    """`energy_map` of several frameworks, sharing the compiled programs and both cores."""
    origins = origins or [(0.0, 0.0, 0.0)] * len(frameworks)
    jobs = []
    for framework, shape, origin in zip(frameworks, shapes, origins, strict=True):
        block = _block_shape(shape, framework.lattice)
        index = _grid_tiles(shape, block)
        steps = np.stack(np.unravel_index(index, shape), axis=-1) / np.asarray(shape)
        jobs.append((framework, (steps + np.asarray(origin)).astype(float), index))
    energies = _tile_energies([(framework, points) for framework, points, _ in jobs])
    maps = []
    for (_, _, index), tiles, shape in zip(jobs, energies, shapes, strict=True):
        values = np.empty(int(np.prod(shape)))
        values[index.ravel()] = tiles.ravel()
        maps.append(values.reshape(shape))
    return maps


def symmetric_map(framework: Framework, grid: Grid) -> np.ndarray:
    """Energies on a grid that shares the framework's symmetry, [n1, n2, n3] float64, eV.

    One point of each orbit is computed.
    """
    chosen = np.flatnonzero(grid.representative == np.arange(len(grid.representative)))
    index = np.stack(np.unravel_index(chosen, grid.shape), axis=-1)
    order = morton_order(index)
    energies = np.empty(len(grid.representative))
    energies[chosen[order]] = site_energies(framework, index[order] / np.asarray(grid.shape))
    return energies[grid.representative].reshape(grid.shape)


def site_energies(framework: Framework, points: np.ndarray) -> np.ndarray:
    """Energies at fractional coordinates `points` [N, 3] in any order, [N] float64, eV.

    Neighbouring points should follow one another: tiles are cut from consecutive ones, and a tile
    spread over the whole cell meets all images.
    """
    count = len(points)
    padded = np.concatenate([points, np.repeat(points[-1:], -count % _POINTS, axis=0)])
    tiles = _tile_energies([(framework, padded.reshape(-1, _POINTS, 3))])[0]
    return tiles.reshape(-1)[:count]


def reference_energies(
    framework: Framework, points: np.ndarray, cut_off: float = CUT_OFF
) -> np.ndarray:
    """The same in float64 NumPy, pair by pair: slow, short, and what the kernel is tested against.

    Args:
      framework: the ions that stay.
      points: [N, 3] fractional coordinates.
      cut_off: Å.
    """
    shifts = lattice_shifts(framework.lattice, cut_off, points)
    total = np.zeros(len(points))
    places = points @ framework.lattice
    for position, (r_min, alpha, d0) in zip(
        framework.anion_position, framework.anion_constants, strict=True
    ):
        images = (position + shifts) @ framework.lattice
        distance = np.linalg.norm(places[:, None] - images, axis=-1)
        energy = morse_energy(distance, r_min, alpha, d0)
        total += np.where(distance < cut_off, energy, 0.0).sum(axis=1)
    for position, (strength, inverse) in zip(
        framework.cation_position, framework.cation_constants, strict=True
    ):
        images = (position + shifts) @ framework.lattice
        distance = np.linalg.norm(places[:, None] - images, axis=-1)
        distance = np.maximum(distance, CLOSEST)
        energy = coulomb_energy(distance, strength, inverse)
        total += np.where(distance < cut_off, energy, 0.0).sum(axis=1)
    return total


def _block_shape(shape: tuple[int, int, int], lattice: np.ndarray) -> tuple[int, int, int]:
    """Extent of a tile in grid points: at most `_POINTS`, compact, and little left over."""
    lengths = np.linalg.norm(lattice, axis=1) / np.asarray(shape)
    best, best_cost = (1, 1, 1), np.inf
    for i in range(1, 25):
        for j in range(1, min(24, _POINTS // i) + 1):
            k = min(_POINTS // (i * j), shape[2])
            blocks = -(-shape[0] // i) * -(-shape[1] // j) * -(-shape[2] // k)
            radius = 0.5 * np.linalg.norm(lengths * (i, j, k))
            cost = blocks * float(CUT_OFF + radius) ** 3
            if cost < best_cost:
                best, best_cost = (i, j, k), cost
    return best


def _grid_tiles(shape: tuple[int, int, int], block: tuple[int, int, int]) -> np.ndarray:
    """Flat grid indices of each tile, [tiles, _POINTS]; points at the rim are repeated."""
    axes = []
    for count, extent in zip(shape, block, strict=True):
        start = np.arange(0, count, extent)
        axes.append(np.minimum(start[:, None] + np.arange(extent), count - 1))
    x, y, z = axes
    index = (x[:, None, None, :, None, None] * shape[1] + y[None, :, None, None, :, None]) * shape[
        2
    ] + z[None, None, :, None, None, :]
    index = index.reshape(len(x) * len(y) * len(z), -1)
    return np.pad(index, ((0, 0), (0, _POINTS - index.shape[1])), mode="edge")


def _tile_energies(jobs: Sequence[tuple[Framework, np.ndarray]]) -> list[np.ndarray]:
    """Energies [tiles, _POINTS] for each pair of a framework and points [tiles, _POINTS, 3]."""
    lists = [tile_lists(framework, points) for framework, points in jobs]
    chunks = [
        (number, start, min(start + size, one.points.shape[1]))
        for number, one in enumerate(lists)
        for start, size in _chunks(one.points.shape[1])
    ]
    results = [one.cores for one in lists]

    def run(chunk: tuple[int, int, int]) -> None:
        number, start, stop = chunk
        one = lists[number]
        results[number][start:stop] += _run_chunk(
            one.points[:, start:stop], one.anions[start:stop], one.cations[start:stop]
        )

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, chunks))
    return results


def _chunks(tiles: int) -> list[tuple[int, int]]:
    """Start and size of each chunk: large ones, and small ones for what is left over."""
    small, large = _TILES
    whole = tiles // large * large
    if tiles - whole > 2 * small:
        whole = -(-tiles // large) * large
    starts = [(start, large) for start in range(0, whole, large)]
    return starts + [(start, small) for start in range(whole, tiles, small)]


def _run_chunk(points: np.ndarray, anions: np.ndarray, cations: np.ndarray) -> np.ndarray:
    """Pads one chunk to the compiled shapes and runs the kernel, [tiles, _POINTS]."""
    tiles = points.shape[1]
    size = _TILES[0] if tiles <= _TILES[0] else _TILES[1]
    length = _bucket(max(anions.shape[1], cations.shape[1]))
    padded = np.zeros((3, size, _POINTS), np.float32)
    padded[:, :tiles] = points
    blocks = [
        _blocks(one, length, size, filler)
        for one, filler in ((anions, (0, 0, 0, 0, 0, 0)), (cations, (9e3, 0, 0, 0, 0)))
    ]
    rounds = [-(-one.shape[1] // _UNROLL) for one in (anions, cations)]
    energies = _kernel(padded, *blocks, *rounds)
    return np.asarray(energies)[:tiles]


def _bucket(length: int) -> int:
    """The compiled list length that holds `length` entries: 512, and four times as much each.

    Few, as each costs seconds to compile; the kernel stops at the lists' end, not at the bucket's.
    """
    size = 512
    while size < length:
        size *= 4
    return size


def _blocks(lists: np.ndarray, length: int, size: int, filler: tuple[float, ...]) -> np.ndarray:
    """Lists [tiles, L, F] as the kernel reads them: [length / _UNROLL, _UNROLL, F, size]."""
    tiles, entries, fields = lists.shape
    padded = np.empty((length, fields, size), np.float32)
    padded[:] = np.asarray(filler, np.float32)[:, None]
    padded[:entries, :, :tiles] = lists.transpose(1, 2, 0)
    return padded.reshape(length // _UNROLL, _UNROLL, fields, size)


@partial(jax.jit, donate_argnums=())
def _kernel(
    points: jax.Array, anions: jax.Array, cations: jax.Array, rounds_a: int, rounds_c: int
) -> jax.Array:
    """Sums both kinds of pairs, [tiles, _POINTS]; the rounds say where the lists end."""
    x, y, z = points

    def squared(entry: jax.Array) -> jax.Array:
        dx, dy, dz = (axis - entry[k][:, None] for k, axis in enumerate((x, y, z)))
        return dx * dx + dy * dy + dz * dz

    def anion_round(k: jax.Array, total: jax.Array) -> jax.Array:
        for entry in anions[k]:
            square = jnp.maximum(squared(entry), CORE**2)
            exponential = jnp.exp(entry[4][:, None] - entry[3][:, None] * jnp.sqrt(square))
            depth = jnp.where(square < CUT_OFF**2, entry[5][:, None], 0.0)
            total += depth * exponential * (exponential - 2.0)
        return total

    def cation_round(k: jax.Array, total: jax.Array) -> jax.Array:
        for entry in cations[k]:
            square = jnp.maximum(squared(entry), CORE**2)
            distance = jnp.sqrt(square)
            strength = jnp.where(square < CUT_OFF**2, entry[3][:, None], 0.0)
            total += strength * jax.lax.erfc(distance * entry[4][:, None]) / distance
        return total

    total = jax.lax.fori_loop(0, rounds_a, anion_round, jnp.zeros_like(x))
    return jax.lax.fori_loop(0, rounds_c, cation_round, total)
