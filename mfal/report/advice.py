"""What a campaign could not do with its budget and its elements, and what would."""

from mfal.durations import show_duration
from mfal.report.summary import Summary

__all__ = ["advice"]


def advice(summary: Summary) -> list[str]:
    """A sentence for each thing that was asked for and did not happen; none while it runs."""
    if not summary.finished:
        return []
    return [*_never_asked(summary), *_left(summary), *_absent(summary)]


def _never_asked(summary: Summary) -> list[str]:
    """That the target oracle has answered about no candidate."""
    target, last = summary.target, len(summary.oracles) - 1
    tried = [
        answer
        for answer in summary.answers
        if answer.query.crystal.proposed
        and answer.query.fidelity == last
        and answer.kind != "abandoned"
    ]
    if tried:
        failed = all(answer.value is None for answer in tried)
        return [f"All {len(tried)} questions to {target.name} about candidates failed"] * failed
    costs = [a.query.cost for a in summary.answers if a.query.fidelity == last] or [target.cost]
    rounds = max(int(summary.config.get("rounds", 1)), 1)
    once = max(costs)
    enough = summary.initial_cost + 2.0 * rounds * once
    return [
        f"No candidate was asked of {target.name}, the target: one question costs"
        f" {show_duration(once)}, and {show_duration(summary.initial_cost)} went to"
        f" {summary.begun_with}."
        f" A budget of {show_duration(max(enough, 1.5 * _budget(summary)))}, fewer --rounds or a"
        " smaller --initial would buy some"
    ]


def _left(summary: Summary) -> list[str]:
    """That much of the budget was not spent."""
    budget = _budget(summary)
    left = budget - summary.spent - summary.reserved
    if budget and left > 0.25 * budget and summary.config.get("target") is None:
        more = "a larger pool" if summary.config.get("pool") else "more elements"
        return [
            f"{show_duration(left)} of {show_duration(budget)} were left: no round found more to"
            f" ask within its share; {more} or larger --sampler-samples give it more to choose"
            " from"
        ]
    return []


def _absent(summary: Summary) -> list[str]:
    """Elements that were allowed by name and that no candidate holds."""
    wanted = summary.config.get("space", {}).get("elements") or []
    held = {symbol for c in summary.candidates for symbol in c.crystal.composition}
    absent = [symbol for symbol in wanted if symbol not in held]
    if not summary.candidates or not absent or len(wanted) > _FEW:
        return []
    return [
        f"No candidate holds {' or '.join(absent)}: that an element is allowed asks for nothing"
        " with it; a larger --budget looks at more compounds"
    ]


_FEW = 8
"""Elements up to which a list is taken as a wish for all of them."""


def _budget(summary: Summary) -> float:
    return float(summary.config.get("budget") or 0.0)
