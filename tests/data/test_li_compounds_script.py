"""The script that builds the embedded table makes what is committed, from the sources at hand."""

import importlib.util
import json
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from tests.shared_data import shared_data

FOLDER = Path(__file__).parents[2] / "experiments" / "tables"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("li_compounds", FOLDER / "li_compounds.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def committed() -> dict[str, dict[str, object]]:
    text = (files("mfal.data") / "tables" / "li_compounds.json").read_text(encoding="utf-8")
    return {row["id"]: row for row in json.loads(text)["materials"]}


def same(built: dict[str, object], kept: dict[str, object]) -> bool:
    # measurements are joined later, from all sources at once
    return all(built[key] == kept[key] for key in built if key != "conductivity")


def test_published_units_and_isotypes(script: ModuleType) -> None:
    kept = committed()
    published = json.loads((FOLDER / "li_published.json").read_text(encoding="utf-8"))
    transcribed = [entry for entry in published if "isotype_of" not in entry]
    rows = script.from_papers(transcribed)
    isotypes = [entry for entry in published if entry not in transcribed]
    rows += script.from_isotypes(isotypes, list(kept.values()))
    assert len(rows) == len(published) >= 5
    assert all(same(row, kept[row["id"]]) for row in rows)


def test_obelix_units(script: ModuleType) -> None:
    kept = committed()
    selection = json.loads((FOLDER / "li_selection.json").read_text(encoding="utf-8"))
    table = pd.read_csv(shared_data("obelix", "all.csv"))
    chosen = selection["obelix"][::6]
    rows = script.from_obelix(shared_data("obelix"), table, chosen)
    assert len(rows) >= 10
    assert all(same(row, kept[row["id"]]) for row in rows)


def test_every_selected_entry_is_in_the_table() -> None:
    kept = committed()
    selection = json.loads((FOLDER / "li_selection.json").read_text(encoding="utf-8"))
    ids = [f"obelix-{row['id']}" for row in selection["obelix"]]
    ids += [f"mp-dielectric-{row['row']}" for row in selection["matbench_dielectric"]]
    assert len(ids) == len(set(ids))
    assert set(ids) <= set(kept)


def test_conductivities_of_a_table_row(script: ModuleType) -> None:
    assert script.conductivity("<1E-10") == {
        "value": 1e-10,
        "unit": "S/cm",
        "censoring": "below",
    }
    assert script.conductivity("0.0121")["censoring"] == "exact"
    assert script.conductivity("nan") is None
    assert script.formula_key("Li4P2") == script.formula_key("P1 Li2")
    assert script.dois("10.1/a|10.2/b") == ["10.1/a", "10.2/b"]
    assert script.dois(float("nan")) == []
