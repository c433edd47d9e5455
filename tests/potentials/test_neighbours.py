import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfal.errors import MfalError
from mfal.potentials.neighbours import bucket, neighbour_tables, outdated, sizes_of
from mfal.potentials.pairs import pairs_within

CUTOFF, INNER = 6.0, 3.0


def brute_force(positions, cell, cutoff):
    """Every directed pair by trying all images, from the definition."""
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    fractional = positions @ np.linalg.inv(cell)
    spread = np.ptp(fractional, axis=0)
    reach = [
        math.ceil(cutoff / height + extra) + 1
        for height, extra in zip(heights, spread, strict=True)
    ]
    found = set()
    for image in itertools.product(*(range(-n, n + 1) for n in reach)):
        vectors = positions[None] + np.array(image) @ cell - positions[:, None]
        near = np.linalg.norm(vectors, axis=-1) < cutoff
        for i, j in np.argwhere(near):
            if i != j or any(image):
                found.add((int(i), int(j), *image))
    return found


def directed(pairs):
    rows = zip(pairs.first.tolist(), pairs.second.tolist(), pairs.image.tolist(), strict=True)
    there = [(i, j, *image) for i, j, image in rows]
    back = [(j, i, *(-n for n in image)) for i, j, *image in there]
    return [*there, *back]


def random_crystal(seed, atoms, stretch):
    """Atoms at least 1.2 Å apart, partly outside a skewed cell."""
    rng = np.random.default_rng(seed)
    edge = stretch * (15.0 * atoms) ** (1 / 3)
    cell = edge * (np.eye(3) + rng.uniform(-0.45, 0.45, (3, 3)))
    # A unimodular shear leaves the lattice as it is, and makes the cell long and thin.
    shear = np.eye(3)
    shear[0, 1:], shear[1, 2] = rng.integers(-3, 4, 2), rng.integers(-3, 4)
    cell = shear @ cell
    kept = []
    for _ in range(400):
        place = rng.uniform(-1.5, 1.5, 3) @ cell
        others = np.array([*kept, place])
        try:
            near = pairs_within(others, cell, 1.2)
        except MfalError:
            continue
        if not len(near.first):
            kept.append(place)
        if len(kept) == atoms:
            break
    return np.array(kept), cell


@given(st.integers(0, 10**6), st.integers(1, 6), st.sampled_from([0.8, 1.0, 2.5]))
def test_pairs_are_those_of_the_definition(seed, atoms, stretch):
    positions, cell = random_crystal(seed, atoms, stretch)
    if not len(positions):
        return
    found = directed(pairs_within(positions, cell, 5.0))
    assert len(found) == len(set(found))
    assert set(found) == brute_force(positions, cell, 5.0)


def test_pairs_of_a_lattice_come_in_its_shells():
    # Simple cubic, 1 Å: 6, 12, 8, 6 neighbours at 1, sqrt 2, sqrt 3, 2.
    pairs = pairs_within(np.zeros((1, 3)), np.eye(3), 2.01)
    assert len(pairs.first) * 2 == 6 + 12 + 8 + 6
    assert np.allclose(np.unique(pairs.distance.round(9)), np.sqrt([1, 2, 3, 4]))


def test_an_isolated_atom_has_no_pair_and_a_box_may_be_huge():
    assert not len(pairs_within(np.zeros((1, 3)), 1000 * np.eye(3), CUTOFF).first)
    dimer = np.array([[0, 0, 0], [999.0, 0, 0]])
    pairs = pairs_within(dimer, 1000 * np.eye(3), CUTOFF)
    assert pairs.image.tolist() == [[-1, 0, 0]]
    assert pairs.distance == pytest.approx(1.0)


def test_many_atoms_are_searched_in_parts():
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(12)] * 3), -1).reshape(-1, 3) * 2.5
    positions = grid + rng.uniform(-0.3, 0.3, grid.shape)
    pairs = pairs_within(positions, 30 * np.eye(3), CUTOFF)
    difference = positions[None] - positions[:, None]
    difference -= 30 * np.round(difference / 30)
    distances = np.linalg.norm(difference, axis=-1)
    assert 2 * len(pairs.first) == np.count_nonzero(distances < CUTOFF) - len(positions)


@pytest.mark.parametrize(
    ("positions", "cell", "said"),
    [
        (np.full((1, 3), np.nan), np.eye(3) * 5, "not finite"),
        (np.zeros((4, 3)), np.eye(3) * 0.1, "neighbours within"),
        (np.zeros((2, 3)), np.eye(3) * 5, "on top of one another"),
        (np.zeros((1, 3)), np.ones((3, 3)), "neighbours within"),
    ],
)
def test_what_is_no_crystal_is_refused(positions, cell, said):
    with pytest.raises(MfalError, match=said):
        pairs_within(positions, cell, CUTOFF)


def tables(positions, cell, **options):
    species = np.ones(np.shape(positions)[:-1], int)
    return neighbour_tables(positions, cell, species, cutoff=CUTOFF, inner=INNER, **options)


def held(n, atoms):
    """The directed pairs of tables."""
    pairs = [
        (int(i), int(j), *image.tolist())
        for i, j, image in zip(n.first, n.second, np.asarray(n.image), strict=True)
        if i < atoms
    ]
    return {*pairs, *((j, i, *(-m for m in image)) for i, j, *image in pairs)}


