"""The conductivity at any temperature by kinetic Monte Carlo, with its statistical error.

Where ions move too seldom at the temperature that is asked, the simulation runs hotter: at the
first four temperatures of `TEMPERATURES` at which they get about. What is extrapolated is not the
conductivity, which need not follow Arrhenius' law where barriers are many, but the logarithm of its
ratio to the exact solution of the network (`mfal.oracles.hopping.network`) with as many ions: a
line in 1/kT through the ratios by weighted least squares. The network has the barriers, the ratio
the correlation of hops and what the ions' repulsion does; where ions are few and do not repel, it
is one.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mfal.errors import MfalError
from mfal.oracles.hopping.conductivity import conductivity, nernst_einstein, slowest_axis
from mfal.oracles.hopping.kmc import KmcResult, arrhenius_fit, simulate
from mfal.oracles.hopping.kmc_lattice import Repulsion
from mfal.oracles.hopping.network import BOLTZMANN, HopNetwork, mobility_tensor

__all__ = ["KmcConductivity", "KmcOptions", "kmc_conductivity", "supercell"]

TEMPERATURES = (400.0, 500.0, 600.0, 800.0, 1000.0, 1250.0, 1600.0, 2000.0, 2500.0, 3200.0)
"""K, where simulations run if the temperature asked is too cold. The rates are those of the given
network throughout: a hot run is a way to count rare hops, not a hot crystal."""
FITTED = 4
"""Temperatures that a line is drawn through."""
BLOCKS = 20
WIDTH = 10.0
"""Å, the least width of the supercell: twice the reach of the repulsion of Li+."""
SITES = 100
"""The least number of sites, so that one in a hundred can be empty."""
WANDERED = 10.0
"""Squares of the mean distance of sites that a moving ion or vacancy has to cover in a block, by
the network: rattling to and fro, which ends at a square or less, then counts for little."""
STAYED = 1.0
"""The same squares, as simulated: where repulsion keeps ions to less, it is too cold."""
GROUPS = 32
"""Groups of blocks that the jackknife leaves out in turn: five blocks each of eight replicas of
twenty."""
ALIKE = 0.05
"""Relative difference up to which two principal values of the network count as equal."""
LARGEST_ERROR = 0.5
"""Relative; a temperature whose conductivity is known worse says nothing."""


class KmcOptions(NamedTuple):
    """How long and how often is simulated."""

    attempts: int = 4_000_000
    """At each temperature, over all replicas: what bounds the time."""
    replicas: int = 8
    seed: int = 0


class KmcConductivity(NamedTuple):
    """What kinetic Monte Carlo finds at one temperature."""

    log10: float
    """S/cm; -inf where the network does not percolate."""
    error: float
    """One standard error of it, from the scatter of replicas and the line through the ratios."""
    temperatures: tuple[float, ...]
    """K, at which was simulated; the temperature asked alone where nothing is extrapolated."""
    log10_ratio: tuple[float, ...]
    """Simulated over exact network, at each."""
    results: tuple[KmcResult, ...]
    ions: int
    sites: int
    """In the supercell."""


def supercell(network: HopNetwork) -> tuple[int, int, int]:
    """Cells along each axis so that the supercell is `WIDTH` wide and has `SITES` sites."""
    width = 1.0 / np.linalg.norm(np.linalg.inv(network.lattice), axis=0)
    repeat = np.ceil(WIDTH / width).astype(int)
    while len(network.site_energy) * repeat.prod() < SITES:
        repeat[np.argmin(width * repeat)] += 1
    return int(repeat[0]), int(repeat[1]), int(repeat[2])


def kmc_conductivity(
    network: HopNetwork,
    count: float,
    temperature: float = 300.0,
    repulsion: Repulsion | None = None,
    least_vacancy: float = 0.0,
    options: KmcOptions | None = None,
    measure: Callable[[np.ndarray], float] = slowest_axis,
) -> KmcConductivity:
    """Conductivity of `count` ions a cell that exclude and repel each other.

    Args:
      network: sites and hops of the cell.
      count: mobile ions of charge one in the cell.
      temperature: K.
      repulsion: of the ions; None for site exclusion alone.
      least_vacancy: share of the sites that is empty where the ions would leave less; one site of
        the supercell at the least.
      options: effort and seed.
      measure: what counts of the tensor, a function of its principal values, ascending.

    Raises:
      MfalError: where nothing gets about in the attempts granted, however hot.
    """
    options = options or KmcOptions()
    repeat = supercell(network)
    cells, sites = int(np.prod(repeat)), len(network.site_energy) * int(np.prod(repeat))
    fullest = sites - max(1, round(least_vacancy * sites))
    ions = max(1, min(round(count * cells), fullest))
    count = ions / cells
    exact = measure(conductivity(network, count, temperature, exclusion=True).principal)
    if exact <= 0:
        return KmcConductivity(-np.inf, 0.0, (), (), (), ions, sites)
    per_mover = options.attempts / (options.replicas * BLOCKS * min(ions, sites - ions))
    if per_mover < 1:
        raise MfalError(
            f"{ions} moving ions in a supercell", "give a smaller cell, or more attempts"
        )
    kept: list[tuple[float, float, float, KmcResult]] = []
    for kelvin in (temperature, *(t for t in TEMPERATURES if t > temperature)):
        wandered = _wandered(network, count, kelvin, per_mover, measure)
        if wandered < WANDERED:
            continue
        result = simulate(
            network, kelvin, ions, repeat, seed=options.seed, replicas=options.replicas,
            blocks=BLOCKS, attempts_per_ion=int(per_mover), repulsion=repulsion,
        )  # fmt: skip
        sigma, error = _measured(network, result, count, kelvin, measure)
        reference = measure(conductivity(network, count, kelvin, exclusion=True).principal)
        ratio, spread = sigma / reference, error / reference
        if wandered * ratio > STAYED and spread < LARGEST_ERROR * ratio:
            kept.append((kelvin, ratio, spread, result))
        if len(kept) == FITTED or (kept and kept[0][0] == temperature):
            break
    if not kept or (len(kept) < 2 and kept[0][0] != temperature):
        raise MfalError(
            f"no ion gets about in {options.attempts:.0e} attempts at up to {TEMPERATURES[-1]:g} K",
            "ask the network's exact solution, or grant more attempts",
        )
    kelvins, ratios, errors, results = zip(*kept, strict=True)
    if kelvins[0] == temperature:
        log_ratio, error = np.log10(ratios[0]), errors[0] / ratios[0] / np.log(10.0)
    else:
        log_ratio, error = _extrapolated(np.array(kelvins), ratios, errors, temperature)
    value = float(np.log10(exact) + log_ratio)
    logs = tuple(map(float, np.log10(ratios)))
    return KmcConductivity(value, float(error), kelvins, logs, results, ions, sites)


def _wandered(
    network: HopNetwork,
    count: float,
    temperature: float,
    per_mover: float,
    measure: Callable[[np.ndarray], float],
) -> float:
    """Mean square displacement of a moving ion or vacancy in a block, by the exact network.

    In squares of the mean distance of sites; as if it were in every direction as what is measured.
    """
    sites = len(network.site_energy)
    thermal = BOLTZMANN * temperature
    by_vacancy = sites - count < count
    total = np.zeros(sites)
    for one, other in ((0, 1), (1, 0)):
        origin = network.hop[:, other if by_vacancy else one]
        rates = np.exp(-(network.saddle_energy - network.site_energy[origin]) / thermal)
        np.add.at(total, network.hop[:, one], rates)
    mobility = mobility_tensor(network, temperature, count, True, attempt_frequency=1.0)
    movers = min(count, sites - count)
    spread = 6.0 * measure(np.maximum(np.linalg.eigvalsh(mobility), 0.0)) / movers
    spacing = float(abs(np.linalg.det(network.lattice)) / sites) ** (1 / 3)
    return float(spread * per_mover / total.max() / spacing**2)


def _measured(
    network: HopNetwork,
    result: KmcResult,
    count: float,
    temperature: float,
    measure: Callable[[np.ndarray], float],
) -> tuple[float, float]:
    """What is measured of the conductivity, S/cm, and its standard error by the jackknife.

    The principal values are those along the axes of the exact network, averaged where the network
    has them alike. Eigenvalues of the noisy tensor itself would be biased, since noise always finds
    a slower direction than the slowest: by -16 % for three equal axes and 160 blocks, more than the
    error, by -1 % where one axis is slower by ten than the others (Gaussian drifts). The jackknife
    leaves out one of `GROUPS` groups of neighbouring blocks at a time; by eight replicas its error
    would itself be uncertain by a quarter.
    """
    volume = float(abs(np.linalg.det(network.lattice)))
    exact, axes = np.linalg.eigh(conductivity(network, count, temperature, exclusion=True).tensor)
    apart = np.diff(exact) > ALIKE * np.abs(exact[1:])
    alike = np.cumsum(np.concatenate([[0], apart]))

    def average(collective: np.ndarray) -> float:
        tensor = nernst_einstein(count * collective, volume, temperature)
        along = np.einsum("ki,kl,li->i", axes, tensor, axes)
        means = np.bincount(alike, along) / np.bincount(alike)
        return measure(np.sort(np.maximum(means[alike], 0.0)))

    blocks = result.collective_blocks.reshape(-1, 3, 3)
    groups = np.array([part.mean(axis=0) for part in np.array_split(blocks, GROUPS)])
    without = [average(np.delete(groups, k, axis=0).mean(axis=0)) for k in range(GROUPS)]
    error = float(np.std(without) * np.sqrt(GROUPS - 1))
    return average(result.collective), error


def _extrapolated(
    kelvins: np.ndarray, ratios: tuple[float, ...], errors: tuple[float, ...], temperature: float
) -> tuple[float, float]:
    """log10 of the ratio at a temperature, and its error, widened where the line does not fit."""
    values, spread = np.array(ratios), np.array(errors)
    fit = arrhenius_fit(kelvins, values, spread)
    value, error = fit.log10_at(temperature)
    if len(kelvins) > 2:
        line = np.array([fit.log10_at(kelvin)[0] for kelvin in kelvins]) * np.log(10.0)
        misfit = ((np.log(values) - line) * values / spread) ** 2
        error *= max(1.0, float(np.sqrt(misfit.sum() / (len(kelvins) - 2))))
    return value, error
