"""How a table of materials looks in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mfal.notebook import html_table

if TYPE_CHECKING:
    import numpy as np

__all__ = ["table_html"]

_ROWS = 10
_SIGNS = {"below": "< ", "above": "> "}
"""Of limits of detection."""


def table_html(
    ids: Sequence[str], formulas: Sequence[str], groups: np.ndarray, labels: Sequence[Any]
) -> str:
    """The first rows: id, formula, space group, and the first label of each as HTML.

    Args:
      ids: of the n materials.
      formulas: of the n materials.
      groups: [n] int, space group numbers, 0 where unknown.
      labels: of each material the `Label`s.
    """
    rows = [
        (name, formula, int(group) or None, *_label(known))
        for name, formula, group, known in zip(
            ids[:_ROWS], formulas[:_ROWS], groups[:_ROWS], labels[:_ROWS], strict=True
        )
    ]
    left = len(ids) - len(rows)
    header = ("id", "formula", "space group", "quantity", "value", "unit")
    shown = len(header) if any(labels[:_ROWS]) else len(header) - len(_label(()))
    return html_table(
        header[:shown],
        [row[:shown] for row in rows],
        caption=f"{len(ids)} materials",
        note=f"... and {left} more" if left else "",
    )


def _label(labels: Sequence[Any]) -> tuple[str, str, str]:
    """Quantity, value and unit of the first label."""
    if not labels:
        return "", "", ""
    first = labels[0]
    value = f"{_SIGNS.get(first.censoring, '')}{first.value:.4g}"
    if first.censoring == "interval":
        value = f"{value} to {first.upper:.4g}"
    return first.quantity, value, first.unit
