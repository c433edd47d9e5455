"""A query about a triple, with its atoms relaxed by CHGNet."""

import json
import threading
from concurrent.futures import Executor, Future

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from rock_salt import LATTICE, TASK, triple

from mfal.campaign.ledger.crystals import pool_record
from mfal.campaign.workers.atoms import ATOMS_KEYS
from mfal.campaign.workers.device import DeviceQueue, evaluated_by_parts
from mfal.campaign.workers.tasks import Task, evaluate
from mfal.crystals.reading import parse_structure
from mfal.crystals.structures import crystal_from_structure, space_group_number
from mfal.data import load_embedded
from mfal.oracles import default_oracles
from mfal.oracles.scoring import score_structure, scoring_oracles

WIDER = triple({"Li": 4, "I": 4})._replace(
    hash="wider", lattice=(6.35, 6.35, 6.35, 90.0, 90.0, 90.0)
)
CROWDED = triple({"Li": 4, "I": 4})._replace(lattice=(2.6, 2.6, 2.6, 90.0, 90.0, 90.0))


class Here(Executor):
    """Computes at once, in this process."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        try:
            future.set_result(fn(*args))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture(scope="module")
def outcome():
    return evaluate(TASK)


def test_the_oracle_sees_the_relaxed_crystal(outcome):
    assert outcome.status == "ok"
    assert outcome.spread is None
    relaxation = outcome.detail["relaxation"]
    assert relaxation["cell_before"] == pytest.approx(LATTICE)
    # What the chgnet package relaxes rock salt to (tests/potentials/chgnet_minima.json).
    assert outcome.value == pytest.approx(54.3268 / 2, rel=1e-2)
    assert relaxation["energy_ev_per_atom"] == pytest.approx(-3.074226, abs=2e-3)
    assert relaxation["survived"]
    structure = parse_structure(outcome.detail["cif"], "cif")
    assert structure.volume / len(structure) == pytest.approx(outcome.value, rel=1e-4)
    assert space_group_number(structure) == 225


def test_it_lies_above_the_lowest_phase_of_its_salt(outcome):
    """The table of competing phases holds a lower one of lithium iodide, -3.12533 eV per atom."""
    relaxation = outcome.detail["relaxation"]
    assert relaxation["hull_distance_ev_per_atom"] == pytest.approx(0.0511, abs=2e-3)
    assert relaxation["hull_bounded"]
    assert list(relaxation["decomposition"]) == ["LiI"]


def test_it_is_recognised_as_the_known_salt(outcome):
    assert outcome.detail["known_as"].startswith("LiI, ")


def test_hidden_it_is_new_and_no_phase_of_its_own_hull(outcome):
    """The same crystal, of which nobody tells the campaign that it exists."""
    answer = evaluate(TASK._replace(hide=("LiI",)))
    relaxation = answer.detail["relaxation"]
    assert answer.value == pytest.approx(outcome.value, rel=1e-3)
    assert answer.detail["known_as"] == ""
    assert outcome.detail["routes"][0] == "template: mp-dielectric-3363"  # rock salt itself
    assert "template: mp-dielectric-3363" not in answer.detail["routes"]
    # Without it lithium and iodine are all there is: this is the energy of formation, measured
    # as -269.7 kJ per mole (Gibbs energy, NIST-JANAF tables), that is -1.40 eV per atom.
    assert set(relaxation["decomposition"]) == {"Li", "I"}
    assert relaxation["hull_distance_ev_per_atom"] == pytest.approx(-1.40, abs=0.15)
    assert not relaxation["hull_bounded"]


def test_atoms_of_an_earlier_answer_give_the_same_to_the_last_digit(outcome):
    stored = json.loads(json.dumps(outcome.detail, allow_nan=False))
    again = evaluate(TASK._replace(found=stored))
    assert again.value == outcome.value
    assert {key: again.detail[key] for key in ATOMS_KEYS} == {
        key: stored[key] for key in ATOMS_KEYS
    }
    assert again.detail["cif"] == outcome.detail["cif"]


def test_the_cif_is_the_crystal_of_its_row(outcome):
    """Scored again, what a campaign writes has the formula, the group and the answers it had."""
    stored = json.loads(json.dumps(outcome.detail, allow_nan=False))
    asked = TASK._replace(references=("mfal.oracles:bvse_oracle",), oracle="bvse", found=stored)
    answer = evaluate(asked)
    structure = parse_structure(answer.detail["cif"], "cif")
    assert structure.composition.reduced_formula == asked.crystal.formula
    assert answer.detail["typical"] == 0
    barrier = score_structure(structure, scoring_oracles(decorations=0)[1:2])["oracles"][0]
    assert barrier["value"] == pytest.approx(answer.value, abs=1e-3)


def test_a_task_in_parts_has_the_answer_of_the_whole(outcome):
    """All that the ledger keeps, to the last digit, whatever else is relaxed with it."""
    taken, gathered = [], threading.Event()

    def submit(tasks, function, crystals):
        gathered.wait(timeout=60)
        taken.append(tasks)
        return Here().submit(function, crystals)

    queue = DeviceQueue(submit)
    nothing = queue.relax([])  # keeps the device busy while others gather
    crowded = TASK._replace(crystal=CROWDED)
    tasks = [TASK, TASK._replace(crystal=WIDER), crowded]
    futures = [evaluated_by_parts(task, Here().submit, queue) for task in tasks]
    gathered.set()
    outcomes = [future.result(timeout=120) for future in futures]
    queue.close()
    assert nothing.result()[0].found is None
    assert taken == [1, 2]  # the crowded one has no arrangement to relax
    assert outcomes[1].status == "ok"
    for found, whole in ((outcomes[0], outcome), (outcomes[2], evaluate(crowded))):
        assert found[:3] == whole[:3]
        kept, expected = (json.loads(json.dumps(each.detail)) for each in (found, whole))
        for answer in (kept, expected):
            answer.pop("oracle_seconds", None)
        assert kept == expected
        assert found.seconds > 0


def awkward():
    """Crystals whose file might be another: odd cells, disorder, places that nearly coincide."""
    table = load_embedded()
    skewed = table.structure(table.index("mp-dielectric-3263")).copy()  # Li3PO4
    skewed.make_supercell([[1, 0, 0], [1, 1, 0], [0, 0, 1]])
    skewed.translate_sites(range(len(skewed)), [0.123, 0.456, 0.789])
    nearly = table.structure(table.index("mp-dielectric-4595")).copy()
    nearly.perturb(0.004, seed=0)
    mixed = Structure.from_spacegroup(
        "R-3m",
        Lattice.hexagonal(2.9, 14.2),
        [{"Li+": 0.5}, {"Mn3+": 0.5, "Mn4+": 0.5}, "O2-"],
        [[0, 0, 0.5], [0, 0, 0], [0, 0, 0.26]],
    )
    return {
        "skewed": skewed,
        "disordered": table.structure(table.index("obelix-122")),  # Li6PS5Cl
        "nearly": nearly,
        "mixed valence": mixed,
    }


@pytest.mark.parametrize("name", ["skewed", "disordered", "nearly", "mixed valence"])
def test_a_pools_candidate_scored_again_is_the_same(name):
    """By every default oracle: formula, space group and answers, from the digits of its CIF."""
    structure = awkward()[name]
    record = pool_record(crystal_from_structure(structure), name, "a test", structure)
    asked = Task(record, ("mfal.oracles:default_oracles",), "", structures=1, seed=0)
    answers = {
        oracle.name: (oracle, evaluate(asked._replace(oracle=oracle.name)))
        for oracle in default_oracles()
    }
    (cif,) = {answer.detail["cif"] for _, answer in answers.values() if "cif" in answer.detail}
    found = score_structure(parse_structure(cif, "cif"), scoring_oracles(decorations=0))
    assert found["formula"] == record.formula
    assert found["space_group"] == record.space_group
    for again in found["oracles"]:
        oracle, answer = answers[again["oracle"]]
        assert (again["version"], again["status"]) == (oracle.version, answer.status)
        if answer.status == "ok":
            value = np.clip(float(again["value"]), *oracle.bounds)
            assert value == pytest.approx(answer.value, abs=5e-3)


def of_a_pool(atoms):
    table = crystal_from_structure(atoms)
    return pool_record(table, "mine", "my table", atoms)


def test_a_pools_own_atoms_are_relaxed(outcome):
    """Its one arrangement, from another cell, ends where the generated one does."""
    given = Structure.from_spacegroup(225, Lattice.cubic(6.3), ["Li", "I"], [[0] * 3, [0.5] * 3])
    answer = evaluate(TASK._replace(crystal=of_a_pool(given), structures=1))
    relaxation = answer.detail["relaxation"]
    assert relaxation["cell_before"] == pytest.approx(LATTICE)
    assert answer.value == pytest.approx(outcome.value, rel=1e-4)
    assert relaxation["hull_distance_ev_per_atom"] == pytest.approx(0.0511, abs=2e-3)
    # LiI is known to everybody; only a table that the user names makes it no find.
    assert answer.detail["known_as"] == ""
    assert answer.detail["pool"] == "pool:mine; my table"


def test_disordered_atoms_are_not_relaxed_and_it_is_said():
    half = Structure.from_spacegroup(
        225, Lattice.cubic(6.3), [{"Li": 0.5}, "I"], [[0] * 3, [0.5] * 3]
    )
    answer = evaluate(TASK._replace(crystal=of_a_pool(half), structures=1))
    assert answer.status == "ok"
    assert answer.detail["unrelaxed"] == "sites are partly filled"
    assert "relaxation" not in answer.detail


def test_a_triple_without_a_sound_arrangement_says_why():
    failed = evaluate(TASK._replace(crystal=CROWDED))
    assert failed.value is None
    assert failed.status.startswith("failed: no ")
    assert "relaxation" not in failed.detail
    assert np.isfinite(failed.seconds)
