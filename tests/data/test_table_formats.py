"""Round trips through JSON, pandas and folders of CIFs, and damaged files."""

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher

from mfal.data import CONDUCTIVITY, Label, Material, MaterialTable, load_embedded
from mfal.data.table_cifs import from_cif_folder, to_cif_folder
from mfal.data.table_json import from_json, load_json, save_json, to_json
from mfal.data.table_pandas import from_pandas, read_csv, to_pandas
from mfal.errors import MfalError, MfalWarning
from tests.crystals.structure_files import rock_salt, rock_salt_cif


def small_table() -> MaterialTable:
    embedded = load_embedded()
    ids = ["mp-dielectric-4602", "kamaya2011", "obelix-47i", "mp-dielectric-2008"]
    unlocated = Material(
        "mine/1",
        "Li3PS4",
        {"Li": 3, "P": 1, "S": 4},
        labels=(
            Label(CONDUCTIVITY, 1e-6, "S/cm", "interval", 1e-4, "doi:10.1/a"),
            Label("barrier", 0.3, "eV"),
        ),
    )
    chosen = embedded.select([embedded.index(i) for i in ids])
    return chosen.concatenate(MaterialTable.from_rows([unlocated]))


def assert_same(a: MaterialTable, b: MaterialTable, *, structures: bool = True) -> None:
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert x._replace(structure=None, lattice=(), labels=()) == y._replace(
            structure=None, lattice=(), labels=()
        )
        np.testing.assert_array_equal(x.lattice, y.lattice)
        # repr: NaN, the end of no interval, isn't equal to itself
        assert repr(x.labels) == repr(y.labels)
        if structures:
            assert x.structure == y.structure


def test_json_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.json"
    save_json(small_table(), path)
    assert_same(load_json(path), small_table())
    assert [p.name for p in path.parent.iterdir()] == ["table.json"]
    json.loads(path.read_text())  # strict JSON: no NaN
    assert "NaN" not in path.read_text()


def test_pandas_round_trip() -> None:
    frame = to_pandas(small_table())
    assert_same(from_pandas(frame), small_table())
    row = frame.set_index("id").loc["obelix-47i"]
    assert row[CONDUCTIVITY] == 1e-10
    assert row[f"{CONDUCTIVITY}_censoring"] == "below"
    # and through a file
    text = frame.to_csv(index=False)
    from io import StringIO

    assert_same(from_pandas(pd.read_csv(StringIO(text))), small_table())


def test_cif_folder_round_trip(tmp_path: Path) -> None:
    table = small_table()
    assert to_cif_folder(table, tmp_path) == 4
    back = from_cif_folder(tmp_path)
    assert_same(back, table, structures=False)
    match = StructureMatcher(primitive_cell=True, scale=False, ltol=1e-3, stol=1e-3, angle_tol=0.1)
    for a, b in zip(back.structures(), table.structures(), strict=True):
        if b is not None:
            assert match.fit(a.remove_oxidation_states(), b.remove_oxidation_states())


def test_index_of_a_cif_folder_cannot_lead_elsewhere(tmp_path: Path) -> None:
    to_cif_folder(small_table(), tmp_path / "a")
    index = tmp_path / "a" / "materials.csv"
    text = index.read_text()
    index.write_text(text.replace("kamaya2011.cif", "../kamaya2011.cif"))
    with pytest.raises(MfalError, match=r"names \.\./kamaya2011\.cif"):
        from_cif_folder(tmp_path / "a")
    index.write_text(text.replace(",cif\n", ",file\n"))
    with pytest.raises(MfalError, match="no column cif"):
        from_cif_folder(tmp_path / "a")


def test_folder_of_bare_cifs(tmp_path: Path) -> None:
    table = small_table()
    to_cif_folder(table, tmp_path)
    (tmp_path / "materials.csv").unlink()
    back = from_cif_folder(tmp_path)
    assert set(back.ids) == {"mp-dielectric-4602", "kamaya2011", "obelix-47i", "mp-dielectric-2008"}
    for identifier in back.ids:
        x, y = back.row(back.index(identifier)), table.row(table.index(identifier))
        assert x.space_group_number == y.space_group_number
        np.testing.assert_allclose(x.lattice, y.lattice, rtol=1e-4)
    with pytest.raises(MfalError, match="holds no structure file"):
        from_cif_folder(tmp_path / "none")


