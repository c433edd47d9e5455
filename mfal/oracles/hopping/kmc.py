"""Kinetic Monte Carlo of ions that exclude each other from the sites of a hop network.

Each ion hops from site i to a free site j with the rate nu0 exp(-(E_ij - E_i) / kT), times
min(1, exp(-dV / kT)) where the hop changes the ions' repulsion by dV (the saddle is taken to lie
as high in the repulsion as the higher of its two ends); both obey detailed balance. Attempts are
drawn uniformly over ions (or over vacancies, where these are fewer) and over the fastest site's
rates, and those that come to nothing still take their time: the null-event method, exact and cheap
per attempt.

    D* = <sum_k |dr_k|^2> / (6 N t)   of a tagged ion,    D = <|sum_k dr_k|^2> / (6 N t)  of charge

Their ratio is Haven's. Errors come from blocks of the trajectories, taken as independent; a block
must be long against the time in which an ion forgets where it came from.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from mfal.errors import MfalError
from mfal.oracles.hopping.kmc_kernel import equilibrate, initial_sites, run_blocks
from mfal.oracles.hopping.kmc_lattice import Repulsion, kmc_lattice
from mfal.oracles.hopping.network import ATTEMPT_FREQUENCY, BOLTZMANN, HopNetwork

__all__ = ["ArrheniusFit", "KmcResult", "arrhenius_fit", "simulate"]


class KmcResult(NamedTuple):
    """Averages over replicas and blocks, with standard errors."""

    tracer: np.ndarray
    """[3, 3] float64, tracer diffusion tensor, Å^2/s."""
    collective: np.ndarray
    """[3, 3] float64, collective diffusion tensor, Å^2/s: the one that carries charge."""
    collective_blocks: np.ndarray
    """[R, blocks, 3, 3] float64, the same from each block alone."""
    tracer_mean: tuple[float, float]
    """A third of the trace and its standard error, Å^2/s."""
    collective_mean: tuple[float, float]
    haven_ratio: tuple[float, float]
    correlation_factor: tuple[float, float]
    """Tracer diffusion over that of uncorrelated hops of the same number and lengths."""
    ions: int
    hops: int
    """Hops made, in all replicas after equilibration."""
    attempts: int
    """Hops tried, those onto filled sites and null events included."""
    time: float
    """s, simulated in each replica."""


def simulate(
    network: HopNetwork,
    temperature: float,
    ions: int,
    repeat: tuple[int, int, int] = (4, 4, 4),
    *,
    seed: int = 0,
    replicas: int = 8,
    blocks: int = 20,
    attempts_per_ion: int = 2000,
    equilibration: float = 0.2,
    sweeps: int = 200,
    repulsion: Repulsion | None = None,
    attempt_frequency: float = ATTEMPT_FREQUENCY,
) -> KmcResult:
    """Simulates `ions` ions on the sites of a supercell.

    Args:
      network: sites and hops; merge shallow sites first, or their rapid hops take all the time.
      temperature: K.
      ions: in the supercell, less than its sites.
      repeat: cells of the supercell.
      seed: of the first replica; the same seed gives the same result, bit for bit.
      replicas: independent runs, in parallel.
      blocks: of each run.
      attempts_per_ion: in each block; of vacancies instead of ions where these are fewer.
      equilibration: blocks' length discarded at the start, as a share of the run.
      sweeps: attempts an ion to go anywhere, before its hops are followed.
      repulsion: of the ions, see `ion_repulsion`; None for site exclusion alone.
      attempt_frequency: 1/s.

    Raises:
      MfalError: when the ions do not fit, or the network has no hops.
    """
    lattice = kmc_lattice(network, repeat, temperature, attempt_frequency, repulsion)
    sites = len(lattice.kind)
    if not 0 < ions < sites:
        raise MfalError(f"{ions} ions on {sites} sites", "leave at least one site empty")
    if lattice.out[:, -1].max() <= 0:
        raise MfalError("a network without hops", "raise the margin of the percolation sweep")
    by_vacancy = sites - ions < ions
    movers = sites - ions if by_vacancy else ions
    table = lattice.back if by_vacancy else lattice.out
    fastest = float(table[:, -1].max())
    per_block = int(attempts_per_ion) * movers
    warm_up = int(equilibration * blocks * per_block)
    thermal = BOLTZMANN * temperature
    energy, pair = lattice.energy / thermal, lattice.pair / thermal
    seeds = np.random.SeedSequence(seed).generate_state(2 * replicas, np.uint64).reshape(-1, 2)

    def one(replica: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        first, second = seeds[replica]
        start = initial_sites(lattice, ions, temperature, int(first))
        start = equilibrate(lattice.kind, energy, lattice.near, pair, start, sweeps, first)
        return run_blocks(
            lattice.kind, lattice.target, table, lattice.step, lattice.near, pair, start,
            by_vacancy, fastest, warm_up, blocks, per_block, second,
        )  # fmt: skip

    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(one, range(replicas)))
    squares, drifts, jumps = (np.stack([run[k] for run in runs]) for k in range(3))
    duration = per_block / (movers * fastest)
    return _averages(squares, drifts, jumps, ions, duration, blocks, replicas * blocks * per_block)


def _averages(
    squares: np.ndarray,
    drifts: np.ndarray,
    jumps: np.ndarray,
    ions: int,
    duration: float,
    blocks: int,
    attempts: int,
) -> KmcResult:
    """Tensors and errors from blocks.

    Args:
      squares: [R, blocks, 3, 3], sum over ions of dr (x) dr in a block, Å^2.
      drifts: [R, blocks, 3], sum over ions of dr, Å.
      jumps: [R, blocks, 2], number of hops and sum of their squared lengths.
      ions: their number.
      duration: of a block, s.
      blocks: of a run.
      attempts: in all.
    """
    tracer = squares.reshape(-1, 3, 3) / (2.0 * ions * duration)
    drift = drifts.reshape(-1, 3)
    collective = drift[:, :, None] * drift[:, None, :] / (2.0 * ions * duration)
    free = jumps.reshape(-1, 2)[:, 1] / (6.0 * ions * duration)
    tracer_trace = np.trace(tracer, axis1=1, axis2=2) / 3.0
    collective_trace = np.trace(collective, axis1=1, axis2=2) / 3.0
    return KmcResult(
        tracer.mean(axis=0),
        collective.mean(axis=0),
        collective.reshape(len(drifts), blocks, 3, 3),
        _mean(tracer_trace),
        _mean(collective_trace),
        _ratio(tracer_trace, collective_trace),
        _ratio(tracer_trace, free),
        ions,
        int(jumps[..., 0].sum()),
        attempts,
        duration * blocks,
    )


def _mean(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def _ratio(top: np.ndarray, bottom: np.ndarray) -> tuple[float, float]:
    """Ratio of two means and its error to first order, their covariance included."""
    if bottom.mean() <= 0:
        return np.nan, np.nan
    ratio = top.mean() / bottom.mean()
    residual = (top - ratio * bottom) / bottom.mean()
    return float(ratio), float(residual.std(ddof=1) / np.sqrt(len(residual)))


class ArrheniusFit(NamedTuple):
    """ln D = ln D0 - E / kT through values at several temperatures."""

    activation_energy: tuple[float, float]
    """eV, and standard error."""
    log_prefactor: tuple[float, float]
    """ln of D0 in the values' unit, and standard error."""
    covariance: np.ndarray
    """[2, 2], of (ln D0, E)."""

    def log10_at(self, temperature: float) -> tuple[float, float]:
        """log10 of the value at another temperature, and its standard error."""
        row = np.array([1.0, -1.0 / (BOLTZMANN * temperature)])
        value = row @ (self.log_prefactor[0], self.activation_energy[0])
        return float(value / np.log(10)), float(np.sqrt(row @ self.covariance @ row) / np.log(10))


