"""The same material from several sources: found by matching structures, in buckets of one formula.

Within a bucket a row is compared with those kept so far whose volume per atom is like its own, and
with no more than a few of them, so that the time grows with the number of rows.
"""

import bisect
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["Entry", "bucket_of", "find_duplicates"]

MOST_COMPARED = 12
"""Rows of a bucket that one is compared with: the nearest in volume per atom."""
VOLUME_TOLERANCE = 0.12
"""Relative, of the volume per atom of one material by two methods: calculated lattices are 1 to 3 %
longer or shorter than measured ones."""
LENGTH_TOLERANCE = 0.01
"""Relative, of the cell's lengths of two rows of which one has no atoms."""
ANGLE_TOLERANCE = 0.5
"""Degrees, of the same."""


class Entry(NamedTuple):
    """What is compared of one row."""

    row: int
    space_group: int
    lattice: tuple[float, ...]
    """a b c in Å, angles in degrees, of the conventional cell."""
    volume: float
    """Å^3 an atom."""
    structure: "Callable[[], Structure] | None"
    """Makes its atoms; None where they are not known."""


def bucket_of(amounts: Iterable[tuple[str, float]]) -> str:
    """What the rows of one formula share: elements with their shares of the atoms.

    >>> bucket_of([("Li", 8.0), ("O", 4.0)]) == bucket_of([("O", 1.0), ("Li", 2.0)])
    True
    """
    pairs = sorted(amounts)
    total = sum(amount for _, amount in pairs)
    return " ".join(f"{symbol}{amount / total:.3f}" for symbol, amount in pairs)


def find_duplicates(entries: Sequence[Entry]) -> dict[int, int]:
    """From each row of a bucket that repeats an earlier one to that one.

    Rows with atoms come before rows without, whatever their order: their atoms are known.
    """
    kept: list[Entry] = []  # by rising volume
    found: dict[int, int] = {}
    for entry in sorted(entries, key=lambda e: (e.structure is None, e.row)):
        place = bisect.bisect(kept, entry.volume, key=lambda other: other.volume)
        near = kept[max(place - MOST_COMPARED, 0) : place + MOST_COMPARED]
        near.sort(key=lambda other: (abs(other.volume / entry.volume - 1.0), other.row))
        for other in near[:MOST_COMPARED]:
            if abs(other.volume / entry.volume - 1.0) < VOLUME_TOLERANCE and _match(entry, other):
                found[entry.row] = other.row
                break
        else:
            kept.insert(place, _read_once(entry))
    return found


def _read_once(entry: Entry) -> Entry:
    if entry.structure is None:
        return entry
    return entry._replace(structure=functools.cache(entry.structure))


def _match(a: Entry, b: Entry) -> bool:
    if a.structure is None or b.structure is None:
        return a.space_group == b.space_group and _same_cell(a.lattice, b.lattice)
    return bool(_matcher().fit(a.structure(), b.structure()))


def _same_cell(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    lengths = np.abs(np.sort(a[:3]) / np.sort(b[:3]) - 1.0).max()
    angles = np.abs(np.sort(a[3:]) - np.sort(b[3:])).max()
    return bool(lengths < LENGTH_TOLERANCE and angles < ANGLE_TOLERANCE)


@functools.cache
def _matcher() -> Any:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    return StructureMatcher(primitive_cell=True, scale=True, attempt_supercell=False)
