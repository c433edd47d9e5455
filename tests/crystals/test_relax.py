import itertools
import math
from functools import partial

import numpy as np
import pytest
from scipy.special import erfc

from mfal.crystals.bond_valence import pair_table
from mfal.crystals.elements import COVALENT_RADIUS
from mfal.crystals.lattice import cell_matrix
from mfal.crystals.relax import CUTOFF, Orbit, atoms, relax
from mfal.errors import MfalError

evaluate = partial(relax, steps=0)  # arrangements as they are
SPECIES = [("Li", 1), ("Fe", 2), ("P", 5), ("O", -2)]
CELL = np.diag([10.33, 6.01, 4.69])


def orbit(species, position, *free):
    return Orbit(species, position, np.array(free, float))


# LiFePO4 (olivine, Pnma); letters a, c, d are positions 0, 2, 3
OLIVINE = (
    orbit(0, 0, 0, 0, 0),
    orbit(1, 2, 0.282, 0.25, 0.975),
    orbit(2, 2, 0.095, 0.25, 0.418),
    orbit(3, 2, 0.097, 0.25, 0.743),
    orbit(3, 2, 0.457, 0.25, 0.206),
    orbit(3, 3, 0.166, 0.046, 0.285),
)


def reference(cell, species, kinds, coordinates):
    """Energy (eV) and instability index, over all pairs and images, in double precision."""
    table = pair_table(species)
    cartesian = coordinates @ cell
    reach = [math.ceil(CUTOFF * np.linalg.norm(row)) + 1 for row in np.linalg.inv(cell).T]
    images = np.array([*itertools.product(*(range(-n, n + 1) for n in reach))]) @ cell
    gap = cartesian[None, :, None] + images - cartesian[:, None, None]
    distance = np.linalg.norm(gap, axis=-1)
    i, j, image = np.nonzero((distance > 0) & (distance < CUTOFF))
    r, pair = distance[i, j, image], (kinds[i], kinds[j])
    x = np.minimum(CUTOFF - r, 1.0)
    switch = x * x * (3 - 2 * x)
    bracket = np.exp(table.alpha[pair] * (table.r_min[pair] - r)) - 1
    well = table.depth[pair] * (bracket**2 - 1)
    repulsion = table.repulsion[pair] / r * erfc(r / table.screening[pair])
    energy = 0.5 * np.sum(switch * np.where(table.bonded[pair], well, repulsion))
    bonds = switch * table.bonded[pair] * np.exp(table.alpha[pair] * (table.r0[pair] - r))
    charges = np.array([charge for _, charge in species], float)[kinds]
    defects = np.bincount(i, bonds, len(kinds)) - np.abs(charges)
    return energy, math.sqrt(np.mean(np.square(defects)))