def arrhenius_fit(temperatures: np.ndarray, values: np.ndarray, errors: np.ndarray) -> ArrheniusFit:
    """Weighted least squares in ln D against 1/kT.

    Args:
      temperatures: [n], K, at least two.
      values: [n], positive.
      errors: [n], standard errors of the values.

    Raises:
      MfalError: for fewer than two temperatures, or values that are not positive.

    >>> kelvin = np.array([800.0, 1000.0, 1250.0])
    >>> values = 3e14 * np.exp(-0.4 / (8.617333262e-5 * kelvin))
    >>> round(arrhenius_fit(kelvin, values, 0.01 * values).activation_energy[0], 6)
    0.4
    """
    values, errors = np.asarray(values, float), np.asarray(errors, float)
    if len(np.unique(temperatures)) < 2 or not (values > 0).all():
        raise MfalError(
            "an Arrhenius fit needs positive values at two temperatures or more",
            "simulate longer, or hotter",
        )
    inverse = 1.0 / (BOLTZMANN * np.asarray(temperatures, float))
    design = np.stack([np.ones_like(inverse), -inverse], axis=1)
    weight = (values / np.maximum(errors, 1e-12 * values)) ** 2
    covariance = np.linalg.inv(design.T @ (weight[:, None] * design))
    solution = covariance @ (design.T @ (weight * np.log(values)))
    error = np.sqrt(np.diag(covariance))
    return ArrheniusFit(
        (float(solution[1]), float(error[1])), (float(solution[0]), float(error[0])), covariance
    )
