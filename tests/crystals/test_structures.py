import csv

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from mfal.crystals.reading import read_structure
from mfal.crystals.structures import (
    conventional_structure,
    crystal_from_structure,
    shortest_distance,
    shortest_distances,
    space_group_number,
)
from mfal.errors import MfalError
from tests.shared_data import shared_data

A = 5.14  # LiCl, Å


def rock_salt(a=A):
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(a), ["Li", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )


def composition_of(crystal):
    return {int(z) + 1: float(crystal.composition[z]) for z in np.flatnonzero(crystal.composition)}


# --- the triple -----------------------------------------------------------------------------------


def test_triple_of_rock_salt_from_any_cell():
    for structure in (
        rock_salt(),
        rock_salt().get_primitive_structure(),
        rock_salt() * (2, 1, 1),
        Structure.from_sites(rock_salt().sites[::-1]).translate_sites(range(8), [0.1, 0.2, 0.3]),
    ):
        crystal = crystal_from_structure(structure)
        assert composition_of(crystal) == {3: 4.0, 17: 4.0}
        assert crystal.space_group_number == 225
        assert crystal.lattice == pytest.approx([A, A, A, 90, 90, 90], abs=1e-4)


def test_rhombohedral_groups_take_hexagonal_axes():
    # LiCoO2 on rhombohedral axes (one formula unit); a and c of the hexagonal cell are 2.816, 14.05
    a, c = 2.816, 14.05
    length = np.sqrt(a**2 / 3 + c**2 / 9)
    angle = np.degrees(2 * np.arcsin(a / 2 / length))
    u = 0.2605
    layered = Structure(
        Lattice.rhombohedral(length, angle),
        ["Li", "Co", "O", "O"],
        [[0.5] * 3, [0] * 3, [u] * 3, [1 - u] * 3],
    )
    crystal = crystal_from_structure(layered)
    assert crystal.space_group_number == 166
    assert crystal.lattice == pytest.approx([a, a, c, 90, 90, 120], abs=1e-3)
    assert composition_of(crystal) == {3: 3.0, 8: 6.0, 27: 3.0}


def test_monoclinic_groups_take_axis_b():
    # P2/m with its axis along c, as given
    lattice = Lattice.from_parameters(4.0, 5.0, 7.0, 90, 90, 105)
    structure = Structure(lattice, ["Li", "F", "F"], [[0, 0, 0], [0.3, 0.1, 0], [0.7, 0.9, 0]])
    crystal = crystal_from_structure(structure)
    assert crystal.space_group_number == 10
    assert crystal.lattice[1] == pytest.approx(7.0)
    assert crystal.lattice[[3, 5]] == pytest.approx([90, 90])
    assert crystal.lattice[4] > 90


def test_partial_occupancy_counts_as_fractions():
    structure = rock_salt()
    structure.replace_species({"Li": {"Li": 0.5, "Na": 0.25}})
    crystal = crystal_from_structure(structure)
    assert composition_of(crystal) == {3: 2.0, 11: 1.0, 17: 4.0}
    assert crystal.space_group_number == 225


def test_charges_do_not_break_symmetry():
    structure = rock_salt()
    structure.add_oxidation_state_by_site([1, 1, 1, 1, -1, -1, -1, -1])
    structure[0] = "Li2+"
    assert space_group_number(structure) == 225


def test_standard_cell_is_the_same_crystal():
    structure = conventional_structure(rock_salt().get_primitive_structure())
    assert len(structure) == 8
    assert StructureMatcher().fit(structure, rock_salt())


def test_measured_structures_match_their_table():
    rows = csv.DictReader(shared_data("obelix", "all.csv").open())
    folder = shared_data("obelix", "all_randomized_cifs")
    table = {row["ID"]: row for row in rows if (folder / f"{row['ID']}.cif").exists()}
    # all crystal systems, ordered and not
    for identifier in ["fwz", "p81", "9lo", "2uv", "5z0", "rr5", "hcm", "mg4", "pe2", "w5l", "ysm"]:
        if identifier not in table:
            continue
        row = table[identifier]
        crystal = crystal_from_structure(read_structure(folder / f"{identifier}.cif"))
        assert crystal.space_group_number == int(row["Space group #"]), identifier
        # the table's axes may be permuted, and its cell is another measurement's
        cell = sorted(float(row[k]) for k in ("a", "b", "c"))
        assert sorted(crystal.lattice[:3]) == pytest.approx(cell, rel=1e-2), identifier


def test_atoms_on_top_of_each_other_are_an_error():
    broken = Structure(Lattice.cubic(4), ["Li", "F", "F"], [[0] * 3, [0.5] * 3, [0.5] * 3])
    with pytest.raises(MfalError, match="share a position"):
        crystal_from_structure(broken)


# --- distances ------------------------------------------------------------------------------------


def test_distances_in_rock_salt():
    distances = shortest_distances(rock_salt())
    assert distances == pytest.approx(
        {("Cl", "Li"): A / 2, ("Li", "Li"): A / 2**0.5, ("Cl", "Cl"): A / 2**0.5}
    )
    assert shortest_distance(rock_salt()) == pytest.approx(A / 2)


def test_images_of_a_single_atom_count():
    one = Structure(Lattice.from_parameters(30, 8, 9, 90, 90, 90), ["Li"], [[0.1, 0.2, 0.3]])
    assert shortest_distance(one) == pytest.approx(8.0)
    assert shortest_distances(one) == {}


def test_split_sites_are_not_collisions():
    lattice = Lattice.cubic(6)
    split = Structure(
        lattice, [{"Li": 0.5}, {"Li": 0.5}, "Cl"], [[0, 0, 0], [0.1, 0, 0], [0.5, 0.5, 0.5]]
    )
    assert shortest_distance(split) > 3
    full = Structure(lattice, ["Li", "Li", "Cl"], [[0, 0, 0], [0.1, 0, 0], [0.5, 0.5, 0.5]])
    assert shortest_distance(full) == pytest.approx(0.6)
