"""A campaign's pool on disk: read from its sources once, then fixed for the campaign's whole life.

One SQLite file beside the ledger holds the candidates, each once, with their atoms. A folder that
changes or a database that answers otherwise tomorrow can't change a campaign that has begun, and a
million candidates need no memory beyond their compositions, groups and cells.
"""

import hashlib
import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from mfal.campaign.config import SpaceConfig
from mfal.campaign.pool.duplicates import Entry, bucket_of, find_duplicates
from mfal.campaign.pool.restrictions import check_restrictions, restrictions_met
from mfal.crystals.elements import SYMBOLS, atomic_number
from mfal.crystals.lattice import cell_volume
from mfal.crystals.types import NUM_ELEMENTS
from mfal.data.table import Material, load_structure
from mfal.errors import MfalError

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["POOL_NAME", "PoolFacts", "pool_facts", "stored_structure", "write_pool"]

POOL_NAME = "pool.sqlite"
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE candidate (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    origin TEXT NOT NULL,
    bucket TEXT NOT NULL,
    space_group INTEGER NOT NULL,
    numbers BLOB NOT NULL,
    amounts BLOB NOT NULL,
    lattice BLOB NOT NULL,
    structure BLOB
) STRICT;
"""
_CHUNK = 2000


class PoolFacts(NamedTuple):
    """What is known of a pool as a whole."""

    candidates: int
    with_atoms: int
    duplicates: int
    left_out: dict[str, int]
    """How many materials were left out, by reason."""
    fingerprint: str
    """Of all that a candidate is: another pool has another."""

    def sentence(self) -> str:
        """The pool in words."""
        text = f"{self.candidates} candidates, {self.with_atoms} of them with atoms"
        reasons = [f"{n} {why}" for why, n in sorted(self.left_out.items())]
        if self.duplicates:
            reasons.insert(0, f"{self.duplicates} that repeat another")
        return f"{text}; left out: {', '.join(reasons)}" if reasons else text


def write_pool(
    path: Path,
    sources: Iterable[tuple[str, Iterable[Material]]],
    space: SpaceConfig,
    report: Callable[[str], None] = lambda text: None,
) -> PoolFacts:
    """Read all sources and keep what may be a candidate, each material once.

    Args:
      path: of the file, which is written whole or not at all.
      sources: each with its name; names of materials that occur twice get their source's before.
      space: restrictions that every candidate meets.
      report: called with a sentence from time to time.

    Raises:
      MfalError: where a source can't be read, or no candidate is left.
    """
    check_restrictions(space)
    partial = path.with_name(f".{path.name}.part")
    partial.unlink(missing_ok=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(partial)
    except (OSError, sqlite3.Error) as error:
        raise MfalError(
            f"{path} cannot be written ({error})", "give a folder that can be written with --out"
        ) from None
    try:
        database.execute("PRAGMA journal_mode=OFF")
        database.execute("PRAGMA synchronous=OFF")
        database.executescript(_TABLES)
        left_out = _fill(database, sources, space, report)
        duplicates = _drop_duplicates(database, report)
        facts = _sum_up(database, left_out, duplicates)
        if not facts.candidates:
            raise MfalError(
                f"the pool holds no candidate ({facts.sentence()})",
                "give other sources, or restrict less",
            )
        database.execute("INSERT INTO meta VALUES ('facts', ?)", (json.dumps(facts._asdict()),))
        database.commit()
        database.close()
        partial.replace(path)
    except sqlite3.Error as error:
        raise MfalError(f"{path} cannot be written ({error})", "free some space") from None
    finally:
        database.close()
        partial.unlink(missing_ok=True)
    return facts


def pool_facts(path: Path) -> PoolFacts:
    """What a pool's file says of itself.

    Raises:
      MfalError: where there is no such file, or it isn't whole.
    """
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            (text,) = database.execute("SELECT value FROM meta WHERE key = 'facts'").fetchone()
        return PoolFacts(**json.loads(text))
    except (sqlite3.Error, TypeError, ValueError):
        raise MfalError(
            f"{path} is missing or not a pool", "restore it from a copy of the campaign's folder"
        ) from None


def stored_structure(blob: bytes, name: str) -> "Structure":
    """The atoms that a candidate's row holds.

    Raises:
      MfalError: where they can't be read.
    """
    from mfal.data.table_json import structure_from_dict

    structure = load_structure(structure_from_dict(json.loads(zlib.decompress(blob))), name)
    assert structure is not None
    return structure


def _fill(
    database: sqlite3.Connection,
    sources: Iterable[tuple[str, Iterable[Material]]],
    space: SpaceConfig,
    report: Callable[[str], None],
) -> Counter[str]:
    left_out: Counter[str] = Counter()
    taken: set[str] = set()
    number = 0
    for source, materials in sources:
        stream = iter(materials)
        while rows := list(islice(stream, _CHUNK)):
            rows, broken = _complete(rows)
            left_out.update(broken)
            composition = np.zeros((len(rows), NUM_ELEMENTS), np.float32)
            for i, row in enumerate(rows):
                for symbol, amount in row.composition.items():
                    composition[i, atomic_number(symbol) - 1] += amount
            groups = np.array([row.space_group_number for row in rows], int)
            met = restrictions_met(space, composition, groups)
            allowed = np.ones(len(rows), bool)
            for name, each in met.items():
                flag = "space-groups" if name == "groups" else name.replace("_", "-")
                left_out[f"by --{flag}"] += int((allowed & ~each).sum())
                allowed &= each
            values = []
            for i in np.flatnonzero(allowed).tolist():
                row = rows[i]
                name = row.id if row.id not in taken else f"{source}:{row.id}"
                while name in taken:
                    name += "'"
                taken.add(name)
                number += 1
                values.append((number, name, *_columns(row, source, composition[i])))
            database.executemany("INSERT INTO candidate VALUES (?,?,?,?,?,?,?,?,?)", values)
            report(f"{number} candidates so far, from {source}")
    return +left_out


def _complete(rows: list[Material]) -> tuple[list[Material], Counter[str]]:
    """The rows that can be candidates, with composition, group and cell; and why others can't."""
    from mfal.data.rows import material_from_structure

    good: list[Material] = []
    broken: Counter[str] = Counter()
    for row in rows:
        known = row.space_group_number > 0 and np.isfinite(row.lattice).all() and row.composition
        if row.structure is None and not known:
            broken["without atoms and cell"] += 1
            continue
        if row.structure is None:
            amounts = np.array(list(row.composition.values()))
            if np.abs(amounts - np.round(amounts)).max() > 1e-3:
                broken["without atoms, and with fractions of atoms in the cell"] += 1
                continue
        elif not known:
            try:
                structure = load_structure(row.structure, row.id)
                made = material_from_structure(row.id, structure, charged=False)
            except MfalError:
                broken["whose atoms can't be read"] += 1
                continue
            row = made._replace(source=row.source, licence=row.licence, structure=row.structure)
        good.append(row)
    return good, broken