CASES = {
    "olivine": (62, CELL, SPECIES, OLIVINE),
    # a cell much shorter than the cut-off: several images along each axis
    "Li3N": (
        191,
        np.asarray(cell_matrix([3.648, 3.648, 3.875, 90, 90, 120])),
        [("Li", 1), ("N", -3)],
        (orbit(0, 1, 0, 0, 0), orbit(0, 2, 0, 0, 0), orbit(1, 0, 0, 0, 0)),
    ),
    # oblique, no symmetry, one axis long
    "triclinic": (
        1,
        np.asarray(cell_matrix([4.1, 5.3, 14.2, 75.0, 81.0, 112.0])),
        [("Li", 1), ("Cl", -1)],
        tuple(orbit(k % 2, 0, *np.random.default_rng(k).random(3)) for k in range(8)),
    ),
    # rhombohedral, special positions with one free coordinate
    "LiCoO2": (
        166,
        np.asarray(cell_matrix([2.816, 2.816, 14.05, 90, 90, 120])),
        [("Li", 1), ("Co", 3), ("O", -2)],
        (orbit(0, 0, 0, 0, 0), orbit(1, 1, 0, 0, 0), orbit(2, 2, 0, 0, 0.24)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_energy_is_the_plain_double_sum(name):
    number, cell, species, arrangement = CASES[name]
    result = evaluate(number, cell, species, [arrangement])
    energy, instability = reference(cell, species, *atoms(number, arrangement))
    assert result.energy[0] == pytest.approx(energy, rel=2e-5, abs=2e-4)
    assert result.instability[0] == pytest.approx(instability, rel=1e-4, abs=1e-4)


def test_atoms_are_the_positions_of_the_tables():
    kinds, coordinates = atoms(62, OLIVINE)
    assert np.bincount(kinds).tolist() == [4, 4, 4, 16]
    # International Tables, Pnma 4c: (x, 1/4, z), (-x+1/2, 3/4, z+1/2), ...
    iron = {tuple(x.round(4)) for x in coordinates[kinds == 1]}
    x, z = 0.282, 0.975
    expected = [(x, 0.25, z), (0.5 - x, 0.75, z + 0.5), (-x, 0.75, -z), (x + 0.5, 0.25, 0.5 - z)]
    assert iron == {tuple(np.round(np.mod(e, 1), 4)) for e in expected}


def test_force_is_minus_the_derivative_of_the_energy():
    # P1, one atom off its place: its force against differences of the double-precision energy
    number, cell, species, arrangement = CASES["triclinic"]
    result = evaluate(number, cell, species, [arrangement])
    kinds, coordinates = atoms(number, arrangement)
    step, forces = 1e-5, np.zeros((len(kinds), 3))
    inverse = np.linalg.inv(cell)
    for i, axis in itertools.product(range(len(kinds)), range(3)):
        moved = []
        for sign in (1, -1):
            shifted = coordinates.copy()
            shifted[i] += sign * step * inverse[axis]
            moved.append(reference(cell, species, kinds, shifted)[0])
        forces[i, axis] = -(moved[0] - moved[1]) / (2 * step)
    strongest = np.linalg.norm(forces, axis=1).max()
    assert result.force[0] == pytest.approx(strongest, rel=1e-3)


def test_pair_formulas_by_hand():
    # two ions far from their images: the Morse well and the screened repulsion as published
    cell = np.eye(3) * 20
    r = 2.3
    pair = (orbit(0, 0, 0, 0, 0), orbit(1, 0, r / 20, 0, 0))
    morse = evaluate(1, cell, [("Li", 1), ("O", -2)], [pair]).energy[0]
    expected = 0.98816 / 2 * ((math.exp(1.937984 * (1.940013 - r)) - 1) ** 2 - 1)
    assert morse == pytest.approx(expected, rel=1e-5)
    repulsion = evaluate(1, cell, [("O", -2), ("S", -2)], [pair]).energy[0]
    # n = 2 and 3; softBV radii 1.33 and 1.84 Å
    expected = 14.4 * 4 / math.sqrt(6) / r * erfc(r / (0.74 * (1.33 + 1.84)))
    assert repulsion == pytest.approx(expected, rel=1e-5)
    # the anions' radii are softBV's, twice Cordero's for oxygen
    assert COVALENT_RADIUS[7] == 0.66


def test_two_ions_come_to_rest_at_the_minimum():
    cell = np.eye(3) * 20
    pair = (orbit(0, 0, 0, 0, 0), orbit(1, 0, 0.1, 0.08, 0.05))
    result = relax(1, cell, [("Li", 1), ("F", -1)], [pair], steps=300)
    coordinates = atoms(1, result.arrangements[0])[1]
    gap = coordinates[1] - coordinates[0]
    assert np.linalg.norm((gap - gap.round()) @ cell) == pytest.approx(1.87265, abs=1e-3)
    assert result.energy[0] == pytest.approx(-0.49611 / 2, abs=1e-5)
    assert result.force[0] < 1e-3


@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_relaxation_goes_downhill_and_keeps_symmetry(weight):
    rng = np.random.default_rng(3)
    starts = [
        tuple(o._replace(free=o.free + rng.normal(0, 0.03, 3)) for o in OLIVINE) for _ in range(3)
    ]
    before = evaluate(62, CELL, SPECIES, starts)
    after = relax(62, CELL, SPECIES, starts, steps=200, valence_weight=weight)
    merit = [r.energy + 28 * weight * r.instability**2 for r in (before, after)]
    assert (merit[1] < merit[0]).all()
    assert after.force.max() < 0.05
    # back to one structure, near the measured one
    assert np.ptp(after.energy) < 1e-3
    kinds, coordinates = atoms(62, after.arrangements[0])
    known = atoms(62, OLIVINE)[1]
    moved = coordinates - known
    assert np.linalg.norm((moved - moved.round()) @ CELL, axis=1).max() < 0.3
    # what the result says of itself is what it is
    again = evaluate(62, CELL, SPECIES, after.arrangements)
    assert again.energy == pytest.approx(after.energy, rel=1e-5)
    energy, _ = reference(CELL, SPECIES, kinds, coordinates)
    assert after.energy[0] == pytest.approx(energy, rel=2e-5)


def test_energy_knows_no_origin_order_cell_or_description():
    number, cell, species, arrangement = CASES["triclinic"]
    base = evaluate(number, cell, species, [arrangement]).energy[0]
    shift = np.array([0.3, 0.6, 0.9])
    moved = tuple(o._replace(free=o.free + shift) for o in arrangement)
    wrapped = tuple(o._replace(free=o.free + np.array([1.0, -2.0, 5.0])) for o in arrangement)
    results = evaluate(number, cell, species, [moved, wrapped, arrangement[::-1]]).energy
    assert results == pytest.approx([base] * 3, abs=2e-4)
    # other cell vectors of the same lattice: a' = a + b
    basis = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    other = tuple(o._replace(free=o.free @ np.linalg.inv(basis)) for o in arrangement)
    assert evaluate(1, basis @ cell, species, [other]).energy[0] == pytest.approx(base, abs=2e-4)
    # olivine described without symmetry
    kinds, coordinates = atoms(62, OLIVINE)
    plain = tuple(orbit(k, 0, *x) for k, x in zip(kinds, coordinates, strict=True))
    assert evaluate(1, CELL, SPECIES, [plain]).energy[0] == pytest.approx(
        evaluate(62, CELL, SPECIES, [OLIVINE]).energy[0], abs=1e-3
    )


def test_symmetric_and_plain_relaxation_agree():
    start = tuple(o._replace(free=o.free + np.array([0.01, 0.0, 0.01])) for o in OLIVINE)
    kinds, coordinates = atoms(62, start)
    plain = tuple(orbit(k, 0, *x) for k, x in zip(kinds, coordinates, strict=True))
    one = relax(62, CELL, SPECIES, [start], steps=250)
    two = relax(1, CELL, SPECIES, [plain], steps=250)
    assert one.energy[0] == pytest.approx(two.energy[0], abs=1e-2)


def test_result_does_not_depend_on_the_company():
    rng = np.random.default_rng(0)
    starts = [tuple(o._replace(free=rng.random(3)) for o in OLIVINE) for _ in range(6)]
    together = relax(62, CELL, SPECIES, starts, steps=30)
    again = relax(62, CELL, SPECIES, starts, steps=30)
    assert np.array_equal(together.energy, again.energy)
    alone = relax(62, CELL, SPECIES, starts[4:5], steps=30)
    assert alone.energy[0] == pytest.approx(together.energy[4], rel=1e-3)


def test_overlapping_atoms_are_pushed_apart():
    cell = np.eye(3) * 12
    same = (orbit(0, 0, 0.5, 0.5, 0.5), orbit(0, 0, 0.5001, 0.5, 0.5))
    result = relax(1, cell, [("O", -2)], [same], steps=200)
    coordinates = atoms(1, result.arrangements[0])[1]
    assert np.isfinite(result.energy).all()
    assert abs(coordinates[0, 0] - coordinates[1, 0]) * 12 > 2


def test_too_large_or_too_many():
    with pytest.raises(MfalError, match="atoms"):
        evaluate(
            225, np.eye(3) * 30, [("O", -2)], [tuple(orbit(0, 11, 0.1, 0.2, 0.3) for _ in range(3))]
        )
    with pytest.raises(MfalError, match="kinds of ions"):
        evaluate(1, np.eye(3) * 9, [("O", -2)] * 13, [(orbit(0, 0, 0, 0, 0),)])
    assert relax(1, np.eye(3), SPECIES, []).arrangements == []
