"""What ends a campaign or holds it back: limits of single oracles, a target, time, Ctrl-C."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import toy_campaign
from toy_campaign import CONFIG, InstantExecutor, beside, digest, strategy

from mfal.campaign.config import ExecutionConfig
from mfal.campaign.folder import read_campaign
from mfal.campaign.loop import run_campaign
from mfal.campaign.status import read_status
from mfal.campaign.strategy.types import Decision
from mfal.campaign.workers.isolation import QueryLimits
from mfal.errors import MfalError

HERE = Path(__file__).parent


pytestmark = pytest.mark.usefixtures("heed_ctrl_c")


def run(folder, config=CONFIG, executor=None, **options) -> bool:
    return run_campaign(
        folder,
        config,
        executor=executor or InstantExecutor(),
        strategy=options.pop("strategy", None) or strategy(),
        baseline=options.pop("baseline", beside() if config.baseline != "none" else None),
        **options,
    )


class Watch(InstantExecutor):
    """Notes what each task is allowed."""

    def __init__(self) -> None:
        self.limits: dict[str, QueryLimits] = {}

    def submit(self, fn, /, *args, **kwargs):
        task, self.limits[args[0].oracle], _ = args
        return super().submit(fn, task)


def spent(folder, account: str) -> dict[int, float]:
    with read_campaign(folder) as ledger:
        tallies = [t for t in ledger.tallies() if t.account == account and t.kind == "proposed"]
    return {tally.fidelity: tally.cost for tally in tallies}


def test_the_strategy_is_told_each_oracles_share_of_its_limit(tmp_path):
    seen = {}

    def look(round_):
        seen[round_.number] = round_.allowances
        return Decision([toy_campaign.proposal(100 + round_.number, 1)], {})

    config = replace(CONFIG, limits=("dear=8",), baseline="none")
    run(tmp_path, config, strategy=strategy(look))
    # The initial data took 2 of dear's 8; each round takes 1 of an equal share of the rest.
    assert {n: pair[1] for n, pair in seen.items()} == {1: 6 / 3, 2: 5 / 2, 3: 4.0}
    assert all(pair[0] == float("inf") for pair in seen.values())


def test_a_decision_beyond_an_oracles_limit_is_refused_and_not_written(tmp_path):
    with pytest.raises(MfalError, match=r"round 1, dear alone, would cost 2 of 1 free"):
        run(
            tmp_path,
            replace(CONFIG, limits=("dear=3",), baseline="none"),
            strategy=strategy(
                lambda r: Decision([toy_campaign.proposal(100 + n, 1) for n in range(2)], {})
            ),
        )
    assert spent(tmp_path, "campaign")[1] == 2.0


def test_the_baseline_keeps_the_limits_too(tmp_path):
    def greedy(round_):
        return Decision([toy_campaign.proposal(7000 + n, 1) for n in range(4)], {})

    with pytest.raises(MfalError, match="dear alone"):
        run(
            tmp_path,
            replace(CONFIG, limits=("dear=5",)),
            baseline=beside(greedy),
        )


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"limits": ("dear=5", "strange=3")}, "strange"),
        ({"execution": ExecutionConfig(timeouts=("strange=3",))}, "strange"),
    ],
)
def test_a_limit_for_an_unknown_oracle_is_named(tmp_path, options, named):
    with pytest.raises(MfalError, match=named):
        run(tmp_path / "x", replace(CONFIG, **options))
    assert not (tmp_path / "x").exists()


def test_each_oracle_has_its_own_time_limit(tmp_path):
    watch = Watch()
    execution = ExecutionConfig(timeout=9.0, timeouts=("dear=77",), retries=3, memory=1.5)
    run(tmp_path, replace(CONFIG, execution=execution), executor=watch)
    assert watch.limits == {"cheap": QueryLimits(9.0, 3, 1.5), "dear": QueryLimits(77.0, 3, 1.5)}


def best_of_round(folder, number: int) -> float:
    with read_campaign(folder) as ledger:
        return max(
            answer.value
            for answer in ledger.answers("campaign")
            if answer.query.fidelity == 1 and 0 < answer.query.round <= number and answer.value
        )


def test_a_met_target_ends_the_campaign_with_a_ranking(tmp_path):
    run(tmp_path / "whole")
    target = best_of_round(tmp_path / "whole", 1)
    config = replace(CONFIG, target=target)
    assert run(tmp_path / "a", config)
    with read_campaign(tmp_path / "a") as ledger:
        rounds = ledger.rounds("campaign")
        status = read_status(ledger)
    assert [number for number, _ in rounds] == [0, 1, CONFIG.rounds + 1]
    assert "target" in rounds[-1][1]["reason"]
    assert status["state"] == "finished"
    assert "target" in status["reason"]
    before = digest(tmp_path / "a")
    run(tmp_path / "a", config)
    assert digest(tmp_path / "a") == before


def test_a_known_crystal_does_not_meet_the_target(tmp_path):
    """Initial data hold a value as good; only proposals count."""
    run(tmp_path / "whole")
    with read_campaign(tmp_path / "whole") as ledger:
        known = ledger.best("campaign", 1, number=1, largest=True)[0].value
    assert run(tmp_path / "a", replace(CONFIG, target=max(known, 1.01)))
    with read_campaign(tmp_path / "a") as ledger:
        assert [n for n, _ in ledger.rounds("campaign")] == [0, 1, 2, 3, 4]


def test_when_time_is_up_what_runs_is_awaited_and_the_rest_stays_open(tmp_path):
    started = []

    class Slow(ThreadPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            def work():
                started.append(args[0].crystal.formula)
                time.sleep(0.3)
                return InstantExecutor().submit(fn, *args).result()

            return super().submit(work)

    config = replace(CONFIG, execution=ExecutionConfig(hours=0.1 / 3600))
    with Slow(1) as slow:
        assert not run(tmp_path / "a", config, executor=slow)
    assert len(started) == 1
    with read_campaign(tmp_path / "a") as ledger:
        assert len(ledger.answers("campaign")) == 1
        assert len(ledger.pending("campaign")) == 3
    assert run(tmp_path / "a")
    run(tmp_path / "b")
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_the_time_limit_heeds_no_wall_clock(tmp_path, monkeypatch):
    """A clock that jumps neither stops a campaign nor lets it run on."""
    times = iter(1e9 - 1e6 * n for n in range(10**6))
    monkeypatch.setattr(time, "time", times.__next__)
    assert run(tmp_path / "a", replace(CONFIG, execution=ExecutionConfig(hours=1.0)))
    monkeypatch.undo()
    run(tmp_path / "b")
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_in_the_middle_of_a_write_comes_after_it(tmp_path, number):
    from mfal.campaign.ledger.book import Ledger
    from mfal.campaign.ledger.interrupts import interruptible

    def write(ledger):
        with ledger.transaction() as cursor:
            os.kill(os.getpid(), number)
            time.sleep(0.01)  # the signal has arrived, and waits
            cursor.execute("INSERT INTO meta VALUES ('written', 'true')")

    with Ledger(tmp_path / "ledger.sqlite") as ledger, interruptible():
        with pytest.raises(KeyboardInterrupt):
            write(ledger)
        assert ledger.meta("written") is True
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_ctrl_c_keeps_what_has_come(tmp_path):
    """Answers that came while the main thread waited elsewhere are written before it ends."""
    release = threading.Event()

    def interrupted(round_):
        release.set()
        time.sleep(0.3)  # the baseline's answers come in meanwhile
        raise KeyboardInterrupt

    class Waiting(ThreadPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            known = args[0].crystal.source.startswith("known")

            def work():
                assert known or release.wait(20)
                return InstantExecutor().submit(fn, *args).result()

            return super().submit(work)

    with Waiting(2) as executor, pytest.raises(KeyboardInterrupt):
        run(tmp_path, executor=executor, strategy=strategy(interrupted))
    with read_campaign(tmp_path) as ledger:
        assert len(ledger.answers("baseline")) == 1


TINY = """
budget = "5m"
relax = false
oracles = ["toy_oracles:slow"]
[space]
elements = ["Li", "O", "S"]
max_atoms = 12
groups = [225]
"""


def test_ctrl_c_on_the_command_line_says_how_to_go_on(tmp_path):
    """In the middle of the initial data, before anything is compiled."""
    folder, config = tmp_path / "my campaign", tmp_path / "tiny.toml"
    config.write_text(TINY)
    process = subprocess.Popen(
        [sys.executable, "-m", "mfal.cli", "discover", "--out", folder, "--config", config],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while process.poll() is None and not answered(folder):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err == ""
    assert f"mfal discover --out '{folder}' --config '{folder}/config.toml'" in out
    with read_campaign(folder) as ledger:
        assert ledger.answers("campaign")
        assert ledger.pending("campaign")
        assert ledger.one("PRAGMA integrity_check") == ("ok",)


def answered(folder) -> bool:
    if not (folder / "ledger.sqlite").exists():
        return False
    try:
        with read_campaign(folder) as ledger:
            return bool(ledger.answers("campaign"))
    except MfalError:  # the file is just being made
        return False