def _columns(row: Material, source: str, composition: np.ndarray) -> tuple[Any, ...]:
    from mfal.data.table_json import structure_to_dict

    numbers = np.flatnonzero(composition).astype(np.uint8)
    amounts = composition[numbers]
    bucket = bucket_of((SYMBOLS[z], float(n)) for z, n in zip(numbers, amounts, strict=True))
    origin = "; ".join(dict.fromkeys(part for part in (row.source or source, row.licence) if part))
    blob = None
    if row.structure is not None:
        blob = zlib.compress(json.dumps(structure_to_dict(row.structure)).encode(), 1)
    lattice = np.array(row.lattice, np.float32)
    return (
        origin,
        bucket,
        row.space_group_number,
        numbers.tobytes(),
        amounts.astype(np.float32).tobytes(),
        lattice.tobytes(),
        blob,
    )


def _drop_duplicates(database: sqlite3.Connection, report: Callable[[str], None]) -> int:
    database.execute("CREATE INDEX by_bucket ON candidate (bucket)")
    total, done, dropped = _number_of(database), 0, 0
    for rows in _buckets(database):
        done += len(rows)
        entries = [_entry(row) for row in rows]
        names = {row[0]: row[1] for row in rows}
        for repeated, first in find_duplicates(entries).items():
            dropped += 1
            database.execute("DELETE FROM candidate WHERE id = ?", (repeated,))
            database.execute(
                "UPDATE candidate SET origin = origin || ? WHERE id = ?",
                (f"; also {names[repeated]}", first),
            )
        report(f"{done} of {total} candidates compared, {dropped} repeat another")
    database.execute("DROP INDEX by_bucket")
    return dropped


def _buckets(database: sqlite3.Connection) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of each bucket that holds several, the buckets in alphabetical order."""
    shared = database.execute(
        "SELECT bucket FROM candidate GROUP BY bucket HAVING count(*) > 1 ORDER BY bucket"
    ).fetchall()
    for (bucket,) in shared:
        yield database.execute(
            "SELECT id, name, space_group, amounts, lattice, structure FROM candidate"
            " WHERE bucket = ? ORDER BY id",
            (bucket,),
        ).fetchall()


def _entry(row: tuple[Any, ...]) -> Entry:
    number, name, group, amounts, lattice, blob = row
    cell = np.frombuffer(lattice, np.float32).astype(float)
    volume = float(cell_volume(cell))
    atoms = float(np.frombuffer(amounts, np.float32).sum())

    def atoms_of() -> "Structure":
        structure = stored_structure(blob, name)
        structure.remove_oxidation_states()
        return structure

    return Entry(
        number,
        group,
        tuple(cell.tolist()),
        max(volume / atoms, 1e-6),
        None if blob is None else atoms_of,
    )


def _number_of(database: sqlite3.Connection) -> int:
    """Number of candidates."""
    return cast(int, database.execute("SELECT count(*) FROM candidate").fetchone()[0])


def _sum_up(database: sqlite3.Connection, left_out: Counter[str], duplicates: int) -> PoolFacts:
    digest = hashlib.sha256()
    with_atoms = 0
    for row in database.execute("SELECT * FROM candidate ORDER BY id"):
        with_atoms += row[-1] is not None
        for value in row[1:]:
            digest.update(value if isinstance(value, bytes) else repr(value).encode())
            digest.update(b"\0")
    return PoolFacts(
        _number_of(database), with_atoms, duplicates, dict(left_out), digest.hexdigest()[:32]
    )
