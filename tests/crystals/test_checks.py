"""What is refused, what is noted, and what is left alone."""

import itertools

import numpy as np
import pytest
from pymatgen.core import Composition, Lattice, Structure

from mfal.crystals.checks import (
    Stated,
    add_notes,
    check_structure,
    formula_difference,
    formula_note,
    is_doubtful,
    notes_of,
)
from mfal.crystals.reading import read_structure
from mfal.data import load_embedded
from mfal.errors import MfalError
from tests.crystals.structure_files import (
    FM3M,
    ROCK_SALT_CELL,
    ROCK_SALT_SITES,
    rock_salt,
    rock_salt_cif,
)


def read(tmp_path, text):
    path = tmp_path / "a.cif"
    path.write_text(text)
    return read_structure(path)


def test_sound_crystals_pass_without_a_word():
    """All of the embedded table whose sites are full: measured and computed compounds."""
    table = load_embedded()
    odd = {}
    for row in range(0, len(table), 3):
        structure = table.structure(row)
        if structure is not None and structure.is_ordered:
            notes = check_structure(structure, Stated(group=int(table.space_group_number[row])))
            if notes:
                odd[table.ids[row]] = notes
    assert odd == {}


def test_a_cell_in_nanometres_or_picometres(tmp_path):
    for length, unit in ((0.513, "nm"), (513, "pm")):
        text = rock_salt_cif(cell=ROCK_SALT_CELL.replace("5.13", str(length)))
        if unit == "nm":
            with pytest.raises(MfalError, match=r"Cl1–Li1 0\.26 Å apart: is the cell in nm\?"):
                read(tmp_path, text)
        else:
            assert "is the cell in pm?" in notes_of(read(tmp_path, text))[0]


def test_atoms_on_top_of_each_other(tmp_path):
    sites = ROCK_SALT_SITES + "O1 O 0.05 0.05 0.05 1\n"
    with pytest.raises(MfalError, match="apart"):
        read(tmp_path, rock_salt_cif(sites=sites))
    structure = Structure(Lattice.cubic(4), ["Li", "F", "F"], [[0] * 3, [0.5] * 3, [0.5] * 3])
    with pytest.raises(MfalError, match="apart"):
        check_structure(structure)
    too_dense = Structure(Lattice.cubic(2.5), ["Pb", "Bi"], [[0] * 3, [0.5] * 3])
    with pytest.raises(MfalError, match="density"):
        check_structure(too_dense)


def test_split_sites_are_no_contacts(tmp_path):
    sites = ROCK_SALT_SITES.replace("Li1 Li 0 0 0 1", "Li1 Li .05 .05 .05 .125")
    assert notes_of(read(tmp_path, rock_salt_cif(sites=sites))) == ()
    crowded = ROCK_SALT_SITES.replace("Li1 Li 0 0 0 1", "Li1 Li .05 .05 .05 .56")
    notes = " ".join(notes_of(read(tmp_path, rock_salt_cif(sites=crowded))))
    assert "filled to more than one atom together" in notes


def test_no_symmetry_is_found_by_density_and_distance(tmp_path):
    notes = notes_of(read(tmp_path, rock_salt_cif("")))
    assert "read as P 1" in notes[0]
    assert notes[1].startswith("density 0.52 g/cm³, shortest contact 4.4 Å")


@pytest.mark.parametrize(
    ("formula", "note"),
    [
        ("Li Cl", ""),
        ("Li4 Cl4", ""),
        ("Li Cl H2 O", "no site for H, O"),
        ("Li2 Cl", "has 0.67 of its atoms Li, the sites have 0.50"),
        ("nonsense", ""),
    ],
)
def test_the_files_own_formula(tmp_path, formula, note):
    text = rock_salt_cif(more=f"_chemical_formula_sum '{formula}'\n")
    notes = " ".join(notes_of(read(tmp_path, text)))
    assert (note in notes) if note else not notes


def test_formula_units_volume_and_density(tmp_path):
    more = "_chemical_formula_sum 'Li Cl'\n_cell_formula_units_Z 2\n"
    assert "the cell has 8" in notes_of(read(tmp_path, rock_salt_cif(more=more)))[0]
    more = more.replace("Z 2", "Z 4")
    assert notes_of(read(tmp_path, rock_salt_cif(more=more))) == ()
    more = "_cell_volume 155.0\n"
    assert "155 Å³" in notes_of(read(tmp_path, rock_salt_cif(more=more)))[0]
    more = "_exptl_crystal_density_diffrn 4.1\n"
    assert (
        "4.1 g/cm³, that of its atoms 2.09" in notes_of(read(tmp_path, rock_salt_cif(more=more)))[0]
    )
    more = "_cell_volume 135.0\n_exptl_crystal_density_diffrn 2.08\n"
    assert notes_of(read(tmp_path, rock_salt_cif(more=more))) == ()


@pytest.mark.parametrize(("occupancy", "noted"), [(0.97, False), (0.9, True), (0.5, True)])
def test_charge_beyond_rounding(tmp_path, occupancy, noted):
    sites = ROCK_SALT_SITES.replace("0.5 0.5 0.5 1", f"0.5 0.5 0.5 {occupancy}")
    notes = notes_of(read(tmp_path, rock_salt_cif(sites=sites)))
    assert any("charge" in note or "oxidation" in note for note in notes) == noted


