"""What was measured overrules what was calculated.

Oracles estimate; a laboratory measures. Where an answer that `mfal tell` brought is about the
quantity that the target oracle estimates, it decides what that crystal is worth. A limit of
detection decides as far as it says something: a value of at most 1e-10 S/cm overrules a calculated
1e-4, and agrees with a calculated 1e-12.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from mfal.campaign.folder import CAMPAIGN, HANDOFF
from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.records import CrystalRecord
from mfal.campaign.ledger.rows import Answer
from mfal.campaign.strategy.lessons import is_lesson

__all__ = ["Worth", "best_proposals", "measured_values", "overruled"]

_LOOKED_AT = 64
"""Further answers that are looked at where not all count."""
_BEYOND = 10
"""Times as many answers are looked at as are asked for, of which some may be limits only."""


class Worth(NamedTuple):
    """What a crystal is worth, and who says so."""

    value: float
    """In the target oracle's unit."""
    spread: float | None
    basis: str
    """"measured", "calculated" or "predicted"."""
    censoring: str = "exact"
    """"exact", or "below" or "above" a limit of detection or of a simulation, which is then the
    value."""

    def order(self, higher_is_better: bool) -> tuple[bool, float, bool]:
        """A key that sorts the best first; a crystal that can only be worse stands last.

        Where a simulation says only what its crystal is not better than, as nothing moved or all
        melted, the crystal stands behind all others.
        """
        worse = self.censoring == ("below" if higher_is_better else "above")
        value = -self.value if higher_is_better else self.value
        return worse and self.basis == "calculated", value, worse


def measured_values(told: Iterable[Answer], unit: str) -> dict[str, tuple[CrystalRecord, Worth]]:
    """What was measured of the target oracle's quantity, by crystal; the last answer counts.

    Args:
      told: ended queries of the HANDOFF account.
      unit: the target oracle's.
    """
    return {
        answer.query.crystal.hash: (
            answer.query.crystal,
            Worth(
                float(answer.value or 0.0),
                answer.spread,
                "measured",
                str(answer.detail.get("censoring", "exact")),
            ),
        )
        for answer in told
        if is_lesson(answer, unit)
    }


def overruled(calculated: Worth | None, measured: Worth | None) -> Worth | None:
    """The verdict that counts.

    >>> limit = Worth(-10.0, None, "measured", "below")
    >>> overruled(Worth(-4.0, None, "calculated"), limit).basis
    'measured'
    >>> overruled(Worth(-12.0, None, "calculated"), limit).value
    -12.0
    """
    if measured is None or calculated is None or measured.censoring == "exact":
        return measured or calculated
    agrees = (
        calculated.value <= measured.value
        if measured.censoring == "below"
        else calculated.value >= measured.value
    )
    return calculated if agrees else measured


def best_proposals(
    ledger: Ledger,
    target: dict[str, Any],
    fidelity: int,
    number: int,
    *,
    proposed: bool = True,
    counts: Callable[[Answer], bool] | None = None,
) -> list[tuple[CrystalRecord, Worth]]:
    """The best crystals by what was measured or else calculated at the target fidelity.

    Args:
      ledger: of the campaign.
      target: unit and higher_is_better of the target oracle.
      fidelity: its number.
      number: most crystals.
      proposed: leave out those whose atoms were known from the start.
      counts: whether a calculated answer counts; all do if left out. Of the best 64 more.
    """
    better = bool(target["higher_is_better"])
    measured = measured_values(ledger.answers(HANDOFF), target["unit"]) if proposed else {}
    rows = ledger.best(
        # Beyond the number, since a measured value may take a crystal out of the best, and so may
        # a limit of a simulation.
        *(CAMPAIGN, fidelity),
        number=_BEYOND * number + len(measured) + (_LOOKED_AT if counts else 0),
        largest=better,
        proposed=proposed,
    )
    found: dict[str, tuple[CrystalRecord, Worth]] = {}
    for row in rows:
        if row.value is not None and (counts is None or counts(row)):
            crystal = row.query.crystal
            own = Worth(row.value, row.spread, "calculated", row.censoring)
            verdict = overruled(own, measured.get(crystal.hash, (crystal, None))[1]) or own
            found.setdefault(crystal.hash, (crystal, verdict))
    # What was not among them has a worse calculated value, or none: a bound from the good side
    # says nothing new of it.
    useless = "below" if better else "above"
    found = {name: both for name, both in measured.items() if both[1].censoring != useless} | found
    return sorted(found.values(), key=lambda both: both[1].order(better))[:number]
