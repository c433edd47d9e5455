"""Tables for notebooks, and the tutorial that is one."""

import json
import math
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mfal.notebook import html_table

TUTORIAL = json.loads((Path(__file__).parents[1] / "docs" / "tutorial.ipynb").read_text("utf-8"))
CODE = [cell for cell in TUTORIAL["cells"] if cell["cell_type"] == "code"]


def test_a_table_escapes_all_its_text_and_leaves_unknown_cells_empty() -> None:
    rows = [("<script>", 1.23456, None), ("a & b", math.nan, 7)]
    text = html_table(("name", "x < y", "n"), rows, caption="<b>", note='"&"')
    found = ElementTree.fromstring(f"<div>{text}</div>")
    cells = [[cell.text or "" for cell in row] for row in found.iter("tr")]
    assert cells == [["name", "x < y", "n"], ["<script>", "1.235", ""], ["a & b", "", "7"]]
    assert found.findtext(".//caption") == "<b>"
    assert found.findtext("p") == '"&"'


def test_the_tutorial_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "tutorial"}
    for number, cell in enumerate(CODE):
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    ranked, scores = names["ranked"], names["scores"]
    assert ranked["bvse (eV)"].is_monotonic_increasing
    assert set(ranked["name"]) == {path.stem for path in (tmp_path / "my-cifs").glob("*.cif")}
    assert names["best"].composition.reduced_formula == ranked["formula"].iloc[0]
    assert len(names["axes"].collections) > 0
    # What is committed is what came out.
    shown = "".join(
        "".join(lines)
        for cell in CODE
        for output in cell["outputs"]
        for lines in output.get("data", {}).get("text/html", [])
    )
    assert scores._repr_html_() in shown


def test_the_committed_tutorial_is_small_and_whole() -> None:
    assert len(json.dumps(TUTORIAL)) < 100_000
    assert all(cell["execution_count"] == n for n, cell in enumerate(CODE, 1))
    assert not any(output["output_type"] == "error" for cell in CODE for output in cell["outputs"])
    pictures = [o for cell in CODE for o in cell["outputs"] if "image/png" in o.get("data", {})]
    assert len(pictures) == 1
