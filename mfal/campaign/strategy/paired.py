"""What a crystal's own cheap answer says of its value at the target fidelity.

The proxy learns from cheap answers as from any row: smooth functions of composition, group and
lattice, which a single row moves little. Yet two answers about the same arrangements of atoms have
far more in common than the triple tells (on random crystals of the default space the barrier ranks
the conductivity with rho .71 [.65, .76], `experiments/campaign_replay.py`). So the target is
regressed on the cheap answer over all crystals that have answered both, and the prediction is
merged with the proxy's.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mfal.campaign.ledger.book import Answer
from mfal.campaign.ledger.records import CrystalRecord
from mfal.campaign.strategy.learner import Expectation
from mfal.campaign.strategy.observations import score
from mfal.oracles.types import Oracle

__all__ = ["Line", "OwnAnswers", "fit_line", "merge", "own_answers", "with_own_answers"]

_FEWEST = 6
"""Pairs below which there is no line."""
_OWN = 10
"""Pairs among proposed crystals from which known ones, which may be of another kind, don't
count any more."""
_WEIGHT = 2.0
"""Pairs at the mean that hold the slope down."""


class Line(NamedTuple):
    """A regression of the target's score on a cheap fidelity's."""

    slope: float
    intercept: float
    residual: float
    """Standard deviation of the target's score around the line."""
    low: float
    """Cheap scores below count as this."""
    mean: float
    """Mean of the target's scores."""
    std: float
    """Standard deviation of the target's scores."""


def fit_line(cheap: np.ndarray, target: np.ndarray) -> Line | None:
    """Least squares over pairs [n] of scores; None for few pairs.

    Scores far below the median are merely bad: how bad must not tilt the line, so that both are cut
    twice as far below the median as the best tenth lies above it.
    """
    if len(target) < _FEWEST or np.ptp(cheap) == 0 or np.ptp(target) == 0:
        return None
    x, y = (np.maximum(values, _floor(values)) for values in (cheap, target))
    dx, dy = x - x.mean(), y - y.mean()
    slope = float(dx @ dy / (dx @ dx + _WEIGHT * x.var()))
    left = dy - slope * dx
    residual = float(np.sqrt(left @ left / (len(y) - 2)))
    intercept = float(y.mean() - slope * x.mean())
    return Line(slope, intercept, residual, _floor(cheap), float(y.mean()), float(y.std()))


def merge(
    mean: float, std: float, line: Line, cheap: float, *, floor: float = 1e-6
) -> tuple[float, float]:
    """Mean and standard deviation of the target's score from the proxy and from the line.

    Two Gaussian predictions that rest on the same prior N(m, s^2), the distribution of the scores,
    and are else independent: precisions add up, the prior's counted once, and so do the means times
    precisions.
    """
    told = line.intercept + line.slope * max(cheap, line.low)
    prior = 1.0 / max(line.std, floor) ** 2
    ours = max(1.0 / max(std, floor) ** 2, prior)
    theirs = max(1.0 / max(line.residual, floor) ** 2, prior)
    total = ours + theirs - prior
    return (ours * mean + theirs * told - prior * line.mean) / total, float(total**-0.5)


class OwnAnswers(NamedTuple):
    """What has been answered about single crystals, and the lines through it."""

    heard: list[dict[str, float]]
    """By fidelity, scores by the crystal's hash."""
    lines: dict[int, Line]
    """By cheap fidelity, where there are pairs enough."""

    @property
    def related(self) -> np.ndarray:
        """Size of the correlation of each answer with the target's about the same crystal, [M]."""
        found = np.append(np.zeros(len(self.heard) - 1), 1.0)
        for m, line in self.lines.items():
            found[m] = np.sqrt(max(1.0 - (line.residual / line.std) ** 2, 0.0))
        return found


def own_answers(answers: Sequence[Answer], oracles: Sequence[Oracle]) -> OwnAnswers:
    """Scores by crystal, and a line for each cheap fidelity."""
    target = len(oracles) - 1
    heard: list[dict[str, float]] = [{} for _ in oracles]
    proposed: set[str] = set()
    for answer in answers:
        crystal, m = answer.query.crystal, answer.query.fidelity
        if answer.kind == "observed" and answer.value is not None:
            heard[m][crystal.hash] = score(oracles[m], answer.value)
            if crystal.proposed:
                proposed.add(crystal.hash)
    lines = {}
    for m in range(target):
        both = [name for name in heard[m] if name in heard[target]]
        own = [name for name in both if name in proposed]
        pairs = own if len(own) >= _OWN else both
        line = fit_line(
            np.array([heard[m][name] for name in pairs]),
            np.array([heard[target][name] for name in pairs]),
        )
        if line is not None:
            lines[m] = line
    return OwnAnswers(heard, lines)


def with_own_answers(
    expected: Expectation, records: Sequence[CrystalRecord], own: OwnAnswers
) -> Expectation:
    """What is expected of the target, given what each crystal has answered more cheaply.

    Of several answers the one counts whose line leaves least.

    Args:
      expected: of the crystals, by the proxy.
      records: the crystals, as many.
      own: of the campaign's answers.
    """
    heard, lines = own.heard, own.lines
    mean, std = np.array(expected.mean, float), np.array(expected.std, float)
    for i, record in enumerate(records):
        told = [m for m in lines if record.hash in heard[m]]
        if told and record.hash not in heard[-1]:
            m = min(told, key=lambda m: lines[m].residual)
            mean[i, -1], std[i, -1] = merge(
                mean[i, -1], std[i, -1], lines[m], heard[m][record.hash]
            )
    return expected._replace(mean=mean, std=std)


def _floor(values: np.ndarray) -> float:
    middle = float(np.median(values))
    return middle - 2.0 * (float(np.quantile(values, 0.9)) - middle)
