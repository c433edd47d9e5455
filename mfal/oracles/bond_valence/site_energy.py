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

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from mfal.oracles.bond_valence.framework import Framework
from mfal.oracles.bond_valence.pair_potentials import CUT_OFF
from mfal.oracles.bond_valence.symmetry import Grid, morton_order
from mfal.oracles.bond_valence.tiles import CORE, tile_lists

__all__ = [
    "grid_shape",
    "pair_sums",
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
    tiles = _tile_energies(framework, padded.reshape(-1, _POINTS, 3))
    return tiles.reshape(-1)[:count]


def _tile_energies(framework: Framework, points: np.ndarray) -> np.ndarray:
    """Energies [tiles, _POINTS] at points [tiles, _POINTS, 3]; both cores share the chunks."""
    lists = tile_lists(framework, points)
    tiles = lists.points.shape[1]
    energies = lists.cores

    def run(chunk: tuple[int, int]) -> None:
        start, size = chunk
        stop = min(start + size, tiles)
        energies[start:stop] += _run_chunk(
            lists.points[:, start:stop], lists.anions[start:stop], lists.cations[start:stop]
        )

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, _chunks(tiles)))
    return energies


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
    energies = pair_sums(padded, *blocks, *rounds)
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
def pair_sums(
    points: jax.Array, anions: jax.Array, cations: jax.Array, rounds_a: int, rounds_c: int
) -> jax.Array:
    """The kernel: sums over both kinds of pairs.

    Args:
      points: [3, tiles, points] Å, from each tile's centre.
      anions: [rounds, entries, 6, tiles]: place (Å), alpha (1/Å), alpha times R_min, D0 (eV).
      cations: [rounds, entries, 5, tiles]: place (Å), strength (eV Å), inverse screening length.
      rounds_a: rounds of anions that hold something, [] int.
      rounds_c: the same of cations.

    Returns:
      [tiles, points] eV.
    """
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
