"""How far ions get in a trajectory: mean square displacements, hops, diffusion, and their errors.

    MSD(t) = < |r(t0 + t) - r(t0)|^2 >_(ions, t0),      D = slope of MSD / 6

All moments are time origins. Displacements are those in the frame of the framework, whose centre of
mass is taken out. The slope is that between a tenth and half of the run, beyond rattling and before
the statistics of long lags fail.

How many hops make a diffusion coefficient: X. He, Y. Zhu, A. Epstein & Y. Mo, npj Comput. Mater. 4,
18 (2018), doi:10.1038/s41524-018-0074-y.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.stats import chi2

from mfal.errors import MfalError

__all__ = [
    "HOP",
    "Diffusion",
    "Displacements",
    "combined",
    "count_hops",
    "diffusion",
    "mean_square_displacement",
    "measure_displacements",
]

HOP = 3.0
"""Å, the length of a hop of lithium between sites; it turns displacements into a number of hops.
The distances of neighbouring lithium sites in conductors are mostly 2 to 4 Å."""
ENOUGH = 10.0
"""Hops below which a run only bounds the diffusion coefficient: the relative standard deviation of
He et al. is then above one."""
CONFIDENCE = 0.95
"""Of the bound."""
SMOOTHED = 200.0
"""fs over which positions are averaged before hops are counted: two periods of lithium's slow
vibrations (some 10 THz), a tenth or less of the time between hops of one ion."""
_CHUNK = 64
"""Atoms whose autocorrelations are taken at once."""


class Displacements(NamedTuple):
    """What a trajectory shows of one crystal."""

    lag: np.ndarray
    """[L] ps, from zero to half of the run."""
    mobile: np.ndarray
    """[L, 3] Å², mean square displacement of the mobile ions along x, y and z."""
    framework: dict[int, np.ndarray]
    """[L] Å² of each element of the framework, by atomic number."""
    hops: int
    """Counted, see `count_hops`."""
    ions: int
    """Mobile ions."""
    duration: float
    """ps."""


class Diffusion(NamedTuple):
    """A diffusion coefficient, or what bounds it."""

    value: float
    """Å²/ps (1e-4 cm²/s), the slope; it may be negative where nothing moves."""
    error: float
    """Å²/ps, one standard deviation by the number of hops; infinite without any."""
    bound: float
    """Å²/ps, below which the coefficient lies at 95 % confidence."""
    hops: float
    """Of 3 Å each, that the displacement is worth or that were counted, whichever is less."""
    state: str
    """`diffusing`, `few hops` or `melted`; in the last two the bound is the answer."""


def mean_square_displacement(positions: np.ndarray) -> np.ndarray:
    """Squares of displacements along each axis at every lag, [F, 3], over atoms and time origins.

    By Fourier transform, N log N in the number of moments: |r(t0 + t) - r(t0)|^2 is a sum of
    squares less twice an autocorrelation (G. R. Kneller et al., Comput. Phys. Commun. 91, 191
    (1995), doi:10.1016/0010-4655(95)00048-K).

    Args:
      positions: [F, n, 3] at equal intervals, not wrapped into a cell.

    >>> steady = np.arange(5.0)[:, None, None] * np.array([1.0, 2.0, 0.0])
    >>> mean_square_displacement(steady)[2].round(9).tolist()
    [4.0, 16.0, 0.0]
    """
    frames, atoms, _ = positions.shape
    if not atoms:
        return np.zeros((frames, 3))
    length = next_fast_len(2 * frames)
    total = np.zeros((frames, 3))
    origins = np.arange(frames, 0, -1)[:, None]
    for first in range(0, atoms, _CHUNK):
        part = np.asarray(positions[:, first : first + _CHUNK], np.float64)
        # About their mean, so that little is lost in the difference of large numbers.
        part = part - part.mean(0)
        transform = rfft(part, length, axis=0)
        correlation = irfft(np.abs(transform) ** 2, length, axis=0)[:frames].sum(1)
        squares = (part**2).sum(1)
        # Sums over origins of r(t0)^2 + r(t0 + t)^2: both lose a moment with every lag.
        ends = np.concatenate([np.zeros((1, 3)), np.cumsum(squares[::-1] + squares, axis=0)])
        sums = ends[-1] - ends[:frames]
        total += sums - 2 * correlation
    return np.maximum(total / origins / atoms, 0.0)


def measure_displacements(
    positions: np.ndarray,
    species: np.ndarray,
    masses: np.ndarray,
    mobile: int,
    interval: float,
) -> Displacements:
    """Displacements of the mobile ions and of the framework.

    Args:
      positions: [F, N, 3] Å, not wrapped into a cell.
      species: [N] atomic numbers.
      masses: [N] u.
      mobile: atomic number of what moves.
      interval: fs between moments.

    Raises:
      MfalError: without mobile ions or framework, or for too short a trajectory.
    """
    moving = species == mobile
    if not moving.any() or moving.all() or len(positions) < 20:
        raise MfalError(
            f"{len(positions)} moments of {int(moving.sum())} mobile ions among {len(species)}",
            "give twenty moments or more of a crystal that has both mobile ions and a framework",
        )
    weights = masses[~moving] / masses[~moving].sum()
    centre = np.einsum("fnk,n->fk", positions[:, ~moving], weights, dtype=np.float64)
    relative = positions - (centre - centre[0])[:, None]
    half = len(positions) // 2 + 1
    framework = {
        int(kind): mean_square_displacement(relative[:, species == kind])[:half].sum(1)
        for kind in np.unique(species[~moving])
    }
    return Displacements(
        lag=np.arange(half) * interval * 1e-3,
        mobile=mean_square_displacement(relative[:, moving])[:half],
        framework=framework,
        hops=count_hops(relative[:, moving], interval),
        ions=int(moving.sum()),
        duration=(len(positions) - 1) * interval * 1e-3,
    )


def combined(found: Sequence[Displacements]) -> Displacements:
    """Displacements in several cells of one crystal, at equal intervals, as if in one."""
    ions = np.array([one.ions for one in found], float)
    half = min(len(one.lag) for one in found)
    kinds = sorted(set().union(*(one.framework for one in found)))
    return Displacements(
        lag=found[0].lag[:half],
        mobile=np.average([one.mobile[:half] for one in found], axis=0, weights=ions),
        framework={
            kind: np.mean(
                [one.framework[kind][:half] for one in found if kind in one.framework], axis=0
            )
            for kind in kinds
        },
        hops=sum(one.hops for one in found),
        ions=int(ions.sum()),
        duration=float(np.average([one.duration for one in found], weights=ions)),
    )


def count_hops(positions: np.ndarray, interval: float) -> int:
    """Hops of ions from where they rested.

    An ion has hopped when its position, averaged over 0.2 ps, is more than half of 3 Å from where
    it rested. It rests anew 0.2 ps later, when the average holds nothing of the way; what it does
    meanwhile, and a return within that time, isn't counted.

    Args:
      positions: [F, n, 3] Å in the frame of the framework, not wrapped.
      interval: fs between moments.
    """
    window = max(1, round(SMOOTHED / interval))
    if len(positions) < 2 * window:
        return 0
    sums = np.cumsum(np.pad(positions, [(1, 0), (0, 0), (0, 0)]), axis=0, dtype=np.float64)
    smooth = (sums[window:] - sums[:-window]) / window
    rest = smooth[0].copy()
    waiting = np.zeros(len(rest), int)
    hops = 0
    for now in smooth[1:]:
        settled = waiting == 1
        rest[settled] = now[settled]
        free = waiting == 0
        moved = free & (np.linalg.norm(now - rest, axis=1) > HOP / 2)
        waiting = np.where(moved, window, np.maximum(waiting - 1, 0))
        hops += int(moved.sum())
    return hops


def diffusion(found: Displacements) -> Diffusion:
    """The diffusion coefficient of the mobile ions by the slope of their displacement.

    It is worth N = 6 D t n / (3 Å)² hops of n ions in a time t. With ten or more, counted ones too,
    its relative standard deviation is 3.43 / sqrt(N) + 0.04 (He et al., equations 8 and 9). With
    fewer the answer is the bound at 95 % confidence of a Poisson process that showed so many hops.
    Where the framework flows the crystal has molten, and what is measured bounds the crystal's own.
    """
    low = len(found.lag) // 5  # the lags end at half of the run
    slope = float(np.polyfit(found.lag[low:], found.mobile[low:].sum(1), 1)[0])
    value = slope / 6
    unit = HOP**2 / (6 * found.ions * found.duration)
    worth = max(value, 0.0) / unit
    hops = min(worth, float(found.hops))
    error = value * float(3.43 / np.sqrt(worth) + 0.04) if worth > 0 else float("inf")
    if all(_flows(msd) for msd in found.framework.values()):
        return Diffusion(value, error, value + 2 * error, hops, "melted")
    if hops < ENOUGH:
        return Diffusion(value, error, _poisson_bound(hops) * unit, hops, "few hops")
    return Diffusion(value, error, value + 2 * error, hops, "diffusing")


def _poisson_bound(count: float) -> float:
    """The mean of a Poisson process below which so few events are unlikely (5 %).

    F. Garwood, Biometrika 28, 437 (1936), doi:10.1093/biomet/28.3-4.437.

    >>> round(_poisson_bound(0), 3)
    2.996
    """
    return float(chi2.ppf(CONFIDENCE, 2 * (count + 1)) / 2)


def _flows(msd: np.ndarray) -> bool:
    """Whether a displacement is as large as half a hop and grows as a liquid's, with time."""
    last, middle = float(msd[-1]), float(msd[len(msd) // 2])
    return last > (HOP / 2) ** 2 and last > 1.5 * middle
