"""Small tables for notebooks: what the `_repr_html_` of results is made of."""

import math
from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["html_table"]


def html_table(
    header: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str = "", note: str = ""
) -> str:
    """A table as HTML, all its text escaped.

    Args:
      header: names of the columns.
      rows: cells; numbers are shortened to four digits, None and NaN stay empty.
      caption: above the table.
      note: below it, what is left out, say.
    """
    names = "".join(f"<th>{escape(name)}</th>" for name in header)
    cells = ("".join(f"<td>{escape(_cell(cell))}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{row}</tr>\n" for row in cells)
    title = f"<caption>{escape(caption)}</caption>\n" if caption else ""
    below = f"\n<p>{escape(note)}</p>" if note else ""
    return (
        f"<table>\n{title}<thead><tr>{names}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>{below}"
    )


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