def test_own_spreadsheet() -> None:
    frame = pd.DataFrame(
        {
            "id": ["x", "y", "z"],
            "formula": ["Li3N", "Li2S", "LiF"],
            "sigma": ["1.2e-3", "<1e-10", None],
            "batch": ["A", "B", None],
        }
    )
    table = from_pandas(frame, {"sigma": (CONDUCTIVITY, "S/cm")})
    arrays = table.label_arrays()
    np.testing.assert_array_equal(arrays.value, [1.2e-3, 1e-10, math.nan])
    assert arrays.censoring.tolist() == [0, 1, -1]
    assert table.details[1] == {"batch": "B"}
    assert table.row(0).composition == {"Li": 3, "N": 1}
    assert not table.has_crystal.any()


def test_own_spreadsheet_with_cells() -> None:
    cell = {"a": 5.7, "b": 5.7, "c": 5.7, "alpha": 90, "beta": 90, "gamma": 90}
    row = {"id": "x", "formula": "Li2S", "space_group_number": 225, **cell}
    table = from_pandas(pd.DataFrame([{**row, "formula_units": 4}]))
    assert table.row(0).composition == {"Li": 8, "S": 4}
    assert table.has_crystal.all()
    with pytest.raises(MfalError, match=r"row 1 \(x\) has a cell, but not how many formula units"):
        from_pandas(pd.DataFrame([row]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigma": ["fast", "1"]}, r"row 1 \(x\).*'fast' is no number"),
        ({"sigma": ["1e-3", "-1e-3"]}, "y: ionic_conductivity is -0.001"),
        ({"formula": ["Li3N", "Li?"]}, r"row 2 \(y\): 'Li\?' is no formula"),
        ({"id": ["x", "x"]}, "id x occurs twice"),
        ({"a": ["3.6", "long"]}, "'long' is no number"),
    ],
)
def test_bad_cells_are_named(change: dict[str, list[str]], message: str) -> None:
    columns = {"id": ["x", "y"], "formula": ["Li3N", "Li2S"], "sigma": ["1", "2"]} | change
    with pytest.raises(MfalError, match=message):
        from_pandas(pd.DataFrame(columns), {"sigma": (CONDUCTIVITY, "S/cm")}, strict=True)


def test_a_bad_row_is_left_out_and_named() -> None:
    frame = pd.DataFrame({"id": ["x", "y", "x"], "formula": ["Li3N", "Li?", "LiF"]})
    with pytest.warns(MfalWarning) as told:
        table = from_pandas(frame)
    assert table.ids == ("x",)
    assert [str(one.message).split(";")[0] for one in told] == [
        "left out: row 2 (y): 'Li?' is no formula",
        "left out: row 3: id x occurs twice",
    ]
    with pytest.raises(MfalError, match="is no formula"):
        from_pandas(frame.iloc[1:2])


@pytest.mark.parametrize(
    ("cell", "unit", "value", "censoring"),
    [
        ("2.6e-4", "mS/cm", 2.6e-7, 0),
        ("2,6e-7", "S cm-1", 2.6e-7, 0),
        ("2.6·10⁻⁵", "Ω⁻¹ m⁻¹", 2.6e-7, 0),
        ("≤ 0,26", "µS/cm", 2.6e-7, 1),
        ("0.26(3)", "uS cm^-1", 2.6e-7, 0),
        (">1", "mS·cm⁻¹", 1e-3, 2),
    ],
)
def test_units_and_numbers_as_people_write_them(
    cell: str, unit: str, value: float, censoring: int
) -> None:
    frame = pd.DataFrame({"id": [1], "formula": ["Li3PS4"], "sigma": [cell]})
    table = from_pandas(frame, {"sigma": (CONDUCTIVITY, unit)})
    arrays = table.label_arrays()
    assert arrays.value[0] == pytest.approx(value, rel=1e-14)
    assert arrays.censoring[0] == censoring
    assert table.labels[0][0].unit == "S/cm"
    barrier = from_pandas(frame, {"sigma": ("barrier", "meV")}, strict=True).labels[0][0]
    assert barrier.unit == "eV"


