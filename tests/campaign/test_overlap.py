"""Rounds that are decided while slow queries are open, and what such a decision rests on."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import toy_campaign
from toy_campaign import CONFIG, InstantExecutor, digest, strategy

from mfal.campaign.folder import read_campaign
from mfal.campaign.ledger.book import Basis, Ledger
from mfal.campaign.ledger.records import Outcome
from mfal.campaign.loop import run_campaign
from mfal.campaign.strategy.types import Decision

OVERLAPPING = replace(CONFIG, overlap=0.5, baseline="none", rounds=4, budget=40.0)


class Slow(ThreadPoolExecutor):
    """Dear proposals of a round are answered once the round after the next has been opened."""

    def __init__(self) -> None:
        super().__init__(16)
        self.opened = {number: threading.Event() for number in range(1, 8)}

    def submit(self, fn, /, *args, **kwargs):
        task = args[0]
        number = int(task.crystal.composition["Li"] - 1) // 100

        def work():
            if number and task.oracle == "dear":
                assert self.opened[number + 1].wait(60), "no new proposals while this was open"
            return InstantExecutor().submit(fn, *args).result()

        return super().submit(work)


def proposals(round_, slow=None) -> Decision:
    """Two cheap and two dear ones; what was seen is written beside them."""
    if slow is not None:
        slow.opened[round_.number].set()
        if round_.number == round_.rounds:
            slow.opened[round_.number + 1].set()
    state = toy_campaign.hash_of([(a.query.id, a.kind, a.value) for a in round_.answers])
    seen = [answer.query.id for answer in round_.answers]
    waiting = [query.id for query in round_.pending]
    chosen = [
        toy_campaign.proposal(100 * round_.number + 10 * n + state % 10, n % 2) for n in range(4)
    ]
    return Decision(chosen, {"state": state, "seen": seen, "waiting": waiting})


def run(folder, propose, executor) -> None:
    run_campaign(folder, OVERLAPPING, executor=executor, strategy=strategy(propose))


def details(folder) -> dict[int, dict]:
    with read_campaign(folder) as ledger:
        return dict(ledger.rounds("campaign"))


def test_new_proposals_come_while_slow_queries_are_open(tmp_path):
    with Slow() as slow:
        run(tmp_path, lambda r: proposals(r, slow), slow)
    found = details(tmp_path)
    assert found[1]["waiting"] == []  # initial data are waited for
    for number in (2, 3, 4):
        assert len(found[number]["waiting"]) == 2
        assert not set(found[number]["waiting"]) & set(found[number]["seen"])
    with read_campaign(tmp_path) as ledger:
        assert ledger.pending("campaign") == []  # the end waits for all
        assert len(ledger.answers("campaign")) == 4 + 4 * 4


def test_each_decision_is_a_function_of_the_rows_that_its_basis_names(tmp_path):
    """The finished ledger gives each decision's inputs back, whatever has been written since."""
    with Slow() as slow:
        run(tmp_path, lambda r: proposals(r, slow), slow)
    with read_campaign(tmp_path) as ledger:
        for number, detail in ledger.rounds("campaign"):
            if not 1 <= number <= OVERLAPPING.rounds:
                continue
            basis = ledger.basis("campaign", number)
            answers = ledger.answers("campaign", basis=basis)
            assert [a.query.id for a in answers] == detail["seen"]
            assert [q.id for q in ledger.pending("campaign", basis=basis)] == detail["waiting"]
            state = toy_campaign.hash_of([(a.query.id, a.kind, a.value) for a in answers])
            assert state == detail["state"]


@pytest.mark.parametrize("number", [2, 3])
def test_a_decision_lost_in_a_kill_is_made_again_from_the_same_rows(tmp_path, number):
    """The resumed run has every slow answer at once, and yet decides as if they were open."""

    class Lost(Exception):
        pass

    lost = {}

    def interrupted(round_, slow):
        decision = proposals(round_, slow)
        if round_.number == number:
            lost.update(decision.detail, formulas=[p.crystal.formula for p in decision.proposals])
            raise Lost
        return decision

    with Slow() as slow:
        with pytest.raises(Lost):
            run(tmp_path, lambda r: interrupted(r, slow), slow)
        for event in slow.opened.values():
            event.set()
    run(tmp_path, proposals, InstantExecutor())
    found = details(tmp_path)[number]
    assert {key: lost[key] for key in found} == found
    assert len(found["waiting"]) == 2
    with read_campaign(tmp_path) as ledger:
        queries = [a.query for a in ledger.answers("campaign") if a.query.round == number]
    assert [query.crystal.formula for query in queries] == lost["formulas"]


def test_without_an_overlap_the_order_of_arrival_bears_on_nothing(tmp_path):
    class Backwards(InstantExecutor):
        """Answers a batch from its end."""

        def __init__(self) -> None:
            self.waiting = []

        def submit(self, fn, /, *args, **kwargs):
            from concurrent.futures import Future

            future: Future = Future()
            self.waiting.append((future, super().submit(fn, *args).result()))
            if len(self.waiting) == 2:
                for each, outcome in reversed(self.waiting):
                    each.set_result(outcome)
                self.waiting = []
            return future

    config = replace(OVERLAPPING, overlap=0.0)
    for folder, executor in (("a", Backwards()), ("b", InstantExecutor())):
        run_campaign(
            tmp_path / folder, config, executor=executor, strategy=strategy(lambda r: proposals(r))
        )
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_a_round_keeps_its_first_basis(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.propose("campaign", 0, [toy_campaign.proposal(n, 0) for n in range(3)], {})
        first, second, third = ledger.pending("campaign")
        ledger.conclude(first, Outcome(1.0, None, "ok", 0.0, {}))
        basis = ledger.open_round("campaign", 1)
        assert basis == Basis(event=1, query=3)
        ledger.conclude(third, Outcome(None, None, "failed: why", 0.0, {}))
        ledger.propose("campaign", 7, [toy_campaign.proposal(9, 0)], {})
        assert ledger.open_round("campaign", 1) == basis
        assert [a.query.id for a in ledger.answers("campaign", basis=basis)] == [first.id]
        open_then = [query.id for query in ledger.pending("campaign", basis=basis)]
        assert open_then == [second.id, third.id]
        assert ledger.pending("baseline", basis=basis) == []
        assert ledger.open_round("baseline", 1) == Basis(event=2, query=4)
