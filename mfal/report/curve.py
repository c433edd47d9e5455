"""Best answers against cost: what a search had found when it had paid so much."""

import heapq
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mfal.campaign.ledger.book import Answer
from mfal.campaign.standing import counted_as, counts

__all__ = ["TOP_K", "Curve", "best_curve", "compare_searches"]

TOP_K = 5
"""Answers whose mean the second curve follows."""
_COMPARED = 10
"""Answers by whose mean two searches are compared: what a campaign is to improve."""

_ALIKE = 0.05
"""Difference of two means that is called none; answers are shown with two digits."""


class Curve(NamedTuple):
    """Best target-fidelity answers among an account's proposals, against what had been paid."""

    cost: list[float]
    best: list[float]
    top: list[float | None]
    """Mean of the best five answers, of a formula each (of a candidate each in a pool); None before
    there are five."""
    values: list[float]
    """All that counts at the end, one for each formula (or candidate of a pool), best first."""


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
    curve, left = Curve([], [], [], []), dict(thoughts or {})
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
    ranked = sorted(seen.values(), reverse=True)
    return curve._replace(values=[sign * value for value in ranked])


def compare_searches(own: Curve, other: Curve, name: str, better: bool) -> str:
    """How the best of two searches compare, in a sentence without its full stop.

    Args:
      own: the campaign's.
      other: of the search beside it, at equal cost.
      name: of that search.
      better: whether larger values are.
    """
    number = min(_COMPARED, len(own.values), len(other.values))
    if not number:
        if own.values:
            return f"the {name} found nothing that counts at equal CPU time"
        found = (
            f"only the {name} found something" if other.values else "neither search found anything"
        )
        return f"{found} that counts"
    means = [statistics.fmean(curve.values[:number]) for curve in (own, other)]
    gain = (means[0] - means[1]) * (1 if better else -1)
    verdict = "as well as" if abs(gain) < _ALIKE else "better than" if gain > 0 else "worse than"
    return (
        f"by the mean of the {number} best ({means[0]:.2f} against {means[1]:.2f}) the campaign did"
        f" {verdict} the {name} at equal CPU time"
    )
