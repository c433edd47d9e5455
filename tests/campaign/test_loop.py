"""The campaign's book-keeping: budget, resumption, faults of oracles, machines and users."""

import sqlite3
from concurrent.futures import Future
from dataclasses import replace

import pytest
import toy_campaign
from toy_campaign import CONFIG, InstantExecutor, beside, digest, strategy

from mfal.campaign.config import ExecutionConfig
from mfal.campaign.folder import read_campaign
from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.budget import account_of
from mfal.campaign.loop import run_campaign
from mfal.campaign.options import from_mapping
from mfal.campaign.status import read_status
from mfal.campaign.strategy.types import Decision
from mfal.campaign.toml import read_toml
from mfal.campaign.workers.executors import TaskFailure
from mfal.errors import MfalError
from mfal.oracles.loading import load_oracles


def run(folder, config=CONFIG, executor=None, **options):
    run_campaign(
        folder,
        config,
        executor=executor or InstantExecutor(),
        strategy=options.pop("strategy", None) or strategy(),
        baseline=None if config.baseline == "none" else beside(),
        **options,
    )


class Broken(InstantExecutor):
    """Answers so many tasks, and then fails outside the oracle, in the given way."""

    def __init__(self, good: int, error: BaseException) -> None:
        self.left = good
        self.error = error

    def submit(self, fn, /, *args, **kwargs):
        self.left -= 1
        if self.left >= 0:
            return super().submit(fn, *args, **kwargs)
        future: Future = Future()
        future.set_exception(self.error)
        return future


def test_the_budget_is_never_exceeded_and_everything_is_charged(tmp_path):
    run(tmp_path)
    for name in ("campaign", "baseline"):
        with read_campaign(tmp_path) as ledger:
            answers = ledger.answers(name)
            account = account_of(ledger.tallies(), name, CONFIG.budget)
        assert account.reserved == 0
        assert account.spent == pytest.approx(sum(a.query.cost for a in answers))
        assert 0 < account.spent <= CONFIG.budget
    # The toy fails one task in seven, and that costs too.
    with read_campaign(tmp_path) as ledger:
        assert {a.kind for a in ledger.answers("campaign")} == {"observed", "failed"}


def test_a_strategy_that_overspends_is_stopped_before_anything_is_written(tmp_path):
    def greedy(round_):
        return Decision([toy_campaign.proposal(n, 1) for n in range(40)], {})

    with pytest.raises(MfalError, match="round 1 would cost 40"):
        run(tmp_path, strategy=strategy(greedy))
    with read_campaign(tmp_path) as ledger:
        assert [number for number, _ in ledger.rounds("campaign")] == [0]


def test_running_a_finished_campaign_again_changes_nothing(tmp_path):
    run(tmp_path)
    before = digest(tmp_path)
    run(tmp_path, executor=Broken(0, AssertionError("nothing may be asked")))
    assert digest(tmp_path) == before


def test_another_configuration_is_refused_with_the_difference(tmp_path):
    run(tmp_path)
    before = digest(tmp_path)
    with pytest.raises(MfalError, match=r"\(seed: 0 -> 5\); use the same options"):
        run(tmp_path, replace(CONFIG, seed=5))
    assert digest(tmp_path) == before
    run(tmp_path, replace(CONFIG, execution=ExecutionConfig(workers=7)))  # may differ


def test_another_version_of_an_oracle_is_refused(tmp_path, monkeypatch):
    run(tmp_path)
    monkeypatch.setenv(toy_campaign.VERSION, "2")
    load_oracles.cache_clear()
    with pytest.raises(MfalError, match="cheap of version 1, now it is 2"):
        run(tmp_path)
    monkeypatch.undo()
    load_oracles.cache_clear()


def test_the_resolved_configuration_is_stored_and_reproduces_the_run(tmp_path):
    run(tmp_path / "a")
    config = from_mapping(read_toml(tmp_path / "a" / "config.toml"))
    assert config == CONFIG
    run(tmp_path / "b", config)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_one_crash_is_a_failed_query_and_no_more(tmp_path):
    class OneCrash(InstantExecutor):
        number = 0

        def submit(self, fn, /, *args, **kwargs):
            self.number += 1
            if self.number != 2:
                return super().submit(fn, *args, **kwargs)
            future: Future = Future()
            future.set_exception(TaskFailure("stopped after 3 s (tried 2 times)"))
            return future

    run(tmp_path, executor=OneCrash())
    with read_campaign(tmp_path) as ledger:
        answers = ledger.answers("campaign")
    failed = [a for a in answers if "stopped after 3 s" in a.detail["status"]]
    assert len(failed) == 1
    assert failed[0].kind == "failed"


