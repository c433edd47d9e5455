"""Electrochemical windows of the candidates, from the embedded energies."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from mfal.errors import MfalError
from mfal.oracles.coverage import Limit
from mfal.report.summary import Summary

__all__ = ["Window", "windows_of"]

_ASKED = 100
"""Candidates, best first, whose windows are looked up."""


class Window(NamedTuple):
    """What is known of a formula's window, V against lithium metal."""

    reduction: float | None
    """None where no source bounds it."""
    oxidation: float | None
    source: str
    """Of the limits; empty where there are none."""
    note: str
    """Why a limit is missing; empty where both are there."""

    @property
    def width(self) -> float:
        """V between the limits; NaN where one is missing."""
        if self.reduction is None or self.oxidation is None:
            return math.nan
        return self.oxidation - self.reduction

    def __str__(self) -> str:
        """Both limits, with a question mark for the one that is not bounded."""
        ends = ["?" if x is None else f"{x:.2f}" for x in (self.reduction, self.oxidation)]
        return "not bounded" if ends == ["?", "?"] else f"{ends[0]} to {ends[1]}"


def windows_of(summary: Summary) -> dict[str, Window]:
    """Windows of the best candidates by crystal hash; what is missing was not asked about.

    The energies belong to the most stable phase of each composition, not to the candidate's own
    arrangement, and most hypothetical compounds are in no table: their limits stay open. Where the
    campaign has looked at stability, what it found counts.
    """
    chosen = [candidate.crystal for candidate in summary.candidates[:_ASKED]]
    windows: dict[str, Window] = {}
    for crystal in chosen:
        known = summary.tradeoffs.get(crystal.hash)
        if known and not math.isnan(known.width):
            windows[crystal.hash] = Window(known.reduction, known.oxidation, known.source, "")
    rest = [crystal for crystal in chosen if crystal.hash not in windows]
    found = {formula: _window(formula) for formula in {crystal.formula for crystal in rest}}
    return windows | {crystal.hash: found[crystal.formula] for crystal in rest}


def _window(formula: str) -> Window:
    from mfal.oracles.stability import StabilityWindow, first_bounded_window
    from mfal.oracles.thermochemistry import embedded_energies

    def bounded(limits: Sequence[Limit]) -> StabilityWindow | str:
        try:
            return first_bounded_window(formula, embedded_energies(), limits=limits)
        except MfalError as error:
            return str(error)

    both = bounded(("reduction", "oxidation"))
    if not isinstance(both, str):
        return Window(both.reduction, both.oxidation, both.source, "")
    alone: tuple[Limit, ...] = ("oxidation", "reduction")
    for limit in alone:
        one = bounded((limit,))
        if not isinstance(one, str):
            return Window(one.reduction, one.oxidation, one.source, both)
    return Window(None, None, "", both)
