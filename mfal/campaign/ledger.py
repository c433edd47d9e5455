"""The book of a campaign: one append-only SQLite file.

Every proposal is a row in `query`, everything that happens to it a row in `event`. Write-ahead
log with full synchronisation: a transaction that returned survives a kill and a power cut; one
that didn't leaves no trace. Readers never block, and never wait for, the one writer.

Rows are read in the order of query ids, which is the order of decisions; the order in which
answers happened to arrive, and clocks, bear on nothing.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import mfal
from mfal.campaign.records import (
    CrystalRecord,
    Outcome,
    Proposal,
    Query,
    query_hash,
    realisation_seed,
)
from mfal.campaign.schema import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION
from mfal.errors import MfalError

__all__ = ["Answer", "Ledger", "Tally"]

ENDINGS = ("observed", "failed", "abandoned")


class Tally(NamedTuple):
    """How many queries of one account and fidelity there are, and what they cost."""

    account: str
    fidelity: int
    kind: str
    """"proposed" (all of them), "observed", "failed" or "abandoned"."""
    number: int
    cost: float


class Answer(NamedTuple):
    """A query with the event that ended it."""

    query: Query
    kind: str
    value: float | None
    spread: float | None
    seconds: float | None
    detail: dict[str, Any]


_QUERY_COLUMNS = """
    q.id, q.account, q.round, q.fidelity, q.oracle, q.oracle_version, q.cost, q.structures,
    q.seed, q.predicted, c.hash, c.formula, c.composition, c.space_group, c.lattice,
    c.oxidation_states, c.source, c.structure
