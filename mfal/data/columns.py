"""What the columns of somebody's table are likely to mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mfal.data.rows import LATTICE_COLUMNS
from mfal.data.table import CONDUCTIVITY
from mfal.data.units import base_unit, split_unit
from mfal.errors import MfalError, warn

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["UNITS_COLUMN", "guessed_quantities", "named_columns"]

UNITS_COLUMN = "formula_units"
"""Formula units in the cell, Z."""

_ALIASES = {
    "id": ("materialid", "identifier", "entry", "mpid", "name", "sample", "nr", "no", "number"),
    "formula": (
        *("reducedformula", "prettyformula", "chemicalformula", "formulapretty", "composition"),
        *("reducedcomposition", "compound", "material", "summenformel", "formel"),
    ),
    "space_group_number": ("spacegroup#", "spacegroup", "sg", "sgnumber", "group"),
    UNITS_COLUMN: ("z", "units"),
    "alpha": ("α",),
    "beta": ("β",),
    "gamma": ("γ",),
}
"""Other names of columns, in small letters without spaces and underscores."""

_CONDUCTIVITY = re.compile(
    r"(log.*)?(ionic|total|bulk)?(conductivity|sigma|σ|leitfähigkeit)(rt|25c)?"
)


def named_columns(frame: pd.DataFrame, taken: Mapping[str, object]) -> pd.DataFrame:
    """The frame with the names of columns that `from_pandas` knows.

    Names that differ in capitals, spaces and underscores only are taken without a word, others with
    a warning.

    Args:
      frame: as somebody has it.
      taken: columns that mean something else.

    Raises:
      MfalError: when no column is the formula.
    """
    wanted = ("id", "formula", "space_group_number", UNITS_COLUMN, *LATTICE_COLUMNS)
    names: dict[str, str] = {}
    columns = [str(column) for column in frame.columns if column not in taken]
    for target in wanted:
        if target in columns:
            continue
        plain = target.replace("_", "")
        found = [c for c in columns if _plain(c) == plain and c not in names]
        if not found:
            aliases = _ALIASES.get(target, ())
            found = [
                c for alias in aliases for c in columns if _plain(c) == alias and c not in names
            ]
            if found and _fits(target, frame[found[0]]):
                warn(f"column {found[0]!r} is taken as {target}")
            else:
                found = []
        if found:
            names[found[0]] = target
    frame = frame.rename(columns=names)
    if "formula" not in frame.columns:
        raise MfalError(
            f"the table has no column 'formula'; it has {', '.join(columns)}",
            "name the column of formulas 'formula'",
        )
    return frame


def guessed_quantities(columns: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Columns that hold conductivities by their names and units, as {column: (quantity, unit)}."""
    found: dict[str, tuple[str, str]] = {}
    for column in columns:
        name, unit = split_unit(column)
        if not _CONDUCTIVITY.fullmatch(_plain(name)):
            continue
        if unit and base_unit(unit)[0] == "S/cm" and not _plain(name).startswith("log"):
            warn(f"column {column!r} is taken as the conductivity at room temperature in {unit}")
            found[column] = (CONDUCTIVITY, unit)
        else:
            warn(
                f"column {column!r} may be a conductivity, but names no unit: it is kept as a "
                "detail (name it like 'sigma (mS/cm)')"
            )
    return found


def _plain(name: str) -> str:
    return re.sub(r"[\s_.-]", "", name).lower()


def _fits(target: str, column: pd.Series) -> bool:
    """Whether the cells look like what they would be taken for."""
    cells = [str(cell) for cell in column.dropna().head(20)]
    if target in ("id", "formula"):
        return bool(cells)
    return bool(cells) and all(re.fullmatch(r"\s*\d+([.,]\d*)?\s*", cell) for cell in cells)
