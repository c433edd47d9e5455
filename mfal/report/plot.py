"""Plots of a campaign, as PNG."""

from pathlib import Path
from typing import Any

from mfal.report.summary import Curve, Summary

__all__ = ["plot_best_against_cost"]

# Told apart in grey and by the colour-blind too: colour, line style and label all differ.
_OURS, _THEIRS, _KNOWN = "#0b5394", "#b45f06", "#444444"


def plot_best_against_cost(summary: Summary, path: Path) -> Path:
    """Best answer of the top oracle against cost, beside random search at equal cost.

    Both curves start where the initial data are paid for, which both searches have to buy.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.0, 4.4), layout="constrained")
    end = max(
        [summary.initial_cost, *summary.campaign.cost, *(summary.random or Curve([], [])).cost]
    )
    _draw(axes, summary.campaign, end, _OURS, "-", "o", "multi-fidelity campaign")
    if summary.random is not None:
        _draw(axes, summary.random, end, _THEIRS, "--", "s", "random search, same oracles")
    if summary.best_known is not None and summary.best_known.value is not None:
        crystal = summary.best_known.query.crystal
        axes.axhline(
            summary.best_known.value,
            color=_KNOWN,
            linestyle=":",
            label=f"best known crystal asked: {crystal.formula}",
        )
    axes.axvline(summary.initial_cost, color="#bbbbbb", linewidth=1.0)
    axes.annotate(
        "initial data paid",
        (summary.initial_cost, 0.02),
        xycoords=("data", "axes fraction"),
        xytext=(4, 0),
        textcoords="offset points",
        color="#666666",
        fontsize=8,
    )
    axes.set_xlim(left=0.0)
    axes.set_xlabel("cost paid, initial data included (units of one top evaluation)")
    axes.set_ylabel(f"best {summary.top.name} among proposals ({summary.top.unit})")
    axes.set_title("Best proposal so far against cost")
    axes.grid(alpha=0.25)
    axes.legend(loc="best", frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path


def _draw(
    axes: Any, curve: Curve, end: float, colour: str, line: str, marker: str, label: str
) -> None:
    if not curve.cost:
        return
    axes.step(
        [*curve.cost, end],
        [*curve.best, curve.best[-1]],
        where="post",
        color=colour,
        linestyle=line,
        linewidth=2.0,
        label=f"{label}: {curve.best[-1]:.2f}",
    )
    rises = [i for i, value in enumerate(curve.best) if i == 0 or value != curve.best[i - 1]]
    axes.plot(
        [curve.cost[i] for i in rises],
        [curve.best[i] for i in rises],
        marker,
        color=colour,
        markersize=5,
    )
