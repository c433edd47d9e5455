"""Sendek's features of partly occupied crystals as in the paper: means over random occupations."""

from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np

from mfal.crystals.elements import ELECTRONEGATIVITY
from mfal.errors import MfalError
from mfal.oracles.sendek.regression import FIRST_REACH, HARD_SPHERE, WEIGHTS, anion_number, ions_of

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["Sampled", "sampled_features"]


class Sampled(NamedTuple):
    """Features averaged over random occupations."""

    features: np.ndarray
    """[5] float64, means."""
    probability: float
    """Mean of P over the draws."""
    spread: float
    """Standard deviation of P over the draws."""
    draws: int
    hard_sphere: float
    """Å; what the least distance had to be relaxed to."""


def sampled_features(
    structure: "Structure", seed: int = 0, max_draws: int = 2000, patience: int = 100
) -> Sampled:
    """The features as the paper has them for partly occupied sites: means over occupations.

    Each site is filled at random by its occupancies; a draw in which two partly occupied sites of
    one element come closer than `HARD_SPHERE` is thrown away, and after 1000 failures that distance
    is reduced by 0.1 Å. Drawing ends when no mean has moved by more than 1 % in `patience` draws.

    Raises:
      MfalError: as `ions_of`.
    """
    # Far enough that a Li finds its nearest partner in any draw worth counting.
    ions = ions_of(structure, 2.0 * FIRST_REACH)
    start = np.searchsorted(ions.centre, np.arange(len(ions.number) + 1))
    alike = (
        (ions.number[ions.centre] == ions.number[ions.neighbour])
        & (ions.occupancy[ions.centre] < 1.0)
        & (ions.occupancy[ions.neighbour] < 1.0)
        & (ions.distance < HARD_SPHERE)
    )
    chi = ELECTRONEGATIVITY[ions.number - 1]
    sums, square, draws, hard = _draw(
        seed, ions.number, ions.occupancy, ions.site, start, ions.neighbour, ions.distance,
        ions.centre[alike], ions.neighbour[alike], ions.distance[alike],
        chi, anion_number(ions.number), max_draws, patience, np.asarray(WEIGHTS), HARD_SPHERE,
    )  # fmt: skip
    if draws == 0:
        name = structure.composition.reduced_formula
        raise MfalError(f"no occupation of {name} holds Li", "check its occupancies")
    mean = sums[5] / draws
    variance = max(square / draws - mean**2, 0.0)
    return Sampled(sums[:5] / draws, float(mean), float(np.sqrt(variance)), int(draws), float(hard))


@numba.njit(cache=True)
def _draw(  # type: ignore[no-untyped-def]
    seed, number, occupancy, site, start, neighbour, distance,
    alike_i, alike_j, alike_distance, chi, anion, max_draws, patience, weights, hard,
):  # fmt: skip
    """Sums of the five features and of P over draws, the sum of P^2, their number, the distance."""
    np.random.seed(seed)  # noqa: NPY002 - numba's own generator, seeded in compiled code
    n = len(number)
    there = np.zeros(n, np.bool_)
    sums = np.zeros(6)
    square = 0.0
    draws = 0
    failures, incomplete = 0, 0
    checked = np.zeros(6)
    random = False
    for i in range(n):
        random = random or occupancy[i] < 1.0
    while draws < max_draws:
        last, level, pick = -1, 0.0, 0.0
        for i in range(n):  # species of one site follow one another and exclude each other
            if site[i] != last:
                last, level, pick = site[i], 0.0, np.random.random()  # noqa: NPY002
            there[i] = level <= pick < level + occupancy[i]
            level += occupancy[i]
        clash = False
        for p in range(len(alike_i)):
            if alike_distance[p] < hard and there[alike_i[p]] and there[alike_j[p]]:
                clash = True
                break
        if clash:
            failures += 1
            if failures == 1000:
                failures = 0
                hard -= 0.1
            continue
        failures = 0
        values, complete = _features_of(there, number, start, neighbour, distance, chi, anion)
        if not complete:  # no Li, or none within reach of another
            incomplete += 1
            if incomplete == 1000:
                break
            continue
        z = weights[5]
        for f in range(5):
            z += weights[f] * values[f]
            sums[f] += values[f]
        p_value = 1.0 / (1.0 + np.exp(-z))
        sums[5] += p_value
        square += p_value * p_value
        draws += 1
        if not random:
            break
        if draws % patience == 0:
            settled = draws > patience
            for f in range(6):
                mean = sums[f] / draws
                settled = settled and abs(mean - checked[f]) <= 0.01 * abs(mean)
                checked[f] = mean
            if settled:
                break
    return sums, square, draws, hard


@numba.njit(cache=True)
def _features_of(there, number, start, neighbour, distance, chi, anion):  # type: ignore[no-untyped-def]
    """The five features of one occupation, and whether each distance was found."""
    values = np.zeros(5)
    lithium, anions, pairs, ionicity = 0, 0, 0, 0.0
    complete = True
    for i in range(len(number)):
        if not there[i]:
            continue
        is_lithium = number[i] == 3
        is_anion = number[i] == anion
        lithium += is_lithium
        anions += is_anion
        to_lithium, to_anion = -1.0, -1.0
        for p in range(start[i], start[i + 1]):
            j = neighbour[p]
            d = distance[p]
            if not there[j] or d < 0.1:
                continue
            if d < 4.0:
                if is_lithium:
                    values[0] += number[j] == 3
                else:
                    ionicity += abs(chi[i] - chi[j])
                    pairs += 1
            if to_lithium < 0.0 and number[j] == 3:
                to_lithium = d
            if number[j] == anion:
                if to_anion < 0.0:
                    to_anion = d
                if is_anion and d <= to_anion + 1.0:
                    values[2] += 1.0
            if (
                d > 4.0
                and to_anion > 0.0
                and d > to_anion + 1.0
                and (to_lithium > 0.0 or not is_lithium)
            ):
                break
        if is_lithium:
            values[3] += to_anion
            values[4] += to_lithium
            complete = complete and to_anion > 0.0 and to_lithium > 0.0
    if lithium == 0 or anions == 0:
        return values, False
    values[0] /= lithium
    values[1] = ionicity / max(pairs, 1)
    values[2] /= anions
    values[3] /= lithium
    values[4] /= lithium
    return values, complete
