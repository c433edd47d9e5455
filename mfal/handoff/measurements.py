"""Quantities that people and DFT codes measure for a campaign: their units and plausible ranges."""

import math
import re
from typing import NamedTuple

from mfal.data.units import unit_factor, written_number
from mfal.errors import MfalError

__all__ = ["QUANTITIES", "Quantity", "Reading", "convert", "parse_reading", "quantity"]


class Quantity(NamedTuple):
    """What may be asked for, and how answers are read."""

    name: str
    asked: str
    """The unit that templates ask for."""
    units: tuple[str, ...]
    """Units that a message offers; whatever means the same is understood too."""
    low: float
    high: float
    """Plausible range in the asked unit, ends included."""
    answer: str
    """The unit handed to the campaign."""
    logarithmic: bool = False
    """Whether the campaign gets the base 10 logarithm."""
    temperature: float | None = None
    """K at which it is asked for; None for what doesn't depend on it, or is computed at rest."""

    @property
    def conditions(self) -> str:
        """What a template asks for in words; empty where any do."""
        return "" if self.temperature is None else f"{self.temperature:g} K"


class Reading(NamedTuple):
    """One number as it stood in an answer, in the campaign's unit."""

    value: float
    uncertainty: float | None
    """One standard deviation."""
    censoring: str
    """"exact", or "below" or "above" a limit of detection."""


_ENERGY = ("eV/atom", "meV/atom")

QUANTITIES: dict[str, Quantity] = {
    item.name: item
    for item in (
        Quantity(
            "ionic_conductivity",
            "S/cm",
            ("S/cm", "mS/cm", "µS/cm", "S/m"),
            1e-20,
            10.0,
            "log10 S/cm",
            logarithmic=True,
            temperature=300.0,
        ),
        Quantity(
            "migration_barrier",
            "eV",
            ("eV", "meV", "kJ/mol"),
            0.0,
            10.0,
            "eV",
        ),
        Quantity("total_energy", "eV/atom", _ENERGY, -60.0, 10.0, "eV/atom"),
        Quantity("formation_energy", "eV/atom", _ENERGY, -8.0, 5.0, "eV/atom"),
        Quantity("hull_distance", "eV/atom", _ENERGY, 0.0, 5.0, "eV/atom"),
        Quantity("stability_window", "V", ("V", "mV"), 0.0, 8.0, "V"),
        Quantity("band_gap", "eV", ("eV", "meV"), 0.0, 20.0, "eV"),
    )
}


def quantity(name: str) -> Quantity:
    """The quantity of that name.

    Raises:
      MfalError: there is none.
    """
    try:
        return QUANTITIES[name]
    except KeyError:
        raise MfalError(
            f"{name}: not a quantity that can be asked for", f"use one of {', '.join(QUANTITIES)}"
        ) from None


def convert(value: float, unit: str, kind: Quantity) -> float:
    """A value in the asked unit.

    Raises:
      MfalError: the unit isn't one of the quantity's, or the value is out of its range.
    """
    if not math.isfinite(value):
        raise MfalError(f"{kind.name} of {value}", "give a finite number, or the status failed")
    # Through decimal digits, so that 1.2 µS/cm is 1.2e-6 S/cm to the last digit.
    scaled = float(f"{value * _factor(unit, kind):.15g}")
    if kind.logarithmic and value <= 0:
        raise MfalError(
            f"{kind.name} of {value:g} {unit}",
            "it must be positive; write a limit of detection as <1e-10",
        )
    if not kind.low <= scaled <= kind.high:
        raise MfalError(
            f"{kind.name} of {value:g} {unit}",
            f"it should lie between {kind.low:g} and {kind.high:g} {kind.asked}; check the unit",
        )
    return scaled


def _factor(unit: str, kind: Quantity) -> float:
    """The size of a unit in the asked one."""
    per_atom = kind.asked.endswith("/atom")
    plain, asked = unit, kind.asked
    if per_atom:
        match = re.fullmatch(r"(.+?)\s*(?:/|per|[·*. ])\s*atom(?:\s*\^?-1|⁻¹)?", unit.strip())
        plain, asked = match[1] if match else "", asked.removesuffix("/atom")
    try:
        return unit_factor(plain, asked)
    except MfalError:
        raise MfalError(
            f"unit {unit!r} for {kind.name}", f"give it in {' or '.join(kind.units)}"
        ) from None


def parse_reading(text: str, uncertainty: str, unit: str, kind: Quantity) -> Reading:
    """A written value, as in "1.2e-4", "1,2(3)e-6" or "≤1e-10", in the campaign's unit.

    Args:
      text: the value as people write it; a leading < or > marks a limit of detection, and its
        uncertainty may stand with it.
      uncertainty: one standard deviation in the same unit; empty if unknown.
      unit: of both; "log10(S/cm)" for a logarithm of a quantity that is kept as one.
      kind: the quantity measured.

    Raises:
      MfalError: not a number, a wrong unit, a value out of range, a negative uncertainty, two
        uncertainties.
    """
    value, censoring, spread = _written(text, "value")
    if uncertainty.strip():
        if spread is not None:
            raise MfalError(
                f"value {text.strip()!r} and uncertainty {uncertainty.strip()!r}",
                "give the uncertainty once",
            )
        spread = _written(uncertainty.strip().removeprefix("±"), "uncertainty")[0]
        if spread < 0:
            raise MfalError(f"uncertainty {uncertainty.strip()}", "give zero or more, or nothing")
    logarithm = re.fullmatch(r"log_?(?:10|₁₀)\s*(?:\((.+)\)|\s(.+))", unit.strip())
    if kind.logarithmic and logarithm:
        inner = logarithm[1] or logarithm[2]
        if value > math.log10(kind.high) + 15:  # beyond what any unit could bring back
            raise MfalError(f"{kind.name} of {value:g} {unit}", "check the unit")
        return Reading(math.log10(convert(10**value, inner, kind)), spread, censoring)
    value = convert(value, unit, kind)
    if spread is not None:
        spread *= _factor(unit, kind)
    if kind.logarithmic:
        # d log10(x) = dx / (x ln 10)
        spread = None if spread is None else spread / (value * math.log(10))
        value = math.log10(value)
    return Reading(value, spread, censoring)


def _written(text: str, what: str) -> tuple[float, str, float | None]:
    try:
        return written_number(text)
    except MfalError:
        raise MfalError(
            f"{what} {text.strip()!r} isn't a finite number", "write it like 1.2e-4"
        ) from None
