"""pyxtal's generator: the same seed the same atoms, on their positions, and not too near."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from mfal.crystals.contacts import least_distances
from mfal.crystals.generator import generated_arrangement
from mfal.crystals.lattice import cell_matrix
from mfal.crystals.placement import assignments
from mfal.crystals.relax import atoms

LI, P, OX, S, CL = ("Li", 1.0), ("P", 5.0), ("O", -2.0), ("S", -2.0), ("Cl", -1.0)
CASES = {
    "Li3PO4": (62, [10.5, 6.12, 4.93, 90, 90, 90], (LI, P, OX), (12, 4, 16)),
    "monoclinic": (14, [6.2, 7.1, 9.5, 90, 101, 90], (LI, ("Si", 4.0), OX), (8, 4, 12)),
    "argyrodite": (216, [9.86, 9.86, 9.86, 90, 90, 90], (LI, P, S, CL), (24, 4, 20, 4)),
    "rhombohedral": (167, [8.5, 8.5, 20.8, 90, 90, 120], (LI, ("Ti", 4.0), P, OX), (6, 12, 18, 72)),
    "LiCl": (225, [5.13, 5.13, 5.13, 90, 90, 90], (LI, CL), (4, 4)),
}


def draw(name, seed, num=12):
    number, lattice, species, counts = CASES[name]
    cell = np.asarray(cell_matrix(lattice), float)
    least = least_distances(species)
    rng = np.random.default_rng(seed)
    ways = assignments(number, counts, num=num, rng=rng, cell=cell, least=least)
    drawn = [generated_arrangement(number, cell, species, way, least, rng) for way in ways]
    return cell, ways, drawn


def same(one, two):
    return len(one) == len(two) and all(
        (a is None) == (b is None)
        and (
            a is None
            or all(
                x.species == y.species
                and x.position == y.position
                and np.array_equal(x.free, y.free)
                for x, y in zip(a, b, strict=True)
            )
        )
        for a, b in zip(one, two, strict=True)
    )


@pytest.mark.parametrize("name", CASES)
def test_atoms_lie_on_the_positions_asked_for_and_not_too_near(name):
    number, _, species, counts = CASES[name]
    cell, ways, drawn = draw(name, 0)
    least = least_distances(species)
    assert any(arrangement is not None for arrangement in drawn)
    for way, arrangement in zip(ways, drawn, strict=True):
        if arrangement is None:
            continue
        got = [[o.position for o in arrangement if o.species == s] for s in range(len(species))]
        assert [sorted(own) for own in got] == [sorted(own) for own in way]
        kinds, coordinates = atoms(number, arrangement)
        assert np.bincount(kinds).tolist() == list(counts)
        structure = Structure(Lattice(cell), [species[k][0] for k in kinds], coordinates)
        i, j, _, distance = structure.get_neighbor_list(float(least.max()))
        assert (distance > least[kinds[i], kinds[j]] - 1e-6).all()


def test_the_seed_decides_whatever_was_drawn_before():
    first = draw("Li3PO4", 3)[2]
    np.random.seed(1)  # noqa: NPY002 - pyxtal must not read the global state
    assert same(first, draw("Li3PO4", 3)[2])
    assert not same(first, draw("Li3PO4", 4)[2])
