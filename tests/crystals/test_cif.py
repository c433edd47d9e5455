import warnings

import numpy as np
import pytest
import spglib
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifParser

from mfal.crystals.cif import cif_structures
from mfal.crystals.cif_blocks import Block, number_of
from mfal.crystals.cif_symmetry import stated_symmetries
from mfal.crystals.reading import parse_structure
from mfal.crystals.structures import space_group_number
from mfal.errors import MfalError
from tests.crystals.structure_files import FM3M, ROCK_SALT_CELL, ROCK_SALT_SITES, rock_salt_cif
from tests.shared_data import shared_data


def one(text):
    """The only structure of a text; its problem is raised."""
    (found,) = cif_structures(text)
    if isinstance(found, MfalError):
        raise found
    return found


def sites(*rows, columns="label type_symbol fract_x fract_y fract_z occupancy"):
    return "\n".join(["loop_", *(f"_atom_site_{c}" for c in columns.split()), *rows, ""])


# --- against an independent reader ----------------------------------------------------------------


def test_measured_cifs_are_read_as_pymatgen_reads_them():
    """Sites, their order and coordinates, of every tenth file of OBELiX."""
    paths = sorted(shared_data("obelix", "all_randomized_cifs").glob("*.cif"))[::10]
    for path in paths:
        text = path.read_text()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (theirs,) = CifParser.from_str(text, occupancy_tolerance=1.05).parse_structures(
                primitive=False
            )
        ours = one(text).structure
        assert len(ours) == len(theirs), path
        assert [a.species for a in ours] == [b.species for b in theirs]
        np.testing.assert_allclose(ours.frac_coords, theirs.frac_coords, atol=1e-12)
        np.testing.assert_array_equal(ours.lattice.matrix, theirs.lattice.matrix)


# --- symmetry -------------------------------------------------------------------------------------

LICL = [
    ("", "_space_group_name_Hall '-F 4 2 3'\n"),
    ("", "_symmetry_space_group_name_Hall '-F 4 2 3'\n_symmetry_space_group_name_H-M ?\n"),
    ("", "_space_group_name_H-M_alt 'F m -3 m'\n"),
    ("", "_symmetry_space_group_name_H-M Fm3m\n"),
    ("", "_symmetry_space_group_name_H-M 'F 4/m -3 2/m'\n"),
    ("", "_symmetry_space_group_name_H-M 'F m -3 m (225)'\n"),
    ("", "_space_group_IT_number 225\n"),
    ("", "_space_group.IT_number 225\n"),
]


@pytest.mark.parametrize("symmetry", [symmetry for _, symmetry in LICL])
def test_every_way_of_naming_a_group(symmetry):
    structure = one(rock_salt_cif(symmetry)).structure
    assert structure.formula == "Li4 Cl4"
    assert space_group_number(structure) == 225


@pytest.mark.parametrize(
    ("name", "number", "extension"),
    [
        ("P2(1)/c", 14, "\0"),
        ("P 2_1 2_1 2_1", 19, "\0"),
        ("P2(1)2(1)2(1)", 19, "\0"),
        ("P 63/m m c", 194, "\0"),
        ("R-3mH", 166, "H"),
        ("R -3 m :R", 166, "R"),
        ("F d -3 m S", 227, "1"),
        ("F d -3 m Z", 227, "2"),
        ("Fd-3m:1", 227, "1"),
        ("I41/amdO2", 141, "2"),
        ("F 41/d -3 2/m :2", 227, "2"),
        ("B 1 1 2/b", 15, "\0"),
        ("C2/c", 15, "\0"),
    ],
)
def test_symbols_as_databases_write_them(name, number, extension):
    block = Block("", {"_space_group_name_h-m_alt": name})
    (way,) = stated_symmetries(block, (90.0, 90.0, 120.0))
    assert way.group is not None
    assert way.group.number == number
    assert way.group.ext == extension or extension == "\0"
    assert len(way.rotations) == len(list(way.group.operations()))


def test_operations_make_the_groups_of_the_tables():
    """As many as spglib's own tables have, for each bare number."""
    theirs: dict[int, int] = {}
    for hall_number in range(1, 531):
        number = spglib.get_spacegroup_type(hall_number).number
        if number not in theirs:
            theirs[number] = len(spglib.get_symmetry_from_database(hall_number)["rotations"])
    for number, order in theirs.items():
        block = Block("", {"_space_group_it_number": str(number)})
        ways = stated_symmetries(block, (90.0, 90.0, 120.0))
        assert {len(way.rotations) for way in ways} == {order}, number


