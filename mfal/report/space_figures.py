"""Figures of the candidates: their elements, and conductivity against the stability window."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mfal.acquisition.pareto import pareto_front
from mfal.report.periodic import composition_map
from mfal.report.plot import INK, SERIES, Figure
from mfal.report.summary import Candidate, Summary
from mfal.report.windows import Window

__all__ = ["elements", "window_front"]

_WINDOW_COLUMNS = ("reduction [V]", "oxidation [V]", "source", "on_front", "window")
_NAMED = 8
"""Candidates of the front that are named in the drawing."""


def elements(summary: Summary) -> Figure:
    """The periodic table, with how many candidates hold each element and the best among them."""
    tiles = composition_map(summary)
    most = max([tile.candidates for tile in tiles] + [1])

    def draw(axes: Any) -> None:
        from matplotlib.patches import Rectangle

        for tile in tiles:
            x, y = tile.column, -tile.row - (0.4 if tile.row > 7 else 0.0)
            shade = 0.45 * tile.candidates / most
            face = (
                [1 - shade * (1 - part) for part in (0.04, 0.33, 0.58)]
                if tile.candidates
                else "none"
            )
            axes.add_patch(
                Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, facecolor=face, edgecolor="#c9ced6")
            )
            colour = "black" if tile.candidates else "#8a93a1"
            high = y + (0.2 if tile.candidates else 0.0)
            axes.text(x, high, tile.symbol, ha="center", va="center", fontsize=8.5, color=colour)
            if tile.candidates and tile.best is not None:
                axes.text(x, y - 0.07, str(tile.candidates), ha="center", va="center", fontsize=6)
                axes.text(x, y - 0.31, f"{tile.best:.1f}", ha="center", va="center", fontsize=6)
        axes.set_xlim(0.4, 18.6)
        axes.set_ylim(-10.0, -0.4)
        axes.set_aspect("equal")
        axes.axis("off")

    rows = [[t.symbol, t.candidates, t.best] for t in tiles if t.candidates]
    return Figure(
        "elements",
        "Elements of the candidates",
        "Under each symbol, how many candidates hold the element, and the best value among them"
        f" ({summary.target.unit}); the darker, the more.",
        ["element", "candidates", f"best {summary.target.name} [{summary.target.unit}]"],
        rows,
        draw if rows else None,
        (9.0, 4.9),
    )


def window_front(summary: Summary, windows: Mapping[str, Window]) -> Figure:
    """Conductivity against the electrochemical window, with the front that nothing beats."""
    target = summary.target
    widths = np.array([_width(c, windows) for c in summary.candidates], float)
    values = np.array([c.value for c in summary.candidates], float)
    known = np.isfinite(widths)
    front = np.zeros(len(values), bool)
    if known.any():
        pairs = np.stack([widths, values], axis=1)
        misses = [_misses(candidate, windows) for candidate in summary.candidates]
        front = pareto_front(
            pairs, maximise=(True, target.higher_is_better), feasible=np.logical_not(misses)
        )

    def draw(axes: Any) -> None:
        rest, best = SERIES[0], SERIES[1]
        others = known & ~front
        if others.any():
            axes.plot(
                widths[others],
                values[others],
                rest.marker,
                color=rest.colour,
                label="not on the front",
            )
        order = np.flatnonzero(front)[np.argsort(widths[front])]
        axes.plot(
            widths[order],
            values[order],
            marker=best.marker,
            linestyle=best.line,
            color=best.colour,
            markersize=8,
            label="Pareto front",
        )
        for i in order[:_NAMED]:
            axes.annotate(
                summary.candidates[i].crystal.formula,
                (widths[i], values[i]),
                xytext=(6, 5),
                textcoords="offset points",
                fontsize=8.5,
            )
        if (~known).any():
            axes.plot(
                np.zeros(int((~known).sum())),
                values[~known],
                "_",
                color=INK,
                markersize=10,
                clip_on=False,
                transform=axes.get_yaxis_transform(),
                label=f"no window known: {int((~known).sum())}",
            )
        axes.margins(y=0.12)
        axes.set_xlim(0.0, 1.2 * float(widths[known].max()) or 1.0)
        axes.set_xlabel("width of the stability window (V)")
        axes.set_ylabel(f"{target.name} ({target.unit})")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=9)

    rows = []
    for candidate, beats in zip(summary.candidates, front, strict=True):
        window = windows.get(candidate.crystal.hash)
        low, high = (window.reduction, window.oxidation) if window else (None, None)
        status = "not asked" if window is None else window.note or "bounded"
        row = [candidate.rank, candidate.crystal.formula, candidate.value, low, high]
        rows.append([*row, window.source if window else "", "yes" if beats else "no", status])
    count = int(known.sum())
    return Figure(
        "stability_front",
        "Conductivity against the stability window",
        f"{count} of {len(values)} candidates have a window. Unless the campaign found it, it is"
        " that of the formula's most stable phase, or of the phases that it would become, by"
        " the embedded energies; where these lack a competitor, none is given. Candidates that miss"
        " a requirement of the campaign are not on the front.",
        ["rank", "formula", f"{target.name} [{target.unit}]", *_WINDOW_COLUMNS],
        rows,
        draw if count else None,
    )


def _misses(candidate: Candidate, windows: Mapping[str, Window]) -> bool:
    window = windows.get(candidate.crystal.hash)
    return window is not None and window.meets == "no"


def _width(candidate: Candidate, windows: Mapping[str, Window]) -> float:
    window = windows.get(candidate.crystal.hash)
    return float("nan") if window is None else window.width
