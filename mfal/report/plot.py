"""Plots of a campaign, as PNG."""

from pathlib import Path
from typing import Any

from mfal.errors import MfalError
from mfal.report.summary import Curve, Summary

__all__ = ["plot_best_against_cost", "plot_fidelity_mix", "plot_parity"]

# Told apart in grey and by the colour-blind too: colour, line style and label all differ.
_OURS, _THEIRS, _KNOWN = "#0b5394", "#b45f06", "#444444"


def plot_best_against_cost(summary: Summary, path: Path) -> Path:
    """Best answer of the top oracle against cost, beside random search at equal cost.

    Both curves start where the initial data are paid for, which both searches have to buy.
    """
    figure, axes, plt = _canvas()
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
    return _save(figure, plt, path)


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


def plot_fidelity_mix(summary: Summary, path: Path) -> Path:
    """Queries at each fidelity, round by round, as stacked and labelled bars."""
    figure, axes, plt = _canvas()
    bottom = [0] * len(summary.mixes)
    styles = (("#0b5394", ""), ("#e69f00", "//"), ("#009e73", ".."), ("#888888", "xx"))
    for oracle, (colour, hatch) in zip(summary.oracles, styles * 3, strict=False):
        heights = [mix[oracle.name] for mix in summary.mixes]
        axes.bar(
            range(len(heights)),
            heights,
            bottom=bottom,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            label=oracle.name,
        )
        bottom = [a + b for a, b in zip(bottom, heights, strict=True)]
    labels = ["known", *map(str, range(1, len(summary.mixes)))]
    axes.set_xticks(range(len(summary.mixes)), labels[: len(summary.mixes)])
    axes.set_xlabel("round")
    axes.set_ylabel("queries")
    axes.set_title("Fidelity mix")
    axes.legend(frameon=False)
    return _save(figure, plt, path)


def plot_parity(summary: Summary, path: Path) -> Path:
    """The proxy's expectation when a crystal was proposed, against the top oracle's answer."""
    figure, axes, plt = _canvas()
    top = len(summary.oracles) - 1
    expected, std, seen = [], [], []
    for candidate in summary.candidates:
        answer = candidate.observed.get(top)
        if answer is not None and answer.value is not None and answer.query.predicted:
            expected.append(answer.query.predicted["mean"][top])
            std.append(answer.query.predicted["std"][top])
            seen.append(answer.value)
    if seen:
        axes.errorbar(seen, expected, yerr=std, fmt="o", color=_OURS, ecolor="#9db7d1", capsize=2)
        inside = sum(abs(e - s) <= d for e, s, d in zip(expected, seen, std, strict=True))
        axes.set_title(f"{inside} of {len(seen)} answers within one standard deviation")
        ends = [min(seen + expected), max(seen + expected)]
        axes.plot(ends, ends, color=_KNOWN, linestyle=":", label="equal")
        axes.legend(frameon=False)
    axes.set_xlabel(f"answer ({summary.top.unit})")
    axes.set_ylabel(f"expected before asking ({summary.top.unit})")
    return _save(figure, plt, path)


def _canvas() -> tuple[Any, Any, Any]:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.0, 4.4), layout="constrained")
    return figure, axes, plt


def _save(figure: Any, plt: Any, path: Path) -> Path:
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise MfalError(
            f"{path}: {error.strerror}", "make the folder writable or free some space"
        ) from None
    finally:
        plt.close(figure)
    return path
