"""Bond-valence parameters of pairs of ions (softBV), and what stands in where none are listed.

The energy of a cation and an anion at distance r is a Morse well, that of two ions of like charge
a screened Coulomb repulsion:

    E(r) = d0 / 2 ([exp(alpha (r_min - r)) - 1]^2 - 1)
    E(r) = 14.4 eV Å q1 q2 / sqrt(n1 n2) / r  erfc(r / (f (r1 + r2))),  f = 0.74

with n the principal quantum numbers and r1, r2 the covalent radii that softBV lists for ions.
The valence of the bond, for the rule that valences add up to charges, is exp(alpha (r0 - r)).

Adams & Rao, Phys. Status Solidi A 208, 1746 (2011), doi:10.1002/pssa.201001116; Chen, Wong & Adams,
Acta Cryst. B 75, 18 (2019), doi:10.1107/S2052520618015718. The tables come by way of bvlain (MIT
licence, copyright 2023 Artem D. Dembitskiy); `experiments/tables/bond_valence.py` builds them.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from mfal.crystals.elements import (
    COVALENT_RADIUS,
    PRINCIPAL_QUANTUM_NUMBER,
    atomic_number,
    ionic_radius,
)

__all__ = [
    "COULOMB",
    "MORSE",
    "SCREENING",
    "SOFTBV_RADIUS",
    "Morse",
    "PairTable",
    "morse_parameters",
    "pair_table",
    "softbv_radius",
]

COULOMB = 14.4
"""e^2 / (4 pi epsilon0), eV Å, to the digits that the parameters were fitted with."""

SCREENING = 0.74
"""Share f of the sum of covalent radii over which like charges are screened."""


class Morse(NamedTuple):
    """Parameters of one cation with one anion."""

    r_min: float
    """Distance of least energy, Å."""
    alpha: float
    """Inverse width of the well and of the bond valence, 1/Å."""
    d0: float
    """Twice the depth of the well, eV."""
    r0: float
    """Length of a bond of valence one, Å."""
    listed: bool
    """Whether the row is in the published table; otherwise it is an estimate."""


def _rows(name: str) -> list[dict[str, str]]:
    text = (files("mfal.crystals") / "tables" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


MORSE: Mapping[tuple[str, int, str, int], Morse] = MappingProxyType(
    {
        (row["cation"], int(row["cation_charge"]), row["anion"], int(row["anion_charge"])): Morse(
            float(row["r_min"]), float(row["alpha"]), float(row["d0"]), float(row["r0"]), True
        )
        for row in _rows("bond_valence.csv")
    }
)
"""The published rows by (cation, charge, anion, charge)."""

SOFTBV_RADIUS: Mapping[tuple[str, int], float] = MappingProxyType(
    {(row["symbol"], int(row["charge"])): float(row["radius"]) for row in _rows("softbv_radii.csv")}
)
"""Covalent radii of ions by (symbol, charge), Å."""

# Where no row is listed: over the listed ones, r_min is shorter than the sum of ionic radii by
# 0.19(18) Å and alpha has the median 2.0 1/Å.
_SHORTER = 0.19
_ALPHA = 2.0
_COORDINATION = 6


def morse_parameters(cation: str, charge: float, anion: str, anion_charge: float) -> Morse:
    """The row of a pair, of the nearest charge that is listed, or an estimate.

    A charge between listed ones (Mn3.5+) takes the nearest row, the lower of two equally near; the
    charge itself enters nowhere else. Without any row for the two elements: r_min from the ionic
    radii, alpha the median of the table, d0 = 14.4 eV Å q p / (2 alpha^2 r_min sqrt(n1 n2)) (which
    holds exactly for the listed main-group cations), r0 such that six bonds at the sum of the ionic
    radii add up to the charge.
    """
    near = [
        (abs(q - charge) + abs(p - anion_charge), q, -p, row)
        for (c, q, a, p), row in MORSE.items()
        if c == cation and a == anion
    ]
    if near:
        return min(near, key=lambda item: item[:3])[-1]
    radii = ionic_radius(cation, charge) + ionic_radius(anion, anion_charge)
    r_min = max(radii - _SHORTER, 0.8)
    shells = math.sqrt(_shell(cation) * _shell(anion))
    depth = COULOMB * abs(charge * anion_charge) / (2 * _ALPHA**2 * r_min * shells)
    r0 = radii + math.log(abs(charge) / _COORDINATION) / _ALPHA
    return Morse(r_min, _ALPHA, depth, r0, False)


def softbv_radius(symbol: str, charge: float) -> float:
    """Covalent radius of an ion, Å: listed, of the nearest listed charge of its sign, or Cordero's.

    Cordero's radii of atoms serve cations; anions are 0.7 Å larger, as the listed ones are.
    """
    near = [(abs(q - charge), q, r) for (s, q), r in SOFTBV_RADIUS.items() if s == symbol]
    near = [item for item in near if item[1] * charge > 0]
    if near:
        return min(near)[-1]
    covalent = float(np.nan_to_num(COVALENT_RADIUS[atomic_number(symbol) - 1], nan=1.7))
    return covalent + (0.7 if charge < 0 else 0.0)


class PairTable(NamedTuple):
    """Parameters of all pairs of S species as symmetric [S, S] float64 arrays.

    Unlike charges have a Morse well and no repulsion, like charges the reverse; what does not
    apply is zero (distances and lengths: one), so that one formula serves all pairs.
    """

    depth: np.ndarray
    """d0 / 2, eV."""
    alpha: np.ndarray
    """1/Å."""
    r_min: np.ndarray
    """Å."""
    r0: np.ndarray
    """Å."""
    bonded: np.ndarray
    """1 where the charges are unlike."""
    repulsion: np.ndarray
    """14.4 q1 q2 / sqrt(n1 n2), eV Å."""
    screening: np.ndarray
    """f (r1 + r2), Å."""
    charge: np.ndarray
    """[S], e."""
    listed: np.ndarray
    """[S, S] bool, False where a Morse row is an estimate."""


def pair_table(species: Sequence[tuple[str, float]]) -> PairTable:
    """Parameters of all pairs of the given (symbol, charge); no charge may be zero."""
    size = len(species)
    ones, zeros = np.ones((size, size)), np.zeros((size, size))
    table = PairTable(
        depth=zeros.copy(),
        alpha=ones.copy(),
        r_min=ones.copy(),
        r0=ones.copy(),
        bonded=zeros.copy(),
        repulsion=zeros.copy(),
        screening=ones.copy(),
        charge=np.array([charge for _, charge in species], float),
        listed=np.ones((size, size), bool),
    )
    for i, (a, p) in enumerate(species):
        for j, (b, q) in enumerate(species):
            if p * q > 0:
                shells = math.sqrt(_shell(a) * _shell(b))
                table.repulsion[i, j] = COULOMB * p * q / shells
                table.screening[i, j] = SCREENING * (softbv_radius(a, p) + softbv_radius(b, q))
            else:
                cation, anion = ((a, p), (b, q)) if p > 0 else ((b, q), (a, p))
                row = morse_parameters(*cation, *anion)
                table.depth[i, j] = row.d0 / 2
                table.alpha[i, j] = row.alpha
                table.r_min[i, j] = row.r_min
                table.r0[i, j] = row.r0
                table.bonded[i, j] = 1.0
                table.listed[i, j] = row.listed
    return table


def _shell(symbol: str) -> int:
    return int(PRINCIPAL_QUANTUM_NUMBER[atomic_number(symbol) - 1])
