"""Is a campaign's folder sound? Every check says what it found."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mfal.campaign.folder import CAMPAIGN, CONFIG_NAME, LEDGER_NAME, stored_config, why_outdated
from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.budget import account_of
from mfal.campaign.ledger.lock import exclusive
from mfal.campaign.options import describe_differences, from_mapping
from mfal.campaign.toml import read_toml
from mfal.errors import MfalError

__all__ = ["Finding", "examine"]


class Finding(NamedTuple):
    """What one check found."""

    level: str
    """"ok", "note" (harmless) or "problem"."""
    text: str


def examine(folder: Path) -> list[Finding]:
    """Checks a campaign folder; brings an older ledger up to date; changes nothing else.

    A folder that is in use is examined beside its writer.
    """
    path = folder / LEDGER_NAME
    if not path.exists():
        return [Finding("problem", f"{path}: no such file; this is no campaign's folder")]
    findings = []
    try:
        try:
            with exclusive(folder), Ledger(path):
                pass  # opening for writing recovers the log and migrates
            findings.append(Finding("ok", "no process is writing"))
        except MfalError as error:
            # In use, or a folder that can't be written; a damaged file says so again below.
            findings.append(Finding("note", str(error)))
        with Ledger(path, readonly=True) as ledger:
            findings += list(_checks(folder, ledger))
    except (MfalError, sqlite3.DatabaseError) as error:
        findings = [finding for finding in findings if finding.text != str(error)]
        findings.append(Finding("problem", str(error)))
    return findings


def _checks(folder: Path, ledger: Ledger) -> Iterator[Finding]:
    yield from _file(ledger)
    yield from _sums(ledger)
    yield from _rows(ledger)
    if ledger.meta("config") is None:
        yield Finding("note", "the campaign has not begun")
        return
    if why_outdated(ledger):
        yield Finding("note", why_outdated(ledger))
        return
    yield from _config(folder, ledger)
    budget = stored_config(ledger).budget
    account = account_of(ledger.tallies(), CAMPAIGN, budget)
    total = account.spent + account.reserved
    if total > budget * (1 + 1e-9):
        yield Finding("problem", f"budget exceeded: {total:g} of {budget:g} CPU s")
    else:
        yield Finding(
            "ok",
            f"budget kept: {account.spent:g} spent and {account.reserved:g} reserved"
            f" of {budget:g} CPU s",
        )


def _file(ledger: Ledger) -> Iterator[Finding]:
    messages = [row[0] for row in ledger.connection.execute("PRAGMA integrity_check(5)")]
    if messages == ["ok"]:
        size = ledger.path.stat().st_size / 1e6
        yield Finding("ok", f"{ledger.path.name}: intact, {size:.1f} MB")
    else:
        yield Finding("problem", f"{ledger.path.name}: {'; '.join(messages)}; restore a copy")
    orphans = ledger.connection.execute("PRAGMA foreign_key_check").fetchall()
    if orphans:
        yield Finding("problem", f"{len(orphans)} rows point to rows that are missing")


def _sums(ledger: Ledger) -> Iterator[Finding]:
    """The derived tables against the rows that they derive from."""
    summed = ledger.connection.execute(
        "SELECT account, fidelity, 'proposed' AS kind, count(*), sum(cost) FROM query GROUP BY 1, 2"
        " UNION ALL SELECT q.account, q.fidelity, e.kind, count(*), sum(q.cost) FROM event e"
        " JOIN query q ON q.id = e.query WHERE e.kind != 'submitted' GROUP BY 1, 2, 3"
        " UNION ALL SELECT account, -1, 'decided', count(*), sum(cost) FROM thought GROUP BY 1"
        " ORDER BY 1, 2, 3"
    ).fetchall()
    kept = ledger.tallies()
    same = len(summed) == len(kept) and all(
        tuple(tally)[:4] == row[:4] and abs(tally.cost - row[4]) <= 1e-6 * max(1.0, row[4])
        for tally, row in zip(kept, summed, strict=True)
    )
    yield Finding(*(("ok", "sums agree with rows") if same else ("problem", "sums are wrong")))
    wrong = ledger.connection.execute(
        "SELECT count(*) FROM (SELECT q.id FROM query q WHERE NOT EXISTS (SELECT 1 FROM event e"
        " WHERE e.query = q.id AND e.kind IN ('observed', 'failed', 'abandoned'))"
        " EXCEPT SELECT query FROM pending)"
    ).fetchone()[0]
    if wrong:
        yield Finding("problem", f"{wrong} open queries are missing from the list of open ones")


def _rows(ledger: Ledger) -> Iterator[Finding]:
    strangers = ledger.connection.execute(
        "SELECT count(*) FROM event e JOIN query q ON q.id = e.query"
        " WHERE e.account != q.account OR e.fidelity != q.fidelity"
    ).fetchone()[0]
    if strangers:
        yield Finding("problem", f"{strangers} events disagree with their query")
    counts = ledger.connection.execute(
        "SELECT (SELECT count(*) FROM query), (SELECT count(*) FROM event WHERE kind = 'observed'),"
        " (SELECT count(*) FROM event WHERE kind = 'failed'), (SELECT count(*) FROM pending)"
    ).fetchone()
    yield Finding("ok", "{} queries: {} observed, {} failed, {} open".format(*counts))
    backwards = ledger.connection.execute(
        "SELECT count(*) FROM event e JOIN event f ON f.id = e.id + 1 WHERE f.time < e.time"
    ).fetchone()[0]
    if backwards:
        yield Finding("note", f"the clock went back {backwards} times; nothing depends on it")


def _config(folder: Path, ledger: Ledger) -> Iterator[Finding]:
    path = folder / CONFIG_NAME
    if not path.exists():
        yield Finding("note", f"{CONFIG_NAME} is missing; the next `mfal discover` writes it again")
        return
    try:
        differences = describe_differences(stored_config(ledger), from_mapping(read_toml(path)))
    except MfalError as error:
        yield Finding("note", f"{error}; the ledger's own copy counts")
        return
    if differences:
        text = f"{CONFIG_NAME} differs from the ledger's copy ({'; '.join(differences)})"
        yield Finding("note", f"{text}; the ledger's copy counts")
    else:
        yield Finding("ok", f"{CONFIG_NAME} agrees with the ledger")