def test_a_broken_machine_costs_nothing(tmp_path):
    folder = tmp_path / "broken"

    def wide(round_):
        cheap = [toy_campaign.proposal(100 * round_.number + n, 0) for n in range(12)]
        return Decision(cheap, {})

    with pytest.raises(MfalError, match="8 queries in a row failed outside their oracle") as caught:
        run(folder, executor=Broken(6, TaskFailure("no memory")), strategy=strategy(wide))
    assert "have not been charged" in caught.value.remedy
    with read_campaign(folder) as ledger:
        assert not [a for a in ledger.answers("campaign") if "no memory" in a.detail["status"]]
        assert len(ledger.pending("campaign")) >= 8
    run(folder, strategy=strategy(wide))
    run(tmp_path / "unbroken", strategy=strategy(wide))
    assert digest(folder) == digest(tmp_path / "unbroken")


def test_an_interrupt_loses_no_answer(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", executor=Broken(9, KeyboardInterrupt()), notify=_interrupt_after(9))
    run(tmp_path / "a")
    run(tmp_path / "b")
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def _interrupt_after(number):
    seen = iter(range(number))

    def notify(event):
        if next(seen, None) is None:
            raise KeyboardInterrupt

    return notify


def test_a_full_disk_is_named_and_leaves_the_previous_state(tmp_path, monkeypatch):
    """SQLite's own limit on pages gives the very error that a full disk gives."""
    connections, open_file = [], sqlite3.connect

    def connect(*args, **options):
        connections.append(open_file(*args, **options))
        return connections[-1]

    monkeypatch.setattr(sqlite3, "connect", connect)

    def limited(round_):
        # From the second round on, the file may not grow.
        if round_.number == 2:
            pages = connections[0].execute("PRAGMA page_count").fetchone()[0]
            connections[0].execute(f"PRAGMA max_page_count = {pages}")
            big = toy_campaign.proposal(7, 0)._replace(predicted={"x": "y" * 100_000})
            return Decision([big], {})
        return toy_campaign.strategy().propose(round_)

    with pytest.raises(MfalError, match="full; free space on the disk"):
        run(tmp_path, strategy=strategy(limited))
    monkeypatch.undo()
    with read_campaign(tmp_path) as ledger:
        assert [number for number, _ in ledger.rounds("campaign")] == [0, 1]
        assert ledger.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    run(tmp_path)  # with space again


def test_a_damaged_ledger_is_refused_and_left_alone(tmp_path):
    run(tmp_path)
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(path.read_bytes()[:5000])
    before = path.read_bytes()
    with pytest.raises(MfalError, match="mfal doctor"):
        run(tmp_path)
    assert path.read_bytes() == before


def test_two_campaigns_cannot_write_one_folder(tmp_path):
    def second(round_):
        with pytest.raises(MfalError, match="in use by process"):
            run(tmp_path)
        return Decision([], {})

    run(tmp_path, strategy=strategy(second))


def test_status_while_it_runs_and_after(tmp_path):
    seen = []

    def look(event):
        with read_campaign(tmp_path) as ledger:
            seen.append(read_status(ledger))

    run(tmp_path, notify=look)
    assert seen[0]["round"] == 0
    assert seen[-1]["state"] == "finished"
    spent = [status["budget"]["spent"] for status in seen]
    assert spent == sorted(spent)
    queries = seen[-1]["queries"]
    assert queries["cheap"]["pending"] == queries["dear"]["pending"] == 0
    values = [best["value"] for best in seen[-1]["best"]]
    assert values == sorted(values, reverse=True)


def test_no_baseline_where_none_is_wanted(tmp_path):
    run(tmp_path, replace(CONFIG, baseline="none"))
    with read_campaign(tmp_path) as ledger:
        assert ledger.answers("baseline") == []


def test_a_ledger_without_a_beginning_is_no_campaign(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite"):
        pass
    with pytest.raises(MfalError, match="has not begun"), read_campaign(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM query").fetchone() == (0,)
