"""Files to structures: compression, encodings, formats, and what is said of broken ones."""

import bz2
import functools
import gzip
import io
import json
import lzma
import sys
import tempfile
from pathlib import Path

import ase.io
import ase.io.jsonio
import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Poscar

from mfal.crystals.checks import notes_of
from mfal.crystals.file_names import is_structure_name
from mfal.crystals.reading import (
    STANDARD_INPUT,
    parse_structure,
    read_structure,
    read_structures,
    text_of_bytes,
)
from mfal.crystals.structures import space_group_number, structure_to_cif
from mfal.errors import MfalError
from tests.crystals.structure_files import FM3M, rock_salt, rock_salt_cif


def atoms():
    structure = rock_salt()
    symbols = [site.specie.symbol for site in structure]
    return Atoms(symbols, cell=structure.lattice.matrix, positions=structure.cart_coords, pbc=True)


def is_rock_salt(structure):
    return structure.formula == "Li4 Cl4" and space_group_number(structure) == 225


# --- compression and encodings --------------------------------------------------------------------


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252"]
)
def test_any_compression_and_encoding(tmp_path, compress, encoding):
    text = rock_salt_cif(more="_publ_author_name 'Müller, Å.'\n").replace("\n", "\r\n")
    path = tmp_path / "a.cif"  # the name says nothing of it
    path.write_bytes(compress(text.encode(encoding)))
    assert is_rock_salt(read_structure(path))


@given(st.text(min_size=20).filter(lambda text: "\x00" not in text and "\r" not in text))
def test_unicode_text_comes_back(text):
    assert text_of_bytes(text.encode("utf-8-sig")) == text
    assert text_of_bytes(text.encode("utf-16")) == text


def test_damaged_and_large_archives(tmp_path):
    path = tmp_path / "a.cif.gz"
    path.write_bytes(gzip.compress(rock_salt_cif().encode())[:100])
    with pytest.raises(MfalError, match="cannot be decompressed"):
        read_structure(path)
    path.write_bytes(gzip.compress(bytes(50_000_000)))  # a small file
    assert path.stat().st_size < 100_000
    with pytest.raises(MfalError, match="too large"):
        read_structure(path)


def test_standard_input(monkeypatch):
    class Input:
        buffer = io.BytesIO(gzip.compress(rock_salt_cif().encode()))

    monkeypatch.setattr(sys, "stdin", Input)
    (reading,) = read_structures(STANDARD_INPUT)
    assert reading.name == "standard input"
    assert is_rock_salt(reading.structure)


# --- formats --------------------------------------------------------------------------------------


@functools.cache
def written(form):
    """LiCl in one of the formats."""
    if form == "pymatgen":
        return json.dumps(rock_salt().as_dict())
    if form == "entries":
        return json.dumps([{"material_id": "mp-1", "structure": rock_salt().as_dict()}])
    if form == "ase dict":
        return ase.io.jsonio.encode(atoms())
    if form == "cartesian poscar":
        return Poscar(rock_salt()).get_str(direct=False)
    if form == "selective poscar":
        free = [[True, False, True]] * 8
        return Poscar(rock_salt(), selective_dynamics=free).get_str()
    if form == "old poscar":
        lines = str(Poscar(rock_salt(), comment="Li Cl")).splitlines()
        return "\n".join(line for k, line in enumerate(lines) if k != 5).replace(" Li\n", "\n")
    more = {"pseudopotentials": {"Li": "Li", "Cl": "Cl"}} if form == "espresso-in" else {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "written")
        ase.io.write(path, atoms(), format=form, **more)
        return path.read_text()


@pytest.mark.parametrize(
    "form",
    [
        *("extxyz", "xsf", "json", "vasp", "vasp-xdatcar", "espresso-in", "castep-cell", "cube"),
        *("pymatgen", "entries", "ase dict", "cartesian poscar", "selective poscar", "old poscar"),
        *("gen", "aims", "res"),
    ],
)
def test_formats_are_known_by_their_contents(tmp_path, form):
    suffix = {"castep-cell": ".cell", "gen": ".gen", "aims": ".in", "cube": ".cube"}.get(form, "")
    path = tmp_path / f"anything{suffix}"
    path.write_text(written(form))
    structure = read_structure(path)
    assert structure.formula == "Li4 Cl4"
    assert space_group_number(structure, symprec=0.01) == 225


def test_a_poscar_whose_comment_looks_like_a_cif(tmp_path):
    path = tmp_path / "POSCAR"
    path.write_text(Poscar(rock_salt(), comment="from data_LiCl, _cell_length_a 5").get_str())
    assert is_rock_salt(read_structure(path))
    assert not notes_of(read_structure(path))


def test_a_poscar_without_elements_is_refused():
    text = written("old poscar").split("\n", 1)
    lines = ["unknown", *text[1].splitlines()]
    bare = "\n".join(line.removesuffix(" Cl").removesuffix(" Li") for line in lines)
    with pytest.raises(MfalError, match="elements are not named"):
        parse_structure(bare, "POSCAR")
    named = "\n".join(["Li Cl", *bare.splitlines()[1:]])
    assert notes_of(parse_structure(named, "POSCAR")) == (
        "elements Li, Cl taken from the first line",
    )


