"""An SQLite file that is a ledger: opened, brought up to date, its errors put into words.

Write-ahead log with full synchronisation: a transaction that returned survives a kill and a power
cut; one that didn't leaves no trace. Readers never block, and never wait for, the one writer.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mfal.campaign.ledger.interrupts import uninterrupted
from mfal.campaign.ledger.schema import APPLICATION_ID, MIGRATIONS
from mfal.errors import MfalError

__all__ = ["Database"]


class Database:
    """An open file with the ledger's tables; a context manager.

    Args:
      path: the SQLite file; made where it is missing, unless `readonly`.
      readonly: open for reading beside a writer.
      migrations: the steps from each version of the tables to the next.

    Raises:
      MfalError: where the file can't be opened, is damaged, is no ledger, or was written by a
        newer version.
    """

    def __init__(
        self, path: Path, *, readonly: bool = False, migrations: Sequence[str] = MIGRATIONS
    ) -> None:
        self.path = path
        if readonly and not path.exists():
            raise MfalError(f"{path}: no such ledger", "give the folder of a campaign")
        with self._explained():
            self.connection = _connect(path, readonly)
            try:
                self._prepare(readonly, migrations)
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

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Cursor]:
        """A transaction: all of the block is written or, after an error, nothing; Ctrl-C waits."""
        with uninterrupted(), self._explained():
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

    def _prepare(self, readonly: bool, migrations: Sequence[str]) -> None:
        newest = len(migrations)
        version = self.connection.execute("PRAGMA user_version").fetchone()[0]
        mark = self.connection.execute("PRAGMA application_id").fetchone()[0]
        tables = self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and mark != APPLICATION_ID:
            raise MfalError(f"{self.path}: not a ledger of mfal", "give another folder")
        if version > newest:
            raise MfalError(
                f"{self.path}: written by a newer mfal (schema {version}, here {newest})",
                "upgrade mfal",
            )
        if readonly:
            if version < newest:
                raise MfalError(
                    f"{self.path}: schema {version} is older than this mfal's {newest}",
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
        for step in range(version, newest):
            self.connection.executescript(
                f"BEGIN IMMEDIATE;\nPRAGMA application_id = {APPLICATION_ID};\n"
                f"{migrations[step]}\nPRAGMA user_version = {step + 1};\nCOMMIT;"
            )

    def one(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The first row of a query's result, or None."""
        with self._explained():
            return self.connection.execute(sql, values).fetchone()

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query's result."""
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
    if "disk I/O" in text:
        return "see that the disk has space and is in order, and run the same command again"
    if "malformed" in text or "not a database" in text or "disk image" in text:
        return f"run `mfal doctor {path.parent}`, and restore the file from a copy"
    return f"run `mfal doctor {path.parent}`"
