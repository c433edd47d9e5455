"""Figures of the search: what was found for what, and what was asked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from mfal.report.curve import TOP_K, Curve
from mfal.report.plot import INK, SERIES, Figure
from mfal.report.summary import Summary

__all__ = ["best_against_cost", "fidelity_mix", "fidelity_worth", "rank_agreement", "top_mean"]

_LABELLED = 0.05
"""Share of the highest bar below which a part carries no number."""
_FEWEST_PAIRS = 4
"""Crystals answered at both fidelities, below which a correlation is not worth a word."""


def best_against_cost(summary: Summary) -> Figure:
    """Best answer of the target oracle against cost, beside the baseline at equal cost.

    Both curves start where the initial data are paid for, which both searches have to buy.
    """
    target = summary.target

    def draw(axes: Any) -> None:
        _curves(axes, summary, lambda curve: curve.best)
        known = summary.best_known
        if known is not None and known.value is not None:
            label = f"best known crystal asked: {known.query.crystal.formula}"
            axes.axhline(known.value, color=INK, linestyle=":", label=label)
        axes.set_ylabel(f"best {target.name} ({target.unit})")
        axes.legend(loc="best", frameon=False, fontsize=9)

    return Figure(
        "best_against_cost",
        "Best proposal so far against cost",
        f"Best answer of {target.name} among the proposals. Both searches pay for the same initial"
        " data first (grey line); failures are charged.",
        ["search", "cost", f"best {target.name} [{target.unit}]"],
        _rows(summary, lambda curve: curve.best),
        draw if any(curve.cost for _, curve in _searches(summary)) else None,
    )


def top_mean(summary: Summary) -> Figure:
    """Mean of the best few answers against cost: less a matter of luck than the best alone."""
    target = summary.target

    def draw(axes: Any) -> None:
        _curves(axes, summary, lambda curve: curve.top)
        axes.set_ylabel(f"mean of the best {TOP_K} ({target.unit})")
        axes.legend(loc="best", frameon=False, fontsize=9)

    rows = _rows(summary, lambda curve: curve.top)
    return Figure(
        "top_against_cost",
        f"Best {TOP_K} proposals so far against cost",
        f"Mean of the best {TOP_K} answers of {target.name}, each from another crystal; a curve"
        f" begins with the answer that makes {TOP_K}.",
        ["search", "cost", f"mean of best {TOP_K} [{target.unit}]"],
        rows,
        draw if rows else None,
    )


def _curves(axes: Any, summary: Summary, values_of: Any) -> None:
    searches = _searches(summary)
    end = max([summary.initial_cost, *(c for _, curve in searches for c in curve.cost)])
    for (name, curve), style in zip(searches, SERIES, strict=False):
        points = [
            (c, v) for c, v in zip(curve.cost, values_of(curve), strict=True) if v is not None
        ]
        if not points:
            axes.plot([], [], label=f"{name}: none yet", color=style.colour, linestyle=style.line)
            continue
        cost, value = zip(*points, strict=True)
        axes.step(
            [*cost, end],
            [*value, value[-1]],
            where="post",
            color=style.colour,
            linestyle=style.line,
            linewidth=2.0,
            label=f"{name}: {value[-1]:.2f}",
        )
        changes = [i for i, v in enumerate(value) if i == 0 or v != value[i - 1]]
        axes.plot(
            [cost[i] for i in changes],
            [value[i] for i in changes],
            style.marker,
            color=style.colour,
            markersize=4,
        )
    axes.axvline(summary.initial_cost, color="#bbbbbb", linewidth=1.0)
    axes.set_xlim(left=0.0)
    axes.set_xlabel("CPU time paid, s")
    axes.grid(alpha=0.25)


def _searches(summary: Summary) -> list[tuple[str, Curve]]:
    searches = [("multi-fidelity campaign", summary.campaign)]
    if summary.baseline is not None:
        searches.append((f"{summary.baseline_name}, same oracles", summary.baseline))
    return searches


def _rows(summary: Summary, values_of: Any) -> list[list[Any]]:
    return [
        [name, cost, value]
        for name, curve in _searches(summary)
        for cost, value in zip(curve.cost, values_of(curve), strict=True)
        if value is not None
    ]


def fidelity_mix(summary: Summary) -> Figure:
    """Queries at each fidelity, round by round, as stacked and labelled bars."""
    labels = ["known", *map(str, range(1, len(summary.mixes)))][: len(summary.mixes)]

    def draw(axes: Any) -> None:
        bottom = np.zeros(len(labels))
        highest = max(sum(mix.values()) for mix in summary.mixes)
        for m, oracle in enumerate(summary.oracles):
            style = SERIES[m % len(SERIES)]
            heights = np.array([mix[oracle.name] for mix in summary.mixes])
            bars = axes.bar(
                range(len(heights)),
                heights,
                bottom=bottom,
                color=style.colour,
                hatch=style.hatch,
                edgecolor="white",
                label=oracle.name,
            )
            texts = [str(height) if height > _LABELLED * highest else "" for height in heights]
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
            axes.bar_label(bars, texts, label_type="center", fontsize=8.5, color=INK, bbox=box)
            bottom += heights
        for text in axes.texts:
            text.set_visible(bool(text.get_text()))
        axes.set_xticks(range(len(labels)), labels)
        axes.set_xlabel("round")
        axes.set_ylabel("queries")
        axes.margins(y=0.25)
        axes.legend(frameon=False, fontsize=9, ncols=2, loc="upper right")

    rows = [
        [label, oracle.name, mix[oracle.name], spent[oracle.name]]
        for label, mix, spent in zip(labels, summary.mixes, summary.spending, strict=True)
        for oracle in summary.oracles
    ]
    return Figure(
        "fidelity_mix",
        "Fidelity mix over time",
        "How many questions went to each fidelity in each round; “known” are the initial data.",
        ["round", "fidelity", "queries", "cost"],
        rows,
        draw if any(row[2] for row in rows) else None,
    )


def fidelity_worth(summary: Summary) -> Figure:
    """What the proxy has learnt that each cheap fidelity tells about the target, round by round."""
    target = len(summary.oracles) - 1
    rounds = sorted(summary.correlations)
    rows = [
        [r, oracle.name, float(summary.correlations[r][m][target]) ** 2]
        for r in rounds
        for m, oracle in enumerate(summary.oracles[:target])
    ]

    def draw(axes: Any) -> None:
        for m, oracle in enumerate(summary.oracles[:target]):
            style = SERIES[m % len(SERIES)]
            axes.plot(
                rounds,
                [100 * float(summary.correlations[r][m][target]) ** 2 for r in rounds],
                color=style.colour,
                linestyle=style.line,
                marker=style.marker,
                linewidth=2.0,
                label=oracle.name,
            )
        axes.set_xticks(rounds)
        axes.set_ylim(0, 100)
        axes.set_xlabel("round" + (" (the last: after the end)" if summary.finished else ""))
        axes.set_ylabel("share of the unknown explained, %")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=9)

    return Figure(
        "fidelity_worth",
        f"What a cheap answer tells about {summary.target.name}",
        f"Share of what is still unknown about a new crystal's {summary.target.name} that an answer"
        " of the cheap fidelity would explain: the proxy's learnt correlation, squared.",
        ["round", "fidelity", "share explained"],
        rows,
        draw if rows else None,
    )


def rank_agreement(summary: Summary, fidelity: int) -> tuple[float | None, int]:
    """Spearman's correlation of a fidelity's answers with the target's, and over how many crystals.

    Positive where a better answer goes with a better target answer, whatever "better" means for
    either; None where too few crystals were answered at both, or all alike.
    """
    target = len(summary.oracles) - 1
    values: dict[str, dict[int, float]] = {}
    for answer in summary.answers:
        if answer.value is not None and answer.query.fidelity in (fidelity, target):
            values.setdefault(answer.query.crystal.hash, {})[answer.query.fidelity] = answer.value
    both = [(v[fidelity], v[target]) for v in values.values() if len(v) == 2]
    if len(both) < _FEWEST_PAIRS or any(len(set(column)) < 2 for column in zip(*both, strict=True)):
        return None, len(both)
    better: Sequence[bool] = [summary.oracles[m].higher_is_better for m in (fidelity, target)]
    sign = 1.0 if better[0] == better[1] else -1.0
    return sign * float(spearmanr(*zip(*both, strict=True)).statistic), len(both)