def test_no_symmetry_is_p1_and_said():
    found = one(rock_salt_cif(""))
    assert found.structure.formula == "Li1 Cl1"
    assert "no symmetry" in found.notes[0]
    found = one(rock_salt_cif("_space_group_name_H-M_alt 'Q m -3 m'\n"))
    assert "'Q m -3 m' is not known" in found.notes[0]


def spinel(origin, oxygen, first, second, more=""):
    cell = ROCK_SALT_CELL.replace("5.13", "8.24")
    group = f"_space_group_name_H-M_alt 'F d -3 m{origin}'\n"
    rows = (f"Li1 Li {first} 1", f"Mn1 Mn {second} 1", f"O1 O {oxygen} 1")
    return rock_salt_cif(group, sites(*rows), cell, more=more)


def test_an_origin_that_is_not_stated_is_found_by_formula_or_distances():
    first = one(spinel(":1", ".3877 .3877 .3877", "0 0 0", ".625 .625 .625")).structure
    second = one(spinel(":2", ".2627 .2627 .2627", ".125 .125 .125", ".5 .5 .5")).structure
    assert first.composition.reduced_formula == second.composition.reduced_formula == "LiMn2O4"
    assert StructureMatcher(scale=False).fit(first, second)
    formula = "_chemical_formula_sum 'Li Mn2 O4'\n_cell_formula_units_Z 8\n"
    for more in (formula, ""):
        open_first = one(spinel("", ".3877 .3877 .3877", "0 0 0", ".625 .625 .625", more))
        assert StructureMatcher(scale=False).fit(open_first.structure, first)
        assert "origin choice 1" in " ".join(open_first.notes)
        open_second = one(spinel("", ".2627 .2627 .2627", ".125 .125 .125", ".5 .5 .5", more))
        assert StructureMatcher(scale=False).fit(open_second.structure, first)


def test_a_list_cut_short_loses_to_the_group_where_the_formula_says_so():
    """Only "x, y, z" beside the group and one site of each kind; and the same with all atoms."""
    identity = FM3M + "loop_\n_symmetry_equiv_pos_as_xyz\n'x, y, z'\n"
    formula = "_chemical_formula_sum 'Li Cl'\n_cell_formula_units_Z 4\n"
    found = one(rock_salt_cif(identity, more=formula))
    assert found.structure.formula == "Li4 Cl4"
    assert "lists 1 symmetry operations" in " ".join(found.notes)
    rows = [
        f"{symbol}{k} {symbol} {x} {y} {z} 1"
        for symbol, start in (("Li", 0.0), ("Cl", 0.5))
        for k, (x, y, z) in enumerate(
            np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]) + start
        )
    ]
    found = one(rock_salt_cif(identity, sites(*rows), more=formula))
    assert found.structure.formula == "Li4 Cl4"


def test_a_setting_that_the_cell_contradicts():
    """P2_1/c with its axis along c: read in a setting that fits, P2_1/b or the like."""
    cell = ROCK_SALT_CELL.replace("gamma 90", "gamma 103")
    cell = cell.replace("_b 5.13", "_b 6.2").replace("_c 5.13", "_c 7.3")
    rows = ("Li1 Li .11 .23 .37 1", "Cl1 Cl .41 .08 .22 1")
    text = rock_salt_cif("_space_group_IT_number 14\n", sites(*rows), cell)
    found = one(text)
    assert len(found.structure) == 8
    assert space_group_number(found.structure) == 14
    assert "read in the setting" in found.notes[0]
    cubic = rock_salt_cif(cell=ROCK_SALT_CELL.replace("_b 5.13", "_b 6.2"))
    assert "does not have the symmetry" in one(cubic).notes[0]


@pytest.mark.parametrize(
    "symmetry", ["_space_group_IT_number 166\n", "_space_group_name_H-M_alt 'R -3 m'\n"]
)
def test_rhombohedral_axes_are_told_by_the_cell(symmetry):
    """LiCoO2 on both axes; one formula unit, or three."""
    a, c, u = 2.816, 14.05, 0.2605
    length = np.sqrt(a**2 / 3 + c**2 / 9)
    angle = np.degrees(2 * np.arcsin(a / 2 / length))
    cells = {
        1: ([length] * 3 + [angle] * 3, ("Li1 Li .5 .5 .5 1", f"O1 O {u} {u} {u} 1")),
        3: ([a, a, c, 90, 90, 120], ("Li1 Li 0 0 .5 1", f"O1 O 0 0 {u} 1")),
    }
    names = [f"length_{x}" for x in "abc"] + ["angle_alpha", "angle_beta", "angle_gamma"]
    for units, (numbers, rows) in cells.items():
        cell = "".join(f"_cell_{n} {x:.5f}\n" for n, x in zip(names, numbers, strict=True))
        found = one(rock_salt_cif(symmetry, sites("Co1 Co 0 0 0 1", *rows), cell))
        assert found.structure.composition["Co"] == units
        assert space_group_number(found.structure) == 166


