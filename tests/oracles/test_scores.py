"""Structures scored from a program: table, frame and HTML."""

import math

import pytest
from pymatgen.core import Lattice, Structure

from mfal.data import Material, MaterialTable, load_embedded
from mfal.oracles import Observation, Oracle, score_structures

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.03), ["Li", "F"], [[0] * 3, [0.5] * 3])


def density(structures: list[Structure]) -> list[Observation]:
    return [Observation(float(s.density), 0.1, "ok", 0.0, {}) for s in structures]


def cage(structures: list[Structure]) -> list[Observation]:
    return [Observation(math.inf, None, "ok", 0.0, {}) for _ in structures]


def broken(structures: list[Structure]) -> list[Observation]:
    raise ValueError("no such thing")


ORACLES = [
    Oracle(name, "1", i, 1.0, unit, True, (-math.inf, math.inf), ask)
    for i, (name, unit, ask) in enumerate(
        [("density", "g/cm3", density), ("barrier", "eV", cage), ("broken", "eV", broken)]
    )
]


def test_a_frame_has_a_row_for_each_structure_and_says_what_failed() -> None:
    frame = score_structures({"salt": SALT}, ORACLES).to_pandas()
    (row,) = frame.to_dict("records")
    assert (row["name"], row["formula"], row["space_group"]) == ("salt", "LiF", 225)
    assert row["density (g/cm3)"] == pytest.approx(SALT.density)
    assert row["density uncertainty"] == 0.1
    assert row["barrier (eV)"] == math.inf
    assert math.isnan(row["broken (eV)"])
    assert "broken failed" in row["notes"]
    assert "no such thing" in row["notes"]


def test_tables_and_lists_name_their_structures() -> None:
    known = load_embedded()
    one = known.select([known.index("mp-dielectric-2008")])
    table = one.concatenate(MaterialTable.from_rows([Material("bare", "Li2O", {"Li": 2, "O": 1})]))
    scores = score_structures(table, ORACLES[:1])
    assert scores.names == ("mp-dielectric-2008", "bare")
    assert scores.structures[1] is None
    assert "bare has no atoms" in scores.to_pandas()["notes"][1]
    assert "bare has no atoms" in scores._repr_html_()
    assert score_structures([SALT, SALT], ORACLES[:1]).names == ("0", "1")
