"""The trade-off between the target oracle's value and the stability window, as files."""

import json
from pathlib import Path
from typing import Any

from mfal.acquisition.objectives import Tradeoff, write_tradeoff
from mfal.errors import MfalError
from mfal.numbers import finite_or_none
from mfal.report.plain import tradeoff_to_plain
from mfal.report.summary import Summary

__all__ = ["PARETO_CSV", "PARETO_JSON", "write_pareto"]

PARETO_CSV = "pareto.csv"
PARETO_JSON = "pareto.json"


def write_pareto(summary: Summary, folder: Path) -> list[Path]:
    """Writes pareto.csv with every candidate, the front first, and pareto.json; returns the paths.

    Nothing is written for a campaign that doesn't look at stability.
    """
    if not summary.tradeoffs:
        return []
    target = summary.target
    written = [folder / PARETO_CSV, folder / PARETO_JSON]
    write_tradeoff(
        written[0],
        list(summary.tradeoffs.values()),
        value=f"{target.name} [{target.unit}]",
        higher_is_better=target.higher_is_better,
    )
    try:
        text = json.dumps(_pareto_to_plain(summary), indent=1, allow_nan=False)
        written[1].write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise MfalError(
            f"{written[1]}: {error.strerror}", "make the folder writable or free some space"
        ) from None
    return written


def _pareto_to_plain(summary: Summary) -> dict[str, Any]:
    """The objectives, the requirement, and the fronts, best first."""
    stability, target = summary.config["stability"], summary.target
    fronts: dict[int, list[Tradeoff]] = {}
    for row in summary.tradeoffs.values():
        fronts.setdefault(row.rank, []).append(row)
    sign = -1.0 if target.higher_is_better else 1.0
    distance = stability["max_hull_distance"]

    def plain(rows: list[Tradeoff]) -> list[dict[str, Any]]:
        ordered = sorted(rows, key=lambda row: (sign * row.value, row.id))
        return [
            {"id": row.id, "formula": row.formula, "value": row.value, **tradeoff_to_plain(row)}
            for row in ordered
        ]

    return {
        "objectives": [
            {"name": target.name, "unit": target.unit, "maximise": target.higher_is_better},
            {"name": "window_width", "unit": "V", "maximise": True},
        ],
        "requirement": {
            "low": stability["low"],
            "high": stability["high"],
            "max_hull_distance": finite_or_none(distance),
        },
        "fronts": [plain(fronts[rank]) for rank in sorted(fronts) if rank >= 0],
        "others": plain(fronts.get(-1, [])),
    }