def test_mixed_valence_is_no_charge():
    """Li2.5V2(PO4)3, with lithium's sites partly filled: V3.25+ and no charge of +3.5."""
    lattice = Lattice.cubic(8.0)
    places = np.array(list(itertools.product((0.1, 0.4, 0.7), repeat=3)))[:20]
    species = [{"Li": 0.5}] + ["Li"] * 2 + ["V"] * 2 + ["P"] * 3 + ["O"] * 12
    structure = Structure(lattice, species, places)
    assert not any("charge" in note for note in check_structure(structure))


def test_charges_that_a_structure_carries():
    structure = rock_salt()
    structure.add_oxidation_state_by_element({"Li": 1, "Cl": -2})
    assert check_structure(structure) == ["the composition carries a charge of -4 e a cell"]


def boxed(directions, gap=15.0):
    """Two cells of LiCl in each direction, with empty space along some."""
    block = rock_salt() * (2, 2, 2)
    matrix = block.lattice.matrix.copy()
    for axis in directions:
        matrix[axis] *= 1 + gap / block.lattice.abc[axis]
    return Structure(matrix, block.species, block.cart_coords, coords_are_cartesian=True)


def test_molecular_crystals_and_open_frameworks_are_not_thin():
    """Ice, with hydrogens ordered, and benzene's density; an atom in each corner is thin."""
    assert not any("density" in note for note in check_structure(molecular()))
    thin = Structure(Lattice.cubic(5.0), ["Li", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert any("density" in note for note in check_structure(thin))


def molecular():
    """Acetylene, Pa-3, a = 6.14 Å: C2H2 along the diagonals."""
    return Structure.from_spacegroup(
        "Pa-3", Lattice.cubic(6.14), ["C", "H"], [[0.0563] * 3, [0.158] * 3]
    )


@pytest.mark.parametrize(
    ("directions", "what"), [([2], "a slab"), ([0, 1], "a chain"), ([0, 1, 2], "a molecule")]
)
def test_vacuum(directions, what):
    structure = boxed(directions)
    for variant in (structure, structure.copy()):
        notes = " ".join(check_structure(variant))
        assert "of vacuum" in notes
        assert what in notes
    # the same in a skewed cell, and moved through its boundary
    skewed = structure.copy()
    skewed.make_supercell([[1, 0, 0], [1, 1, 0], [0, 0, 1]])
    skewed.translate_sites(range(len(skewed)), [0.0, 0.0, 0.47])
    assert what in " ".join(check_structure(skewed))


def test_layered_crystals_hold_no_vacuum():
    layered = Structure.from_spacegroup(
        "R-3m", Lattice.hexagonal(3.6, 20.0), ["Ta", "S", "S"],
        [[0, 0, 0], [0, 0, 0.26], [0, 0, 0.41]],
    )  # fmt: skip
    assert not any("vacuum" in note for note in check_structure(layered))


def test_group_in_words_against_the_atoms(tmp_path):
    operations = "loop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\nx,y+1/2,z+1/2\nx+1/2,y,z+1/2\n"
    operations += "x+1/2,y+1/2,z\n"
    group = "_symmetry_space_group_name_H-M 'F 2 2 2'\n"
    notes = notes_of(read(tmp_path, rock_salt_cif(group + operations)))
    assert any("F222" in note and "(225)" in note for note in notes)
    assert notes_of(read(tmp_path, rock_salt_cif(FM3M))) == ()


def test_formulas_are_compared_by_fractions():
    composition = Composition("Li4Cl4")
    assert formula_difference(composition, {"Li": 1, "Cl": 1}) == pytest.approx(0.0)
    assert formula_difference(composition, {"Na": 1, "Br": 1}) == pytest.approx(2.0)
    # 9yt of OBELiX: the row says Li6PS5Cl0.25Br0.75, the file has twice the lithium
    whole = Composition("Li45.888P4S20Br3Cl1")
    row = {"Li": 24, "P": 4, "S": 20, "Cl": 1, "Br": 3}
    (note,) = formula_note(whole, row, "the table's formula")
    assert note == "the table's formula has 0.46 of its atoms Li, the sites have 0.62"


def test_notes_go_with_a_structure():
    structure = rock_salt()
    assert notes_of(structure) == ()
    add_notes(structure, ["one", "two", "one"])
    add_notes(structure, [])
    assert notes_of(structure) == ("one", "two")
    assert notes_of(structure.copy()) == ("one", "two")
    assert notes_of(Structure.from_dict(structure.as_dict())) == ("one", "two")


@pytest.mark.parametrize(("volume", "word"), [(4.0, "atoms may be missing"), (0.3, "too small")])
def test_thin_and_squeezed_cells_are_doubtful(volume, word):
    structure = rock_salt()
    structure.scale_lattice(structure.volume * volume)
    notes = check_structure(structure)
    assert word in notes[0]
    assert is_doubtful(notes)
    assert not is_doubtful(["the file's volume is 1 Å³, that of its cell 2 Å³"])
