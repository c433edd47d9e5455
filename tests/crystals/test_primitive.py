"""Primitive cells and the way back."""

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Species, Structure

from mfal.crystals.primitive import from_primitive, to_primitive
from mfal.crystals.structures import space_group_number
from mfal.errors import MfalError


def rock_salt():
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.0), [Species("Li", 1), Species("F", -1)], [[0, 0, 0], [0.5] * 3]
    )


def calcite_like():
    return Structure.from_spacegroup(
        "R-3c",
        Lattice.hexagonal(5.0, 17.0),
        ["Ca", "C", "O"],
        [[0, 0, 0], [0, 0, 0.25], [0.257, 0, 0.25]],
    )


@pytest.mark.parametrize(
    ("structure", "atoms"), [(rock_salt(), 2), (calcite_like(), 10), (rock_salt() * (1, 2, 3), 2)]
)
def test_there_and_back_is_the_same_crystal(structure, atoms):
    primitive = to_primitive(structure)
    assert len(primitive.cell) == atoms
    back = from_primitive(primitive, primitive.cell)
    np.testing.assert_allclose(back.lattice.matrix, structure.lattice.matrix, atol=1e-9)
    gaps = back.frac_coords - structure.frac_coords
    np.testing.assert_allclose(gaps - np.rint(gaps), 0, atol=1e-9)
    assert [site.specie for site in back] == [site.specie for site in structure]


def test_a_strained_primitive_cell_strains_the_larger_one_alike():
    structure = calcite_like()
    primitive = to_primitive(structure)
    strain = np.eye(3) + 0.05 * np.array([[1, 0, 0], [0, 1, 0], [0, 0, -1]])
    matrix = primitive.cell.lattice.matrix @ strain
    strained = Structure(Lattice(matrix), primitive.cell.species, primitive.cell.frac_coords)
    back = from_primitive(primitive, strained)
    np.testing.assert_allclose(back.lattice.matrix, structure.lattice.matrix @ strain, atol=1e-9)
    assert StructureMatcher(ltol=1e-4, stol=1e-4, angle_tol=0.01, scale=False).fit(back, strained)
    assert space_group_number(back) == 167


def test_partial_occupancies_are_refused():
    mixed = Structure(Lattice.cubic(4.0), [{"Li": 0.5, "Na": 0.5}, "F"], [[0, 0, 0], [0.5] * 3])
    with pytest.raises(MfalError, match="partial occupancies"):
        to_primitive(mixed)
