"""The last questions: of the best that count, once each, whatever happens in between."""

from concurrent.futures import Future
from dataclasses import replace

import pytest
from toy_campaign import CONFIG, InstantExecutor, crystal, oracles, proposal, strategy

from mfal.campaign.finalists import best_new
from mfal.campaign.folder import FINALISTS, read_campaign
from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.records import Outcome
from mfal.campaign.loop import run_campaign
from mfal.campaign.workers.tasks import OTHER_ORACLES
from mfal.oracles.dynamics.short import length_of
from mfal.oracles.loading import load_oracles
from mfal.report.summary import summarise

MANY = replace(CONFIG, budget=60.0, rounds=4, finalists=3)


def cell(number: int) -> dict:
    """Atoms that differ from crystal to crystal, but for every fourth."""
    edge = 3.0 + 0.4 * (number % 4)
    return {
        "lattice": [[3.0, 0, 0], [0, 3.0, 0], [0, 0, edge]],
        "species": ["Li+", "F-"],
        "coordinates": [[0, 0, 0], [0.5, 0.5, 0.5]],
    }


class Relaxing(InstantExecutor):
    """Answers as if atoms had been relaxed; each third is known, each fifth far from the hull."""

    def __init__(self, stop: bool = False) -> None:
        self.stop = stop
        self.asked: list = []
        self.simulated: list = []

    def submit(self, fn, /, *args, **kwargs):
        task, future = args[0], Future()
        if task.oracle == "imaginary_modes":
            self.asked.append(task)
            if self.stop:
                raise KeyboardInterrupt
            future.set_result(Outcome(2.0, None, "ok", 0.0, {"provenance": {"lowest_thz": -1.0}}))
            return future
        if task.oracle.endswith("fs"):
            self.simulated.append(task)
            future.set_result(Outcome(-2.0, None, "ok", 0.0, {"provenance": {"simulated": []}}))
            return future
        answered = super().submit(fn, *args, **kwargs).result()
        number = task.crystal.composition["Li"]
        relaxation = {"hull_distance_ev_per_atom": 0.3 if number % 5 == 0 else 0.0}
        detail = {
            "relaxation": relaxation,
            "known_as": "Li2O, here" if number % 3 == 0 else "",
            "arrangement": cell(number),
        }
        future.set_result(answered._replace(detail={**answered.detail, **detail}))
        return future


def run(folder, executor, config=MANY):
    return run_campaign(folder, config, executor=executor, strategy=strategy())


def test_the_best_new_ones_are_asked_once_with_their_own_atoms(tmp_path):
    executor = Relaxing()
    assert run(tmp_path, executor)
    with read_campaign(tmp_path) as ledger:
        answers = ledger.answers(FINALISTS)
        best = ledger.best("campaign", 1, number=99, largest=True, proposed=True)
        summary = summarise(ledger)
    new = [
        a.query.crystal
        for a in best
        if not a.detail["known_as"] and a.detail["relaxation"]["hull_distance_ev_per_atom"] == 0
    ]
    assert [a.query.crystal.hash for a in answers] == [crystal.hash for crystal in new[:3]]
    for task in executor.asked:
        assert task.references == (OTHER_ORACLES["imaginary_modes"],)
        assert task.found["arrangement"] == cell(task.crystal.composition["Li"])
    told = [c for c in summary.candidates if c.vibrations is not None]
    assert [c.rank for c in told] == [1, 2, 3]
    assert summary.spent <= MANY.budget
    assert run(tmp_path, executor)
    assert len(executor.asked) == 3


def test_a_formula_stands_where_its_best_polymorph_does(tmp_path):
    """The best formula's other polymorph is the worst of all."""
    rows = [("Li2S", 1, 3.0), ("Li2O", 1, 2.0), ("Li2Se", 1, 1.0), ("Li2S", 2, 0.0)]
    _, dear = oracles()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.start({"config": {}, "oracles": []})
        proposals = [
            proposal(n, dear.fidelity)._replace(
                crystal=crystal(n)._replace(formula=formula, space_group=group)
            )
            for n, (formula, group, _) in enumerate(rows)
        ]
        ledger.propose("campaign", 1, proposals, {})
        for n, (query, (*_, value)) in enumerate(
            zip(ledger.pending("campaign"), rows, strict=True)
        ):
            detail = {"arrangement": cell(n)}
            ledger.conclude(query, Outcome(value, None, "ok", 1.0, detail))
        found = best_new(ledger, MANY, dear)
    assert [a.value for a in found] == [3.0, 2.0, 1.0]


def test_stopped_in_between_they_are_asked_by_the_next_start(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Relaxing(stop=True))
    with read_campaign(tmp_path) as ledger:
        assert len(ledger.pending(FINALISTS)) == 3
    assert run(tmp_path, Relaxing())
    with read_campaign(tmp_path) as ledger:
        assert len(ledger.answers(FINALISTS)) == 3
        assert not ledger.pending(FINALISTS)


def test_dynamics_take_the_time_allowed_and_later_go_on(tmp_path, monkeypatch):
    monkeypatch.setenv("MFAL_CACHE", str(tmp_path / "cache"))
    executor, folder = Relaxing(), tmp_path / "it"

    def simulated(seconds):
        """Lengths by crystal of what is sent out in so many seconds on two workers."""
        executor.simulated = []
        execution = replace(MANY.execution, dynamics=seconds, workers=2)
        assert run(folder, executor, replace(MANY, execution=execution))
        lengths = {}
        for task in executor.simulated:
            (oracle,) = load_oracles(task.references)
            assert oracle.name == task.oracle
            assert "relax0" in oracle.version
            assert task.found["arrangement"] == cell(task.crystal.composition["Li"])
            lengths[task.crystal.hash] = length_of(oracle.name)
        return lengths

    def left():
        with read_campaign(folder) as ledger:
            return summarise(ledger).unsimulated

    assert simulated(0.0) == {}
    whole = left()
    with read_campaign(folder) as ledger:
        finalists = [a.query.crystal.hash for a in ledger.answers(FINALISTS)]
    assert list(whole) == finalists
    assert all(50 < seconds < 5000 for seconds in whole.values())
    assert simulated(20.0) == {}  # too little to see anything is not begun
    # Each of the best two has a worker, and nothing is left for the third.
    first = simulated(0.8 * min(whole.values()))
    assert list(first) == finalists[:2]
    assert all(2.0 <= length < 10.0 for length in first.values())
    rest = left()
    assert rest[finalists[2]] == whole[finalists[2]]
    assert all(rest[name] < 0.5 * whole[name] for name in finalists[:2])
    # With time for all, all end; what was done is not bought again, and nothing is asked twice.
    second = simulated(sum(rest.values()))
    assert sorted(second) == sorted(finalists)
    assert all(second[name] > first[name] for name in first)
    assert left() == {}
    assert simulated(2 * sum(rest.values())) == {}
    assert len(executor.asked) == 3  # their vibrations once
    with read_campaign(folder) as ledger:
        summary = summarise(ledger)
    assert summary.spent <= MANY.budget
    assert [c.rank for c in summary.candidates if c.dynamics is not None] == [1, 2, 3]
