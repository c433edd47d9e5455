"""Space group tables against pyxtal and spglib."""

import numpy as np
import pytest
import spglib
from pyxtal.symmetry import Group

from mfal.crystals import groups


def test_crystal_systems_and_classes_have_the_known_sizes():
    assert np.bincount(groups.CRYSTAL_SYSTEM).tolist() == [2, 13, 59, 68, 25, 27, 36]
    assert np.bincount(groups.LATTICE_SYSTEM).tolist() == [2, 13, 59, 68, 7, 45, 36]
    assert np.bincount(groups.POINT_KIND).tolist() == [92, 25, 48, 45, 20]
    assert len(groups.POINT_GROUP_NAMES) == 32 == groups.POINT_GROUP.max() + 1
    assert [int((p == groups.POINT_GROUP).sum()) for p in (0, 6, 7, 31)] == [1, 22, 28, 10]


def test_symbols_and_classes_agree_with_spglib():
    seen = {}
    for hall_number in range(1, 531):
        kind = spglib.get_spacegroup_type(hall_number)
        seen.setdefault(kind.number, kind)
    for number, kind in seen.items():
        assert groups.GROUP_SYMBOLS[number - 1] == kind.international_short
        name = groups.POINT_GROUP_NAMES[groups.POINT_GROUP[number - 1]]
        assert name == kind.pointgroup_international


@pytest.mark.parametrize("number", [1, 2, 15, 47, 62, 141, 146, 148, 166, 194, 216, 225, 230])
def test_wyckoff_positions_agree_with_pyxtal(number):
    positions = {p.letter: (p.multiplicity, p.get_dof()) for p in Group(number).Wyckoff_positions}
    letters = groups.wyckoff_letters(number)
    table = zip(
        letters,
        groups.WYCKOFF_MULTIPLICITY[number - 1].tolist(),
        groups.WYCKOFF_FREEDOM[number - 1].tolist(),
        strict=False,
    )
    assert {letter: (m, f) for letter, m, f in table} == positions
    assert groups.WYCKOFF_FREEDOM[number - 1, len(letters) - 1] == 3


def test_rhombohedral_groups_count_atoms_in_the_hexagonal_cell():
    # R-3m: 36 general positions in the hexagonal cell, 12 in the primitive one.
    assert groups.WYCKOFF_MULTIPLICITY[165].max() == 36
    assert groups.LATTICE_SYSTEM_NAMES[groups.LATTICE_SYSTEM[165]] == "rhombohedral"


def test_multiplicities_divide_the_general_one():
    general = groups.WYCKOFF_MULTIPLICITY.max(1, keepdims=True)
    present = groups.WYCKOFF_MULTIPLICITY > 0
    assert (general % np.where(present, groups.WYCKOFF_MULTIPLICITY, 1) == 0).all()
    assert ((groups.WYCKOFF_FREEDOM >= 0) == present).all()


def test_tables_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        groups.CRYSTAL_SYSTEM[0] = 3
