"""The book of a campaign: what is written and what is read.

Every proposal is a row in `query`, everything that happens to it a row in `event`.

Rows are read in the order of query ids, which is the order of decisions; clocks bear on nothing.
What a decision may see is fixed by its basis: a place in the ledger's own order, written before
the decision is made.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import mfal
from mfal.campaign.ledger.database import Database
from mfal.campaign.ledger.records import CrystalRecord, Outcome, Proposal, Query
from mfal.campaign.ledger.rows import (
    ANSWER_COLUMNS,
    QUERY_COLUMNS,
    Answer,
    Tally,
    answer_of_row,
    crystal_values,
    query_of_row,
    query_values,
)

__all__ = ["Answer", "Basis", "Ledger", "Tally"]

ENDINGS = ("observed", "failed", "abandoned")
_ENDED = "('observed', 'failed', 'abandoned')"


class Basis(NamedTuple):
    """How much of the ledger a decision rests on."""

    event: int
    """Id of the last event that it sees; 0 for none."""
    query: int
    """Id of the last query that it knows of; 0 for none."""


class Ledger(Database):
    """An open ledger; see `Database` for how it is opened."""

    # What is written ---------------------------------------------------------------------------

    def start(self, facts: dict[str, Any]) -> None:
        """Write facts about the campaign, all at once; each can be written only once."""
        with self.transaction() as cursor:
            for key, value in facts.items():
                cursor.execute("INSERT INTO meta VALUES (?, ?)", (key, json.dumps(value)))

    def open_round(self, account: str, number: int) -> Basis:
        """Fix what a round's decision rests on: everything written so far.

        A round that was opened before keeps its first basis.
        """
        with self.transaction() as cursor:
            cursor.execute(
                "INSERT INTO basis SELECT ?, ?, (SELECT coalesce(max(id), 0) FROM event),"
                " (SELECT coalesce(max(id), 0) FROM query), ? WHERE true"
                " ON CONFLICT (account, round) DO NOTHING",
                (account, number, time.time()),
            )
        basis = self.basis(account, number)
        assert basis is not None
        return basis

    def propose(
        self,
        account: str,
        number: int,
        proposals: Sequence[Proposal],
        detail: dict[str, Any],
        *,
        cost: float = 0.0,
        seconds: float = 0.0,
    ) -> list[int]:
        """Write a round with all its proposals in one transaction.

        Args:
          account: whose budget pays ("campaign" or "baseline").
          number: the round's number, unique in its account.
          proposals: what to ask, best first. One that the account has already asked is left out.
          detail: how the round came about; JSON-ready.
          cost: nominal CPU seconds of deciding, which the account pays.
          seconds: CPU seconds that deciding really took.

        Returns:
          The ids of the new queries, in order.
        """
        now = time.time()
        ids = []
        with self.transaction() as cursor:
            cursor.execute(
                "INSERT INTO round (account, number, detail, time) VALUES (?, ?, ?, ?)",
                (account, number, json.dumps(detail), now),
            )
            if cost or seconds:
                cursor.execute(
                    "INSERT INTO thought VALUES (?, ?, ?, ?, ?)",
                    (account, number, cost, seconds, now),
                )
            for proposal in proposals:
                values = {
                    **query_values(proposal),
                    "account": account,
                    "round": number,
                    "crystal": _crystal_id(cursor, proposal.crystal),
                    "code_version": mfal.__version__,
                    "time": now,
                }
                _insert(cursor, "query", values, "ON CONFLICT (account, hash) DO NOTHING")
                if cursor.rowcount == 1:
                    ids.append(int(cursor.lastrowid or 0))
        return ids

    def submitted(self, query: Query, attempt: dict[str, Any] | None = None) -> None:
        """Note that a query has gone out."""
        with self.transaction() as cursor:
            _event(cursor, query, "submitted", attempt or {})

    def conclude(self, query: Query, outcome: Outcome) -> bool:
        """Write a query's end: observed, or failed.

        Returns:
          False where the query had ended before; nothing is written then.
        """
        kind = "observed" if outcome.status == "ok" and outcome.value is not None else "failed"
        return self._end(query, kind, {"status": outcome.status, **outcome.detail}, outcome)

    def abandon(self, query: Query, reason: str) -> bool:
        """Give a query up without an answer; its cost returns to the budget."""
        return self._end(query, "abandoned", {"status": f"abandoned: {reason}"})

    # What is read ------------------------------------------------------------------------------

    def meta(self, key: str) -> Any:
        """A fact about the campaign, or None."""
        row = self.one("SELECT value FROM meta WHERE key = ?", (key,))
        return json.loads(row[0]) if row else None

    def basis(self, account: str, number: int) -> Basis | None:
        """What a round's decision rests on; None where the round was never opened."""
        row = self.one(
            "SELECT event, query FROM basis WHERE account = ? AND round = ?", (account, number)
        )
        return Basis(*row) if row else None

    def tallies(self) -> list[Tally]:
        """Numbers and costs by account, fidelity and kind; takes no longer in a long ledger."""
        rows = self.all("SELECT account, fidelity, kind, number, cost FROM tally ORDER BY 1, 2, 3")
        return [Tally(*row) for row in rows]

    def rounds(self, account: str) -> list[tuple[int, dict[str, Any]]]:
        """(number, detail) of the rounds of an account, in order."""
        rows = self.all(
            "SELECT number, detail FROM round WHERE account = ? ORDER BY number", (account,)
        )
        return [(row[0], json.loads(row[1])) for row in rows]

    def costs_of_round(self, account: str, number: int) -> dict[int, float]:
        """CPU seconds that a round's queries take at each fidelity, abandoned ones aside."""
        rows = self.all(
            "SELECT q.fidelity, sum(q.cost) FROM query q WHERE q.account = ? AND q.round = ?"
            " AND NOT EXISTS (SELECT 1 FROM event e WHERE e.query = q.id AND e.kind = 'abandoned')"
            " GROUP BY 1",
            (account, number),
        )
        return {int(fidelity): float(cost) for fidelity, cost in rows}

    def thoughts(self, account: str) -> dict[int, float]:
        """Nominal CPU seconds of an account's decisions, by round."""
        return dict(self.all("SELECT round, cost FROM thought WHERE account = ?", (account,)))

    def measured(self, account: str) -> dict[int, float]:
        """CPU seconds really taken by an account's questions, by fidelity; -1 is its deciding.

        Nothing that decides may read them: they differ from run to run.
        """
        rows = self.all(
            "SELECT fidelity, total(seconds) FROM tally WHERE account = ? GROUP BY 1", (account,)
        )
        return {int(fidelity): float(seconds) for fidelity, seconds in rows}

    def pending(self, account: str, *, basis: Basis | None = None) -> list[Query]:
        """Queries of an account that have not ended, in the order of decision.

        With a basis, those that had not ended then.
        """
        source, values = "SELECT query FROM pending", []
        if basis is not None:
            # What has ended since was open then.
            source += f" UNION SELECT query FROM event WHERE id > ? AND kind IN {_ENDED}"
            values = [basis.event]
        rows = self.all(
            # CROSS keeps SQLite from walking through all queries of the account instead.
            f"SELECT {QUERY_COLUMNS} FROM ({source}) p CROSS JOIN query q ON q.id = p.query"
            " JOIN crystal c ON c.id = q.crystal WHERE q.account = ? AND q.id <= ? ORDER BY q.id",
            (*values, account, 2**62 if basis is None else basis.query),
        )
        return [query_of_row(row) for row in rows]

    def answers(
        self,
        account: str,
        *,
        limit: int | None = None,
        basis: Basis | None = None,
        number: int | None = None,
    ) -> list[Answer]:
        """The latest `limit` ended queries of an account, in the order of decision.

        With a basis, those that had ended then; with a number, those of that round.
        """
        rows = self.all(
            f"SELECT {ANSWER_COLUMNS}"
            " FROM query q JOIN crystal c ON c.id = q.crystal JOIN event e ON e.query = q.id"
            f" WHERE q.account = ? AND e.kind IN {_ENDED} AND e.id <= ?"
            + ("" if number is None else f" AND q.round = {int(number)}")
            + " ORDER BY q.id DESC LIMIT ?",
            (account, 2**62 if basis is None else basis.event, -1 if limit is None else limit),
        )
        return [answer_of_row(row) for row in reversed(rows)]

    def best(
        self, account: str, fidelity: int, *, number: int, largest: bool, proposed: bool = False
    ) -> list[Answer]:
        """The best observed answers at one fidelity, best first.

        With `proposed`, crystals whose atoms were known from the start are left out.
        """
        order = "DESC" if largest else "ASC"
        rows = self.all(
            f"SELECT {ANSWER_COLUMNS}"
            " FROM event e JOIN query q ON q.id = e.query JOIN crystal c ON c.id = q.crystal"
            " WHERE e.account = ? AND e.fidelity = ? AND e.kind = 'observed'"
            " AND (c.source NOT LIKE 'known:%' OR NOT ?)"
            f" ORDER BY e.value {order}, q.id LIMIT ?",
            (account, fidelity, proposed, number),
        )
        return [answer_of_row(row) for row in rows]

    def foremost(self, account: str, fidelity: int, *, number: int, largest: bool) -> list[Answer]:
        """All answers about the crystals of the latest and of the best answers.

        Of the latest `number` ended queries, and of the `number` best of proposed crystals at one
        fidelity; in the order of decision. Takes no longer in a long ledger.
        """
        order = "DESC" if largest else "ASC"
        rows = self.all(
            # CROSS and + keep SQLite from walking through all queries of the account instead.
            f"SELECT {ANSWER_COLUMNS} FROM ("
            "  SELECT * FROM (SELECT q.crystal FROM query q WHERE q.account = ?"
            "   ORDER BY q.id DESC LIMIT ?)"
            "  UNION SELECT * FROM (SELECT q.crystal FROM event e JOIN query q ON q.id = e.query"
            "   JOIN crystal c ON c.id = q.crystal WHERE e.account = ? AND e.fidelity = ?"
            "   AND e.kind = 'observed' AND c.source NOT LIKE 'known:%'"
            f"   ORDER BY e.value {order} LIMIT ?)"
            " ) k CROSS JOIN query q ON q.crystal = k.crystal AND +q.account = ?"
            " CROSS JOIN crystal c ON c.id = q.crystal"
            f" CROSS JOIN event e ON e.query = q.id AND e.kind IN {_ENDED} ORDER BY q.id",
            (account, number, account, fidelity, number, account),
        )
        return [answer_of_row(row) for row in rows]

    def asked(self, account: str, crystals: Iterable[str]) -> set[tuple[str, int]]:
        """Which of these crystals (hashes) an account has asked about, with the fidelity."""
        found = set()
        for name in crystals:
            found |= {(name, fidelity) for _, fidelity in self._queries(account, name)}
        return found

    def found_atoms(self, crystal: str) -> dict[str, Any] | None:
        """The detail of an answer that holds a crystal's atoms, found for it; None without one."""
        rows = self.all(
            "SELECT e.detail FROM crystal c JOIN query q ON q.crystal = c.id"
            f" JOIN event e ON e.query = q.id AND e.kind IN {_ENDED} WHERE c.hash = ?",
            (crystal,),
        )
        details = (json.loads(row[0]) for row in rows)
        return next((detail for detail in details if "arrangement" in detail), None)

    def queries_about(self, account: str, crystal: str) -> tuple[int, ...]:
        """Ids of an account's queries about a crystal (its hash), in order."""
        return tuple(sorted(number for number, _ in self._queries(account, crystal)))

    def submissions(self, account: str) -> dict[int, dict[str, Any]]:
        """The latest note that a query of an account has gone out, by the query's id."""
        rows = self.all(
            "SELECT query, detail FROM event WHERE account = ? AND kind = 'submitted' ORDER BY id",
            (account,),
        )
        return {int(query): json.loads(detail) for query, detail in rows}

    def _queries(self, account: str, crystal: str) -> list[tuple[int, int]]:
        return self.all(
            "SELECT q.id, q.fidelity FROM crystal c JOIN query q ON q.crystal = c.id"
            " WHERE c.hash = ? AND q.account = ?",
            (crystal, account),
        )

    def _end(
        self, query: Query, kind: str, detail: dict[str, Any], outcome: Outcome | None = None
    ) -> bool:
        try:
            with self.transaction() as cursor:
                _event(cursor, query, kind, detail, outcome)
        except sqlite3.IntegrityError:
            row = self.one(
                "SELECT 1 FROM event WHERE query = ? AND kind IN (?, ?, ?)", (query.id, *ENDINGS)
            )
            if row is None:
                raise
            return False
        return True


