"""Bond-valence site energies: the pair potentials of softBV and their constants.

The energy of a mobile cation at distance R from a framework ion is a Morse well for an anion and a
screened Coulomb repulsion for a cation; anions carry no Coulomb term, the Morse well holds it.

    anion:   E(R) = D0/2 { [exp(alpha (R_min - R)) - 1]^2 - 1 }
    cation:  E(R) = k q1 q2 / sqrt(n1 n2) · erfc(R / (f (r1 + r2))) / R

Adams & Rao, Phys. Status Solidi A 208, 1746 (2011), doi:10.1002/pssa.201001116;
Chen & Adams, IUCrJ 4, 614 (2017), doi:10.1107/S2052252517010211;
Chen, Wong & Adams, Acta Cryst. B 75, 18 (2019), doi:10.1107/S2052520618015718.
"""

from typing import NamedTuple

import numpy as np

from mfal.crystals.bond_valence import COULOMB, MORSE, SCREENING
from mfal.crystals.elements import (
    COVALENT_RADIUS,
    PRINCIPAL_QUANTUM_NUMBER,
    SYMBOLS,
    atomic_number,
)
from mfal.errors import MfalError

__all__ = [
    "CUT_OFF",
    "MorseRow",
    "coulomb_parameters",
    "ion_name",
    "morse_row",
]

CUT_OFF = 10.0
"""Å, beyond which no pair is counted."""


class MorseRow(NamedTuple):
    """Constants of one cation-anion pair."""

    r_min: float
    """Å, distance of least energy."""
    alpha: float
    """1/Å, stiffness: the inverse of the bond-valence parameter b."""
    d0: float
    """eV, twice the depth of the well."""


def ion_name(symbol: str, charge: float) -> str:
    """An ion as chemists write it.

    >>> ion_name("P", -3), ion_name("Li", 1), ion_name("Fe", 2.5)
    ('P3-', 'Li+', 'Fe2.5+')
    """
    size = f"{abs(charge):g}" if abs(charge) != 1 else ""
    return f"{symbol}{size}{'-' if charge < 0 else '+'}"


def morse_row(anion: str, charge: float, mobile: str = "Li", mobile_charge: int = 1) -> MorseRow:
    """Constants for a mobile cation next to an anion; the charge is rounded to look it up.

    Raises:
      MfalError: when softBV has no row for the pair (phosphides, arsenides, hydrides, ...).

    >>> morse_row("O", -2).r_min
    1.940013
    """
    row = MORSE.get((mobile, mobile_charge, anion, round(charge)))
    if row is not None:
        return MorseRow(row.r_min, row.alpha, row.d0)
    known = [ion_name(*key[2:]) for key in MORSE if key[:2] == (mobile, mobile_charge)]
    if not known:
        raise MfalError(
            f"no bond-valence rows for {ion_name(mobile, mobile_charge)} as the mobile ion",
            "choose Li+, Na+, K+ or another cation of softBV's table",
        )
    raise MfalError(
        f"no bond-valence row for {ion_name(mobile, mobile_charge)} with {ion_name(anion, charge)}",
        f"site energies need anions among {', '.join(known)}",
    )


def coulomb_parameters(
    cation: str, charge: float, mobile: str = "Li", mobile_charge: int = 1
) -> tuple[float, float]:
    """Strength in eV Å and inverse screening length in 1/Å of the repulsion between two cations.

    The radii are neutral atoms' covalent radii (Cordero et al. 2008), as in the public program
    bvlain by default; softBV's own radii of ions differ.

    Raises:
      MfalError: for an element without a covalent radius.
    """
    one, two = atomic_number(mobile) - 1, atomic_number(cation) - 1
    radii = COVALENT_RADIUS[one] + COVALENT_RADIUS[two]
    if np.isnan(radii):
        raise MfalError(f"no covalent radius for {SYMBOLS[two]}", "remove that element")
    numbers = PRINCIPAL_QUANTUM_NUMBER[one] * PRINCIPAL_QUANTUM_NUMBER[two]
    return COULOMB * mobile_charge * charge / float(np.sqrt(numbers)), 1.0 / (SCREENING * radii)
