"""When a hidden conductor counts as found, and what is said where it isn't."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from mfal.campaign.config import SpaceConfig
from mfal.campaign.ledger.crystals import known_record, plain_structure, record_of
from mfal.campaign.ledger.records import Query
from mfal.campaign.ledger.rows import Answer
from mfal.campaign.strategy.exchanges import crystal_of
from mfal.data import load_embedded

FOLDER = Path(__file__).parents[2] / "experiments"
CUBE = (3.9, 3.9, 3.9, 90.0, 90.0, 90.0)
LOST = {"reason": "no arrangement of atoms came through its relaxation"}


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module("rediscovery")
    sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def perovskite():
    table = load_embedded()
    return table.structure(table.index("isotype-Li3OCl")).copy().remove_oxidation_states()


def asked(number, composition, group, detail, *, round_=1):
    charges = {"Li": 1.0, "O": -2.0, "Cl": -1.0}
    record = record_of(crystal_of(composition, group, np.array(CUBE)), charges, "sampled")
    query = Query(number, "campaign", round_, record, 2, "", "", 8.0, 2, 0, {}, ())
    return Answer(query, "observed" if detail else "failed", 0.0, None, 1.0, detail)


def look(script, perovskite, answers):
    conductor = script.Conductor("Li3OCl", "", None, SpaceConfig())
    known = [
        {"id": "mine", "space_group": 221, "arrangement": plain_structure(perovskite)},
    ]
    return script.look_through(conductor, known, answers, {0: 0.0, 1: 13.5})


def test_it_is_found_by_its_atoms_and_the_seconds_are_the_ledgers(script, perovskite):
    stretched = perovskite.copy()
    stretched.apply_strain(0.03)
    initial = asked(0, {"Li": 3, "O": 1, "Cl": 1}, 221, {}, round_=0)
    crystal = known_record(perovskite, "another")
    initial = initial._replace(query=initial.query._replace(crystal=crystal))
    answers = [
        initial,  # what is known at the beginning is no find
        asked(1, {"Li": 2, "O": 1}, 225, {"arrangement": plain_structure(perovskite)}),
        asked(2, {"Li": 3, "O": 1, "Cl": 1}, 221, {"arrangement": plain_structure(stretched)}),
    ]
    found = look(script, perovskite, answers)
    # Three questions of 8 s and the decision of the first round.
    assert found["found"] == {"paid": pytest.approx(37.5), "round": 1, "is": "mine", "after": 2}
    assert (found["why"], found["crystals"]) == ("", 2)


@pytest.mark.parametrize(
    ("group", "atoms", "why"),
    [
        (225, "swapped", "formula asked in other groups only"),
        (221, None, "no sound atoms"),
        (221, "swapped", "relaxed to another structure"),
    ],
)
def test_why_it_was_not_found(script, perovskite, group, atoms, why):
    swapped = perovskite.copy()
    swapped.replace_species({"Li": "O", "O": "Li"})
    detail = {"arrangement": plain_structure(swapped)} if atoms else LOST
    found = look(script, perovskite, [asked(1, {"Li": 3, "O": 1, "Cl": 1}, group, detail)])
    assert found["found"] is None
    assert found["why"] == why


def test_a_formula_that_was_never_asked(script, perovskite):
    found = look(script, perovskite, [asked(1, {"Li": 2, "O": 1}, 221, LOST)])
    assert found["why"] == "formula never asked"
