"""Conductivity and stability together: which candidates meet the constraint, which lead the front.

The constraint is log sigma subject to window ⊇ [low, high] V and a hull distance below a bound;
the two objectives of the front are log sigma and the width of the window. A window that no source
of energies can bound is unknown, not bad: such candidates are listed with the reason, beside it.
"""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mfal.acquisition.pareto import pareto_ranks
from mfal.errors import MfalError

if TYPE_CHECKING:
    from mfal.oracles.energies import Energies

__all__ = ["Requirement", "Tradeoff", "stability_tradeoff", "write_tradeoff"]


class Requirement(NamedTuple):
    """What the electrodes ask of a conductor."""

    low: float = 0.0
    """V against lithium of the negative electrode."""
    high: float = 0.0
    """V of the positive electrode; both 0 asks for nothing."""
    max_hull_distance: float = math.inf
    """eV per atom."""


class Tradeoff(NamedTuple):
    """One candidate's two objectives."""

    id: str
    formula: str
    log_sigma: float
    """log10 of the conductivity in S/cm."""
    reduction: float
    """V against lithium; NaN if unknown, like the next two."""
    oxidation: float
    hull_distance: float
    """eV per atom."""
    feasible: bool
    """Whether the requirement is known to be met."""
    rank: int
    """0 on the Pareto front of log sigma and width among the feasible ones, 1 on the next, ...; -1
    for the others."""
    source: str
    """Where the energies come from, or why the window is unknown."""

    @property
    def width(self) -> float:
        """V."""
        return self.oxidation - self.reduction


def stability_tradeoff(
    candidates: Sequence[tuple[str, str, float]],
    sources: "Sequence[Energies]",
    requirement: Requirement = Requirement(),  # noqa: B008 - immutable
) -> list[Tradeoff]:
    """Windows, feasibility and Pareto ranks of candidates, in their order.

    Args:
      candidates: id, formula and log10 of sigma in S/cm, measured or predicted.
      sources: of energies, the most trusted first; each window comes from one of them.
      requirement: the constraint.
    """
    from mfal.oracles.stability import first_bounded_window, is_stable_between

    rows = []
    for name, formula, log_sigma in candidates:
        try:
            window = first_bounded_window(formula, sources)
        except MfalError as error:
            unknown = (math.nan, math.nan, math.nan)
            rows.append(Tradeoff(name, formula, log_sigma, *unknown, False, -1, error.what))
            continue
        feasible = requirement.high <= requirement.low or is_stable_between(
            window, requirement.low, requirement.high
        )
        feasible &= window.hull_distance <= requirement.max_hull_distance
        known = (
            float(window.reduction or 0.0),
            float(window.oxidation or 0.0),
            window.hull_distance,
        )
        rows.append(Tradeoff(name, formula, log_sigma, *known, feasible, -1, window.source))
    if not rows:
        return []
    values = np.array([[row.log_sigma, row.width] for row in rows])
    ranks = pareto_ranks(values, feasible=[row.feasible for row in rows])
    return [row._replace(rank=int(rank)) for row, rank in zip(rows, ranks, strict=True)]


def write_tradeoff(path: Path | str, rows: Sequence[Tradeoff]) -> None:
    """Write the candidates as CSV, the front first, then by conductivity.

    Raises:
      MfalError: the file can't be written.
    """
    ordered = sorted(rows, key=lambda row: (row.rank < 0, row.rank, -row.log_sigma))
    try:
        with Path(path).open("w", newline="", encoding="utf8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*Tradeoff._fields, "width"])
            for row in ordered:
                writer.writerow([_text(value) for value in (*row, row.width)])
    except OSError as error:
        raise MfalError(
            f"{path}: {error.strerror}", "choose a folder that can be written"
        ) from error


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return str(value)
