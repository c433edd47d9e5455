"""Numbers and units as people write them in tables.

Spreadsheets write decimal commas, papers write 1.2(3)·10⁻⁶, and a conductivity is in S/cm, mS cm⁻¹
or Ω⁻¹ m⁻¹: all mean something definite.
"""

import math
import re
from typing import NamedTuple

from mfal.errors import MfalError

__all__ = ["KJ_PER_EV", "Written", "base_unit", "split_unit", "unit_factor", "written_number"]

KJ_PER_EV = 96.48533212
"""kJ/mol in one eV per particle (CODATA 2018: the elementary charge times Avogadro's constant)."""
KCAL_PER_EV = KJ_PER_EV / 4.184
"""kcal/mol; the thermochemical calorie is 4.184 J exactly."""

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺−–", "0123456789-+--")
_PREFIXES = {"": 1.0, "k": 1e3, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12}
_ENERGIES = {"ev": 1.0, "mev": 1e-3, "kj/mol": 1 / KJ_PER_EV, "kcal/mol": 1 / KCAL_PER_EV}
_VOLTAGES = {"v": 1.0, "mv": 1e-3}
_SIGNS = {"<": "below", "≤": "below", "<=": "below", ">": "above", "≥": "above", ">=": "above"}


class Written(NamedTuple):
    """A number in a cell of a table."""

    value: float
    censoring: str
    """"exact", or "below" or "above" a limit."""
    uncertainty: float | None
    """One standard deviation, where it is written with the number."""


def written_number(text: str) -> Written:
    """A number as people write it.

    Raises:
      MfalError: when it is none.

    >>> written_number("1.2(3)e-6")
    Written(value=1.2e-06, censoring='exact', uncertainty=3e-07)
    >>> written_number("≤ 2,6·10⁻⁷").value, written_number("<1e-10").censoring
    (2.6e-07, 'below')
    """
    plain = re.sub(r"\s", "", text).translate(_SUPERSCRIPTS)
    sign = re.match(r"<=|>=|[<>≤≥=~≈]?", plain)
    leading = sign[0] if sign else ""
    number, _, spread = plain[len(leading) :].partition("±")
    if not spread:
        number, _, spread = number.replace("+-", "+/-").partition("+/-")
    power = ""
    if match := re.fullmatch(r"(.*?)([eE][-+]?\d+|[x×·*]10\^?[-+]?\d+)", number):
        number, power = match[1], match[2]
    elif match := re.fullmatch(r"\(?(.*?)([eE][-+]?\d+|[x×·*]10\^?[-+]?\d+)", spread):
        spread, power = match[1].strip("()"), match[2]  # 1.2 ± 0.3e-6, (1.2 ± 0.3)e-6
        number = number.strip("()")
    exponent = int(re.sub(r"^([eE]|[x×·*]10\^?)", "", power) or 0)
    digits = ""
    if match := re.fullmatch(r"(.*?)\((\d+)\)", number):
        number, digits = match[1], match[2]
    value = _decimal(number, exponent, text)
    uncertainty = None
    if spread:
        uncertainty = _decimal(spread, 0 if re.search(r"[eE]", spread) else exponent, text)
    elif digits:
        places = len(re.split(r"[.,]", number)[1]) if re.search(r"[.,]", number) else 0
        uncertainty = _decimal(digits, exponent - places, text)
    return Written(value, _SIGNS.get(leading, "exact"), uncertainty)


def _decimal(number: str, exponent: int, text: str) -> float:
    """Number times ten to the exponent as one literal: 1.2 * 1e-6 is not 1.2e-6."""
    if re.fullmatch(r"[-+]?\d{1,3}(,\d{3})+\.\d+", number):
        number = number.replace(",", "")  # thousands
    try:
        value = float(number.replace(",", ".") + (f"e{exponent}" if exponent else ""))
    except ValueError:
        raise MfalError(f"{text!r} is no number", "correct it") from None
    if not math.isfinite(value):
        raise MfalError(f"{text!r} is not finite", "leave the cell empty where nothing is known")
    return value


def unit_factor(unit: str, wanted: str) -> float:
    """What a value in one unit is to be multiplied by to be in another.

    Conductivities, energies per particle and voltages are known; other units only as themselves.

    Raises:
      MfalError: when the units are not known, or of different kinds.

    >>> unit_factor("mS cm⁻¹", "S/cm"), unit_factor("Ω⁻¹ m⁻¹", "S/cm"), unit_factor("meV", "eV")
    (0.001, 0.01, 0.001)
    """
    if unit.strip() == wanted.strip():
        return 1.0
    ours, theirs = _size(unit), _size(wanted)
    if ours is None or theirs is None or ours[0] != theirs[0]:
        raise MfalError(f"unit {unit!r} where {wanted} is expected", f"give it in {wanted}")
    return ours[1] / theirs[1]


def base_unit(unit: str) -> tuple[str, float]:
    """The unit in which tables keep such a quantity, and the factor that leads there.

    A unit that is not known stays as it is.

    >>> base_unit("mS cm-1"), base_unit("meV"), base_unit("GPa")
    (('S/cm', 0.001), ('eV', 0.001), ('GPa', 1.0))
    """
    size = _size(unit)
    if size is None:
        return unit, 1.0
    return {"conductivity": "S/cm", "energy": "eV", "voltage": "V"}[size[0]], size[1]


def split_unit(column: str) -> tuple[str, str]:
    """A column's name and the unit that stands in brackets or behind a comma in it.

    >>> split_unit("Ionic conductivity (S cm-1)"), split_unit("sigma [mS/cm]"), split_unit("sigma")
    (('Ionic conductivity', 'S cm-1'), ('sigma', 'mS/cm'), ('sigma', ''))
    """
    match = re.fullmatch(r"\s*(.+?)\s*(?:[(\[](.*)[)\]]|[,/]\s*(\S.*))\s*", column)
    if match and _size(match[2] or match[3] or "") is not None:
        return match[1], (match[2] or match[3]).strip()
    return column.strip(), ""


def _size(unit: str) -> tuple[str, float] | None:
    """The kind of a unit and its size in S/cm, eV or V; None for an unknown one."""
    plain = re.sub(r"[µμ]", "u", unit.translate(_SUPERSCRIPTS))
    plain = re.sub(r"[ΩΩ]|[Oo]hms?|OHM", "ohm", plain)
    plain = re.sub(r"\s*/\s*", "/", re.sub(r"[·⋅*.^\s]+", " ", plain)).strip()
    plain = re.sub(r" (?=-\d)", "", plain)
    word = plain.lower().replace(" mol-1", "/mol")
    for kind, sizes in (("energy", _ENERGIES), ("voltage", _VOLTAGES)):
        if word in sizes:
            return kind, sizes[word]
    if match := re.fullmatch(r"([kmunp]?)(?:S|ohm-1|1/ohm)(?: (\w+)-1|/(\w+))", plain):
        factor, length = _PREFIXES[match[1]], match[2] or match[3]
    elif match := re.fullmatch(r"1/\(?([kM]?)ohm (\w+)\)?", plain):
        factor, length = {"": 1.0, "k": 1e-3, "M": 1e-6}[match[1]], match[2]
    else:
        return None
    per = {"cm": 1.0, "m": 1e-2, "mm": 10.0}.get(length)
    return None if per is None else ("conductivity", factor * per)