@pytest.mark.parametrize(("occupancy", "total"), [(1.03, 1.0), (1.2, None)])
def test_occupancies_in_json(occupancy, total):
    data = rock_salt().as_dict()
    data["sites"][0]["species"][0]["occu"] = occupancy
    if total is None:
        with pytest.raises(MfalError, match=r"Li at 0 0 0: occupancy 1\.2"):
            parse_structure(json.dumps(data), "a.json")
    else:
        structure = parse_structure(json.dumps(data), "a.json")
        assert structure[0].species.num_atoms == pytest.approx(total)


SHELX = """TITL LiFePO4 in Pnma
CELL 0.71073 10.332 6.010 4.692 90 90 90
ZERR 4 0.001 0.001 0.001 0 0 0
LATT 1
SYMM 0.5-X, -Y, 0.5+Z
SYMM -X, 0.5+Y, -Z
SYMM 0.5+X, 0.5-Y, 0.5-Z
SFAC Li Fe P O
UNIT 4 4 4 16
L.S. 10
FVAR 0.5 0.9
Li1 1 0 0 0 10.5 0.02
Fe1 2 0.2822 10.25 0.9747 10.5 11 =
   0.01 0.01
P1 3 0.0948 10.25 0.4182 10.5 0.01
O1 4 0.0968 10.25 0.7428 10.5 0.01
O2 4 0.4571 10.25 0.2060 10.5 0.01
O3 4 0.1656 0.0465 0.2848 11.0 0.01
Q1 1 0.4 0.4 0.4 11.0 0.05 1.2
HKLF 4
END
"""


def test_shelx_with_symmetry():
    structure = parse_structure(SHELX, "a.res")
    assert structure.formula == "Li4 Fe4 P4 O16"
    assert space_group_number(structure) == 62
    assert "peaks" in notes_of(structure)[0]
    partial = parse_structure(SHELX.replace("0 0 0 10.5", "0 0 0 10.25"), "a.res")
    assert partial.composition["Li"] == pytest.approx(2.0)
    variable = SHELX.replace("Li1 1 0 0 0 10.5", "Li1 1 0 0 0 20.5")  # half of 0.9
    assert parse_structure(variable, "a.res").composition["Li"] == pytest.approx(3.6)


def test_several_structures_are_numbered(tmp_path):
    path = tmp_path / "a.cif"
    path.write_text(rock_salt_cif() + "data_global\n" + rock_salt_cif(name="second"))
    first, second = read_structures(path)
    assert (first.name, second.name) == (f"{path}#1", f"{path}#2")
    assert is_rock_salt(first.structure)
    assert is_rock_salt(second.structure)
    with pytest.raises(MfalError, match="holds 2 structures"):
        read_structure(path)
    frames = tmp_path / "frames.xyz"
    ase.io.write(frames, [atoms(), atoms() * (2, 1, 1), atoms()], format="extxyz")
    assert [len(one.structure) for one in read_structures(frames)] == [8, 16, 8]


def test_a_broken_block_stands_beside_the_sound_ones(tmp_path):
    path = tmp_path / "a.cif"
    path.write_text(rock_salt_cif() + rock_salt_cif(name="two").replace("Li 0 0 0 1", "Li 0 0 0 2"))
    first, second = read_structures(path)
    assert first.problem is None
    assert second.structure is None
    assert str(second.problem).startswith(f"{path}#2")
    assert "Li1 at 0 0 0: occupancy 2" in str(second.problem)


def test_names_that_count_in_a_folder(tmp_path):
    names = {
        True: "a.cif b.CIF c.cif.gz POSCAR CONTCAR_2 POSCAR.bz2 x.vasp y.extxyz.xz z.res mag.mcif",
        False: "README notes.txt a.csv fig.png a.gz INCAR run.sh",
    }
    for expected, listed in names.items():
        for name in listed.split():
            assert is_structure_name(tmp_path / name) == expected, name


# --- round trips ----------------------------------------------------------------------------------


@pytest.mark.parametrize("symprec", [0.01, None])
def test_cif_round_trip(tmp_path, symprec):
    path = tmp_path / "a.cif"
    path.write_text(structure_to_cif(rock_salt(), symprec=symprec))
    back = read_structure(path)
    assert back.composition == rock_salt().composition
    assert StructureMatcher(scale=False).fit(back, rock_salt())
    assert ("Fm-3m" in path.read_text()) == (symprec is not None)
    assert not notes_of(back)


def test_cif_keeps_partial_occupancy():
    structure = rock_salt()
    structure.replace_species({"Li": {"Li": 0.5, "Na": 0.25}})
    back = parse_structure(structure_to_cif(structure), "a.cif")
    assert back.composition.get_el_amt_dict() == pytest.approx({"Li": 2.0, "Na": 1.0, "Cl": 4.0})


