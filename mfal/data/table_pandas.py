"""Tables to and from pandas data frames."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfal.data.rows import LATTICE_COLUMNS, composition_of_formula
from mfal.data.table import CENSORING, Material, MaterialTable
from mfal.data.table_json import row_from_dict, row_to_dict
from mfal.errors import MfalError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["from_pandas", "read_csv", "to_pandas"]

TEXT_COLUMNS = ("source", "licence", "group")
UNITS_COLUMN = "formula_units"


def to_pandas(table: MaterialTable) -> pd.DataFrame:
    """A data frame, one row a material; `from_pandas` reads it back without loss.

    Besides the columns that are read back, each quantity gets two for reading: its value and its
    censoring.
    """
    import pandas as pd

    quantities = sorted({label.quantity for labels in table.labels for label in labels})
    arrays = {quantity: table.label_arrays(quantity) for quantity in quantities}
    rows = []
    for i, row in enumerate(table):
        data = row_to_dict(row)
        lattice = data.pop("lattice") or (math.nan,) * 6
        flat: dict[str, Any] = {"id": data["id"], "formula": data["formula"]}
        flat["space_group_number"] = data["space_group_number"]
        flat |= dict(zip(LATTICE_COLUMNS, lattice, strict=True))
        for quantity, columns in arrays.items():
            label = _censoring_name(int(columns.censoring[i]))
            flat |= {quantity: columns.value[i], f"{quantity}_censoring": label}
        flat |= {key: data[key] for key in TEXT_COLUMNS}
        for key in ("composition", "labels", "details", "structure"):
            flat[f"{key}_json"] = json.dumps(data[key], ensure_ascii=False)
        rows.append(flat)
    return pd.DataFrame(rows)


def _censoring_name(index: int) -> str:
    return "" if index < 0 else CENSORING[index]


def from_pandas(
    frame: pd.DataFrame, quantities: Mapping[str, tuple[str, str]] | None = None
) -> MaterialTable:
    """A table from a data frame of `to_pandas`, or from one of your own.

    Args:
      frame: needs the columns `id` and `formula`; reads `space_group_number`, `a` ... `gamma` (Å,
        degrees), `formula_units` (how many are in that cell), `source`, `licence`, `group` and the
        JSON columns of `to_pandas` where present. Other columns become details.
      quantities: columns that hold labels, as {column: (quantity, unit)}. A cell is a number, or a
        limit such as "<1e-10" or ">1e-3"; an empty one is no label.

    Raises:
      MfalError: naming the row and the column.
    """
    quantities = quantities or {}
    for column in ("id", "formula", *quantities):
        if column not in frame.columns:
            raise MfalError(
                f"the table has no column {column!r}",
                f"it has {', '.join(map(str, frame.columns))}",
            )
    # What `to_pandas` adds for reading only: "x" beside "x_censoring".
    pairs = [str(c) for c in frame.columns if str(c).endswith("_censoring")]
    known = {*pairs, *(c.removesuffix("_censoring") for c in pairs)}
    return MaterialTable.from_rows(
        _row_from_flat(number, row, quantities, known)
        for number, row in enumerate(frame.to_dict("records"), 1)
    )


def read_csv(path: Path, **options: Any) -> pd.DataFrame:
    """A CSV file as a data frame; `options` are pandas'.

    Raises:
      MfalError: when there's no file, or it isn't one.
    """
    import pandas as pd

    try:
        return pd.read_csv(path, **options)
    except FileNotFoundError:
        raise MfalError(f"{path} does not exist", "give the path of a table") from None
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        reason = str(error).splitlines()[0]
        raise MfalError(
            f"{path} is not a readable CSV ({reason})", "check the file, or fetch it again"
        ) from None


def _row_from_flat(
    number: int, row: Mapping[Any, Any], quantities: Mapping[str, tuple[str, str]], known: set[str]
) -> Material:
    where = f"row {number} ({row['id']})"

    def stored(key: str) -> Any:
        text = row.get(f"{key}_json")
        if not isinstance(text, str):
            return None
        try:
            return json.loads(text)
        except (json.JSONDecodeError, RecursionError):
            raise MfalError(f"{where}: {key}_json is not JSON", "export the table again") from None

    labels = [*(stored("labels") or [])]
    for column, (quantity, unit) in quantities.items():
        labels.extend(_parse_label(row[column], quantity, unit, f"{where}, column {column}"))
    used = {
        "id",
        "formula",
        "space_group_number",
        UNITS_COLUMN,
        *LATTICE_COLUMNS,
        *TEXT_COLUMNS,
        *quantities,
    }
    details = stored("details")
    if details is None:
        details = {
            str(key): value
            for key, value in row.items()
            if key not in used | known and not str(key).endswith("_json") and not _is_missing(value)
        }
    lattice = [_number(row.get(key), where, key) for key in LATTICE_COLUMNS]
    group_number = _number(row.get("space_group_number"), where, "space_group_number")
    composition = stored("composition")
    if composition is None:
        units = _number(row.get(UNITS_COLUMN), where, UNITS_COLUMN)
        if math.isnan(units) and not any(map(math.isnan, lattice)):
            raise MfalError(
                f"{where} has a cell, but not how many formula units are in it",
                f"add the column {UNITS_COLUMN} (Z)",
            )
        formula_unit = composition_of_formula(str(row["formula"]), where)
        composition = {e: x * (1 if math.isnan(units) else units) for e, x in formula_unit.items()}
    return row_from_dict(
        {
            "id": str(row["id"]),
            "formula": str(row["formula"]),
            "composition": composition,
            "space_group_number": 0 if math.isnan(group_number) else int(group_number),
            "lattice": None if any(map(math.isnan, lattice)) else lattice,
            "labels": labels,
            **{key: "" if _is_missing(row.get(key)) else str(row[key]) for key in TEXT_COLUMNS},
            "structure": stored("structure"),
            "details": details,
        }
    )


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _number(value: Any, where: str, column: str) -> float:
    if _is_missing(value):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        raise MfalError(f"{where}, column {column}: {value!r} is no number", "correct it") from None


def _parse_label(value: Any, quantity: str, unit: str, where: str) -> Iterator[dict[str, Any]]:
    if _is_missing(value):
        return
    text = str(value).strip()
    censoring = {"<": "below", ">": "above"}.get(text[:1], "exact")
    amount = _number(text.lstrip("<>= "), where, quantity)
    yield {"quantity": quantity, "value": amount, "unit": unit, "censoring": censoring}
