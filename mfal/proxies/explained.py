"""What each fidelity is worth, in words for the user."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mfal.proxies.dataset import EXACT, Dataset
from mfal.proxies.relation import Reliability

__all__ = ["Explained", "describe_fidelity", "explained_variance"]

# Fewer pairs than this don't give a correlation worth a word.
_MIN_PAIRS = 4
_NORMAL_90 = 1.6448536


class Explained(NamedTuple):
    """How much of the target's variance a fidelity explains, over crystals seen at both."""

    share: float
    """Adjusted squared correlation, 0 to 1; NaN with fewer than four crystals."""
    low: float
    """Lower end of the 90 % interval, 0 to 1."""
    high: float
    """Upper end of the 90 % interval, 0 to 1."""
    sign: int
    """Sign of the correlation: -1 where a higher value means a worse target value."""
    pairs: int
    """Crystals observed at both fidelities."""
    remaining: float
    """Share of what is still unknown about a new crystal's target value that an answer of this
    fidelity would explain: the learned posterior correlation, squared."""


def explained_variance(data: Dataset, reliability: Reliability) -> list[Explained]:
    """For each fidelity, its share in the variance of the target; host-side, for reports.

    The adjusted R^2 of a straight line, 1 - (1 - r^2)(n - 1)/(n - 2) but not below zero, is free of
    the share 1/(n - 1) that a useless fidelity would explain by chance. The interval comes from
    Fisher's z, with standard error 1/sqrt(n - 3).
    """
    num = len(reliability.spread)
    use = np.asarray(data.valid) & (np.asarray(data.censoring) == EXACT)
    means: list[dict[int, float]] = []
    for k in range(num):
        rows = np.flatnonzero(use & (np.asarray(data.fidelity) == k))
        materials, values = np.asarray(data.material)[rows], np.asarray(data.value)[rows]
        means.append({int(i): float(values[materials == i].mean()) for i in np.unique(materials)})
    remaining = np.asarray(reliability.correlation)[:, -1] ** 2
    return [_compare(means[k], means[-1], float(remaining[k])) for k in range(num)]


def describe_fidelity(name: str, target: str, explained: Explained) -> str:
    """One line for the user.

    >>> describe_fidelity("bvse", "experiment", Explained(0.14, 0.05, 0.27, -1, 60, 0.1))
    'fidelity bvse explains 14 % of the variance of experiment (90 % interval 5 to 27 %, 60
    crystals); 10 % of what is still unknown'
    """
    if math.isnan(explained.share):
        return f"fidelity {name}: too few crystals in common with {target} ({explained.pairs})"
    return (
        f"fidelity {name} explains {100 * explained.share:.0f} % of the variance of {target} "
        f"(90 % interval {100 * explained.low:.0f} to {100 * explained.high:.0f} %, "
        f"{explained.pairs} crystals); {100 * explained.remaining:.0f} % of what is still unknown"
    )


def _compare(low: dict[int, float], target: dict[int, float], remaining: float) -> Explained:
    both: Sequence[int] = sorted(low.keys() & target.keys())
    x, y = np.array([low[i] for i in both]), np.array([target[i] for i in both])
    count = len(both)
    if count < _MIN_PAIRS or x.std() < 1e-9 or y.std() < 1e-9:
        return Explained(math.nan, 0.0, 1.0, 0, count, remaining)
    r = float(np.clip(np.corrcoef(x, y)[0, 1], -0.999999, 0.999999))
    share = max(0.0, 1 - (1 - r * r) * (count - 1) / (count - 2))
    half = _NORMAL_90 / math.sqrt(count - 3)
    ends = [math.tanh(math.atanh(r) + side * half) for side in (-1, 1)]
    inside_zero = ends[0] * ends[1] < 0
    low_end = 0.0 if inside_zero else min(e * e for e in ends)
    return Explained(share, low_end, max(e * e for e in ends), int(np.sign(r)), count, remaining)