def test_number_and_symbol_that_contradict_are_said():
    text = rock_salt_cif("_symmetry_space_group_name_H-M 'F m -3 m'\n_space_group_IT_number 221\n")
    found = one(text)
    assert found.structure.formula == "Li4 Cl4"
    assert any("number 221" in note for note in found.notes)


def test_magnetic_and_modulated_files():
    operations = (
        "loop_\n_space_group_symop_magn_operation.xyz\nx,y,z,+1\n-x,-y,-z,-1\n"
        "loop_\n_space_group_symop_magn_centering.xyz\nx,y,z,+1\nx+1/2,y+1/2,z,-1\n"
    )
    found = one(rock_salt_cif(operations))
    assert found.structure.formula == "Li2 Cl2"
    assert any("magnetic" in note for note in found.notes)
    waves = "_cell_modulation_dimension 1\n"
    found = one(rock_salt_cif(FM3M + waves))
    assert any("modulated" in note for note in found.notes)
    superspace = (
        "loop_\n_space_group_symop_ssg_operation_algebraic\n'x1,x2,x3,x4'\n'-x1,-x2,-x3,-x4'\n"
    )
    assert len(one(rock_salt_cif(superspace)).structure) == 2


# --- blocks ---------------------------------------------------------------------------------------


def test_blocks_without_atoms_are_skipped():
    text = (
        "data_global\n_journal_year 2020\n\n"
        + rock_salt_cif()
        + "data_bonds\nloop_\n_geom_bond_atom_site_label_1\n_geom_bond_distance\nLi1 2.56\n"
        + "data_powder\nloop_\n_pd_meas_2theta_scan\n_pd_meas_counts_total\n10 5\n10.1 6\n"
    )
    found = one(text)
    assert found.block == "LiCl"
    assert found.structure.formula == "Li4 Cl4"


def test_a_broken_block_does_not_hide_the_others():
    broken = rock_salt_cif(name="bad").replace("_cell_length_b 5.13", "_cell_length_b ?")
    first, second, third = cif_structures(rock_salt_cif() + broken + rock_salt_cif(name="c"))
    assert not isinstance(first, MfalError)
    assert isinstance(second, MfalError)
    assert "_cell_length_b" in second.what
    assert not isinstance(third, MfalError)


# --- sites ----------------------------------------------------------------------------------------


def test_unknown_occupancies_are_full_and_unknown_positions_left_out():
    text = rock_salt_cif(
        sites=sites("Li1 Li 0 0 0 .", "Cl1 Cl .5 .5 .5 ?", "H1 H ? ? ? 1", "H2 H . . . 1")
    )
    found = one(text)
    assert found.structure.formula == "Li4 Cl4"
    assert found.structure.is_ordered
    assert found.notes == ["H1, H2 left out: the file gives no position"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            ("Li1 Li 0 0 0 1", "Li2 Li 0 0 0 1", "Cl1 Cl .5 .5 .5 1"),
            "Li1, Li2 at 0 0 0: occupancy 2",
        ),
        (("Li1 Li 0 0 0 1.2", "Cl1 Cl .5 .5 .5 1"), "Li1 at 0 0 0: occupancy 1.2"),
        (("Li1 Li 0 0 0 .6", "Na1 Na 0 .5 .5 .6", "Cl1 Cl .5 .5 .5 1"), "Li1, Na1 at 0 0 0"),
        (("Li1 Li 0 0 0 97", "Cl1 Cl .5 .5 .5 1"), "occupancy 97"),
        (("Li1 Li 0 0 0 -1", "Cl1 Cl .5 .5 .5 1"), "Li1: occupancy '-1'"),
        (("Li1 Li 0 0 0 full", "Cl1 Cl .5 .5 .5 1"), "Li1: occupancy 'full'"),
        (("M1 M 0 0 0 1", "Cl1 Cl .5 .5 .5 1"), "M1: 'M' is no element"),
        (("Xx1 Xx 0 0 0 1", "Cl1 Cl .5 .5 .5 1"), "'Xx' is no element"),
        (("Li1 Li ? 0 0 1", "Cl1 Cl ? .5 .5 1"), "no site has a position"),
    ],
)
def test_broken_sites_are_named(rows, message):
    with pytest.raises(MfalError) as caught:
        one(rock_salt_cif(sites=sites(*rows)))
    assert message in caught.value.what


