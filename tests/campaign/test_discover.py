"""The whole campaign with its real parts, small: environment, proxy, sampler, atoms, workers."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from pymatgen.core import Structure
from stability_oracles import AS_IT_STANDS, IonicBonds, energies
from toy_campaign import digest

from mfal.campaign.folder import read_campaign, stored_config
from mfal.campaign.ledger.budget import account_of
from mfal.campaign.problem import make_problem
from mfal.campaign.strategy.belief import make_belief
from mfal.campaign.strategy.observations import scored_rows
from mfal.cli import main
from mfal.crystals.reading import read_structure
from mfal.crystals.structures import crystal_from_structure
from mfal.oracles.stability.potential_energy import entry_from_calculator
from mfal.oracles.stability.window import stability_window
from mfal.report.summary import summarise

HERE = Path(__file__).parent
TINY = """
budget = 60.0
rounds = 2
initial = 4
realisations = 2
relax = false
oracles = ["stability_oracles:chain"]
[stability]
mode = "constraint"
low = 1.0
high = 2.5
energies = ["measured"]
max_hull_distance = inf
[space]
elements = ["Li", "O", "S"]
max_elements = 3
max_atoms = 12
groups = [166, 194, 221, 225]
[proxy]
members = 3
width = 16
steps = 40
capacity = 64
[sampler]
steps = 20
batch = 8
width = 16
samples = 16
"""


def command(folder: Path) -> list[str]:
    config = folder.parent / "tiny.toml"
    config.write_text(TINY)
    return ["discover", "--out", str(folder), "--config", str(config)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """An unbroken campaign, by a process of its own as every other."""
    folder = tmp_path_factory.mktemp("whole") / "campaign"
    subprocess.run(program(folder), env=searching(os.environ), check=True)
    return folder


def test_it_ends_with_candidates_files_and_a_plot(whole):
    with read_campaign(whole) as ledger:
        summary = summarise(ledger)
        budget = stored_config(ledger).budget
        for name in ("campaign", "baseline"):
            account = account_of(ledger.tallies(), name, budget)
            assert account.reserved == 0
            assert account.spent <= budget
        assert [n for n, _ in ledger.rounds("campaign")] == [0, 1, 2, 3]
    assert summary.finished
    assert summary.candidates
    assert summary.baseline is not None
    assert (whole / "best_against_cost.png").stat().st_size > 5000
    assert len((whole / "candidates.csv").read_text().splitlines()) == len(summary.candidates) + 1


def test_its_files_scored_again_are_its_rows(whole, capsys):
    """By the oracles that it asked: formula, group and what they said of the file's atoms."""
    capsys.readouterr()
    files = sorted((whole / "cifs").glob("*.cif"))
    oracles = ["--oracles", "stability_oracles:chain", "--processes", "1"]
    main(["score", *map(str, files), *oracles, "--json"])
    again = {Path(one["file"]).name: one for one in json.loads(capsys.readouterr().out)}
    with read_campaign(whole) as ledger:
        candidates = summarise(ledger).candidates
    assert {c.file_name for c in candidates if c.cif} == set(again)
    for candidate in candidates:
        found = again[candidate.file_name]
        assert found["formula"] == candidate.crystal.formula
        assert found["space_group"] == candidate.group_of_atoms
        values = candidate.values_of_atoms
        assert values
        for fidelity, value in values.items():
            assert found["oracles"][fidelity]["value"] == pytest.approx(value, abs=1e-4)


