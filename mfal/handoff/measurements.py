"""Quantities that people and DFT codes measure for a campaign: their units and plausible ranges."""

import math
from typing import NamedTuple

from mfal.data.units import KJ_PER_EV
from mfal.errors import MfalError

__all__ = ["QUANTITIES", "Quantity", "Reading", "convert", "parse_reading", "quantity"]

CENSORS = {"<": "below", ">": "above"}


class Quantity(NamedTuple):
    """What may be asked for, and how answers are read."""

    name: str
    asked: str
    """The unit that templates ask for."""
    units: dict[str, float]
    """Units that answers may use, and their size in the asked unit."""
    low: float
    high: float
    """Plausible range in the asked unit, ends included."""
    answer: str
    """The unit handed to the campaign."""
    logarithmic: bool = False
    """Whether the campaign gets the base 10 logarithm."""


class Reading(NamedTuple):
    """One number as it stood in an answer, in the campaign's unit."""

    value: float
    uncertainty: float | None
    """One standard deviation."""
    censoring: str
    """"exact", or "below" or "above" a limit of detection."""


_ENERGY = {"eV/atom": 1.0, "meV/atom": 1e-3}

QUANTITIES: dict[str, Quantity] = {
    item.name: item
    for item in (
        Quantity(
            "ionic_conductivity",
            "S/cm",
            {"S/cm": 1.0, "mS/cm": 1e-3, "S/m": 1e-2, "uS/cm": 1e-6, "µS/cm": 1e-6, "μS/cm": 1e-6},
            1e-20,
            10.0,
            "log10 S/cm",
            logarithmic=True,
        ),
        Quantity(
            "migration_barrier",
            "eV",
            {"eV": 1.0, "meV": 1e-3, "kJ/mol": 1 / KJ_PER_EV},
            0.0,
            10.0,
            "eV",
        ),
        Quantity("total_energy", "eV/atom", _ENERGY, -60.0, 10.0, "eV/atom"),
        Quantity("formation_energy", "eV/atom", _ENERGY, -8.0, 5.0, "eV/atom"),
        Quantity("hull_distance", "eV/atom", _ENERGY, 0.0, 5.0, "eV/atom"),
        Quantity("stability_window", "V", {"V": 1.0, "mV": 1e-3}, 0.0, 8.0, "V"),
        Quantity("band_gap", "eV", {"eV": 1.0}, 0.0, 20.0, "eV"),
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
    if unit not in kind.units:
        raise MfalError(f"unit {unit!r} for {kind.name}", f"give it in {' or '.join(kind.units)}")
    if not math.isfinite(value):
        raise MfalError(f"{kind.name} of {value}", "give a finite number, or the status failed")
    scaled = value * kind.units[unit]
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


def parse_reading(text: str, uncertainty: str, unit: str, kind: Quantity) -> Reading:
    """A written value, as in "1.2e-4" or "<1e-10", in the campaign's unit.

    Args:
      text: the value; a leading < or > marks a limit of detection.
      uncertainty: one standard deviation in the same unit; empty if unknown.
      unit: of both.
      kind: the quantity measured.

    Raises:
      MfalError: not a number, a wrong unit, a value out of range, a negative uncertainty.
    """
    text = text.strip()
    censoring = CENSORS.get(text[:1], "exact")
    value = convert(_number(text.lstrip("<>"), "value"), unit, kind)
    spread = None
    if uncertainty.strip():
        spread = _number(uncertainty, "uncertainty") * kind.units[unit]
        if not 0 <= spread < math.inf:
            raise MfalError(f"uncertainty {uncertainty.strip()}", "give zero or more, or nothing")
    if kind.logarithmic:
        # d log10(x) = dx / (x ln 10)
        spread = None if spread is None else spread / (value * math.log(10))
        value = math.log10(value)
    return Reading(value, spread, censoring)


def _number(text: str, what: str) -> float:
    text = text.strip()
    try:
        return float(text)
    except ValueError:
        remedy = "write decimals with a point" if "," in text else "give a number"
        raise MfalError(f"{what} {text!r} isn't a number", remedy) from None
