import csv
import math

import pytest
from pymatgen.core import Composition
from pymatgen.entries.computed_entries import ComputedEntry

from mfal.acquisition.objectives import (
    KnownStability,
    Requirement,
    known_stability,
    meets,
    rank_tradeoffs,
    write_tradeoff,
)
from mfal.errors import MfalError
from mfal.oracles.stability.energies import Energies
from mfal.oracles.stability.thermochemistry import measured_energies

FORMATION = {"Li2S": -4.2, "LiCl": -3.9, "Li3SCl": -7.9, "Li2O": -5.8}
"""Windows to 2.1, 3.9, 2.1 (0.04 eV per atom above the hull) and 2.9 V."""
ENTRIES = tuple(ComputedEntry(name, energy) for name, energy in FORMATION.items())
ELEMENTS = tuple(ComputedEntry(symbol, 0.0) for symbol in ("Li", "S", "Cl", "O"))
SOURCE = Energies(ENTRIES + ELEMENTS, "toy", exhaustive=True)

CANDIDATES = [
    ("a", "Li2S", -6.0),
    ("b", "LiCl", -9.0),
    ("c", "Li3SCl", -4.0),
    ("d", "Li2O", -8.0),
    ("e", "Li3N", -3.0),
    ("f", "Li2O", -9.5),
]


def tradeoffs(requirement=Requirement()):  # noqa: B008 - immutable
    limits = [known_stability(formula, [SOURCE]) for _, formula, _ in CANDIDATES]
    return rank_tradeoffs(CANDIDATES, limits, requirement)


def test_front_of_conductivity_and_width():
    assert Composition("Li3SCl").num_atoms == 5
    rows = tradeoffs()
    assert [row.rank for row in rows] == [1, 0, 0, 0, -1, 1]
    assert [row.feasible for row in rows] == [True, True, True, True, None, True]
    assert rows[1].width == pytest.approx(3.9)
    assert rows[2].hull_distance == pytest.approx(0.04)


def test_unknown_window_is_told_apart_from_a_bad_one():
    unknown = tradeoffs()[4]
    assert math.isnan(unknown.width)
    assert "the element N" in unknown.source


def test_requirement_leaves_out_what_does_not_meet_it():
    demanding = Requirement(low=0.0, high=2.5)
    ranks = [row.rank for row in tradeoffs(demanding)]
    assert ranks == [-1, 0, -1, 0, -1, 1]
    stable = Requirement(max_hull_distance=0.01)
    ranks = [row.rank for row in tradeoffs(stable)]
    assert ranks == [0, 0, -1, 0, -1, 1]


def test_table_lists_the_front_first(tmp_path):
    path = tmp_path / "tradeoff.csv"
    write_tradeoff(path, tradeoffs())
    rows = list(csv.DictReader(path.open()))
    assert [row["id"] for row in rows] == ["c", "d", "b", "a", "f", "e"]
    assert rows[0]["width [V]"] == "2.1"
    assert rows[-1]["width [V]"] == ""
    assert rows[-1]["feasible"] == "unknown"


def test_table_that_can_not_be_written_is_named(tmp_path):
    with pytest.raises(MfalError, match="No such file"):
        write_tradeoff(tmp_path / "none" / "t.csv", [])


def test_no_candidates_are_no_tradeoff():
    assert rank_tradeoffs([], [], Requirement()) == []


NAN = math.nan


@pytest.mark.parametrize(
    ("limits", "requirement", "verdict"),
    [
        (KnownStability(0.5, 3.0, 0.05, ""), Requirement(1.0, 2.5, 0.1), True),
        (KnownStability(0.5, 3.0, 0.20, ""), Requirement(1.0, 2.5, 0.1), False),
        (KnownStability(1.1, 3.0, 0.05, ""), Requirement(1.0, 2.5, 0.1), False),
        (KnownStability(0.5, 2.4, NAN, ""), Requirement(1.0, 2.5, 0.1), False),
        (KnownStability(0.5, 3.0, NAN, ""), Requirement(1.0, 2.5, 0.1), None),
        (KnownStability(0.5, 3.0, NAN, ""), Requirement(1.0, 2.5), True),
        (KnownStability(NAN, NAN, NAN, ""), Requirement(1.0, 2.5), None),
        (KnownStability(NAN, NAN, NAN, ""), Requirement(), None),
        (KnownStability(NAN, 2.4, 0.0, ""), Requirement(1.0, 2.5), False),
        (KnownStability(NAN, 3.0, 0.0, ""), Requirement(1.0, 2.5), None),
        (KnownStability(1.1, NAN, 0.0, ""), Requirement(1.0, 2.5), False),
        (KnownStability(NAN, NAN, 0.3, ""), Requirement(1.0, 2.5, 0.1), False),
        (KnownStability(0.5, math.inf, 0.0, ""), Requirement(1.0, 5.0), True),
    ],
)
def test_what_is_unknown_neither_meets_nor_misses(limits, requirement, verdict):
    assert meets(limits, requirement) is verdict


def test_compound_without_energy_has_the_window_of_what_it_becomes():
    found = known_stability("Li4OS", [SOURCE])  # Li2O and Li2S: the sulfide goes first
    assert (found.reduction, found.oxidation) == (0.0, pytest.approx(2.1))
    assert math.isnan(found.hull_distance)
    assert "no more stable than Li2O + Li2S" in found.source


def test_one_end_of_a_window_is_told_where_the_other_is_not_known():
    found = known_stability("Li3PO4", [measured_energies()])
    assert math.isnan(found.reduction)
    assert found.oxidation == pytest.approx(4.18, abs=0.01)
    assert "reduction and oxidation limit can't be bounded" in found.source


def test_a_value_that_should_be_small_leads_the_front_where_it_is():
    limits = [KnownStability(0.0, 2.0, 0.0, "")] * 2
    rows = rank_tradeoffs(
        [("a", "Li2S", 0.3), ("b", "Li2S", 0.2)], limits, Requirement(), higher_is_better=False
    )
    assert [row.rank for row in rows] == [1, 0]
