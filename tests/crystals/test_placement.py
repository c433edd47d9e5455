from itertools import product

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from mfal.crystals.contacts import least_distances
from mfal.crystals.groups import WYCKOFF_FREEDOM, WYCKOFF_MULTIPLICITY
from mfal.crystals.lattice import cell_matrix
from mfal.crystals.placement import assignments, random_arrangement
from mfal.crystals.reading import read_structure
from mfal.crystals.relax import atoms
from mfal.crystals.templates import template
from tests.shared_data import shared_data


def every_assignment(number, counts):
    """All ways by brute force: multiplicities of use of each position by each species."""
    sizes = [int(m) for m in WYCKOFF_MULTIPLICITY[number - 1] if m]
    fixed = WYCKOFF_FREEDOM[number - 1, : len(sizes)] == 0
    ways = []
    for count in counts:
        ranges = [
            range(min(count // m, 1 if f else count) + 1) for m, f in zip(sizes, fixed, strict=True)
        ]
        ways.append([use for use in product(*ranges) if np.dot(use, sizes) == count])
    found = set()
    for uses in product(*ways):
        if (np.array(uses).sum(0)[fixed] <= 1).all():
            found.add(tuple(tuple(p for p, n in enumerate(use) for _ in range(n)) for use in uses))
    return found


@pytest.mark.parametrize(
    ("number", "counts"),
    [(225, [4, 4]), (62, [4, 4, 4, 16]), (2, [3, 2]), (166, [3, 3, 6]), (31, [2, 6]), (1, [3, 2])],
)
def test_all_ways_are_found_once_and_no_others(number, counts):
    found = assignments(number, counts, num=10**6, rng=np.random.default_rng(0))
    as_sets = [tuple(tuple(sorted(p)) for p in a) for a in found]
    assert len(as_sets) == len(set(as_sets))
    assert set(as_sets) == every_assignment(number, counts)


def test_no_way_is_an_empty_list():
    # 225 has no position with fewer than 4 atoms
    assert assignments(225, [4, 3], num=5, rng=np.random.default_rng(0)) == []
    # 4a and 4b are fixed and there are only two of them
    assert assignments(225, [4, 4, 4], num=5, rng=np.random.default_rng(0)) == []


def test_same_seed_same_draws_and_parsimony():
    def draw(seed):
        return assignments(62, [8, 8, 32], num=40, rng=np.random.default_rng(seed))

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)
    mean = np.mean([sum(map(len, a)) for a in draw(7)])
    listed = assignments(62, [8, 8, 32], num=10**6, rng=np.random.default_rng(0))
    assert mean < np.mean([sum(map(len, a)) for a in listed])


def test_too_many_ways_to_list_are_drawn_distinct():
    drawn = assignments(47, [12, 12, 24], num=64, rng=np.random.default_rng(0))
    assert len(drawn) == len(set(drawn)) == 64
    for assignment in drawn:
        held = [sum(int(WYCKOFF_MULTIPLICITY[46, p]) for p in ps) for ps in assignment]
        assert held == [12, 12, 24]
        used = [p for ps in assignment for p in ps if WYCKOFF_FREEDOM[46, p] == 0]
        assert len(used) == len(set(used))


def test_arrangement_holds_the_counts():
    rng = np.random.default_rng(0)
    assignment = assignments(167, [6, 12, 36], num=1, rng=rng)[0]
    kinds, coordinates = atoms(167, random_arrangement(assignment, rng))
    assert np.bincount(kinds).tolist() == [6, 12, 36]
    assert ((coordinates >= 0) & (coordinates < 1)).all()


def test_crowded_positions_are_left_out_and_the_known_ones_stay():
    # LiCoO2: Li on 3b, Co on 3a, O on 6c; nothing else fits in so flat a cell but these and 9d, 9e
    cell = np.asarray(cell_matrix([2.816, 2.816, 14.05, 90, 90, 120]))
    least = least_distances([("Li", 1), ("Co", 3), ("O", -2)])
    rng = np.random.default_rng(0)
    free = assignments(166, [3, 3, 6], num=10**6, rng=rng)
    fitting = assignments(166, [3, 3, 6], num=10**6, rng=rng, cell=cell, least=least)
    assert set(fitting) <= set(free)
    assert ((1,), (0,), (2,)) in fitting
    # every assignment left out has atoms too near each other wherever they are put
    for assignment in set(free) - set(fitting):
        for _ in range(5):
            kinds, coordinates = atoms(166, random_arrangement(assignment, rng))
            structure = Structure(Lattice(cell), ["Li"] * len(kinds), coordinates)
            i, j, _, distance = structure.get_neighbor_list(3.0)
            assert (distance < least[kinds[i], kinds[j]]).any()


@pytest.mark.parametrize(
    "name", ["9lo", "fwz", "rr5", "fft", "gvd", "qbb", "0iv", "5z0", "883", "x2i"]
)
def test_measured_crystals_fit_their_own_cells(name):
    path = shared_data("obelix", "all_randomized_cifs", f"{name}.cif")
    known = template(read_structure(path))
    own = [[] for _ in known.species]
    for orbit in known.arrangement:
        own[orbit.species].append(orbit.position)
    least = least_distances(known.species)
    rng = np.random.default_rng(0)
    ways = assignments(
        known.space_group_number, known.counts, num=10**6, rng=rng, cell=known.cell, least=least
    )
    found = {tuple(tuple(sorted(p)) for p in way) for way in ways}
    assert tuple(tuple(sorted(p)) for p in own) in found
