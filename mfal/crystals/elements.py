"""The periodic table as arrays: what the other parts ask of an element.

Arrays have length `NUM_ELEMENTS` and are indexed by Z - 1; NaN stands for unknown. They are read
from `tables/elements.json`, which `experiments/tables/elements.py` builds.
"""

import json
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType

import numpy as np

from mfal.crystals.types import NUM_ELEMENTS
from mfal.errors import MfalError

__all__ = [
    "ATOMIC_MASS",
    "COVALENT_RADIUS",
    "ELECTRONEGATIVITY",
    "IONIC_RADIUS",
    "OXIDATION_STATES",
    "PRINCIPAL_QUANTUM_NUMBER",
    "SYMBOLS",
    "atomic_number",
    "ionic_radius",
]

_ROWS = json.loads((files("mfal.crystals") / "tables" / "elements.json").read_text())
assert len(_ROWS) == NUM_ELEMENTS


def _array(name: str, dtype: type = float) -> np.ndarray:
    """Column `name`, [103], read-only; None becomes NaN."""
    values = [row[name] for row in _ROWS]
    column: np.ndarray = np.array([np.nan if value is None else value for value in values], dtype)
    column.flags.writeable = False
    return column


SYMBOLS: tuple[str, ...] = tuple(row["symbol"] for row in _ROWS)
"""Chemical symbols, H to Lr."""

ATOMIC_MASS: np.ndarray = _array("mass")
"""[103] float64, standard atomic weight, u (IUPAC, as tabulated by pymatgen)."""

ELECTRONEGATIVITY: np.ndarray = _array("electronegativity")
"""[103] float64, Pauling's scale; NaN for helium, neon and argon."""

COVALENT_RADIUS: np.ndarray = _array("covalent_radius")
"""[103] float64, Å; Cordero et al., Dalton Trans. 2832 (2008), doi:10.1039/B801115J (sp3 carbon,
high-spin manganese, low-spin iron and cobalt as in ase); NaN beyond curium."""

PRINCIPAL_QUANTUM_NUMBER: np.ndarray = _array("principal_quantum_number", int)
"""[103] int64, of the outermost shell, as the screened repulsion of softBV uses it: the period.
Adams & Rao, Phys. Status Solidi A 208, 1746 (2011), doi:10.1002/pssa.201001116."""

OXIDATION_STATES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {row["symbol"]: tuple(row["oxidation_states"]) for row in _ROWS}
)
"""Common oxidation states of each element, ascending, zero left out."""

IONIC_RADIUS: Mapping[tuple[str, int], float] = MappingProxyType(
    {
        (row["symbol"], int(charge)): radius
        for row in _ROWS
        for charge, radius in row["ionic_radii"].items()
    }
)
"""Effective ionic radii by (symbol, charge), Å: Shannon, Acta Cryst. A 32, 751 (1976),
doi:10.1107/S0567739476001551, at coordination six or the nearest listed, high spin."""

_NUMBER = {symbol: number for number, symbol in enumerate(SYMBOLS, start=1)}
# Isotopes that structure files name apart; chemically they are hydrogen.
_NUMBER |= {"D": 1, "T": 1}


def atomic_number(symbol: str) -> int:
    """Z of a chemical symbol; deuterium and tritium count as hydrogen.

    Raises:
      MfalError: when no element from H to Lr has this symbol.

    >>> atomic_number("Li"), SYMBOLS[atomic_number("O") - 1]
    (3, 'O')
    """
    try:
        return _NUMBER[symbol]
    except KeyError:
        raise MfalError(
            f"unknown element {symbol!r}", "use the symbol of an element from H to Lr"
        ) from None


def ionic_radius(symbol: str, charge: float) -> float:
    """Radius of an ion in Å, with a stand-in where Shannon lists none.

    The listed charge nearest to the one asked for, among those of the same sign; failing that the
    covalent radius, less 0.8 Å for a cation and plus 0.8 Å for an anion (the mean differences over
    the listed ions). A fractional charge is interpolated between listed neighbours.

    >>> ionic_radius("Li", 1), ionic_radius("O", -2)
    (0.76, 1.4)
    """
    symbol = SYMBOLS[atomic_number(symbol) - 1]
    listed = sorted(q for s, q in IONIC_RADIUS if s == symbol and q * charge > 0)
    if listed:
        return float(np.interp(charge, listed, [IONIC_RADIUS[symbol, q] for q in listed]))
    covalent = COVALENT_RADIUS[atomic_number(symbol) - 1]
    if np.isnan(covalent):
        covalent = 1.7  # actinides beyond curium: as curium
    shift = 0.8 if charge < 0 else -0.8 if charge > 0 else 0.0
    return float(max(covalent + shift, 0.2))