"""


class Ledger:
    """An open ledger; a context manager.

    Args:
      path: the SQLite file; made where it is missing, unless `readonly`.
      readonly: open for reading beside a writer.

    Raises:
      MfalError: where the file can't be opened, is damaged, is no ledger, or was written by a
        newer version.
    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self.path = path
        if readonly and not path.exists():
            raise MfalError(f"{path}: no such ledger", "give the folder of a campaign")
        with self._explained():
            self.connection = _connect(path, readonly)
            try:
                self._prepare(readonly)
            except BaseException:
                self.connection.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self.connection.close()

    # What is written ---------------------------------------------------------------------------

    def start(self, facts: dict[str, Any]) -> None:
        """Write facts about the campaign, all at once; each can be written only once."""
        with self.transaction() as cursor:
            for key, value in facts.items():
                cursor.execute("INSERT INTO meta VALUES (?, ?)", (key, json.dumps(value)))

    def propose(
        self, account: str, number: int, proposals: Sequence[Proposal], detail: dict[str, Any]
    ) -> list[int]:
        """Write a round with all its proposals in one transaction.

        Args:
          account: whose budget pays ("campaign" or "random").
          number: the round's number, unique in its account.
          proposals: what to ask, best first. One that the account has already asked is left out.
          detail: how the round came about; JSON-ready.

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
            for proposal in proposals:
                crystal = self._crystal_id(cursor, proposal.crystal)
                name = query_hash(
                    proposal.crystal.hash,
                    proposal.fidelity,
                    proposal.oracle,
                    proposal.oracle_version,
                    proposal.structures,
                )
                cursor.execute(
                    "INSERT INTO query (hash, account, round, crystal, fidelity, oracle,"
                    " oracle_version, cost, structures, seed, predicted, code_version, time)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT (account, hash) DO NOTHING",
                    (
                        name,
                        account,
                        number,
                        crystal,
                        proposal.fidelity,
                        proposal.oracle,
                        proposal.oracle_version,
                        proposal.cost,
                        proposal.structures,
                        realisation_seed(proposal.crystal.hash),
                        json.dumps(proposal.predicted),
                        mfal.__version__,
                        now,
                    ),
                )
                if cursor.rowcount == 1:
                    ids.append(int(cursor.lastrowid or 0))
        return ids

    def submitted(self, query: Query, attempt: dict[str, Any] | None = None) -> None:
        """Note that a query has gone out."""
        with self.transaction() as cursor:
            self._event(cursor, query, "submitted", None, None, None, attempt or {})

    def conclude(self, query: Query, outcome: Outcome) -> bool:
        """Write a query's end: observed, or failed.

        Returns:
          False where the query had ended before; nothing is written then.
        """
        kind = "observed" if outcome.status == "ok" and outcome.value is not None else "failed"
        detail = {"status": outcome.status, **outcome.detail}
        return self._end(query, kind, outcome.value, outcome.spread, outcome.seconds, detail)

    def abandon(self, query: Query, reason: str) -> bool:
        """Give a query up without an answer; its cost returns to the budget."""
        return self._end(query, "abandoned", None, None, None, {"status": f"abandoned: {reason}"})

    # What is read ------------------------------------------------------------------------------

    def meta(self, key: str) -> Any:
        """A fact about the campaign, or None."""
        row = self._one("SELECT value FROM meta WHERE key = ?", (key,))
        return json.loads(row[0]) if row else None

    def tallies(self) -> list[Tally]:
        """Numbers and costs by account, fidelity and kind; takes no longer in a long ledger."""
        rows = self._all("SELECT account, fidelity, kind, number, cost FROM tally ORDER BY 1, 2, 3")
        return [Tally(*row) for row in rows]

    def rounds(self, account: str) -> list[tuple[int, dict[str, Any]]]:
        """(number, detail) of the rounds of an account, in order."""
        rows = self._all(
            "SELECT number, detail FROM round WHERE account = ? ORDER BY number", (account,)
        )
        return [(row[0], json.loads(row[1])) for row in rows]

    def cost_of_round(self, account: str, number: int) -> float:
        """Cost units that a round's queries take, abandoned ones aside."""
        row = self._one(
            "SELECT coalesce(sum(q.cost), 0) FROM query q WHERE q.account = ? AND q.round = ?"
            " AND NOT EXISTS (SELECT 1 FROM event e WHERE e.query = q.id AND e.kind = 'abandoned')",
            (account, number),
        )
        return float(row[0])

    def pending(self, account: str) -> list[Query]:
        """Queries of an account that have not ended, in the order of decision."""
        rows = self._all(
            # CROSS keeps SQLite from walking through all queries of the account instead.
            f"SELECT {_QUERY_COLUMNS} FROM pending p CROSS JOIN query q ON q.id = p.query"
            " JOIN crystal c ON c.id = q.crystal WHERE q.account = ? ORDER BY p.query",
            (account,),
        )
        return [_query(row) for row in rows]

    def answers(self, account: str, *, limit: int | None = None) -> list[Answer]:
        """The latest `limit` ended queries of an account, in the order of decision."""
        rows = self._all(
            f"SELECT {_QUERY_COLUMNS}, e.kind, e.value, e.spread, e.seconds, e.detail"
            " FROM query q JOIN crystal c ON c.id = q.crystal JOIN event e ON e.query = q.id"
            " WHERE q.account = ? AND e.kind IN ('observed', 'failed', 'abandoned')"
            " ORDER BY q.id DESC LIMIT ?",
            (account, -1 if limit is None else limit),
        )
        return [_answer(row) for row in reversed(rows)]

    def best(
        self, account: str, fidelity: int, *, number: int, largest: bool, proposed: bool = False
    ) -> list[Answer]:
        """The best observed answers at one fidelity, best first.

        With `proposed`, crystals whose atoms were known from the start are left out.
        """
        order = "DESC" if largest else "ASC"
        rows = self._all(
            f"SELECT {_QUERY_COLUMNS}, e.kind, e.value, e.spread, e.seconds, e.detail"
            " FROM event e JOIN query q ON q.id = e.query JOIN crystal c ON c.id = q.crystal"
            " WHERE e.account = ? AND e.fidelity = ? AND e.kind = 'observed'"
            " AND (c.structure IS NULL OR NOT ?)"
            f" ORDER BY e.value {order}, q.id LIMIT ?",
            (account, fidelity, proposed, number),
        )
        return [_answer(row) for row in rows]

    def asked(self, account: str, crystals: Iterable[str]) -> set[tuple[str, int]]:
        """Which of these crystals (hashes) an account has asked about, with the fidelity."""
        found = set()
        for name in crystals:
            rows = self._all(
                "SELECT q.fidelity FROM crystal c JOIN query q ON q.crystal = c.id"
                " WHERE c.hash = ? AND q.account = ?",
                (name, account),
            )
            found |= {(name, row[0]) for row in rows}
        return found

    # The file ----------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Cursor]:
        """All or nothing; an error inside rolls back."""
        with self._explained():
            cursor = self.connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    cursor.execute("ROLLBACK")
                raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn SQLite's errors into one line with a remedy."""
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as error:
            raise MfalError(f"{self.path}: {error}", _remedy(error, self.path)) from error

    def _prepare(self, readonly: bool) -> None:
        version = self.connection.execute("PRAGMA user_version").fetchone()[0]
        mark = self.connection.execute("PRAGMA application_id").fetchone()[0]
        tables = self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and mark != APPLICATION_ID:
            raise MfalError(f"{self.path}: not a ledger of mfal", "give another folder")
        if version > SCHEMA_VERSION:
            raise MfalError(
                f"{self.path}: written by a newer mfal (schema {version}, here {SCHEMA_VERSION})",
                "upgrade mfal",
            )
        if readonly:
            if version < SCHEMA_VERSION:
                raise MfalError(
                    f"{self.path}: schema {version} is older than this mfal's {SCHEMA_VERSION}",
                    "run `mfal doctor` on the folder, which brings it up to date",
                )
            return
        if self.connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise MfalError(
                f"{self.path}: the file system offers no write-ahead log",
                "use a folder on a local disk",
            )
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute("PRAGMA foreign_keys = ON")
        for step in range(version, SCHEMA_VERSION):
            self.connection.executescript(
                f"BEGIN IMMEDIATE;\nPRAGMA application_id = {APPLICATION_ID};\n"
                f"{MIGRATIONS[step]}\nPRAGMA user_version = {step + 1};\nCOMMIT;"
            )

    def _crystal_id(self, cursor: sqlite3.Cursor, crystal: CrystalRecord) -> int:
        cursor.execute(
            "INSERT INTO crystal (hash, formula, composition, space_group, lattice,"
            " oxidation_states, source, structure) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (hash) DO NOTHING",
            (
                crystal.hash,
                crystal.formula,
                json.dumps(crystal.composition),
                crystal.space_group,
                json.dumps(crystal.lattice),
                json.dumps(crystal.oxidation_states),
                crystal.source,
                crystal.structure,
            ),
        )
        cursor.execute("SELECT id FROM crystal WHERE hash = ?", (crystal.hash,))
        return int(cursor.fetchone()[0])

    def _end(
        self,
        query: Query,
        kind: str,
        value: float | None,
        spread: float | None,
        seconds: float | None,
        detail: dict[str, Any],
    ) -> bool:
        try:
            with self.transaction() as cursor:
                self._event(cursor, query, kind, value, spread, seconds, detail)
        except sqlite3.IntegrityError:
            row = self._one(
                "SELECT 1 FROM event WHERE query = ? AND kind IN (?, ?, ?)", (query.id, *ENDINGS)
            )
            if row is None:
                raise
            return False
        return True

    def _event(
        self,
        cursor: sqlite3.Cursor,
        query: Query,
        kind: str,
        value: float | None,
        spread: float | None,
        seconds: float | None,
        detail: dict[str, Any],
    ) -> None:
        cursor.execute(
            "INSERT INTO event (query, kind, account, fidelity, value, spread, seconds, detail,"
            " code_version, time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                query.id,
                kind,
                query.account,
                query.fidelity,
                value if kind == "observed" else None,
                spread,
                seconds,
                json.dumps(detail),
                mfal.__version__,
                time.time(),
            ),
        )

    def _one(self, sql: str, values: Sequence[Any] = ()) -> Any:
        with self._explained():
            return self.connection.execute(sql, values).fetchone()

    def _all(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._explained():
            return self.connection.execute(sql, values).fetchall()


def _connect(path: Path, readonly: bool) -> sqlite3.Connection:
    if not readonly:
        return sqlite3.connect(path, isolation_level=None, timeout=30.0)
    uri = path.resolve().as_uri()
    # In a folder that can't be written, a reader of a closed write-ahead log can't make its shared
    # memory; without a log there is nothing but the file, so it may be taken as fixed.
    closed = not path.with_name(path.name + "-wal").exists()
    modes = ("?mode=ro", "?immutable=1") if closed else ("?mode=ro",)
    for mode in modes:
        connection = sqlite3.connect(uri + mode, uri=True, isolation_level=None, timeout=30.0)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return connection
        except sqlite3.OperationalError:
            connection.close()
            if mode == modes[-1]:
                raise
    raise AssertionError("unreachable")


def _remedy(error: sqlite3.DatabaseError, path: Path) -> str:
    text = str(error)
    if "full" in text:
        return "free space on the disk and run the same command again; nothing is lost"
    if "readonly" in text or "read-only" in text or "unable to open" in text:
        return "make the folder writable, or give another with --out"
    if "locked" in text or "busy" in text:
        return "another process holds the file; wait for it to end"
    if "malformed" in text or "not a database" in text or "disk image" in text:
        return f"run `mfal doctor {path.parent}`, and restore the file from a copy"
    return f"run `mfal doctor {path.parent}`"


def _query(row: Sequence[Any]) -> Query:
    crystal = CrystalRecord(
        hash=row[10],
        formula=row[11],
        composition=json.loads(row[12]),
        space_group=row[13],
        lattice=tuple(json.loads(row[14])),
        oxidation_states=json.loads(row[15]),
        source=row[16],
        structure=row[17],
    )
    return Query(
        id=row[0],
        account=row[1],
        round=row[2],
        crystal=crystal,
        fidelity=row[3],
        oracle=row[4],
        oracle_version=row[5],
        cost=row[6],
        structures=row[7],
        seed=row[8],
        predicted=json.loads(row[9]),
    )


def _answer(row: Sequence[Any]) -> Answer:
    return Answer(_query(row[:18]), row[18], row[19], row[20], row[21], json.loads(row[22]))
