"""OBELiX from its folder: labels, limits, groups, splits, damage."""

import shutil
import sys
import tarfile
import types
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Composition

from mfal.crystals.elements import atomic_number
from mfal.data import MaterialTable, load_obelix
from mfal.data.obelix import composition_groups
from mfal.errors import MfalError, MfalWarning
from tests.shared_data import shared_data

SIGMA = "Ionic conductivity (S cm-1)"


@pytest.fixture(scope="module")
def table() -> MaterialTable:
    return load_obelix(shared_data("obelix"))


def test_rows_are_those_of_the_file(table: MaterialTable) -> None:
    frame = pd.read_csv(shared_data("obelix", "all.csv"))
    assert len(table) == len(frame) == 478
    assert table.has_structure.sum() == 254
    labels = table.label_arrays()
    limits = frame[SIGMA].str.startswith("<").to_numpy()
    assert (labels.censoring == np.where(limits, 1, 0)).all()
    assert limits.sum() == 29
    assert set(labels.value[limits]) == {1e-10, 1e-8}
    exact = frame[SIGMA][~limits].astype(float).to_numpy()
    np.testing.assert_array_equal(labels.value[~limits], exact)
    assert (frame["a"].to_numpy() - table.lattice[:, 0]).max() < 1e-5


def test_cells_hold_what_their_formula_says(table: MaterialTable) -> None:
    corrected = table.row(table.index("obelix-r5y"))
    assert corrected.formula == "Li2CdCl4"
    assert corrected.details["composition_note"] == "cell listed as Li1.6Cd8.0Cl32.0"
    assert corrected.composition == {"Li": 16, "Cd": 8, "Cl": 32}
    for row in table:
        stated = Composition(row.formula.strip()).fractional_composition
        total = sum(row.composition.values())
        for element, fraction in stated.items():
            assert abs(row.composition.get(element.symbol, 0) / total - fraction) < 0.01, row.id


def test_a_mistyped_group_number_is_corrected_and_noted(table: MaterialTable) -> None:
    row = table.row(table.index("obelix-019"))
    assert row.space_group_number == 167
    assert "168" in row.details["space_group_note"]


def test_structures_are_read_and_flagged(table: MaterialTable) -> None:
    structure = table.structure(table.index("obelix-j8q"))
    assert structure is not None
    assert not structure.is_ordered
    assert structure.composition["Li"] == pytest.approx(20.056)
    assert table.row(table.index("obelix-j8q")).details["noisy_positions"] is True
    assert table.structure(int(np.flatnonzero(~table.has_structure)[0])) is None


def test_groups_keep_repeated_measurements_together(table: MaterialTable) -> None:
    group = dict(zip(table.ids, table.groups, strict=True))
    same = ["obelix-9zr", "obelix-6jf", "obelix-nig", "obelix-w87"]  # Li6PS5Br, four papers
    assert len({group[i] for i in same}) == 1
    assert group["obelix-122"] != group["obelix-6jf"]  # the chloride
    formulas = defaultdict(set)
    for row in table:
        formulas[Composition(row.formula.strip()).reduced_formula].add(row.group)
    assert all(len(groups) == 1 for groups in formulas.values())


def test_group_tolerance_on_made_up_compositions() -> None:
    li, o, s = (atomic_number(x) - 1 for x in ("Li", "O", "S"))
    composition = np.zeros((5, 103))
    composition[0, [li, o]] = 2, 1
    composition[1, [li, o]] = 4, 2  # the same in another cell
    composition[2, [li, s]] = 2, 1
    composition[3, [li, o]] = 2.01, 1  # fractions .6678 .3322: differs by .0022
    groups = composition_groups(composition)
    assert groups[0] == groups[1] == groups[3]
    assert len({groups[0], groups[2], groups[4]}) == 3
    assert len(set(composition_groups(composition, 0.001).tolist())) == 4
    # two unknown compositions aren't one material
    assert len(set(composition_groups(np.zeros((2, 103))).tolist())) == 2


def test_stated_split_is_kept(table: MaterialTable) -> None:
    test = set(pd.read_csv(shared_data("obelix", "test.csv"))["ID"])
    marked = {row.id for row in table if row.details["split"] == "test"}
    assert marked == {f"obelix-{i}" for i in test}
    assert len(marked) == 96