@pytest.mark.parametrize("seed", range(4))
def test_tables_hold_what_they_say(seed):
    positions, cell = random_crystal(seed, 5, 0.9)
    n = jax.tree.map(np.asarray, tables(positions, cell))
    atoms, pairs, near = len(positions), len(n.first), len(n.angles_of) // 2
    real = n.first < atoms
    assert (real == (n.second < atoms)).all()
    assert held(n, atoms) == brute_force(positions, cell, CUTOFF)
    assert 2 * real.sum() == len(held(n, atoms))

    starts = np.concatenate([n.first, n.second])
    for atom, edges in enumerate(n.edges_of):
        assert sorted(edges[edges < 2 * pairs]) == np.nonzero(starts == atom)[0].tolist()

    first, second = (positions[np.minimum(ends, atoms - 1)] for ends in (n.first, n.second))
    vectors = second + n.image @ cell - first
    distances = np.where(real, np.linalg.norm(vectors, axis=-1), np.nan)
    assert not (distances[:near] >= INNER).any()
    assert not (distances[near:] < INNER).any()
    bond_real = np.tile(real[:near], 2)
    centre = np.concatenate([n.first[:near], n.second[:near]])
    for atom, edges in enumerate(n.edges_of):
        bonds = [e % pairs < near for e in edges if e < 2 * pairs]
        assert bonds == sorted(bonds, reverse=True)
        assert sum(bonds) == (centre == atom).sum()

    count = int((n.angle_first < 2 * near).sum())
    angles = [
        frozenset(map(int, pair))
        for pair in zip(n.angle_first[:count], n.angle_second[:count], strict=True)
    ]
    degrees = np.bincount(centre[bond_real], minlength=atoms)
    assert len(set(angles)) == count == (degrees * (degrees - 1)).sum() // 2
    assert all(len(pair) == 2 and len({centre[bond] for bond in pair}) == 1 for pair in angles)
    ends = np.concatenate([n.angle_first, n.angle_second])
    for bond in np.nonzero(bond_real)[0]:
        of = n.angles_of[bond]
        assert sorted(of[of < len(ends)]) == np.nonzero(ends == bond)[0].tolist()


def test_absent_atoms_are_in_no_table_and_a_batch_has_common_sizes():
    one, two = random_crystal(1, 3, 1.0), random_crystal(2, 6, 0.9)
    positions = np.zeros((3, 8, 3))
    species = np.zeros((3, 8), int)
    for row, (places, _) in enumerate((one, two)):
        positions[row, : len(places)], species[row, : len(places)] = places, 3
    cells = np.stack([one[1], two[1], np.eye(3)])
    batch = neighbour_tables(positions, cells, species, cutoff=CUTOFF, inner=INNER)
    sizes = sizes_of(batch)
    for row, (places, cell) in enumerate((one, two)):
        alone = tables(places, cell, sizes=sizes)
        assert sizes_of(alone) == sizes
        ours = jax.tree.map(lambda leaf, row=row: leaf[row], batch)
        assert held(ours, 8) == held(alone, len(places))
        assert (np.asarray(ours.edges_of[len(places) :]) == 2 * len(ours.first)).all()
    assert (np.asarray(batch.first[2]) == 8).all()


def test_tables_outgrow_the_sizes_that_were_kept():
    positions, cell = random_crystal(3, 4, 1.3)
    sizes = sizes_of(tables(positions, cell))
    dense = tables(positions * 0.7, cell * 0.7, sizes=sizes)
    assert held(dense, 4) == brute_force(positions * 0.7, cell * 0.7, CUTOFF)
    assert all(new >= old for new, old in zip(sizes_of(dense), sizes, strict=True))
    assert sizes_of(tables(positions, cell, sizes=sizes_of(dense))) == sizes_of(dense)


@given(st.integers(0, 10**6), st.floats(0.0, 0.4), st.floats(0.0, 0.03))
def test_tables_that_are_not_outdated_lack_no_pair(seed, move, strain):
    positions, cell = random_crystal(seed, 4, 1.0)
    if not len(positions):
        return
    made = tables(positions, cell, skin=0.5)
    rng = np.random.default_rng(seed)
    deformation = np.eye(3) + strain * rng.uniform(-1, 1, (3, 3))
    new_cell = cell @ deformation
    new = positions @ deformation + move * rng.uniform(-1, 1, positions.shape)
    late = bool(outdated(made, jnp.asarray(new, jnp.float32), jnp.asarray(new_cell, jnp.float32)))
    near = brute_force(new, new_cell, CUTOFF - 2e-3)
    assert late or near <= held(made, len(positions))
    if move == 0 and strain == 0:
        assert not late


def test_half_the_skin_outdates():
    positions, cell = random_crystal(5, 4, 1.0)
    made = tables(positions, cell, skin=0.5)
    box = jnp.asarray(cell, jnp.float32)
    step = np.zeros_like(positions)
    for length, late in ((0.24, False), (0.26, True)):
        step[1, 2] = length
        assert bool(outdated(made, jnp.asarray(positions + step, jnp.float32), box)) is late
    assert bool(outdated(made, jnp.full_like(made.positions, jnp.nan), box))
    assert not bool(outdated(tables(positions, cell), jnp.asarray(positions, jnp.float32), box))


def test_buckets_are_few_and_waste_little():
    numbers = range(1, 3000)
    assert all(n <= bucket(n) <= max(n, n * 1.25 + 1) for n in numbers)
    assert all(bucket(bucket(n)) == bucket(n) for n in numbers)
    assert len({bucket(n) for n in numbers}) < 48
