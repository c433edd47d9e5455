"""Under which conditions an answer was got, as people write them, against those asked for."""

import math
import re
from typing import NamedTuple

from mfal.data.units import unit_factor
from mfal.errors import MfalError
from mfal.potentials.units import BOLTZMANN

__all__ = ["MeasuredAt", "parse_conditions", "to_temperature"]

NEAR = 7.0
"""K. Nearer temperatures count as the same: 20 °C passes for 300 K, as a laboratory's room does."""
ROOM = 298.15
"""K, what "RT" stands for."""
ZERO_CELSIUS = 273.15

_DEGREES = r"(?:K(?:elvin)?\b|℃|(?:[°º˚]|deg(?:ree)?s?\.?)?\s*C(?:elsius)?\b)"
_NUMBER = r"(?<![\d.,A-Za-z])([-−]?\d+(?:[.,]\d+)?)"
_TEMPERATURE = re.compile(rf"{_NUMBER}\s*({_DEGREES})", re.IGNORECASE)
_SPAN = re.compile(
    rf"\d\s*{_DEGREES}?\s*(?:[-−–]|to|bis|\.\.+)\s*\d+(?:[.,]\d+)?\s*{_DEGREES}", re.IGNORECASE
)
_UNCLEAR = (
    re.compile(r"\s*[-−]?\d+(?:[.,]\d+)?\s*[^\w\s]*\s*"),  # a bare number
    re.compile(rf".*{_NUMBER}\s*(?:℉|[°º˚]|deg|F\b|Fahrenheit\b).*", re.IGNORECASE | re.DOTALL),
    re.compile(r".*\b(?:T\s*[=:]|temp\w*\.?\s*[=:]?)\s*[-−]?\d.*", re.IGNORECASE | re.DOTALL),
)
"""What means a temperature, but not which."""
_ROOM = re.compile(r"\b(?:RT|room[ -]temp(?:erature|\.)?|ambient)\b", re.IGNORECASE)
_ACTIVATION = re.compile(
    r"\bE_?a\w*\s*[=:]?\s*(\d+(?:[.,]\d+)?)\s*(m?eV|kJ\s*(?:/\s*mol|mol-1))", re.I
)


class MeasuredAt(NamedTuple):
    """What a cell of conditions says."""

    temperature: float | None
    """K; None where it names none."""
    activation_energy: float | None
    """eV, of the conductivity times the temperature."""


def parse_conditions(text: str) -> MeasuredAt:
    """Temperature and activation energy among whatever else is said.

    Raises:
      MfalError: for several temperatures, a number without a unit, or below absolute zero.

    >>> parse_conditions("60 °C, Ea = 0.35 eV, pellet")
    MeasuredAt(temperature=333.15, activation_energy=0.35)
    >>> parse_conditions("cold pressed").temperature, parse_conditions("RT").temperature
    (None, 298.15)
    """
    energy = None
    if match := _ACTIVATION.search(text):
        unit = re.sub(r"\s", "", match[2].replace("mol-1", "/mol"))
        energy = _number(match[1]) * unit_factor(unit, "eV")
        text = text[: match.start()] + text[match.end() :]
    found = {
        round(_number(number) + (0.0 if unit[0] in "Kk" else ZERO_CELSIUS), 2)
        for number, unit in _TEMPERATURE.findall(text)
    }
    if len(found) > 1 or _SPAN.search(text):
        raise MfalError(f"conditions {text!r}", "name one temperature, that of the value")
    if not found and _ROOM.search(text):
        found = {ROOM}
    if not found and any(form.fullmatch(text) for form in _UNCLEAR):
        raise MfalError(f"conditions {text!r}", "write the temperature with its unit, K or °C")
    temperature = found.pop() if found else None
    if temperature is not None and temperature <= 0:
        raise MfalError(f"conditions {text!r}", "give a temperature above absolute zero")
    return MeasuredAt(temperature, energy)


def to_temperature(log10: float, stated: MeasuredAt, asked: float) -> tuple[float, str]:
    """A conductivity at the temperature that was asked for, and how it came there.

    Where an activation energy is given, sigma T = A exp(-Ea / kT) carries it over.

    Args:
      log10: of the conductivity as measured.
      stated: under which conditions.
      asked: temperature in K.

    Returns:
      The logarithm at the asked temperature, and a note; an empty one where nothing was done.

    Raises:
      MfalError: at another temperature without an activation energy.
    """
    measured, energy = stated
    if measured is None or measured == asked:
        return log10, ""
    if energy is None:
        if abs(measured - asked) <= NEAR:
            return log10, f"measured at {measured:g} K"
        raise MfalError(
            f"measured at {measured:g} K, but {asked:g} K was asked",
            "give the value there, or the activation energy with the conditions, as in "
            f"'{measured:g} K, Ea = 0.35 eV', to have it converted",
        )
    inverse = energy / (BOLTZMANN * math.log(10))
    moved = log10 + math.log10(measured / asked) - inverse * (1 / asked - 1 / measured)
    return moved, f"from {10**log10:.3g} S/cm at {measured:g} K with Ea = {energy:g} eV"


def _number(text: str) -> float:
    return float(text.replace("−", "-").replace(",", "."))
