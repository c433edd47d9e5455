"""A pool as a campaign sees it: arrays of all candidates, and the records of a few."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from mfal.campaign.ledger.crystals import pool_record
from mfal.campaign.ledger.records import CrystalRecord
from mfal.campaign.pool.store import PoolFacts, pool_facts, stored_structure
from mfal.crystals.types import NUM_ELEMENTS, Crystal
from mfal.errors import MfalError

__all__ = ["Pool", "best_rows", "shortlist"]

CHUNK = 8192
"""Candidates that are judged at a time."""
LEAST_CHUNK = 256
_DEPTH = 4
"""Times as many candidates are looked at as are wanted, since some have been asked."""
_SAME_FORMULA = 4
"""Candidates of one formula by one merit: a round asks one of them, and the rest are alike."""
_SAMPLE = 64
"""Candidates that tell what most are like."""


class Pool:
    """The candidates of a campaign, by row number from 0.

    Holds compositions (sparse), groups and cells, some 100 bytes a candidate; atoms stay on disk
    until a record is asked for.

    Args:
      path: of the file that `write_pool` has written.

    Raises:
      MfalError: where there is none.
    """

    def __init__(self, path: Path) -> None:
        self.facts: PoolFacts = pool_facts(path)
        # Read by the thread that decides, and by no other.
        self._database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        # Rounds look at much the same candidates.
        self.record = lru_cache(maxsize=8192)(self._record)
        ids, numbers, amounts, lattices, groups = [], [], [], [], []
        for row in self._database.execute(
            "SELECT id, space_group, numbers, amounts, lattice FROM candidate ORDER BY id"
        ):
            ids.append(row[0])
            groups.append(row[1])
            numbers.append(row[2])
            amounts.append(row[3])
            lattices.append(row[4])
        self._ids = np.array(ids, np.int64)
        ends = np.cumsum([0, *map(len, numbers)])
        self._composition = csr_matrix(
            (
                np.frombuffer(b"".join(amounts), np.float32),
                np.frombuffer(b"".join(numbers), np.uint8).astype(np.int32),
                ends,
            ),
            shape=(len(ids), NUM_ELEMENTS),
        )
        self._space_group = np.array(groups, np.int32)
        self._lattice = np.frombuffer(b"".join(lattices), np.float32).reshape(-1, 6)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def has_all_atoms(self) -> bool:
        """Whether every candidate's atoms are known."""
        return self.facts.with_atoms == len(self)

    @cached_property
    def mostly_relaxable(self) -> bool:
        """Whether most candidates may be relaxed, by a sample of them."""
        sample = self.draw(np.random.default_rng(0), _SAMPLE)
        return 2 * sum(record.relaxable for record in sample) >= len(sample)

    def crystals(self, rows: np.ndarray | slice) -> Crystal:
        """The triples of some candidates, [n], NumPy arrays."""
        arrays: tuple[Any, Any, Any] = (
            self._composition[rows].toarray(),
            self._space_group[rows],
            self._lattice[rows],
        )
        return Crystal(*arrays)

    def _record(self, row: int) -> CrystalRecord:
        """A candidate as the ledger keeps it, with its atoms.

        Raises:
          MfalError: where its atoms or charges can't be told.
        """
        name, origin, blob = self._database.execute(
            "SELECT name, origin, structure FROM candidate WHERE id = ?", (int(self._ids[row]),)
        ).fetchone()
        structure = None if blob is None else stored_structure(blob, name)
        one = self.crystals(slice(row, row + 1))
        crystal = Crystal(*(leaf[0] for leaf in one))
        return pool_record(crystal, name, origin, structure)

    def records(self, rows: Sequence[int]) -> tuple[list[int], list[CrystalRecord]]:
        """The rows that can be asked about, with their records; others are passed over."""
        found, records = [], []
        for row in rows:
            try:
                records.append(self.record(int(row)))
            except MfalError:
                continue
            found.append(row)
        return found, records

    def draw(self, rng: np.random.Generator, number: int) -> list[CrystalRecord]:
        """Different candidates at random, at most so many."""
        return self.records(rng.permutation(len(self))[:number].tolist())[1]


def best_rows(
    pool: Pool, judge: Callable[[Crystal], Any], number: int, *, chunk: int = CHUNK
) -> list[np.ndarray]:
    """The rows of the greatest merit, by each of several, best first.

    The pool goes through in pieces of one size, and no more than the best are kept of each.

    Args:
      pool: to search.
      judge: from triples [n] to merits [n, K], larger is better; n is the same at every call.
      number: of rows wanted for each merit.
      chunk: candidates that are judged at a time, at most.
    """
    best: list[tuple[np.ndarray, np.ndarray]] = []
    size = min(chunk, max(LEAST_CHUNK, 1 << (len(pool) - 1).bit_length()))
    for start in range(0, len(pool), size):
        rows = np.arange(start, min(start + size, len(pool)))
        padded = np.resize(rows, size)
        merit = np.asarray(judge(pool.crystals(padded)))[: len(rows)]
        if not best:
            best = [(np.zeros(0, int), np.zeros(0))] * merit.shape[1]
        for k, (kept, values) in enumerate(best):
            both, all_values = np.append(kept, rows), np.append(values, merit[:, k])
            order = np.lexsort((both, -np.nan_to_num(all_values, nan=-np.inf)))[:number]
            best[k] = both[order], all_values[order]
    return [rows for rows, _ in best]


def shortlist(
    pool: Pool,
    judge: Callable[[Crystal], Any],
    number: int,
    asked: Callable[[Iterable[str]], set[tuple[str, int]]],
    target: int,
) -> list[tuple[CrystalRecord, int]]:
    """Candidates that a round may choose among, each with the fidelity that it is worth asking.

    Equal shares by each merit, in turns; few of one formula, and none of what has been asked.

    Args:
      pool: all candidates.
      judge: from triples [n] to merits [n, target + 1]: of a question at each fidelity.
      number: of candidates wanted.
      asked: from hashes of crystals to the pairs (hash, fidelity) that have been asked.
      target: the target fidelity.
    """
    found: list[tuple[CrystalRecord, int]] = []
    columns = best_rows(pool, judge, _DEPTH * number)
    share = -(-number // len(columns))
    for k, rows in enumerate(columns):
        fidelity, taken = min(k, target), 0
        formulas: Counter[str] = Counter()
        for row in rows.tolist():
            if taken == share:
                break
            try:
                record = pool.record(row)
            except MfalError:  # no charges balance, so that no atoms can be found
                continue
            if formulas[record.formula] < _SAME_FORMULA:
                if (record.hash, fidelity) in asked([record.hash]):
                    continue
                formulas[record.formula] += 1
                taken += 1
                found.append((record, fidelity))
    return found
