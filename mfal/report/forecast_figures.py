"""Figures of the proxy's honesty: parity and calibration, from expectations kept beforehand."""

from typing import Any

import numpy as np
from scipy.stats import binom

from mfal.report.forecasts import LEVEL, Forecast, coverage_curve, forecasts_of
from mfal.report.plot import INK, SERIES, Figure
from mfal.report.summary import Summary

__all__ = ["calibration", "parity"]

_FEWEST = 5
"""Answers below which a share says nothing."""
_LEVELS = [0.1 * k for k in range(1, 10)] + [0.95]


def parity(summary: Summary, fidelity: int) -> Figure:
    """What was expected of each question to one fidelity, with its interval, against the answer."""
    oracle = summary.oracles[fidelity]
    forecasts = forecasts_of(summary, fidelity)
    style = SERIES[fidelity % len(SERIES)]

    def draw(axes: Any) -> None:
        seen = np.array([f.observed for f in forecasts])
        expected = np.array([f.expected for f in forecasts])
        ends_of = np.array([[f.low, f.high] for f in forecasts])
        # An expectation may lie beyond the bounds at which its interval is cut.
        reach = np.abs(np.clip(ends_of - expected[:, None], [-np.inf, 0.0], [0.0, np.inf])).T
        inside = np.array([f.inside for f in forecasts])
        for chosen, marker, face, label in (
            (inside, style.marker, style.colour, "inside its interval"),
            (~inside, style.marker, "white", "outside (hollow)"),
        ):
            if chosen.any():
                axes.errorbar(
                    seen[chosen],
                    expected[chosen],
                    yerr=reach[:, chosen],
                    fmt=marker,
                    color=style.colour,
                    markerfacecolor=face,
                    ecolor="#9aa7b5",
                    elinewidth=1.0,
                    capsize=2,
                    markersize=6,
                    label=f"{label}: {int(chosen.sum())}",
                )
        ends = [min(seen.min(), expected.min()), max(seen.max(), expected.max())]
        axes.plot(ends, ends, color=INK, linestyle=":", label="as expected")
        axes.set_xlabel(f"answer of {oracle.name} ({oracle.unit})")
        axes.set_ylabel(f"expected before ({oracle.unit})")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=9)

    count = sum(f.inside for f in forecasts)
    text = "No question with an expectation has been answered yet."
    if forecasts:
        errors = [abs(f.expected - f.observed) for f in forecasts]
        text = (
            f"The proxy's expectation when a question was decided on, with its {LEVEL:.0%}"
            f" interval, against the answer: {count} of {len(forecasts)} inside, mean error"
            f" {sum(errors) / len(errors):.2g} {oracle.unit}."
        )
    target = fidelity == len(summary.oracles) - 1
    numbers = ("expected", "std", "low_90", "high_90", "answer")
    return Figure(
        "parity" if target else f"parity_fidelity_{fidelity}",
        f"Expected against answered: {oracle.name}",
        text,
        [
            "formula",
            "space_group",
            "round",
            *(f"{n} [{oracle.unit}]" for n in numbers),
            "inside",
        ],
        [
            [f.formula, f.space_group, f.round, *_interval(f), f.observed, _yes(f.inside)]
            for f in forecasts
        ],
        draw if forecasts else None,
    )


def calibration(summary: Summary) -> Figure:
    """How often answers lay in the intervals that were expected to hold them."""
    every = [(m, forecasts_of(summary, m)) for m in range(len(summary.oracles))]
    series = [(m, f, coverage_curve(f, _LEVELS)) for m, f in every if len(f) >= _FEWEST]

    def draw(axes: Any) -> None:
        most = max(len(forecasts) for _, forecasts, _ in series)
        fine = np.linspace(0.01, 0.99, 99)
        low, high = (binom.ppf(q, most, fine) / most for q in (0.05, 0.95))
        axes.fill_between(100 * fine, 100 * low, 100 * high, color="#e3e7ec", linewidth=0)
        axes.plot([0, 100], [0, 100], color=INK, linestyle=":", label="calibrated")
        for m, forecasts, shares in series:
            style = SERIES[m % len(SERIES)]
            axes.plot(
                [100 * level for level in _LEVELS],
                [100 * share for share in shares],
                color=style.colour,
                linestyle=style.line,
                marker=style.marker,
                markersize=5,
                label=f"{summary.oracles[m].name}: {len(forecasts)} answers",
            )
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 100)
        axes.set_xlabel("probability of the expected interval, %")
        axes.set_ylabel("answers inside, %")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=9, loc="upper left")

    return Figure(
        "calibration",
        "Calibration",
        "Share of answers inside the central intervals expected beforehand. Below the dotted line"
        " the proxy was too sure of itself, above it too cautious; nine in ten curves of a"
        " calibrated proxy would pass any one point within the grey band, drawn for the fidelity"
        f" with most answers. Fidelities with fewer than {_FEWEST} answers are left out.",
        ["fidelity", "probability", "share_inside", "answers"],
        [
            [summary.oracles[m].name, level, share, len(forecasts)]
            for m, forecasts, shares in series
            for level, share in zip(_LEVELS, shares, strict=True)
        ],
        draw if series else None,
    )


def _interval(forecast: Forecast) -> tuple[float, float, float, float]:
    return forecast.expected, forecast.std, forecast.low, forecast.high


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"