def damaged(tmp_path: Path, change: tuple[str, str]) -> Path:
    text = shared_data("obelix", "all.csv").read_text()
    assert change[0] in text
    (tmp_path / "all.csv").write_text(text.replace(*change))
    return tmp_path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("Space group #", "Gruppe"), "lacks the columns Space group #"),
        (("1.58489e-06", "fast"), r"line 2 \(jqc\).*fast"),
        (("1.58489e-06", "-1.58489e-06"), r"obelix-jqc: ionic_conductivity is -1\.58"),
        (("oi6,", "jqc,"), "id obelix-jqc occurs twice"),
        (("Li7.0Bi1.0O6.0", "Li7.0?1.0O6.0"), r"line 2 \(jqc\).*is no formula"),
    ],
)
def test_damage_is_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    folder = damaged(tmp_path, change)
    with pytest.raises(MfalError, match=message):
        load_obelix(folder, strict=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("1.58489e-06", "fast"), r"left out: all\.csv, line 2 \(jqc\).*fast"),
        (("1.58489e-06", "-1.58489e-06"), r"obelix-jqc: ionic_conductivity is -1\.58"),
        (("oi6,", "jqc,"), "line 3: id obelix-jqc occurs twice"),
        (("Li7.0Bi1.0O6.0", "Li7.0?1.0O6.0"), r"line 2 \(jqc\).*is no formula"),
    ],
)
def test_a_bad_row_is_left_out_and_named(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    with pytest.warns(MfalWarning, match=message) as told:
        table = load_obelix(damaged(tmp_path, change))
    assert len(table) == 477
    assert len([one for one in told if one.category is MfalWarning]) == 1


def test_hydrates_and_nested_groups(tmp_path: Path) -> None:
    """The one formula of the published table that pymatgen can't read."""
    formula = "Li3(Mo8S8O8(OH)8(HWO5(H2O)))*(H2O)18"
    table = load_obelix(damaged(tmp_path, ("Li7BiO6,1,Li7.0Bi1.0O6.0", f"{formula},1,{formula}")))
    assert len(table) == 478
    row = table.row(0)
    assert row.formula == formula
    assert row.composition == {"Li": 3, "H": 47, "O": 40, "S": 8, "Mo": 8, "W": 1}


def test_a_cif_of_another_composition_is_told_of(table: MaterialTable) -> None:
    notes = {row.id: row.details["notes"] for row in table if "notes" in row.details}
    assert notes["obelix-9yt"] == [
        "the table's formula has 0.46 of its atoms Li, the sites have 0.62"
    ]
    assert notes["obelix-etz"][0].endswith("Li, the sites have 0.21")
    assert len(notes) == 20


def test_a_download_cut_short(tmp_path: Path) -> None:
    text = shared_data("obelix", "all.csv").read_bytes()
    (tmp_path / "all.csv").write_bytes(text[:500] + b'"')
    with pytest.raises(MfalError, match=r"all\.csv is not a readable CSV"):
        load_obelix(tmp_path)
    (tmp_path / "all.csv").write_bytes(b"\x1f\x8b\x08\xff\x00")
    with pytest.raises(MfalError, match=r"all\.csv"):
        load_obelix(tmp_path)
    (tmp_path / "all.csv").write_bytes(text)
    (tmp_path / "test.csv").write_text("id\nx\n")
    with pytest.raises(MfalError, match=r"test\.csv has no column ID"):
        load_obelix(tmp_path)


def test_a_broken_cif_is_said_when_it_is_read(tmp_path: Path) -> None:
    shutil.copy(shared_data("obelix", "all.csv"), tmp_path)
    (tmp_path / "all_randomized_cifs").mkdir()
    (tmp_path / "all_randomized_cifs" / "jqc.cif").write_text("data_x\n_cell_length_a 5.0\nloop_")
    table = load_obelix(tmp_path)
    assert table.has_structure.sum() == 1
    with pytest.raises(MfalError, match="the stored CIF"):
        table.structure(0)


def test_not_the_folder(tmp_path: Path) -> None:
    with pytest.raises(MfalError, match=r"holds no all\.csv"):
        load_obelix(tmp_path)


def fake_package(monkeypatch: pytest.MonkeyPatch, download: object) -> None:
    """A module `obelix` whose class does what the real one does with its folder."""
    module = types.ModuleType("obelix")
    module.OBELiX = download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "obelix", module)


def test_download_is_cached_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MFAL_CACHE", str(tmp_path))
    source = shared_data("obelix")
    calls = []

    def broken(data_path: str, no_cifs: bool) -> None:
        calls.append(data_path)
        Path(data_path).mkdir()
        (Path(data_path) / "all_randomized_cifs").mkdir()
        if len(calls) == 1:
            raise ConnectionResetError("peer hung up")
        raise tarfile.ReadError("unexpected end of data")

    def whole(data_path: str, no_cifs: bool) -> None:
        calls.append(data_path)
        print("Downloading data...")
        assert not Path(data_path).exists()  # the real package skips folders that exist
        Path(data_path).mkdir()
        for name in ("all.csv", "test.csv"):
            shutil.copy(source / name, data_path)

    fake_package(monkeypatch, broken)
    with pytest.raises(MfalError, match=r"cannot be downloaded \(peer hung up\)"):
        load_obelix()
    with pytest.raises(MfalError, match=r"cannot be downloaded \(unexpected end of data\)"):
        load_obelix()
    assert not list(tmp_path.iterdir())
    fake_package(monkeypatch, whole)
    assert len(load_obelix()) == 478
    assert len(load_obelix()) == 478
    assert len(calls) == 3
    assert capsys.readouterr().out == ""  # standard output may be somebody's JSON
    assert [p.name for p in tmp_path.iterdir()] == ["obelix"]


def test_package_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFAL_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "obelix", None)
    with pytest.raises(MfalError, match="needs the package obelix-data"):
        load_obelix()


def test_unwritable_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MFAL_CACHE", str(tmp_path / "file"))
    with pytest.raises(MfalError, match="MFAL_CACHE"):
        load_obelix()
