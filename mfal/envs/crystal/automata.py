"""Finite automata that say which atom counts a space group can hold.

An element with n atoms fills Wyckoff positions whose multiplicities add up to n. Positions with
free coordinates may be filled any number of times, those without only once, over all elements
together. So a space group reads the counts n1, n2, ... of the elements like a word, in any order,
and what it remembers is which positions may be used up: a set of vectors (positions used, by
multiplicity), of which only the minimal ones matter. Such sets are few, and equivalent ones are
merged (Moore 1956), over all groups at once.
"""

from itertools import product
from operator import le
from typing import NamedTuple

import numpy as np

from mfal.crystals.groups import NUM_GROUPS, WYCKOFF_FREEDOM, WYCKOFF_MULTIPLICITY

__all__ = [
    "DEAD",
    "WyckoffAutomaton",
    "suffix_automaton",
    "wyckoff_automaton",
]

DEAD = 0
"""The state from which nothing fits any more; it leads to itself."""

Usage = tuple[int, ...]


class WyckoffAutomaton(NamedTuple):
    """Deterministic, minimal, with the joint states of many starts."""

    start: np.ndarray
    """[starts] int32, state before any element."""
    step: np.ndarray
    """[M, max_count + 1] int32, state after a further element with n atoms; n = 0 stays."""


def wyckoff_automaton(max_count: int) -> WyckoffAutomaton:
    """The automaton of all 230 groups, for elements of at most `max_count` atoms.

    >>> automaton = wyckoff_automaton(8)
    >>> fluorite = automaton.start[224]  # Fm-3m: 4a and 4b once each, 8c once, larger ones
    >>> one = automaton.step[fluorite, 4]
    >>> two = automaton.step[one, 4]
    >>> [int(x > DEAD) for x in (one, two, automaton.step[two, 4], automaton.step[two, 8])]
    [1, 1, 0, 1]
    """
    rows: list[list[int]] = [[DEAD] * (max_count + 1)]
    start = np.zeros(NUM_GROUPS, np.int32)
    seen: dict[tuple, int] = {}
    for g in range(NUM_GROUPS):
        multiplicity, freedom = WYCKOFF_MULTIPLICITY[g], WYCKOFF_FREEDOM[g]
        open_counts = _sums(set(multiplicity[freedom > 0].tolist()), max_count)
        fixed = multiplicity[(freedom == 0) & (multiplicity <= max_count)]
        sizes, copies = (x.tolist() for x in np.unique(fixed, return_counts=True))
        signature = (tuple(sizes), tuple(copies), open_counts.tobytes())
        if signature not in seen:
            seen[signature] = len(rows)
            rows += _usage_rows(sizes, copies, [open_counts], first=len(rows))
        start[g] = seen[signature]
    return _minimal(start, np.array(rows, np.int32))


def suffix_automaton(max_count: int) -> WyckoffAutomaton:
    """The automaton of what may still be filled once the sites up to a letter are settled.

    Start 27 g + w: positions of group g after letter w, each without free coordinates once over
    all elements. A count n is read as n, or as max_count + 1 + n by an element that may also still
    take the position w itself, where that has free coordinates.
    """
    rows: list[list[int]] = [[DEAD] * (2 * (max_count + 1))]
    positions = WYCKOFF_MULTIPLICITY.shape[1]
    start = np.full(NUM_GROUPS * positions, DEAD, np.int32)
    seen: dict[tuple, int] = {}
    for g, w in zip(*np.nonzero(WYCKOFF_MULTIPLICITY), strict=True):
        later = np.arange(positions) > w
        multiplicity, freedom = WYCKOFF_MULTIPLICITY[g], WYCKOFF_FREEDOM[g]
        free = set(multiplicity[later & (freedom > 0)].tolist())
        own = {int(multiplicity[w])} if freedom[w] > 0 else set()
        alphabets = [_sums(sizes, max_count) for sizes in (free, free | own)]
        fixed = multiplicity[later & (freedom == 0) & (multiplicity <= max_count)]
        sizes, copies = (x.tolist() for x in np.unique(fixed, return_counts=True))
        signature = (tuple(sizes), tuple(copies), *(a.tobytes() for a in alphabets))
        if signature not in seen:
            seen[signature] = len(rows)
            rows += _usage_rows(sizes, copies, alphabets, first=len(rows))
        start[positions * g + w] = seen[signature]
    return _minimal(start, np.array(rows, np.int32))


def _sums(sizes: set[int], limit: int) -> np.ndarray:
    """[limit + 1] bool, numbers that are sums of the sizes with repetition."""
    reachable = np.zeros(limit + 1, bool)
    reachable[0] = True
    for n in range(1, limit + 1):
        reachable[n] = any(size <= n and reachable[n - size] for size in sizes)
    return reachable


def _usage_rows(
    sizes: list[int], copies: list[int], alphabets: list[np.ndarray], first: int
) -> list[list[int]]:
    """Transitions of one group, numbered from `first`: one block of counts for each alphabet.

    An alphabet tells which numbers of atoms the positions with free coordinates can take.
    """
    max_count = len(alphabets[0]) - 1
    ways: list[list[Usage]] = []
    for open_counts in alphabets:
        block: list[list[Usage]] = [[] for _ in range(max_count + 1)]
        for usage in product(*(range(c + 1) for c in copies)):
            filled = sum(u * size for u, size in zip(usage, sizes, strict=True))
            for n in range(filled, max_count + 1):
                if open_counts[n - filled]:
                    block[n].append(usage)
        ways += [_least(usages) for usages in block]

    begin: tuple[Usage, ...] = ((0,) * len(sizes),)
    number, queue, rows = {begin: 0}, [begin], []
    for used in queue:
        row = []
        for options in ways:
            totals = {
                tuple(map(sum, zip(before, further, strict=True)))
                for before in used
                for further in options
            }
            fitting = [t for t in totals if all(map(le, t, copies))]
            after = tuple(_least(fitting))
            if not after:
                row.append(DEAD)
                continue
            if after not in number:
                number[after] = len(queue)
                queue.append(after)
            row.append(first + number[after])
        rows.append(row)
    return rows


def _least(usages: list[Usage]) -> list[Usage]:
    """The minimal ones, sorted."""
    kept: list[Usage] = []
    for usage in sorted(usages, key=lambda u: (sum(u), u)):
        if not any(all(map(le, smaller, usage)) for smaller in kept):
            kept.append(usage)
    return sorted(kept)


def _minimal(start: np.ndarray, step: np.ndarray) -> WyckoffAutomaton:
    """Merge states that no word tells apart; DEAD stays state 0."""
    label = (np.arange(len(step)) != DEAD).astype(np.int64)
    while True:
        signature = np.column_stack([label, label[step]])
        _, refined = np.unique(signature, axis=0, return_inverse=True)
        # The dead state's row of zeros sorts first, so it keeps label 0.
        if refined.max() == label.max():
            break
        label = refined.reshape(-1)
    representative = np.unique(label, return_index=True)[1]
    return WyckoffAutomaton(
        label[start].astype(np.int32), label[step[representative]].astype(np.int32)
    )
