"""Electrochemical windows of the candidates: the campaign's own, else by formula."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from mfal.errors import MfalError
from mfal.oracles.stability.coverage import Limit
from mfal.report.summary import Summary

if TYPE_CHECKING:
    from mfal.oracles.stability.energies import Energies

__all__ = ["Window", "windows_of"]


class Window(NamedTuple):
    """What is known of a candidate's window, V against lithium metal."""

    reduction: float | None
    """None where no source bounds it."""
    oxidation: float | None
    source: str
    """Of the limits, and on what condition they hold; empty where there are none."""
    note: str
    """Why a limit is missing; empty where both are there."""
    meets: str = ""
    """"yes", "no" or "unknown" where the campaign had a requirement."""

    @property
    def width(self) -> float:
        """V between the limits; NaN where one is missing."""
        if self.reduction is None or self.oxidation is None:
            return math.nan
        return self.oxidation - self.reduction

    def __str__(self) -> str:
        """Both limits, with a question mark for the one that is not bounded, and the verdict."""
        ends = ["?" if x is None else f"{x:.2f}" for x in (self.reduction, self.oxidation)]
        limits = "not bounded" if ends == ["?", "?"] else f"{ends[0]} to {ends[1]}"
        return limits + {"yes": ", meets", "no": ", misses"}.get(self.meets, "")


def windows_of(summary: Summary, *, looked_up: int = 100) -> dict[str, Window]:
    """Windows of the best candidates by crystal hash; what is missing was not asked about.

    What the campaign itself found comes first. Otherwise the window is looked up by formula in the
    embedded energies: it belongs to the most stable phase of the composition, or to the phases that
    it would become, not to the candidate's own arrangement.

    Args:
      summary: of the campaign.
      looked_up: candidates, best first, that are looked up where the campaign doesn't know them.
    """
    from mfal.oracles.stability.energies import without_hidden
    from mfal.oracles.stability.thermochemistry import embedded_energies

    found: dict[str, Window] = {}
    by_formula: dict[str, Window] = {}
    hide = tuple(summary.config.get("hide", ()))
    sources = tuple(without_hidden(each, hide) for each in embedded_energies())
    for number, candidate in enumerate(summary.candidates):
        name, formula = candidate.crystal.hash, candidate.crystal.formula
        known = summary.tradeoffs.get(name)
        meets = {True: "yes", False: "no", None: "unknown"}[known.feasible] if known else ""
        if known is not None and not math.isnan(known.width):
            found[name] = Window(known.reduction, known.oxidation, known.source, "", meets)
        elif number < looked_up:
            if formula not in by_formula:
                by_formula[formula] = _looked_up(formula, sources)
            found[name] = by_formula[formula]._replace(meets=meets)
    return found


def _looked_up(formula: str, sources: "Sequence[Energies]") -> Window:
    from mfal.acquisition.objectives import known_stability
    from mfal.oracles.stability.window import first_bounded_window

    limits = known_stability(formula, sources)
    if not math.isnan(limits.width):
        return Window(limits.reduction, limits.oxidation, limits.source, "")
    alone: tuple[Limit, ...] = ("oxidation", "reduction")
    for limit in alone:
        try:
            one = first_bounded_window(formula, sources, limits=(limit,), itself=False)
        except MfalError:
            continue
        return Window(one.reduction, one.oxidation, one.source, limits.source)
    return Window(None, None, "", limits.source)
