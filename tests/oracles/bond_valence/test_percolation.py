import itertools

import numpy as np
import pytest
from scipy.ndimage import label

from mfal.oracles.bond_valence.percolation import percolate


def _tunnels(shape: tuple[int, int, int]) -> np.ndarray:
    return np.full(shape, 9.0)


def test_straight_tunnels_open_one_dimension_at_a_time() -> None:
    energy = _tunnels((12, 12, 12))
    energy[:, 3, 3] = 0.3
    energy[3, :, 3] = 0.5
    energy[3, 3, :] = 0.7
    energy[3, 3, 3] = 0.0
    found = percolate(energy, ceiling=5.0)
    np.testing.assert_allclose(found.barrier, [0.3, 0.5, 0.7])


def test_a_cage_never_percolates() -> None:
    energy = _tunnels((10, 10, 10))
    energy[3:6, 3:6, 3:6] = 0.0
    found = percolate(energy, ceiling=5.0)
    assert np.isinf(found.barrier).all()
    assert len(found.site) == 1


def test_one_site() -> None:
    # A single minimum; every loop leads back to it through a neighbouring cell.
    axes = np.meshgrid(*[np.arange(8) / 8] * 3, indexing="ij")
    energy = -np.cos(2 * np.pi * axes[0]) - 2 * np.cos(2 * np.pi * axes[1])
    energy -= 3 * np.cos(2 * np.pi * axes[2])
    found = percolate(energy, margin=0.0, ceiling=20.0)
    np.testing.assert_allclose(found.barrier, [2.0, 4.0, 6.0], atol=1e-12)
    assert len(found.site) == 1


def test_interpenetrating_nets_are_told_apart() -> None:
    # Two cubic nets as in cuprite, each three-dimensional on its own, at 0 and 0.2 eV. Counting
    # images modulo two would find them joined only at the wall's height.
    energy = _tunnels((12, 12, 12))
    for offset, level in ((2, 0.0), (8, 0.2)):
        energy[:, offset, offset] = level
        energy[offset, :, offset] = level
        energy[offset, offset, :] = level
    found = percolate(energy, ceiling=5.0)
    np.testing.assert_allclose(found.barrier, 0.0)


def test_a_tunnel_that_winds_twice_before_it_closes() -> None:
    # The path advances two cells along x before it meets itself; it is one-dimensional all the
    # same, and a diagonal one goes along x and y at once without being two-dimensional.
    energy = _tunnels((12, 16, 12))
    for step in range(24):
        energy[step % 12, (step * 16 // 24 // 1) % 16, 5] = 0.1 if step else 0.0
    found = percolate(energy, ceiling=5.0)
    assert found.barrier[0] == pytest.approx(0.1)
    assert np.isinf(found.barrier[1])


def test_the_own_barrier_leaves_out_a_pocket() -> None:
    energy = _tunnels((12, 12, 12))
    energy[9, 9, 9] = -1.0
    energy[:, 3, 3] = 0.5
    energy[3, 3, 3] = 0.2
    found = percolate(energy, ceiling=8.0)
    assert found.barrier[0] == pytest.approx(1.5)
    assert found.own_barrier[0] == pytest.approx(0.3)


def _brute_force_rank(energy: np.ndarray, threshold: float) -> int:
    """Rank of the lattice of loops of any component of energy <= threshold, by a walk."""
    open_points = energy <= threshold
    best = 0
    seen: dict[tuple, np.ndarray] = {}
    shape = np.array(energy.shape)
    steps = [d for d in itertools.product((-1, 0, 1), repeat=3) if any(d)]
    for start in map(tuple, np.argwhere(open_points)):
        if start in seen:
            continue
        loops = []
        seen[start] = np.zeros(3, int)
        stack = [start]
        while stack:
            here = stack.pop()
            for step in steps:
                there = np.add(here, step)
                home = tuple(int(x) for x in np.mod(there, shape))
                if not open_points[home]:
                    continue
                cell = seen[here] + np.floor_divide(there, shape)
                if home not in seen:
                    seen[home] = cell
                    stack.append(home)
                elif (cell != seen[home]).any():
                    loops.append(cell - seen[home])
        if loops:
            best = max(best, int(np.linalg.matrix_rank(np.array(loops))))
    return best


@pytest.mark.parametrize("seed", range(12))
def test_thresholds_against_a_walk_through_random_maps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 7, 3))
    energy = rng.uniform(0, 1, shape)
    if seed % 2:
        energy[rng.uniform(size=shape) < 0.5] += 1.0
    found = percolate(energy, ceiling=10.0)
    for dimension, threshold in enumerate(found.threshold, start=1):
        assert _brute_force_rank(energy, threshold) >= dimension
        below = energy[energy < threshold]
        if below.size:
            assert _brute_force_rank(energy, below.max()) < dimension


