"""The doctor finds what is wrong and says that all is well where it is."""

import sqlite3
import time
import tomllib
from pathlib import Path

import pytest

from mfal.campaign.config import CampaignConfig
from mfal.campaign.doctor import examine
from mfal.campaign.folder import PRICES
from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.lock import exclusive
from mfal.campaign.ledger.records import CrystalRecord, Outcome, Proposal
from mfal.campaign.ledger.schema import SCHEMA_VERSION
from mfal.campaign.toml import to_toml

HERE = Path(__file__).parent


def fill(folder, cost: float = 1.0) -> None:
    config = CampaignConfig(budget=10.0)
    lattice = (3.0, 3.0, 3.0, 90.0, 90.0, 90.0)
    with Ledger(folder / "ledger.sqlite") as ledger:
        facts = {"config": tomllib.loads(to_toml(config)), "oracles": [], "prices": PRICES}
        ledger.start(facts)
        proposals = [
            Proposal(
                CrystalRecord(f"{n:032x}", "LiF", {"Li": 1, "F": 1}, 225, lattice, {}, "test"),
                0,
                "toy",
                "1",
                cost,
                1,
                {},
            )
            for n in range(300)[: 3 if cost == 1.0 else 300]
        ]
        ledger.propose("campaign", 0, proposals, {"padding": "x" * 50_000})
        ledger.conclude(ledger.pending("campaign")[0], Outcome(1.0, None, "ok", 0.0, {}))
        if cost == 1.0:
            ledger.propose("campaign", 1, [], {}, cost=0.5, seconds=0.4)
    (folder / "config.toml").write_text(to_toml(config))


def problems(folder) -> list[str]:
    return [finding.text for finding in examine(folder) if finding.level == "problem"]


def test_a_sound_campaign_has_no_problems(tmp_path):
    fill(tmp_path)
    findings = examine(tmp_path)
    assert {finding.level for finding in findings} == {"ok"}
    assert any("3 queries: 1 observed, 0 failed, 2 open" in f.text for f in findings)
    assert any("1.5 spent and 2 reserved of 10" in f.text for f in findings)


def test_a_campaign_in_use_is_examined_beside_its_writer(tmp_path):
    fill(tmp_path)
    with exclusive(tmp_path), Ledger(tmp_path / "ledger.sqlite"):
        findings = examine(tmp_path)
    assert any("in use by process" in f.text for f in findings if f.level == "note")
    assert not [f for f in findings if f.level == "problem"]


def test_no_campaign(tmp_path):
    assert "no such file" in problems(tmp_path)[0]


def test_an_overspent_budget(tmp_path):
    fill(tmp_path, cost=0.5)
    assert any("budget exceeded: 150 of 10" in text for text in problems(tmp_path))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("UPDATE tally SET cost = cost + 1", "sums"),
        ("DELETE FROM tally", "sums"),
        ("DELETE FROM pending", "2 open queries"),
        ("DROP TRIGGER event_no_update; UPDATE event SET fidelity = 7", "disagree"),
    ],
)
def test_rows_that_contradict_each_other(tmp_path, damage, named):
    fill(tmp_path)
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.executescript(damage)
    assert any(named in text for text in problems(tmp_path))


def test_a_truncated_file(tmp_path):
    fill(tmp_path)
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert problems(tmp_path)


def test_what_is_no_database_is_said_once(tmp_path):
    (tmp_path / "ledger.sqlite").write_text("garbage")
    (finding,) = examine(tmp_path)
    assert finding.level == "problem"
    assert "not a database" in finding.text


def test_a_corrupted_page(tmp_path):
    fill(tmp_path)
    path = tmp_path / "ledger.sqlite"
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(data)
    assert problems(tmp_path)


def test_an_edited_configuration_is_noted(tmp_path):
    fill(tmp_path)
    (tmp_path / "config.toml").write_text("budget = 11.0")
    assert any("budget: 10.0 -> 11.0" in f.text for f in examine(tmp_path) if f.level == "note")


def test_an_older_ledger_is_brought_up_to_date(tmp_path):
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.executescript((HERE / "ledger" / "ledger_v1.sql").read_text())
    assert problems(tmp_path) == []
    with Ledger(tmp_path / "ledger.sqlite", readonly=True) as ledger:
        assert ledger.one("PRAGMA user_version") == (SCHEMA_VERSION,)


def test_a_clock_that_went_back_is_noted_and_harmless(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", iter(range(1000, 0, -1)).__next__)
    fill(tmp_path)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        for query in ledger.pending("campaign"):
            ledger.conclude(query, Outcome(2.0, None, "ok", 0.0, {}))
        assert [a.query.id for a in ledger.answers("campaign")] == [1, 2, 3]
    findings = examine(tmp_path)
    assert any("clock went back" in f.text for f in findings)
    assert not [f for f in findings if f.level == "problem"]
