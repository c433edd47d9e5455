"""The 40-set and the 41-set."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mfal.data import load_set40, load_set41
from mfal.data.sendek import MD_CONDUCTIVITY, merge_values
from mfal.errors import MfalError
from tests.shared_data import shared_data


def test_set40_has_40_structures_of_39_formulas() -> None:
    table = load_set40()
    assert len(table) == 40
    assert len(set(table.formulas)) == 39
    sigma = table.label_arrays()
    assert (sigma.censoring == 0).all()
    # The paper's Table: LGPS is the best, Li2S the worst; the superionic class is above 1e-4 S/cm.
    assert table.formulas[int(np.argmax(sigma.value))] == "Li10Ge(PS6)2"
    assert table.formulas[int(np.argmin(sigma.value))] == "Li2S"
    assert sigma.value.min() == 1e-13


def test_set40_structures_are_those_of_their_rows() -> None:
    table = load_set40()
    assert table.has_structure.sum() >= 24
    for row, structure in zip(table, table.structures(), strict=True):
        if structure is not None:
            stated = structure.composition.element_composition
            assert set(stated.as_dict()) == set(row.composition)
            assert row.space_group_number > 0


def test_set40_keeps_values_and_notes_typos_and_disagreements() -> None:
    table = load_set40()
    source = pd.read_csv(shared_data("sets", "set40.csv"))
    np.testing.assert_allclose(table.label_arrays().value, source["sigma_RT_S_cm"])
    notes = {row.formula: row.details.get("note", "") for row in table}
    assert "listed as Li15Ge3V2O4" in notes["Li15Ge3VO16"]
    assert "OBELiX has 9.2e-14" in notes["Li3VO4"]
    assert "5e-16" in notes["Li2Ge7O15"]
    assert not notes["Li10Ge(PS6)2"]
    # every formula with an OBELiX value a decade away says so
    far = source[source["dlog10"] >= 1]["formula"]
    assert len(far) >= 4
    assert all("OBELiX has" in notes[formula] for formula in far)


def test_set41_is_censored_at_the_threshold() -> None:
    table = load_set41()
    assert len(table) == 41
    labels = table.label_arrays(MD_CONDUCTIVITY)
    assert set(labels.value[labels.censoring >= 0]) == {1e-4}
    assert not (labels.censoring == 0).any()
    side = dict(zip(table.formulas, labels.censoring.tolist(), strict=True))
    above, below, unknown = 2, 1, -1
    assert side["Li5B7S13"] == side["Li3ErCl6"] == above
    assert side["LiCl"] == below  # the model's known false positive
    assert side["LiErSe2"] == unknown  # reported as marginal
    subsets = [row.details["subset"] for row in table]
    assert subsets.count("random") + subsets.count("random+ML") == 21
    assert subsets.count("ML-guided") + subsets.count("random+ML") == 21


def test_set41_row_without_public_formula() -> None:
    row = load_set41().row(load_set41().index("mp-770932"))
    assert row.formula == ""
    assert row.composition == {}
    assert "formula not in the public sources" in row.details["note"]


def test_merge_values(tmp_path: Path) -> None:
    table = load_set41()
    path = tmp_path / "mine.csv"
    path.write_text("id,value,source\nmp-22905,2e-9,SI\nmp-8609,<1e-12,\n")
    merged = merge_values(table, path)
    labels = merged.label_arrays(MD_CONDUCTIVITY)
    i, j = merged.index("mp-22905"), merged.index("mp-8609")
    assert (labels.value[i], labels.censoring[i]) == (2e-9, 0)
    assert (labels.value[j], labels.censoring[j]) == (1e-12, 1)
    assert merged.labels[i][0].source == "SI"
    assert merged.labels[j][0].source == "mine.csv"
    untouched = merged.index("mp-29410")
    assert merged.labels[untouched] == table.labels[untouched]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,value\nmp-1,1e-3\n", "line 2: no material 'mp-1'"),
        ("id,value\nmp-22905,1e-3\nmp-22905,1e-3\n", "line 3: mp-22905 occurs twice"),
        ("id,value\nmp-22905,fast\n", "line 2: 'fast' is no number"),
        ("id,value\nmp-22905,-1e-3\n", "line 2: -1e-3 S/cm"),
        ("id,value\nmp-22905,nan\n", "line 2: nan S/cm"),
        ("id,value\nmp-22905,\n", "line 2: '' is no number"),
        ("name,sigma\nLiCl,1\n", "no columns id and value"),
        ("", "no columns id and value"),
    ],
)
def test_merge_says_which_line_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(MfalError, match=message):
        merge_values(load_set41(), path)
    with pytest.raises(MfalError, match="cannot be read"):
        merge_values(load_set41(), tmp_path / "none.csv")
