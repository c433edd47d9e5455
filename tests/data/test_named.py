"""Tables by name, and what is shown of them."""

from pathlib import Path

import pytest

from mfal.data import CONDUCTIVITY, Label, Material, MaterialTable, load_embedded, load_set40
from mfal.data.named import (
    cached_pool,
    describe,
    export_table,
    find_row,
    open_table,
    summarise_table,
)
from mfal.data.pool import PoolConfig
from mfal.errors import MfalError
from tests.shared_data import shared_data


def few() -> MaterialTable:
    table = load_embedded()
    return table.select([table.index(i) for i in ("mp-dielectric-4602", "kamaya2011")])


def test_names_lead_to_tables(tmp_path: Path) -> None:
    assert open_table("embedded") is load_embedded()
    assert open_table("set40") is load_set40()
    assert len(open_table("set41")) == 41
    folder = shared_data("obelix")
    assert len(open_table(f"obelix:{folder}")) == len(open_table(folder)) == 478
    for name in ("t.json", "t.csv", "cifs"):
        said = export_table(few(), tmp_path / name)
        assert said.startswith("2 ")
        assert open_table(tmp_path / name).ids == few().ids


@pytest.mark.parametrize("reference", ["nothing", "t.xlsx", "none.json", "none.csv"])
def test_no_such_table(reference: str, tmp_path: Path) -> None:
    with pytest.raises(MfalError, match=r"no table|does not exist"):
        open_table(tmp_path / reference if "." in reference else reference)


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text('a,b\n1,2,3\n"')
    with pytest.raises(MfalError, match="is not a readable CSV"):
        open_table(tmp_path / "bad.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(MfalError, match="is not a readable CSV"):
        open_table(tmp_path / "empty.csv")
    with pytest.raises(MfalError, match=r"cannot export to t\.xlsx"):
        export_table(few(), tmp_path / "t.xlsx")


def test_summary_counts() -> None:
    rows = [
        Material(
            "a", "LiF", {"Li": 1, "F": 1}, licence="x", details={"family": "fluoride"},
            labels=(Label(CONDUCTIVITY, 1e-9, "S/cm", "below"), Label("gap", 9.0, "eV")),
        ),
        Material("b", "LiF", {"Li": 1, "F": 1}, labels=(Label(CONDUCTIVITY, 1e-8, "S/cm"),)),
    ]  # fmt: skip
    assert summarise_table(MaterialTable.from_rows(rows).concatenate(few())) == {
        "materials": 4,
        "formulas": 2,
        "with_cell": 2,
        "with_atoms": 2,
        "labels": {
            "gap": {"exact": 1},
            CONDUCTIVITY: {"below": 1, "exact": 1 + len(few().labels[1])},
        },
        "families": {"fluoride": 2, "LGPS": 1},
        "licences": ["CC BY 4.0, The Materials Project", "facts, cited", "x"],
    }


def test_find_by_id_or_formula() -> None:
    table = load_embedded()
    assert find_row(table, "kamaya2011").id == "kamaya2011"
    assert find_row(table, "LiTa1O3").formula == "LiTaO3"
    with pytest.raises(MfalError, match=r"LiI is several materials: mp-.*, mp-"):
        find_row(table, "LiI")
    for text in ("Li9Xe", "banana", ""):
        with pytest.raises(MfalError, match="no material"):
            find_row(table, text)


def test_description_shows_all_that_is_known() -> None:
    text = describe(find_row(load_embedded(), "kamaya2011"))
    for part in (
        "lithium germanium thiophosphate (LGPS)",
        "P4_2/nmc (137)",
        "8.6941 8.6941 12.5994 Å",
        "Ge4+ × 0.515 P5+ × 0.485",
        "16h",
        "ionic_conductivity 0.0121 S/cm",
        "doi:10.1038/nmat3066",
    ):
        assert part in text, part
    bare = describe(Material("x", "LiF", {"Li": 1, "F": 1}))
    assert bare.splitlines()[0] == "x  LiF"
    assert "source       not stated" in bare
    limit = Material("x", "LiF", {"Li": 1}, labels=(Label(CONDUCTIVITY, 1e-9, "S/cm", "below"),))
    assert "< 1e-09 S/cm" in describe(limit)


def test_pool_is_cached_and_damage_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MFAL_CACHE", str(tmp_path))
    config = PoolConfig(threshold=0.05)
    first = cached_pool(few(), config)
    (path,) = (tmp_path / "pool").iterdir()
    whole, made = path.read_text(), path.stat()
    assert [*cached_pool(few(), config)] == [*first]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (made.st_ino, made.st_mtime_ns)
    path.write_text(whole[:100])
    assert [*cached_pool(few(), config)] == [*first]
    assert path.read_text() == whole
