"""Conductivity and stability together: which candidates meet the constraint, which lead the front.

The constraint is log sigma subject to window ⊇ [low, high] V and a hull distance below a bound;
the two objectives of the front are log sigma and the width of the window. A window that no source
of energies can bound, or the hull distance of a compound whose own energy nobody has told, is
unknown, not bad: such candidates are listed beside the front, with the reason.
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
    from mfal.oracles.stability.coverage import Limit
    from mfal.oracles.stability.energies import Energies

__all__ = [
    "KnownStability",
    "Requirement",
    "Tradeoff",
    "known_stability",
    "meets",
    "rank_tradeoffs",
    "write_tradeoff",
]


class Requirement(NamedTuple):
    """What the electrodes ask of a conductor."""

    low: float = 0.0
    """V against lithium of the negative electrode."""
    high: float = 0.0
    """V of the positive electrode; no more than `low` asks nothing of the window."""
    max_hull_distance: float = math.inf
    """eV per atom."""


class KnownStability(NamedTuple):
    """What is known of one compound's stability."""

    reduction: float
    """V against lithium; NaN if unknown, like the next two."""
    oxidation: float
    """V against lithium."""
    hull_distance: float
    """eV per atom; NaN also where the window is that of the phases it would become."""
    source: str
    """Where the energies come from, or why the window is unknown."""

    @property
    def width(self) -> float:
        """Width of the window, V; NaN if an end is unknown."""
        return self.oxidation - self.reduction


class Tradeoff(NamedTuple):
    """One candidate's two objectives."""

    id: str
    formula: str
    value: float
    """The first objective: log10 of the conductivity in S/cm."""
    reduction: float
    """V against lithium; NaN if unknown, like the next two."""
    oxidation: float
    hull_distance: float
    """eV per atom."""
    feasible: bool | None
    """Whether the requirement is met; None if that isn't known."""
    rank: int
    """0 on the Pareto front of value and width among the feasible ones, 1 on the next, ...; -1 for
    the others."""
    source: str
    """Where the energies come from, or why the window is unknown."""

    @property
    def width(self) -> float:
        """Width of the window, V; NaN if an end is unknown."""
        return self.oxidation - self.reduction


def known_stability(formula: str, sources: "Sequence[Energies]") -> KnownStability:
    """A formula's window and hull distance by the first source that can bound them.

    The hull distance is that of the formula's most stable phase, the least that a crystal of the
    formula can have; the window is the same for all of them that aren't below the hull. Where no
    source has the compound's own energy, the window is that of the phases it would become
    (`mfal.oracles.stability.window.equilibrium_window`) and the hull distance unknown. Where only
    one end of the window can be bounded, that one is told: it may be enough to rule the formula
    out.
    """
    from mfal.oracles.stability.window import first_bounded_window

    asked: tuple[tuple[Limit, ...], ...] = (
        ("reduction", "oxidation"),
        ("oxidation",),
        ("reduction",),
    )
    refusals = []
    for limits in asked:
        try:
            window = first_bounded_window(formula, sources, limits=limits, itself=False)
            break
        except MfalError as error:
            refusals.append(error.what)
    else:
        return KnownStability(math.nan, math.nan, math.nan, refusals[0])
    source = window.source
    if math.isnan(window.hull_distance):
        source = (
            f"{source}; if it is no more stable than {' + '.join(sorted(window.decomposition))}"
        )
    if refusals:
        source = f"{source}; {refusals[0]}"
    reduction, oxidation = (
        math.nan if limit is None else float(limit)
        for limit in (window.reduction, window.oxidation)
    )
    return KnownStability(reduction, oxidation, window.hull_distance, source)


def meets(limits: KnownStability, requirement: Requirement) -> bool | None:
    """Whether the requirement is met; None if what is known doesn't tell.

    Where nothing is asked, a known window is enough.

    >>> meets(KnownStability(1.7, 2.1, 0.02, "CHGNet"), Requirement(0.0, 2.0))
    False
    >>> unknown = KnownStability(0.0, 2.1, float("nan"), "")
    >>> meets(unknown, Requirement(0.0, 2.0, max_hull_distance=0.1))
    """
    asked: list[tuple[float, bool]] = []
    if requirement.high > requirement.low:
        asked.append((limits.reduction, limits.reduction <= requirement.low))
        asked.append((limits.oxidation, limits.oxidation >= requirement.high))
    if requirement.max_hull_distance < math.inf:
        asked.append((limits.hull_distance, limits.hull_distance <= requirement.max_hull_distance))
    if any(not met for known, met in asked if not math.isnan(known)):
        return False
    told = [known for known, _ in asked] or [limits.width]
    return None if any(math.isnan(known) for known in told) else True


def rank_tradeoffs(
    candidates: Sequence[tuple[str, str, float]],
    limits: Sequence[KnownStability],
    requirement: Requirement,
    *,
    higher_is_better: bool = True,
) -> list[Tradeoff]:
    """Feasibility and Pareto ranks of candidates whose limits are known, in their order.

    Args:
      candidates: id, formula and value.
      limits: of each candidate.
      requirement: the constraint.
      higher_is_better: whether larger values are better.
    """
    rows = [
        Tradeoff(*candidate, *known[:3], meets(known, requirement), -1, known.source)
        for candidate, known in zip(candidates, limits, strict=True)
    ]
    if not rows:
        return []
    values = np.array([[row.value, row.width] for row in rows])
    ranks = pareto_ranks(
        values,
        maximise=(higher_is_better, True),
        feasible=[row.feasible is True and not math.isnan(row.width) for row in rows],
    )
    return [row._replace(rank=int(rank)) for row, rank in zip(rows, ranks, strict=True)]


def write_tradeoff(
    path: Path | str,
    rows: Sequence[Tradeoff],
    *,
    value: str = "log_sigma [log10 S/cm]",
    higher_is_better: bool = True,
) -> None:
    """Write the candidates as CSV, the front first, then by value.

    Args:
      path: file to write.
      rows: candidates.
      value: name and unit of the first objective.
      higher_is_better: its direction.

    Raises:
      MfalError: the file can't be written.
    """
    sign = -1.0 if higher_is_better else 1.0
    ordered = sorted(rows, key=lambda row: (row.rank < 0, row.rank, sign * row.value))
    names = {
        "value": value,
        "reduction": "reduction [V]",
        "oxidation": "oxidation [V]",
        "hull_distance": "hull_distance [eV/atom]",
    }
    try:
        with Path(path).open("w", newline="", encoding="utf8") as file:
            writer = csv.writer(file, lineterminator="\n")
            header = [names.get(name, name) for name in Tradeoff._fields]
            writer.writerow([*header, "width [V]"])
            for row in ordered:
                writer.writerow([_text(value) for value in (*row, row.width)])
    except OSError as error:
        raise MfalError(
            f"{path}: {error.strerror}", "choose a folder that can be written"
        ) from error


def _text(value: object) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return str(value)