def test_the_front_is_of_what_meets_the_requirement(whole):
    """Windows and fronts of the files, against the calculator and a search by pairs."""
    rows = list(csv.DictReader((whole / "pareto.csv").open()))
    told = [row for row in rows if row["source"] == "IonicBonds"]
    assert told
    for row in told:
        with read_campaign(whole) as ledger:
            (answer,) = (
                a
                for a in ledger.answers("campaign")
                if a.query.crystal.hash == row["id"] and a.query.oracle == "hull_distance"
            )
        structure = Structure.from_str(answer.detail["cif"], "cif")
        entry = entry_from_calculator(structure, IonicBonds(), AS_IT_STANDS)
        window = stability_window(structure.composition, energies(), candidate=entry)
        assert float(row["hull_distance [eV/atom]"]) == pytest.approx(
            window.hull_distance, rel=1e-3
        )
        assert float(row["oxidation [V]"]) == pytest.approx(window.oxidation, rel=1e-3)
    points = {
        row["id"]: (float(row["distance [angstrom]"]), float(row["width [V]"]))
        for row in rows
        if row["feasible"] == "yes"
    }
    assert points
    for row in rows:
        wide = float(row["reduction [V]"]) <= 1.0 and float(row["oxidation [V]"]) >= 2.5
        assert (row["feasible"] == "yes") == wide
        own = points.get(row["id"])
        beaten = own is not None and any(
            other != own and other[0] >= own[0] and other[1] >= own[1] for other in points.values()
        )
        # Of two that agree in the digits written either may beat the other.
        tied = own is not None and list(points.values()).count(own) > 1
        assert tied or (row["rank"] == "0") == (wide and not beaten)
    plain = json.loads((whole / "pareto.json").read_text())
    assert {row["id"] for row in plain["fronts"][0]} == {r["id"] for r in rows if r["rank"] == "0"}
    assert plain["requirement"] == {"low": 1.0, "high": 2.5, "max_hull_distance": None}
    candidates = list(csv.DictReader((whole / "candidates.csv").open()))
    assert {c["id"]: c["pareto_rank"] for c in candidates} == {
        row["id"]: row["rank"].replace("-1", "") for row in rows
    }
    meets = [c["meets_requirement"] != "no" for c in candidates]
    assert meets == sorted(meets, reverse=True)


def test_what_misses_the_requirement_is_not_asked(whole):
    """Sulfides' windows end below 2.5 V: the embedded energies rule their formulas out."""
    with read_campaign(whole) as ledger:
        answers = [a for a in ledger.answers("campaign") if a.query.round > 0]
        details = [detail for number, detail in ledger.rounds("campaign") if 0 < number < 3]
    assert all(a.query.predicted["stability"]["feasible"] is not False for a in answers)
    assert sum(detail["feasible"]["no"] for detail in details) > 0


def test_each_cif_is_the_candidate_that_it_is_named_after(whole):
    with read_campaign(whole) as ledger:
        candidates = summarise(ledger).candidates
    assert any(candidate.cif for candidate in candidates)
    for candidate in candidates:
        found = crystal_from_structure(read_structure(whole / "cifs" / candidate.file_name))
        # A realisation may be more symmetric than asked for, never of another formula.
        counts = {s: n for s, n in candidate.crystal.composition.items() if n}
        total = {s: float(found.composition[z - 1]) for s, z in (("Li", 3), ("O", 8), ("S", 16))}
        ratio = total["Li"] / counts["Li"]
        assert total == pytest.approx({s: ratio * counts.get(s, 0) for s in total})


def test_the_record_keeps_tries_and_spread(whole):
    with read_campaign(whole) as ledger:
        answers = [a for a in ledger.answers("campaign") if a.query.round > 0]
    seen = [a for a in answers if a.kind == "observed"]
    assert seen
    assert all(a.detail["tried"] >= len(a.detail["answers"]) > 0 for a in seen)
    several = [a for a in seen if len(a.detail["answers"]) > 1]
    assert all(a.spread is not None for a in several)
    assert all(a.query.predicted["mean"] for a in answers)


def test_each_round_records_what_decided_and_what_fidelities_are_worth(whole):
    with read_campaign(whole) as ledger:
        rounds = dict(ledger.rounds("campaign"))
        asked = [a.query for a in ledger.answers("campaign") if a.query.round]
        worth = summarise(ledger).fidelities
    for number in (1, 2):
        evidence = rounds[number]["evidence"]
        assert 0 <= evidence["weight"] <= 1
        assert (evidence["weight"] > 0.5) == (evidence["coupled"] > evidence["single"])
        assert [line.split()[1].rstrip(":") for line in rounds[number]["fidelities"]] == [
            "formation_energy",
            "hull_distance",
        ]
        best = [
            max((q.predicted["worth"] for q in asked if (q.round, q.fidelity) == (number, m)),
                default=0.0)
            for m in range(3)
        ]  # fmt: skip
        assert rounds[number]["worth"] == pytest.approx(best)
    # Nothing could follow a cheap answer in the last round.
    assert {query.fidelity for query in asked if query.round == 2} == {2}
    assert "cheap answers are believed by" in worth[-1]