def test_atoms_listed_in_full_beside_the_symmetry_count_once():
    """All eight atoms and the 192 operations that make them of two."""
    rows = [
        f"{symbol}{k} {symbol} {x} {y} {z} 1"
        for symbol, start in (("Li", 0.0), ("Cl", 0.5))
        for k, (x, y, z) in enumerate(
            np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]) + start
        )
    ]
    found = one(rock_salt_cif(sites=sites(*rows)))
    assert found.structure.formula == "Li4 Cl4"
    assert found.notes == [
        "6 sites (Li1 the first) are images of others under the symmetry operations: counted once"
    ]


def test_occupancies_slightly_over_one_are_scaled_and_said():
    rows = ("Li1 Li 0 0 0 .62", "Na1 Na 0 0 0 .42", "Cl1 Cl .5 .5 .5 1.001")
    found = one(rock_salt_cif(sites=sites(*rows)))
    assert found.structure.composition["Na"] == pytest.approx(4 * 0.42 / 1.04)
    assert found.structure.composition["Cl"] == pytest.approx(4.0)
    assert found.notes == ["Li1, Na1 at 0 0 0: occupancy 1.04, scaled to 1"]


@pytest.mark.parametrize(
    ("rows", "formula"),
    [
        (("Li1 Li1+ 0 0 0 1", "Cl1 Cl1- .5 .5 .5 1"), "Li4 Cl4"),
        (("LI1 ? 0 0 0 1", "CL1 ? .5 .5 .5 1"), "Li4 Cl4"),
        (("LI LI 0 0 0 1", "CL CL .5 .5 .5 1"), "Li4 Cl4"),
        (("Li_a . 0 0 0 1", "Cl(2) . .5 .5 .5 1"), "Li4 Cl4"),
        (("Li1 Li 0 0 0 1", "D1 D .5 .5 .5 1"), "Li4 H4"),
        (("Li1 Li 0 0 0 1", "OH1 OH .5 .5 .5 1"), "Li4 O4"),
        (("Li1 Li 0 0 0 1", "O1W O .5 .5 .5 1"), "Li4 O4"),
        (("Li1 Li 0 0 0 1", "Vac1 Vac .25 .25 .25 1", "Cl1 Cl .5 .5 .5 1"), "Li4 Cl4"),
        (("Co1 ? 0 0 0 1", "Cl1 ? .5 .5 .5 1"), "Co4 Cl4"),
    ],
)
def test_symbols_and_labels(rows, formula):
    assert one(rock_salt_cif(sites=sites(*rows))).structure.formula == formula


def test_the_formula_decides_what_a_label_means():
    rows = ("CO1 ? 0 0 0 1", "CL1 ? .5 .5 .5 1")
    formula = "_chemical_formula_sum 'C Cl'\n"
    assert one(rock_salt_cif(sites=sites(*rows), more=formula)).structure.formula == "C4 Cl4"


def test_hydrogens_without_sites_are_told_of():
    columns = "label type_symbol fract_x fract_y fract_z attached_hydrogens"
    text = rock_salt_cif(sites=sites("Li1 Li 0 0 0 0", "O1 O .5 .5 .5 1", columns=columns))
    assert one(text).notes == ["hydrogens of O1 have no sites: they are missing"]


def test_charges_of_the_file_are_kept():
    types = "loop_\n_atom_type_symbol\n_atom_type_oxidation_number\nLi+ 1\nCl- -1\n"
    text = rock_salt_cif(more=types, sites=sites("Li1 Li+ 0 0 0 1", "Cl1 Cl- .5 .5 .5 1"))
    charges = {s.symbol: s.oxi_state for s in one(text).structure.composition}
    assert charges == {"Li": 1, "Cl": -1}
    unknown = text.replace("Li+ 1\n", "Li+ ?\n")
    assert all(getattr(s, "oxi_state", None) is None for s in one(unknown).structure.composition)


def test_cartesian_coordinates_and_missing_angles():
    columns = "label type_symbol Cartn_x Cartn_y Cartn_z"
    cell = "".join(line + "\n" for line in ROCK_SALT_CELL.splitlines() if "length" in line)
    text = rock_salt_cif(
        sites=sites("Li1 Li 0 0 0", "Cl1 Cl 2.565 2.565 2.565", columns=columns), cell=cell
    )
    found = one(text)
    assert space_group_number(found.structure) == 225
    assert any("90°" in note for note in found.notes)