@pytest.mark.parametrize("seed", range(4))
def test_sites_are_the_local_minima_and_saddles_join_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    energy = rng.uniform(0, 1, (7, 8, 6))
    found = percolate(energy, margin=np.inf, ceiling=10.0)
    neighbours = [
        np.roll(energy, shift, (0, 1, 2))
        for shift in itertools.product((-1, 0, 1), repeat=3)
        if any(shift)
    ]
    minima = np.flatnonzero((energy < np.min(neighbours, axis=0)).ravel())
    assert set(found.site) == set(minima)
    assert (np.diff(found.saddle_energy) >= 0).all()
    # The lowest hop of each site leads over the energy at which its basin first meets another.
    for number, site in enumerate(found.site[1:], start=1):
        at = (found.hop == number).any(axis=1) & (found.hop[:, 0] != found.hop[:, 1])
        way_out = found.saddle_energy[at].min()
        start = np.unravel_index(site, energy.shape)

        def holds_another(level: float, start: tuple = start) -> bool:
            tiled = np.tile(energy <= level, (3, 3, 3))
            labels, _ = label(tiled, np.ones((3, 3, 3)))
            centre = tuple(np.add(start, energy.shape))
            inside = np.argwhere(labels == labels[centre])
            flat = np.ravel_multi_index(tuple(np.mod(inside, energy.shape).T), energy.shape)
            return len(set(flat) & set(minima)) > 1

        assert holds_another(way_out)
        below = energy[(energy < way_out) & (energy >= found.site_energy[number])]
        assert not holds_another(below.max())


def test_windings_close() -> None:
    # Going down from a saddle on either side must give the winding that the hop states: a hop and
    # its site positions reproduce the shortest step between neighbours on a smooth map.
    axes = np.meshgrid(*[np.arange(12) / 12] * 3, indexing="ij")
    energy = -sum(np.cos(4 * np.pi * x) for x in axes)  # eight minima, half a cell apart
    found = percolate(energy, margin=0.1, ceiling=10.0)
    assert len(found.site) == 8
    place = np.stack(np.unravel_index(found.site, energy.shape), -1) / 12
    lowest = np.isclose(found.saddle_energy, found.saddle_energy[0])
    vectors = place[found.hop[:, 1]] + found.winding - place[found.hop[:, 0]]
    lengths = np.linalg.norm(vectors[lowest], axis=1)
    np.testing.assert_allclose(lengths, 0.5)
    assert lowest.sum() == 24  # three per site and direction, each listed once


def test_the_grids_origin_does_not_matter() -> None:
    energy = np.random.default_rng(3).uniform(0, 1, (6, 7, 8))
    rolled = np.roll(energy, (2, 3, 5), (0, 1, 2))
    one, two = (percolate(map_, margin=np.inf) for map_ in (energy, rolled))
    np.testing.assert_array_equal(one.barrier, two.barrier)
    np.testing.assert_array_equal(one.site_energy, two.site_energy)
    np.testing.assert_array_equal(one.saddle_energy, two.saddle_energy)


def test_nothing_is_open() -> None:
    found = percolate(np.full((3, 3, 3), np.inf))
    assert len(found.site) == 0
    assert np.isinf(found.barrier).all()