def test_the_targets_own_belief_sees_nothing_of_cheap_answers(whole):
    with read_campaign(whole) as ledger:
        config, answers = stored_config(ledger), ledger.answers("campaign")
    oracles = make_problem(config.space, config.oracles).oracles
    round_ = SimpleNamespace(answers=answers, told=[])
    rows = scored_rows(round_, oracles, config.proxy.capacity)
    cheap = rows.fidelity < 2
    other = rows._replace(score=np.where(cheap, -rows.score, rows.score).astype(np.float32))
    belief = make_belief(config.proxy, 3)
    fits = [belief.fit(each, jax.random.key(0)) for each in (rows, other)]
    single, turned = (np.asarray(fit.state.single.held.mean)[:, 2] for fit in fits)
    np.testing.assert_array_equal(single, turned)
    coupled, moved = (np.asarray(fit.state.coupled.held.mean)[:, 2] for fit in fits)
    assert not np.array_equal(coupled, moved)
    assert fits[0].evidence.single == fits[1].evidence.single


@pytest.mark.slow
def test_killed_in_the_middle_and_resumed_it_ends_the_same(whole, tmp_path):
    folder = tmp_path / "campaign"
    kill_in_round_1(folder, os.environ)
    subprocess.run(program(folder), env=searching(os.environ), check=True)
    assert_same(folder, whole)


@pytest.mark.slow
def test_killed_and_resumed_it_ends_the_same_with_programs_compiled_anew(tmp_path):
    """As users run it: XLA optimises, and no campaign finds programs of another."""

    def environment(name: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("JAX_")}
        return kept | {"MFAL_CACHE": str(tmp_path / f"{name}-cache")}

    whole, folder = tmp_path / "whole", tmp_path / "campaign"
    subprocess.run(program(whole), env=searching(environment("whole")), check=True)
    kill_in_round_1(folder, environment("campaign"))
    subprocess.run(program(folder), env=searching(environment("campaign")), check=True)
    assert_same(folder, whole)


def program(folder: Path) -> list[str]:
    return [sys.executable, "-m", "mfal.cli", *command(folder)]


def searching(environment: Mapping[str, str]) -> dict[str, str]:
    """The same, with this folder's oracles where Python finds them."""
    path = os.pathsep.join([str(HERE), *filter(None, sys.path)])
    return {**environment, "PYTHONPATH": path}


def kill_in_round_1(folder: Path, environment: Mapping[str, str]) -> None:
    process = subprocess.Popen(
        program(folder),
        env=searching(environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None and not answers_of_round_1(folder):
            time.sleep(0.01)
        assert process.poll() is None, "it ended before it could be killed"
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    with read_campaign(folder) as ledger:
        assert 2 not in [number for number, _ in ledger.rounds("campaign")]


def assert_same(folder: Path, whole: Path) -> None:
    assert digest(folder)[-1] == digest(whole)[-1]
    assert without_times(folder) == without_times(whole)
    for name in ("candidates.csv", *(f"cifs/{p.name}" for p in (whole / "cifs").iterdir())):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name


def answers_of_round_1(folder: Path) -> bool:
    if not (folder / "ledger.sqlite").exists():
        return False
    try:
        with read_campaign(folder) as ledger:
            return any(a.query.round == 1 for a in ledger.answers("campaign"))
    except Exception:  # the file is just being made
        return False


def without_times(folder: Path) -> list:
    with read_campaign(folder) as ledger:
        return [
            (account, a.query.round, a.query.crystal, a.query.fidelity, a.kind, a.value, a.spread)
            for account in ("campaign", "baseline")
            for a in ledger.answers(account)
        ]