# Li3N, P6/mmm: the second lithium at 1/3, 2/3, 0
LI3N = """data_Li3N
_cell_length_a 3.648
_cell_length_b 3.648
_cell_length_c 3.875
_cell_angle_gamma 120
_space_group_IT_number 191
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Li1 0 0 0.5 1
Li2 {x} {y} 0 {occupancy}
N1 0 0 0 1
"""


@pytest.mark.parametrize("digits", [2, 3, 4, 6])
def test_images_of_one_atom_that_rounding_has_split_become_one(digits):
    x, y = round(1 / 3, digits), round(2 / 3, digits)
    found = one(LI3N.format(x=x, y=y, occupancy=1))
    assert found.structure.formula == "Li3 N1"
    assert space_group_number(found.structure) == 191
    assert any("rounded" in note for note in found.notes) == (digits <= 2)


def test_truly_split_positions_stay_split():
    """Half a lithium on either side of the plane, 0.6 Å apart."""
    split = LI3N.replace("Li2 {x} {y} 0 {occupancy}", "Li2 0.33333 0.66667 0.08 0.5")
    found = one(split)
    assert found.structure.composition["Li"] == pytest.approx(3.0)
    assert len(found.structure) == 6


def test_numbers_as_cifs_write_them():
    texts = (
        "0.25",
        "0.25(3)",
        "-.5",
        "1/4",
        "2.5e-1",
        "0,25",
        "−0.5",
        "?",
        ".",
        "abc",
        "nan",
        "1/0",
    )
    values = [number_of(text) for text in texts]
    assert values == [0.25, 0.25, -0.5, 0.25, 0.25, 0.25, -0.5, None, None, None, None, None]


# --- syntax ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "# end",
        lambda text: "Dear colleague, here is the file\n\n" + text,
        lambda text: text.replace("data_LiCl", ""),
        lambda text: text.replace("data_LiCl", "DATA_LiCl"),
        lambda text: text.replace("_cell_length", "_Cell_Length"),
        lambda text: text.replace("_atom_site_fract", "_atom_site.fract"),
        lambda text: text + "_journal_name 'unquoted 'quote' inside'\n",
        lambda text: text + "_cell_length_a 5.13\n",  # twice
        lambda text: text + "_publ_text\n;\nlong\ntext; of ; all kinds\n;\n",
        lambda text: text.replace("\n", " \t\n"),
    ],
)
def test_tolerance_of_bad_manners(change):
    assert parse_structure(change(rock_salt_cif()), "a.cif").formula == "Li4 Cl4"


def test_a_value_too_few_is_an_error_that_names_the_line():
    with pytest.raises(MfalError, match="line") as caught:
        one(rock_salt_cif().replace("Cl1 Cl 0.5 0.5 0.5 1", "Cl1 Cl 0.5 0.5"))
    assert "loop" in caught.value.remedy


def test_round_trip_of_a_random_structure_with_symmetry():
    structure = Structure.from_spacegroup(
        "P2_1/c",
        Lattice.monoclinic(5.1, 6.2, 7.3, 103),
        ["Li", "P", "O"],
        [[0.11, 0.23, 0.37], [0.41, 0.08, 0.22], [0.31, 0.29, 0.71]],
    )
    back = one(structure.to(fmt="cif", symprec=0.01)).structure
    assert StructureMatcher(scale=False, primitive_cell=False).fit(structure, back)
    assert back.composition == structure.composition


def test_a_cell_without_volume():
    with pytest.raises(MfalError, match=r"no volume|degrees"):
        one(rock_salt_cif(cell=ROCK_SALT_CELL.replace("gamma 90", "gamma 180")))
    with pytest.raises(MfalError, match="_cell_length_a is"):
        one(rock_salt_cif(cell=ROCK_SALT_CELL.replace("a 5.13", "a -5.13")))
    with pytest.raises(MfalError, match="no block has atom sites"):
        cif_structures("data_x\n_cell_length_a 5\n")


def test_sites_beside_the_special_position_in_full_groups():
    """Occupancy 1 a little off a mirror: two images 0.1 Å apart would be two atoms."""
    text = rock_salt_cif(sites=ROCK_SALT_SITES.replace("Cl1 Cl 0.5 0.5 0.5", "Cl1 Cl 0.51 0.5 0.5"))
    found = one(text)
    assert found.structure.formula == "Li4 Cl4"
    assert "taken as one atom" in found.notes[0]
    # Off the place by digits in which some of the images coincide.
    text = rock_salt_cif(sites=ROCK_SALT_SITES.replace("Li1 Li 0 0 0", "Li1 Li .0004 .0003 0"))
    assert one(text).structure.formula == "Li4 Cl4"