def _crystal_id(cursor: sqlite3.Cursor, crystal: CrystalRecord) -> int:
    _insert(cursor, "crystal", crystal_values(crystal), "ON CONFLICT (hash) DO NOTHING")
    cursor.execute("SELECT id FROM crystal WHERE hash = ?", (crystal.hash,))
    return int(cursor.fetchone()[0])


def _event(
    cursor: sqlite3.Cursor,
    query: Query,
    kind: str,
    detail: dict[str, Any],
    outcome: Outcome | None = None,
) -> None:
    values = {
        "query": query.id,
        "kind": kind,
        "account": query.account,
        "fidelity": query.fidelity,
        "value": outcome.value if outcome is not None and kind == "observed" else None,
        "spread": outcome.spread if outcome is not None else None,
        "seconds": outcome.seconds if outcome is not None else None,
        "detail": json.dumps(detail),
        "code_version": mfal.__version__,
        "time": time.time(),
    }
    _insert(cursor, "event", values)


def _insert(cursor: sqlite3.Cursor, table: str, values: dict[str, Any], conflict: str = "") -> None:
    names, marks = ", ".join(values), ", ".join("?" * len(values))
    cursor.execute(
        f"INSERT INTO {table} ({names}) VALUES ({marks}) {conflict}", tuple(values.values())
    )
