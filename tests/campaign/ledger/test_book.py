"""The ledger: append only, each query ends once, nothing half written, readable beside a writer."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.budget import account_of, affordable
from mfal.campaign.ledger.lock import exclusive
from mfal.campaign.ledger.records import CrystalRecord, Outcome, Proposal, crystal_hash, query_hash
from mfal.campaign.ledger.schema import MIGRATIONS, SCHEMA_VERSION
from mfal.errors import MfalError


def crystal(number: int) -> CrystalRecord:
    composition = {"Li": number, "O": 1}
    lattice = (3.1000001430511475, 3.5, 4.0, 90.0, 90.0, 90.0)
    name = crystal_hash(composition, 16, lattice)
    return CrystalRecord(name, f"Li{number}O", composition, 16, lattice, {"Li": 1, "O": -2}, "test")


def proposal(number: int, fidelity: int = 0, cost: float = 1.0) -> Proposal:
    return Proposal(crystal(number), fidelity, "toy", "1", cost, 2, {"mean": [0.1]})


def outcome(value: float | None) -> Outcome:
    status = "ok" if value is not None else "failed: why"
    return Outcome(value, 0.1, status, 0.5, {"answers": [value]})


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def test_rows_come_back_as_they_went_in(ledger):
    ids = ledger.propose("campaign", 0, [proposal(1), proposal(2, 1, 0.5)], {"loss": 1.5})
    pending = ledger.pending("campaign")
    assert [query.id for query in pending] == ids
    assert pending[0].crystal == crystal(1)
    assert pending[1].predicted == {"mean": [0.1]}
    assert (pending[1].fidelity, pending[1].cost, pending[1].structures) == (1, 0.5, 2)
    ledger.submitted(pending[0])
    assert ledger.conclude(pending[0], outcome(-3.25))
    assert ledger.conclude(pending[1], outcome(None))
    first, second = ledger.answers("campaign")
    assert (first.kind, first.value, first.spread) == ("observed", -3.25, 0.1)
    assert (second.kind, second.value) == ("failed", None)
    assert second.detail["status"] == "failed: why"
    assert ledger.pending("campaign") == []
    assert ledger.rounds("campaign") == [(0, {"loss": 1.5})]


def test_infinite_values_survive(ledger):
    ledger.propose("campaign", 0, [proposal(1)], {})
    ledger.conclude(ledger.pending("campaign")[0], outcome(float("inf")))
    assert ledger.answers("campaign")[0].value == float("inf")


def test_a_query_ends_once(ledger):
    ledger.propose("campaign", 0, [proposal(1)], {})
    query = ledger.pending("campaign")[0]
    assert ledger.conclude(query, outcome(1.0))
    assert not ledger.conclude(query, outcome(2.0))
    assert not ledger.abandon(query, "late")
    assert [answer.value for answer in ledger.answers("campaign")] == [1.0]
    assert account_of(ledger.tallies(), "campaign", 9.0).spent == 1.0


def test_a_question_is_asked_once_per_account(ledger):
    assert len(ledger.propose("campaign", 0, [proposal(1), proposal(1)], {})) == 1
    assert ledger.propose("campaign", 1, [proposal(1)], {}) == []
    assert len(ledger.propose("baseline", 0, [proposal(1)], {})) == 1
    assert ledger.asked("campaign", [crystal(1).hash, crystal(2).hash]) == {(crystal(1).hash, 0)}


def test_a_round_is_written_whole_or_not_at_all(ledger):
    bad = proposal(2)._replace(cost=-1.0)
    with pytest.raises(sqlite3.IntegrityError):
        ledger.propose("campaign", 0, [proposal(1), bad], {})
    assert ledger.rounds("campaign") == []
    assert ledger.pending("campaign") == []
    assert ledger.tallies() == []


@pytest.mark.parametrize("table", ["meta", "crystal", "round", "query", "event"])
def test_rows_can_be_neither_changed_nor_deleted(ledger, table):
    ledger.start({"seed": 1})
    ledger.propose("campaign", 0, [proposal(1)], {})
    ledger.conclude(ledger.pending("campaign")[0], outcome(1.0))
    column = {"meta": "value", "round": "detail"}.get(table, "id")
    for statement in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):
        with pytest.raises(sqlite3.IntegrityError, match="append only"):
            ledger.connection.execute(statement)


def test_tallies_equal_sums_over_all_rows(ledger):
    for number in range(12):
        ledger.propose("campaign", number, [proposal(number + 1, number % 3, 0.1 + number)], {})
    for index, query in enumerate(ledger.pending("campaign")[:9]):
        if index % 3 == 2:
            ledger.abandon(query, "no")
        else:
            ledger.conclude(query, outcome(float(index) if index % 3 else None))
    summed = ledger.connection.execute(
        "SELECT account, fidelity, 'proposed', count(*), sum(cost) FROM query GROUP BY 1, 2"
        " UNION ALL SELECT e.account, e.fidelity, e.kind, count(*), sum(q.cost) FROM event e"
        " JOIN query q ON q.id = e.query GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    ).fetchall()
    assert [tuple(tally)[:4] for tally in ledger.tallies()] == [row[:4] for row in summed]
    assert [tally.cost for tally in ledger.tallies()] == pytest.approx([row[4] for row in summed])


def test_budget_reserves_what_is_pending_and_releases_what_is_abandoned(ledger):
    ledger.propose("campaign", 0, [proposal(1, 0, 0.1), proposal(2, 0, 0.2), proposal(3)], {})
    first, second, third = ledger.pending("campaign")
    ledger.conclude(first, outcome(None))  # failure costs
    ledger.abandon(third, "given up")
    account = account_of(ledger.tallies(), "campaign", 0.6)
    assert account.spent == pytest.approx(0.1)
    assert account.reserved == pytest.approx(0.2)
    assert affordable(account, [0.1, 0.1, 0.1, 0.1]) == 3  # 0.1 + 0.2 + 0.3 are 0.6 in spirit
    assert account_of(ledger.tallies(), "baseline", 0.6).free == 0.6
    ledger.conclude(second, outcome(1.0))
    assert account_of(ledger.tallies(), "campaign", 0.3).free == pytest.approx(0.0)


def test_best_orders_by_value_and_then_by_decision(ledger):
    ledger.propose("campaign", 0, [proposal(n, 1) for n in (1, 2, 3, 4)], {})
    for query, value in zip(ledger.pending("campaign"), (0.5, 2.0, 2.0, None), strict=True):
        ledger.conclude(query, outcome(value))
    best = ledger.best("campaign", 1, number=2, largest=True)
    assert [answer.query.crystal.formula for answer in best] == ["Li2O", "Li3O"]
    assert ledger.best("campaign", 1, number=1, largest=False)[0].value == 0.5
    assert ledger.best("campaign", 0, number=2, largest=True) == []


def test_hashes_tell_questions_apart_and_forget_order_and_rounding():
    lattice = (3.0, 3.0, 3.0, 90.0, 90.0, 90.0)
    name = crystal_hash({"Li": 1, "O": 2}, 225, lattice)
    assert name == crystal_hash({"O": 2, "Li": 1}, 225, (3.00001, *lattice[1:]))
    others = {
        crystal_hash({"Li": 2, "O": 1}, 225, lattice),
        crystal_hash({"Li": 1, "O": 2}, 221, lattice),
        crystal_hash({"Li": 1, "O": 2}, 225, (3.01, *lattice[1:])),
        crystal_hash({"Li": 1, "O": 2}, 225, lattice, "atoms"),
    }
    assert len(others | {name}) == 5
    asked = {
        query_hash(name, f, o, v, n) for f in (0, 1) for o in "ab" for v in "12" for n in (1, 2)
    }
    assert len(asked) == 16


def test_a_reader_sees_a_writers_committed_rows(ledger):
    ledger.propose("campaign", 0, [proposal(1)], {})
    with Ledger(ledger.path, readonly=True) as reader:
        assert len(reader.pending("campaign")) == 1
        with ledger.transaction() as cursor:
            cursor.execute("INSERT INTO meta VALUES ('k', '1')")
            assert reader.meta("k") is None  # and it didn't have to wait
        assert reader.meta("k") == 1
        with pytest.raises(MfalError, match="readonly"):
            reader.start({"x": 1})


def test_files_that_are_no_ledgers_are_refused_and_left_alone(tmp_path):
    with pytest.raises(MfalError, match="no such ledger"):
        Ledger(tmp_path / "none.sqlite", readonly=True)
    text = tmp_path / "text.sqlite"
    text.write_text("this is not a database, but it is long enough to be looked at" * 10)
    before = text.read_bytes()
    with pytest.raises(MfalError, match="doctor"):
        Ledger(text)
    assert text.read_bytes() == before
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE t (x)")
    with pytest.raises(MfalError, match="not a ledger of mfal"):
        Ledger(other)


def test_a_newer_schema_is_refused(ledger):
    ledger.connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(MfalError, match="newer mfal"):
        Ledger(ledger.path)


def test_a_migration_that_is_cut_short_leaves_the_old_version(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        ledger.propose("campaign", 0, [proposal(1)], {})
    broken = (*MIGRATIONS, "CREATE TABLE extra (x); CREATE TABLE extra (x);")
    with pytest.raises(MfalError, match="extra already exists"):
        Ledger(path, migrations=broken)
    with Ledger(path) as ledger:
        assert len(ledger.pending("campaign")) == 1
    fine = (*MIGRATIONS, "CREATE TABLE extra (x);")
    with Ledger(path, migrations=fine) as ledger:
        assert len(ledger.pending("campaign")) == 1
        assert ledger.connection.execute("SELECT count(*) FROM extra").fetchone() == (0,)


def test_the_file_is_synchronised_in_full(ledger):
    assert ledger.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert ledger.connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_folder_has_one_writer(tmp_path):
    script = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from mfal.campaign.ledger.lock import exclusive
        with exclusive(Path(sys.argv[1])):
            print("held", flush=True)
            time.sleep(60)
        """
    )
    holder = subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(MfalError, match=f"in use by process {holder.pid}"), exclusive(tmp_path):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    with exclusive(tmp_path):  # the lock died with its holder
        pass


def test_the_foremost_are_the_latest_and_the_best_with_all_about_them(ledger):
    """Values fall with the number; the best two and the latest one make three crystals."""
    for number in range(1, 9):
        ledger.propose("campaign", number, [proposal(number, 0), proposal(number, 1)], {})
        for query in ledger.pending("campaign"):
            ledger.conclude(query, outcome(10.0 - number if query.fidelity else None))
    found = ledger.foremost("campaign", 1, number=2, largest=True)
    assert [(a.query.crystal.formula, a.query.fidelity, a.kind) for a in found] == [
        (f"Li{number}O", fidelity, "observed" if fidelity else "failed")
        for number in (1, 2, 8)
        for fidelity in (0, 1)
    ]
    worst = ledger.foremost("campaign", 1, number=1, largest=False)
    assert {a.query.crystal.formula for a in worst} == {"Li8O"}
