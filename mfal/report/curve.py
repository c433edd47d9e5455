"""Best answers against cost: what a search had found when it had paid so much."""

import heapq
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mfal.campaign.ledger.book import Answer
from mfal.campaign.standing import counted_as, counts

__all__ = ["TOP_K", "Curve", "best_curve"]

TOP_K = 5
"""Answers whose mean the second curve follows."""


class Curve(NamedTuple):
    """Best target-fidelity answers among an account's proposals, against what had been paid."""

    cost: list[float]
    best: list[float]
    top: list[float | None]
    """Mean of the best five answers, of a formula each (of a candidate each in a pool); None before
    there are five."""


def best_curve(
    answers: Sequence[Answer],
    paid: float,
    target: int,
    better: bool,
    limit: float | None,
    thoughts: Mapping[int, float] | None = None,
) -> Curve:
    """The curve in the order of decisions, so that it doesn't depend on which answer came first.

    What deciding cost (`thoughts`, by round) is paid before a round's first question.

    Known compounds, and what lies farther from the hull than `limit`, are paid for and don't count.
    """
    curve, left = Curve([], [], []), dict(thoughts or {})
    sign = 1.0 if better else -1.0
    seen: dict[str, float] = {}
    for answer in answers:
        paid += left.pop(answer.query.round, 0.0)
        if answer.kind != "abandoned":
            paid += answer.query.cost
        answered = answer.query.fidelity == target and answer.value is not None
        if answered and counts(answer, limit):
            assert answer.value is not None
            name = counted_as(answer.query.crystal)
            seen[name] = max(seen.get(name, -math.inf), sign * answer.value)
        if seen:
            ranked = heapq.nlargest(TOP_K, seen.values())
            curve.cost.append(paid)
            curve.best.append(sign * ranked[0])
            curve.top.append(sign * statistics.fmean(ranked) if len(ranked) == TOP_K else None)
    return curve
