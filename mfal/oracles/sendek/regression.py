"""Sendek's logistic regression: how likely a crystal is to be a superionic lithium conductor.

Five features of the atoms' arrangement, found among twenty by exhaustive search over 40 measured
materials, give the probability that the room-temperature conductivity is 1e-4 S/cm or more:

    z = 0.184 LLB - 4.009 SBI - 0.467 AFC + 8.699 LASD - 2.170 LLSD - 6.564 ,   P = 1 / (1 + e^-z)

Sendek et al., Energy Environ. Sci. 10, 306 (2017), doi:10.1039/C6EE02697D.
"""

from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np

from mfal.crystals.elements import ELECTRONEGATIVITY, atomic_number
from mfal.errors import MfalError

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = [
    "FEATURES",
    "FIRST_REACH",
    "HARD_SPHERE",
    "WEIGHTS",
    "Ions",
    "anion_number",
    "expected_features",
    "ions_of",
    "superionic_probability",
]

FEATURES = (
    "lithium neighbours of lithium",
    "sublattice bond ionicity",
    "anion framework coordination",
    "lithium-anion distance",
    "lithium-lithium distance",
)
"""LLB, the mean number of Li within 4 Å of a Li; SBI, the mean difference of electronegativity
(Pauling) over pairs within 4 Å whose centre is not Li, whatever the neighbour; AFC, the mean number
of anions around an anion within 1 Å more than its nearest; LASD, the mean shortest Li-anion
distance, Å; LLSD, the mean shortest Li-Li distance, Å. The anion is the single most electronegative
element, also in a compound of several anions: so the model was fitted, and so it is used here."""
WEIGHTS = (0.184, -4.009, -0.467, 8.699, -2.170, -6.564)
"""Of the five features, and the constant (Sendek et al. 2017, eq. 4)."""

NEAR = 4.0
"""Å, within which atoms are bonded in the sense of LLB and SBI."""
SHELL = 1.0
"""Å beyond the nearest anion that still count as its shell."""
HARD_SPHERE = 2.0
"""Å that partly occupied sites of one element must be apart to be filled together."""

_SAME_PLACE = 0.1  # Å; species that share a site
FIRST_REACH = 6.0
"""Å, of the first neighbour search."""
_LAST_REACH = 24.0
_FULL = 1.0 - 1e-3  # an occupancy from here up counts as one


class Ions(NamedTuple):
    """A structure as weighted ions and its pairs, sorted by centre and then by distance."""

    number: np.ndarray
    """[n] int64, atomic numbers; a shared site gives several ions."""
    occupancy: np.ndarray
    """[n] float64."""
    site: np.ndarray
    """[n] int64, the site of the structure that an ion sits on."""
    centre: np.ndarray
    """[P] int32."""
    neighbour: np.ndarray
    """[P] int32."""
    distance: np.ndarray
    """[P] float64, Å."""
    reach: float
    """Å, up to which pairs are listed."""


def superionic_probability(
    features: np.ndarray, weights: tuple[float, ...] = WEIGHTS
) -> np.ndarray:
    """Chance of being superionic, [...], from features [..., 5].

    >>> round(float(superionic_probability(np.array([6.218, 0.978, 10.073, 2.072, 2.730]))), 3)
    0.125
    """
    z = np.asarray(features) @ np.asarray(weights[:5]) + weights[5]
    return 0.5 * (1.0 + np.tanh(0.5 * z))


def ions_of(structure: "Structure", reach: float = FIRST_REACH) -> Ions:
    """Ions with occupancies, and all pairs up to `reach` Å.

    Raises:
      MfalError: without Li, without another element, or where an electronegativity is unknown.
    """
    name = structure.composition.reduced_formula
    rows = [
        (atomic_number(specie.symbol), min(float(occupancy), 1.0), k)
        for k, site in enumerate(structure)
        for specie, occupancy in site.species.items()
        if occupancy > 1e-3
    ]
    number = np.array([row[0] for row in rows], np.int64)
    occupancy = np.array([row[1] for row in rows])
    site = np.array([row[2] for row in rows], np.int64)
    if not (number == 3).any():
        raise MfalError(f"no Li in {name}", "give a structure that contains Li")
    if (number == 3).all():
        raise MfalError(f"nothing but Li in {name}", "give a compound with an anion")
    unknown = np.isnan(ELECTRONEGATIVITY[number - 1])
    if unknown.any():
        raise MfalError(f"{name} has an element without electronegativity", "leave it out")
    lattice = np.asarray(structure.lattice.matrix, float)
    fractional = np.mod(np.array([s.frac_coords for s in structure], float), 1.0)
    span = np.ceil(reach * np.linalg.norm(np.linalg.inv(lattice), axis=0)).astype(np.int64)
    occupancy = np.where(occupancy > _FULL, 1.0, occupancy)
    first, second, distance = _pairs(fractional @ lattice, lattice, span, reach)
    # From pairs of sites to pairs of ions, and sorted.
    if len(rows) != len(structure):
        start = np.searchsorted(site, np.arange(len(structure) + 1))
        count = np.diff(start)
        repeat = count[first] * count[second]
        pair = np.repeat(np.arange(len(first)), repeat)
        inner = np.arange(len(pair)) - np.repeat(np.cumsum(repeat) - repeat, repeat)
        centre = start[first[pair]] + inner // count[second[pair]]
        neighbour = start[second[pair]] + inner % count[second[pair]]
        distance = distance[pair]
    else:
        centre, neighbour = first, second
    order = np.lexsort((distance, centre))
    return Ions(
        number,
        occupancy,
        site,
        centre[order].astype(np.int32),
        neighbour[order].astype(np.int32),
        distance[order],
        reach,
    )


