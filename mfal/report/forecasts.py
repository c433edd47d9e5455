"""What the proxy expected before each answer, beside the answer.

Every proposal carries the proxy's mean and standard deviations into the ledger when it is decided
on, so nothing here has seen the answer that it is compared with.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from mfal.report.summary import Summary

__all__ = ["LEVEL", "Forecast", "coverage_curve", "forecasts_of"]

LEVEL = 0.9
"""Probability of the intervals that are drawn."""
_GAUSSIAN = float(norm.ppf(0.5 + LEVEL / 2))


class Forecast(NamedTuple):
    """One expectation and what came of it, in the oracle's unit."""

    formula: str
    space_group: int
    round: int
    fidelity: int
    expected: float
    std: float
    """Standard deviation expected of the answer: of the true value and of the answer around it."""
    low: float
    """Lower end of the 90 % interval, cut at the oracle's bounds: the standard deviation times the
    factor that covered 90 % of the rows held out in that round's fit, or the Gaussian's where the
    ledger keeps none."""
    high: float
    """Upper end."""
    observed: float

    @property
    def inside(self) -> bool:
        """Whether the answer lies in the interval."""
        return self.low <= self.observed <= self.high


def forecasts_of(summary: Summary, fidelity: int) -> list[Forecast]:
    """Expectations that were answered at one fidelity, in the order of decision."""
    found = []
    for answer in summary.answers:
        query = answer.query
        if query.fidelity != fidelity or answer.value is None or "mean" not in query.predicted:
            continue
        noise = query.predicted.get("noise")
        std = float(np.hypot(query.predicted["std"][fidelity], noise[fidelity] if noise else 0.0))
        factors = summary.intervals.get(query.round)
        half = std * (factors[fidelity] if factors else _GAUSSIAN)
        expected = float(query.predicted["mean"][fidelity])
        low, high = summary.oracles[fidelity].bounds
        found.append(
            Forecast(
                query.crystal.formula,
                query.crystal.space_group,
                query.round,
                fidelity,
                expected,
                std,
                max(low, expected - half),
                min(high, expected + half),
                answer.value,
            )
        )
    return found


def coverage_curve(forecasts: Sequence[Forecast], levels: Sequence[float]) -> list[float]:
    """Share of answers inside the central Gaussian interval of each level.

    Equal to the levels where the standard deviations are right.

    >>> flat = [Forecast("Li", 1, 1, 0, 0.0, 1.0, -1.6, 1.6, x) for x in (0.1, 0.5, 1.0, 3.0)]
    >>> coverage_curve(flat, [0.5, 0.95])
    [0.5, 0.75]
    """
    deviation = np.array([abs(f.observed - f.expected) / max(f.std, 1e-12) for f in forecasts])
    half = norm.ppf(0.5 + np.asarray(levels) / 2)
    return [float(share) for share in (deviation <= half[:, None]).mean(axis=1)]
