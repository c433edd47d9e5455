"""A ledger that an older version wrote goes on in this one."""

import sqlite3
from pathlib import Path

import pytest
import toy_campaign
from toy_campaign import CONFIG, InstantExecutor, strategy

from mfal.campaign.doctor import examine
from mfal.campaign.folder import stored_config
from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.schema import SCHEMA_VERSION
from mfal.campaign.loop import run_campaign
from mfal.errors import MfalError

OLD = Path(__file__).parent / "ledger_v1.sql"


@pytest.fixture
def old(tmp_path) -> Path:
    """A folder whose ledger has schema 1: initial data proposed, half of them answered."""
    folder = tmp_path / "old"
    folder.mkdir()
    with sqlite3.connect(folder / "ledger.sqlite") as connection:
        connection.executescript(OLD.read_text())
    return folder


def test_every_row_survives_and_new_columns_have_their_defaults(old):
    with sqlite3.connect(old / "ledger.sqlite") as connection:
        before = [
            connection.execute(f"SELECT * FROM {table}").fetchall()
            for table in ("meta", "crystal", "round", "event", "tally", "pending")
        ]
    with Ledger(old / "ledger.sqlite") as ledger:
        after = [
            ledger.all(f"SELECT * FROM {table}")
            for table in ("meta", "crystal", "round", "event", "tally", "pending")
        ]
        queries = [a.query for a in ledger.answers("campaign")] + ledger.pending("campaign")
        assert ledger.one("PRAGMA user_version") == (SCHEMA_VERSION,)
        assert ledger.one("PRAGMA integrity_check") == ("ok",)
    before[4] = [(*row, 0.0) for row in before[4]]  # no seconds were added up
    assert after == before
    assert [query.parents for query in queries] == [()] * 4


def test_a_campaign_with_other_prices_is_refused_and_left_alone(old):
    with Ledger(old / "ledger.sqlite") as ledger:
        with pytest.raises(MfalError, match="prices were not CPU seconds") as caught:
            stored_config(ledger)
        before = ledger.tallies()
    assert "go on with the version of mfal that began it" in caught.value.remedy
    with pytest.raises(MfalError, match="prices were not CPU seconds"):
        run_campaign(old, CONFIG, executor=InstantExecutor(), strategy=strategy())
    with Ledger(old / "ledger.sqlite") as ledger:
        assert ledger.tallies() == before
    notes = [finding.text for finding in examine(old) if finding.level == "note"]
    assert any("prices were not CPU seconds" in text for text in notes)
    assert not [finding for finding in examine(old) if finding.level == "problem"]


def test_a_reader_asks_for_the_migration_and_the_doctor_makes_it(old):
    with pytest.raises(MfalError, match="mfal doctor"):
        Ledger(old / "ledger.sqlite", readonly=True)
    assert not [finding for finding in examine(old) if finding.level == "problem"]
    with Ledger(old / "ledger.sqlite", readonly=True) as ledger:
        assert len(ledger.pending("campaign")) == 2


def test_a_basis_can_be_neither_changed_nor_deleted(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.open_round("campaign", 1)
        for statement in ("UPDATE basis SET event = 9", "DELETE FROM basis"):
            with pytest.raises(sqlite3.IntegrityError, match="append only"):
                ledger.connection.execute(statement)


def test_parents_come_back(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.propose("campaign", 1, [toy_campaign.proposal(1, 0)], {})
        (first,) = ledger.queries_about("campaign", toy_campaign.crystal(1).hash)
        ledger.propose("campaign", 2, [toy_campaign.proposal(1, 1)._replace(parents=(first,))], {})
        assert [query.parents for query in ledger.pending("campaign")] == [(), (first,)]
        assert len(ledger.queries_about("campaign", toy_campaign.crystal(1).hash)) == 2
        assert ledger.queries_about("baseline", toy_campaign.crystal(1).hash) == ()