def test_deuterium_is_read_as_hydrogen(tmp_path):
    structure = Structure(Lattice.cubic(4), ["Li", "H"], [[0] * 3, [0.5] * 3])
    path = tmp_path / "lid.cif"
    structure.to(filename=str(path))
    path.write_text(path.read_text().replace("H  H1", "D  D1"))
    assert [s.symbol for s in read_structure(path).composition] == ["Li", "H"]
    path.write_text(Poscar(structure).get_str().replace("H", "D"))
    assert [s.symbol for s in read_structure(path).composition] == ["Li", "H"]


# --- errors ---------------------------------------------------------------------------------------

CIF = structure_to_cif(rock_salt(), symprec=None)
PARSERS = ("gemmi", "Traceback", "Error", "list index", "section", "dict", "None", "\\x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("hello\nworld\n", "format that is known"),
        ("data_x\n_cell_length_a 5\n", "no block has atom sites"),
        (CIF.replace("_cell_length_a", "_cell_length_q"), "_cell_length_a"),
        (CIF.replace("5.14", "nan").replace("5.13", "nan"), "_cell_length_a"),
        (CIF + "\n" + CIF.replace("data_LiCl", "data_two"), "holds 2 structures"),
        (CIF.replace("Li  Li0", "Xx  Xx0").replace("Li+", "Xx+"), "'Xx' is no element"),
        ("\x00\xff\x89PNG" * 40, "format that is known"),
        ("{", "no complete JSON"),
        ('{"schema": 1}', "no structure in this JSON"),
        ("[[[[[[[[[[[[[[", "no complete JSON"),
        ("3\nmolecule\nH 0 0 0\nO 0 0 1\nH 0 0 2\n", "molecule without a cell"),
        ("3\nLattice\n", "no complete extended XYZ"),
        ("CRYSTAL\nPRIMVEC\n1 0 0\n", "no complete XSF"),
        ("x\n1.0\n5 0 0\n0 5 0\n0 0 5\nLi Cl\n1 1\nDirect\n0 0\n", "no complete POSCAR"),
        ("x\n1.0\n0 0 0\n0 0 0\n0 0 0\nLi\n1\nDirect\n0 0 0\n", "no sensible cell"),
        ("TITL x\nCELL 1 5 5\nSFAC Li\n", "no cell or no atoms"),
    ],
)
def test_bad_files_end_in_one_line_that_names_them(text, message):
    with pytest.raises(MfalError) as caught:
        parse_structure(text, "a.cif")
    said = str(caught.value)
    assert message in said
    assert said.startswith("a.cif")
    assert "\n" not in said
    assert caught.value.remedy
    assert not [word for word in PARSERS if word in said]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_anywhere_is_an_error_or_a_structure(data):
    """Never another exception, whatever a few characters become, and never a parser's words."""
    form = data.draw(st.sampled_from(["cif", "vasp", "extxyz", "xsf", "pymatgen", "res"]))
    text = rock_salt_cif() if form == "cif" else written(form)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        length = data.draw(st.integers(0, 20))
        text = text[:at] + data.draw(st.text(max_size=3)) + text[at + length :]
    try:
        structure, said = parse_structure(text, "a"), ""
    except MfalError as error:
        structure, said = rock_salt(), str(error)
    assert np.isfinite(structure.frac_coords).all()
    assert not [word for word in PARSERS[:5] if word in said]


def test_missing_folder_large(tmp_path):
    with pytest.raises(MfalError, match="does not exist"):
        read_structure(tmp_path / "none.cif")
    with pytest.raises(MfalError, match="is a folder"):
        read_structure(tmp_path)
    large = tmp_path / "large.cif"
    with large.open("wb") as file:
        file.truncate(50_000_000)
    with pytest.raises(MfalError, match="too large"):
        read_structure(large)
    (tmp_path / "a.cif").write_text(CIF)
    with pytest.raises(MfalError, match="8 sites"):
        read_structure(tmp_path / "a.cif", max_sites=7)


def test_a_short_file_of_very_many_sites_is_refused_before_they_are_made():
    """A hundred sites in general position under 192 operations, and ten thousand of them."""
    rng = np.random.default_rng(0)
    cell = [f"_cell_length_{x} 90" for x in "abc"]
    columns = ["_atom_site_label", *(f"_atom_site_fract_{x}" for x in "xyz")]
    sites = [f"Li{i} " + " ".join(f"{x:.4f}" for x in rng.random(3)) for i in range(100)]
    text = "\n".join(["data_x", *cell, FM3M, "loop_", *columns, *sites, ""])
    with pytest.raises(MfalError, match=r"1[0-9]{4} sites; give a cell of at most 2000"):
        parse_structure(text, "bomb.cif")
    with pytest.raises(MfalError, match="sites; give a cell of at most 2000"):
        parse_structure(text + "\n".join(sites * 100) + "\n", "bomb.cif")