@numba.njit(cache=True)
def _pairs(places, lattice, span, reach):  # type: ignore[no-untyped-def]
    """All ordered pairs (i, j) with an image of j within reach of i, the ion itself left out."""
    n = len(places)
    capacity = 64 * n
    first = np.empty(capacity, np.int64)
    second = np.empty(capacity, np.int64)
    distance = np.empty(capacity)
    found = 0
    # Positions lie in the cell: images of it farther than this cannot come near.
    extent = 0.0
    for i in range(n):
        for j in range(i):
            d = places[i] - places[j]
            extent = max(extent, np.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]))
    # One cell more than the reach asks for: positions differ by up to one cell.
    for a in range(-span[0] - 1, span[0] + 2):
        for b in range(-span[1] - 1, span[1] + 2):
            for c in range(-span[2] - 1, span[2] + 2):
                x = a * lattice[0, 0] + b * lattice[1, 0] + c * lattice[2, 0]
                y = a * lattice[0, 1] + b * lattice[1, 1] + c * lattice[2, 1]
                z = a * lattice[0, 2] + b * lattice[1, 2] + c * lattice[2, 2]
                home = a == 0 and b == 0 and c == 0
                if x * x + y * y + z * z > (reach + extent) ** 2:
                    continue
                for i in range(n):
                    for j in range(n):
                        dx = places[j, 0] + x - places[i, 0]
                        dy = places[j, 1] + y - places[i, 1]
                        dz = places[j, 2] + z - places[i, 2]
                        square = dx * dx + dy * dy + dz * dz
                        if square > reach * reach or (home and i == j):
                            continue
                        if found == capacity:
                            capacity *= 2
                            first = np.concatenate((first, first))
                            second = np.concatenate((second, second))
                            distance = np.concatenate((distance, distance))
                        first[found] = i
                        second[found] = j
                        distance[found] = np.sqrt(square)
                        found += 1
    return first[:found], second[:found], distance[:found]


def expected_features(structure: "Structure") -> np.ndarray:
    """The five features, [5] float64; for partly occupied sites their expectation.

    Sites count as filled independently with their occupancy, except that two partly occupied ones
    of an element closer than `HARD_SPHERE` are never filled together. Means over pairs are weighted
    by both occupancies; a shortest distance is averaged over which neighbour is the nearest one
    there. For an ordered structure these are the definitions themselves.

    Raises:
      MfalError: as `ions_of`.
    """
    reach = FIRST_REACH
    while True:
        ions = ions_of(structure, reach)
        features = _expected(ions)
        if features is not None:
            return features
        reach *= 2.0
        if reach > _LAST_REACH:
            name = structure.composition.reduced_formula
            raise MfalError(f"no neighbour within {reach / 2:g} Å in {name}", "check the cell")


def _expected(ions: Ions) -> np.ndarray | None:
    """Features, or None where the pairs do not reach far enough."""
    i, j = ions.centre, ions.neighbour
    occupancy, number = ions.occupancy, ions.number
    lithium = number == 3
    anion = number == anion_number(number)
    partly = occupancy < 1.0
    alternative = ions.distance < _SAME_PLACE
    excluded = (
        (number[i] == number[j]) & partly[i] & partly[j] & (ions.distance < HARD_SPHERE)
    ) | alternative
    weight = np.where(excluded, 0.0, occupancy[j])
    near = ions.distance < NEAR

    total_lithium = occupancy[lithium].sum()
    mask = near & lithium[i] & lithium[j]
    bonds = (occupancy[i[mask]] * weight[mask]).sum() / total_lithium

    mask = near & ~lithium[i]
    chi = ELECTRONEGATIVITY[number - 1]
    pair_weight = occupancy[i[mask]] * weight[mask]
    ionicity = (np.abs(chi[i[mask]] - chi[j[mask]]) * pair_weight).sum()
    ionicity /= max(pair_weight.sum(), 1e-12)

    mask = anion[i] & anion[j]
    nearest, sure = _expected_nearest(i[mask], ions.distance[mask], weight[mask], len(number))
    if not sure[anion].all() or nearest[anion].max() + SHELL > ions.reach:
        return None
    inside = ions.distance[mask] <= nearest[i[mask]] + SHELL
    shell = (occupancy[i[mask]] * weight[mask] * inside).sum() / occupancy[anion].sum()

    distances = []
    for other in (anion, lithium):
        mask = lithium[i] & other[j]
        nearest, sure = _expected_nearest(i[mask], ions.distance[mask], weight[mask], len(number))
        if not sure[lithium].all():
            return None
        distances.append((nearest * occupancy)[lithium].sum() / total_lithium)
    return np.array([bonds, ionicity, shell, *distances])


def anion_number(number: np.ndarray) -> int:
    """Atomic number of the most electronegative element."""
    return int(number[np.argmax(ELECTRONEGATIVITY[number - 1])])


def _expected_nearest(
    centre: np.ndarray, distance: np.ndarray, weight: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean distance [count] to the nearest neighbour that is there, and whether it is certain.

    Pairs come sorted by centre and distance; neighbour k is the nearest with probability
    w_k (1 - w_1) ... (1 - w_{k-1}).
    """
    mean, left = _walk_outwards(centre, distance, weight, count)
    sure = left < 0.02
    return mean / np.maximum(1.0 - left, 1e-12), sure


@numba.njit(cache=True)
def _walk_outwards(centre, distance, weight, count):  # type: ignore[no-untyped-def]
    mean = np.zeros(count)
    left = np.ones(count)
    for p in range(len(centre)):
        i = centre[p]
        mean[i] += left[i] * weight[p] * distance[p]
        left[i] *= 1.0 - weight[p]
    return mean, left
