"""Figures: what they show as numbers, and how that is drawn and written."""

import csv
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mfal.errors import MfalError

__all__ = ["INK", "SERIES", "Figure", "csv_text", "write_figure"]

INK = "#444444"


class Style(NamedTuple):
    """How a series looks: told apart in grey and by the colour-blind, too."""

    colour: str
    line: Any
    marker: str
    hatch: str


SERIES = (
    Style("#0b5394", "-", "o", ""),
    Style("#b45f06", "--", "s", "//"),
    Style("#1b7837", "-.", "^", ".."),
    Style("#762a83", ":", "D", "xx"),
    Style("#555555", (0, (5, 1, 1, 1, 1, 1)), "v", "++"),
)
"""For up to five series, after which they repeat."""

_DPI, _DPI_OF_NOTEBOOKS = 180, 90

SIZE = (5.4, 4.0)
"""Inches: letters stay legible when a figure is as wide as a phone."""


class Figure(NamedTuple):
    """One figure of the report."""

    name: str
    """Name of its files, without an ending."""
    title: str
    text: str
    """What it shows and how to read it, in a sentence or two."""
    header: Sequence[str]
    """Columns of its numbers, with units."""
    rows: Sequence[Sequence[Any]]
    draw: Callable[[Any], None] | None
    """Draws on matplotlib axes; None where there is nothing to draw yet."""
    size: tuple[float, float] = SIZE
    """Inches."""

    def _repr_png_(self) -> bytes | None:
        """The picture, for notebooks."""
        return None if self.draw is None else _png(self, _DPI_OF_NOTEBOOKS)


def write_figure(figure: Figure, folder: Path) -> tuple[Path | None, Path]:
    """Writes NAME.png, where there is something to draw, and NAME.csv; returns both paths."""
    table = folder / f"{figure.name}.csv"
    picture = folder / f"{figure.name}.png"
    try:
        folder.mkdir(exist_ok=True)
        table.write_text(csv_text(figure), encoding="utf-8")
        if figure.draw is None:
            picture.unlink(missing_ok=True)
            return None, table
        picture.write_bytes(_png(figure))
    except OSError as error:
        raise MfalError(
            f"{error.filename}: {error.strerror}", "make the folder writable or free some space"
        ) from None
    return picture, table


def csv_text(figure: Figure) -> str:
    """The figure's numbers as CSV; the cells of what is unknown are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(figure.header)
    writer.writerows([_cell(value) for value in row] for row in figure.rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return "" if value is None else value


def _png(figure: Figure, dpi: int = _DPI) -> bytes:
    import matplotlib as mpl
    from matplotlib.figure import Figure as Drawing

    # Formulas and names are text, even where they hold a dollar sign. Without pyplot, which would
    # change how a notebook that asks for this draws its own pictures.
    with mpl.rc_context({"text.parse_math": False, "font.size": 10.5, "axes.axisbelow": True}):
        drawn = Drawing(figsize=figure.size, layout="constrained")
        axes = drawn.subplots()
        assert figure.draw is not None
        figure.draw(axes)
        if axes.axison:
            axes.spines[["top", "right"]].set_visible(False)
        file = io.BytesIO()
        drawn.savefig(file, format="png", dpi=dpi)
    return file.getvalue()
