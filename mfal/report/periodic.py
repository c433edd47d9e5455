"""Where an element stands in the periodic table, and what the candidates make of it."""

from typing import NamedTuple

from mfal.crystals.elements import SYMBOLS
from mfal.report.summary import Summary

__all__ = ["Tile", "composition_map", "place"]

_NOBLE = (2, 10, 18, 36, 54, 86, 118)
"""Atomic numbers that end the periods."""


class Tile(NamedTuple):
    """One element of the map."""

    symbol: str
    row: int
    """1 to 9: periods, then lanthanides and actinides."""
    column: int
    """1 to 18."""
    candidates: int
    """Candidates that hold the element."""
    best: float | None
    """Best value among them, in the target oracle's unit."""


def composition_map(summary: Summary) -> list[Tile]:
    """All elements by atomic number."""
    count: dict[str, int] = {}
    best: dict[str, float] = {}
    for candidate in summary.candidates:
        for symbol in candidate.crystal.composition:
            count[symbol] = count.get(symbol, 0) + 1
            best.setdefault(symbol, candidate.value)  # candidates come best first
    return [
        Tile(symbol, *place(number), count.get(symbol, 0), best.get(symbol))
        for number, symbol in enumerate(SYMBOLS, 1)
    ]


def place(number: int) -> tuple[int, int]:
    """Row and column of an element, 1 to 9 and 1 to 18; the f block has rows of its own."""
    for row, (first, last) in enumerate(((57, 71), (89, 103)), 8):
        if first <= number <= last:
            return row, number - first + 3
    row = next(row for row, noble in enumerate(_NOBLE, 1) if number <= noble)
    position = number - (0, *_NOBLE)[row - 1]
    if row == 1:
        return 1, 1 if number == 1 else 18
    if row <= 3:
        return row, position if position <= 2 else position + 10
    if row >= 6 and position > 17:
        position -= 14
    return row, position
