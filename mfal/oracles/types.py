"""What an oracle is, and what it answers."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["Beforehand", "Observation", "Oracle"]


class Observation(NamedTuple):
    """One answer for one structure. A failure is an answer too, and it costs."""

    value: float
    """In the oracle's unit; NaN exactly where the oracle failed. May be infinite (a cage that
    ions cannot leave has an infinite migration barrier)."""
    uncertainty: float | None
    """One standard deviation in the oracle's unit, where known."""
    status: str
    """"ok", or "failed: why"."""
    seconds: float
    """Wall time spent."""
    provenance: dict[str, Any]
    """Method, parameters and warnings; serialisable as JSON."""

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.status == "ok" and not math.isnan(self.value)


class Beforehand(NamedTuple):
    """What a device can compute for many structures at once before an oracle is asked about them.

    What comes of it is kept where `evaluate` finds it. Oracles with one function go together.
    """

    together: "Callable[[Sequence[tuple[Structure, Any]]], list[float]]"
    """From structures, each with the terms of its oracle, to the work that each was, in proportion.
    It raises for no structure: `evaluate` says what is wrong."""
    terms: Any
    """Whatever the function wants to know of the oracle."""


class Oracle(NamedTuple):
    """A source of values for structures, at a price."""

    name: str
    version: str
    """Changes whenever the same structure might get another value."""
    fidelity: int
    """Rank in cost and trust, 0 the cheapest."""
    cost: float
    """CPU seconds of one evaluation on the reference machine, the median, failed ones included
    (`experiments/oracle_prices.py`)."""
    unit: str
    """Unit of the value, in words ("eV", "log10 S/cm")."""
    higher_is_better: bool
    """Whether a larger value means a better conductor."""
    bounds: tuple[float, float]
    """Physically meaningful range; learners clip to it, the ledger keeps the value as it is."""
    evaluate: Callable[[Sequence["Structure"]], list[Observation]]
    """Never raises for a bad structure: its observation says what failed and how to mend it."""
    without: "Callable[[tuple[str, ...]], Oracle] | None" = None
    """From formulas to the same oracle where these compounds are left out of what it looks up, such
    as the phases that a structure competes with; None where it looks nothing up."""
    beforehand: Beforehand | None = None
    """What a device can do for it, if anything."""
