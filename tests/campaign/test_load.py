"""A long ledger answers as fast as a short one, because nothing reads all of it."""

import json
import resource
from dataclasses import replace

import pytest
import toy_campaign
from toy_campaign import CONFIG, InstantExecutor, strategy

from mfal.campaign.folder import open_campaign, read_campaign
from mfal.campaign.ledger.book import Basis
from mfal.campaign.loop import run_campaign
from mfal.campaign.status import read_status
from mfal.campaign.strategy.types import Decision
from mfal.report.summary import summarise

COUNT_STEPS = 1000
"""Virtual-machine instructions of SQLite between two counts."""


def fill(ledger, number: int) -> None:
    """So many answered queries, written as the ledger itself would, in one transaction."""
    with ledger.transaction() as cursor:
        cursor.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " INSERT INTO crystal (hash, formula, composition, space_group, lattice,"
            " oxidation_states, source) SELECT 'c' || i, 'LiF', '{\"Li\": 1, \"F\": 1}', 225,"
            " '[3, 3, 3, 90, 90, 90]', '{}', 'sampled' FROM n",
            (number,),
        )
        cursor.execute(
            "INSERT INTO query (hash, account, round, crystal, fidelity, oracle, oracle_version,"
            " cost, structures, seed, predicted, code_version, time) SELECT hash, 'campaign', 1,"
            " id, id % 2, 'toy', '1', 1e-6, 1, 0, '{}', '0', 0.0 FROM crystal"
        )
        cursor.execute(
            "INSERT INTO event (query, kind, account, fidelity, value, spread, seconds, detail,"
            " code_version, time) SELECT id, 'observed', account, fidelity,"
            " (id * 7919 % 10007) / 1e4, 0.1, 0.0, '{}', '0', 0.0 FROM query"
        )


def work_of(folder) -> tuple[int, dict]:
    """How much SQLite does for a status and for what a round's decision reads."""
    with read_campaign(folder) as ledger:
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        ledger.connection.set_progress_handler(count, COUNT_STEPS)
        status = read_status(ledger)
        assert len(ledger.answers("campaign", limit=100)) == 100
        assert ledger.asked("campaign", ["c1", "c2", "none"])
        assert ledger.pending("campaign") == []
        # What `mfal ask` reads before it ranks.
        assert len(summarise(ledger, number=100).candidates) >= 100
        basis = Basis(ledger.one("SELECT max(id) FROM event")[0], 10**9)
        assert len(ledger.answers("campaign", limit=100, basis=basis)) == 100
        assert ledger.pending("campaign", basis=basis) == []
    return steps * COUNT_STEPS, status


def grow(folder, number: int) -> tuple[int, dict]:
    with open_campaign(folder, CONFIG, toy_campaign.oracles()) as ledger:
        fill(ledger, number)
    return work_of(folder)


def test_status_and_decisions_take_no_longer_in_a_longer_ledger(tmp_path):
    small, _ = grow(tmp_path / "small", 1_000)
    large, status = grow(tmp_path / "large", 20_000)
    assert large < 2 * small + 10 * COUNT_STEPS
    assert sum(kinds["observed"] for kinds in status["queries"].values()) == 20_000
    assert json.dumps(status)


@pytest.mark.slow
def test_a_million_answers(tmp_path):
    small, _ = grow(tmp_path / "small", 1_000)
    million, status = grow(tmp_path / "million", 1_000_000)
    assert million < 2 * small + 10 * COUNT_STEPS
    assert sum(kinds["observed"] for kinds in status["queries"].values()) == 1_000_000


@pytest.mark.slow
def test_ten_thousand_quick_queries_run_flat_in_memory(tmp_path):
    """Resident memory may not grow by more than the cache of SQLite between 2,000 and 10,000."""
    peaks = {}

    def many(round_):
        peaks[round_.number] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        first = 10_000 * round_.number
        return Decision([toy_campaign.proposal(first + n, 0) for n in range(1000)], {})

    config = replace(CONFIG, budget=6000.0, rounds=10, baseline="none")
    run_campaign(tmp_path, config, executor=InstantExecutor(), strategy=strategy(many))
    with read_campaign(tmp_path) as ledger:
        assert sum(t.number for t in ledger.tallies() if t.kind == "proposed") == 10_004
    assert peaks[10] - peaks[2] < 20_000  # kB
