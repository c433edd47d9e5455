import numpy as np
import pytest
import spglib

from mfal.crystals.groups import WYCKOFF_FREEDOM, WYCKOFF_MULTIPLICITY, wyckoff_letters
from mfal.crystals.orbits import wyckoff_operations

FREE = np.array([0.1234, 0.2876, 0.4391])


def standard_operations(number):
    """Operations of the group's setting with origin choice 2, hexagonal axes, unique axis b."""
    best = None
    for hall in range(1, 531):
        kind = spglib.get_spacegroup_type(hall)
        if kind.number == number and (best is None or kind.choice == "2"):
            best = hall
    found = spglib.get_symmetry_from_database(best)
    return found["rotations"], found["translations"]


@pytest.mark.parametrize("number", [1, 2, 14, 15, 47, 62, 63, 88, 122, 141, 146, 166, 167, 176])
def test_orbits_are_closed_under_the_group(number):
    check(number)


@pytest.mark.parametrize("number", [194, 198, 205, 216, 220, 225, 227, 228, 230])
def test_orbits_are_closed_under_the_larger_groups(number):
    check(number)


def check(number):
    rotations, translations = standard_operations(number)
    for position in range(len(wyckoff_letters(number))):
        linear, shift = wyckoff_operations(number, position)
        assert len(linear) == WYCKOFF_MULTIPLICITY[number - 1, position]
        atoms = (linear @ FREE + shift) % 1
        # as many different atoms as the multiplicity says
        gaps = atoms[:, None] - atoms[None]
        gaps -= gaps.round()
        apart = np.abs(gaps).max(-1) + np.eye(len(atoms))
        assert apart.min() > 1e-3
        # each operation of the group maps the orbit onto itself
        images = np.einsum("gij,aj->gai", rotations, atoms) + translations[:, None]
        gaps = images[:, :, None] - atoms
        gaps -= gaps.round()
        assert np.abs(gaps).max(-1).min(-1).max() < 1e-9
        # the free coordinates move the first atom in that many directions
        assert np.linalg.matrix_rank(linear[0]) == WYCKOFF_FREEDOM[number - 1, position]