def test_columns_are_guessed_with_a_message() -> None:
    frame = pd.DataFrame(
        {
            "Formula": ["LiF"],
            "Name": ["a"],
            "Spacegroup #": [225],
            "Ionic conductivity (mS cm-1)": "1,5",
        }
    )
    with pytest.warns(MfalWarning) as told:
        table = from_pandas(frame)
    said = " ".join(str(one.message) for one in told)
    assert "'Name' is taken as id" in said
    assert "'Spacegroup #' is taken as space_group_number" in said
    assert "taken as the conductivity at room temperature in mS cm-1" in said
    assert table.ids == ("a",)
    assert table.space_group_number.tolist() == [225]
    assert table.label_arrays().value[0] == pytest.approx(1.5e-3)
    with pytest.warns(MfalWarning, match="names no unit"):
        assert not from_pandas(pd.DataFrame({"id": [1], "formula": ["LiF"], "sigma": [1]})).labels[
            0
        ]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_csv_of_any_separator_and_encoding(tmp_path: Path, separator: str, encoding: str) -> None:
    path = tmp_path / "a.csv"
    lines = [["id", "formula", "sigma (S/cm)", "note"], ["1", "Li3PS4", '"2,6e-7"', "Müller"]]
    path.write_text("\r\n".join(separator.join(line) for line in lines), encoding=encoding)
    with pytest.warns(MfalWarning, match="taken as the conductivity"):
        table = from_pandas(read_csv(path))
    assert table.label_arrays().value[0] == 2.6e-7
    assert table.details[0]["note"] == "Müller"


def test_a_folder_of_files_as_people_have_it(tmp_path: Path) -> None:
    """Names in large letters, compressed, other formats; broken ones are named and left out."""
    (tmp_path / "a.cif").write_text(rock_salt_cif())
    (tmp_path / "b.CIF").write_text(rock_salt_cif())
    (tmp_path / "c.cif.gz").write_bytes(gzip.compress(rock_salt_cif().encode()))
    (tmp_path / "POSCAR").write_text(rock_salt().to(fmt="poscar"))
    (tmp_path / "two.cif").write_text(rock_salt_cif() + rock_salt_cif(name="2"))
    (tmp_path / "bad.cif").write_text(rock_salt_cif().replace("0 0 0 1", "0 0 0 2"))
    (tmp_path / "nm.cif").write_text(rock_salt_cif().replace("5.13", "0.513"))
    (tmp_path / "p1.cif").write_text(rock_salt_cif(""))
    (tmp_path / "README").write_text("not a structure")
    with pytest.warns(MfalWarning) as told:
        table = from_cif_folder(tmp_path)
    assert sorted(table.ids) == ["POSCAR", "a", "b", "c", "p1"]
    said = "\n".join(str(one.message) for one in told if one.category is MfalWarning)
    assert "two.cif holds 2 structures" in said
    assert "bad.cif: Li1 at 0 0 0: occupancy 2" in said
    assert "is the cell in nm?" in said
    assert "README" not in said
    assert "read as P 1" in table.details[table.index("p1")]["notes"][0]
    assert "notes" not in table.details[table.index("a")]
    with pytest.raises(MfalError):
        from_cif_folder(tmp_path, strict=True)


def test_files_of_one_name_get_ids_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.cif").write_text(rock_salt_cif())
    (tmp_path / "a.vasp").write_text(rock_salt().to(fmt="poscar"))
    assert sorted(from_cif_folder(tmp_path).ids) == ["a.cif", "a.vasp"]


def test_missing_column_is_named() -> None:
    with pytest.raises(MfalError, match="no column 'formula'"):
        from_pandas(pd.DataFrame({"id": ["x"]}))
    frame = pd.DataFrame({"formula": ["LiF"], "Sigma": [1e-4]})
    with pytest.raises(MfalError, match="no column 'sigma'; it has formula, Sigma"):
        from_pandas(frame, {"sigma": ("ionic_conductivity", "S/cm")})


def test_damaged_json(tmp_path: Path) -> None:
    text = to_json(small_table())
    with pytest.raises(MfalError, match=r"half\.json is not complete JSON"):
        from_json(text[: len(text) // 2], "half.json")
    with pytest.raises(MfalError, match="schema 99"):
        from_json(text.replace('"schema": 1', '"schema": 99'))
    with pytest.raises(MfalError, match="material 1 is malformed"):
        from_json(text.replace('"formula"', '"formel"'))
    with pytest.raises(MfalError, match="does not exist"):
        load_json(tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MfalError, match="is not text"):
        load_json(tmp_path / "binary.json")


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MfalError, match="cannot be written"):
        save_json(small_table(), tmp_path / "file" / "table.json")
