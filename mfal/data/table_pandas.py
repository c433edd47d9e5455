"""Tables to and from pandas data frames."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfal.data.columns import UNITS_COLUMN, guessed_quantities, named_columns
from mfal.data.rows import LATTICE_COLUMNS, composition_of_formula
from mfal.data.table import CENSORING, Material, MaterialTable
from mfal.data.table_json import row_from_dict, row_to_dict
from mfal.data.units import base_unit, written_number
from mfal.errors import MfalError, warn

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["from_pandas", "read_csv", "to_pandas"]

TEXT_COLUMNS = ("source", "licence", "group")


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
    frame: pd.DataFrame,
    quantities: Mapping[str, tuple[str, str]] | None = None,
    *,
    strict: bool = False,
) -> MaterialTable:
    """A table from a data frame of `to_pandas`, or from one of your own.

    Columns that go by other names than these are guessed (`mfal.data.columns`), with a warning that
    says how. A row that makes no sense is left out with a warning.

    Args:
      frame: needs a column `formula`; reads `id`, `space_group_number`, `a` ... `gamma` (Å,
        degrees), `formula_units` (how many are in that cell), `source`, `licence`, `group` and the
        JSON columns of `to_pandas` where present. Other columns become details.
      quantities: columns that hold labels, as {column: (quantity, unit)}. A cell is a number as
        people write it ("1.2e-4", "2,6·10⁻⁷", "1.2(3)e-6"), or a limit such as "<1e-10" or ">1e-3";
        an empty one is no label. Conductivities, energies and voltages are converted to S/cm, eV
        and V. Without this, conductivities are looked for by their names and units.
      strict: raise an error for a row that would be left out.

    Raises:
      MfalError: when columns are missing or no row makes sense; with `strict`, naming row and
        column.
    """
    # What `to_pandas` adds for reading only: "x" beside "x_censoring".
    pairs = [str(c) for c in frame.columns if str(c).endswith("_censoring")]
    known = {*pairs, *(c.removesuffix("_censoring") for c in pairs)}
    frame = named_columns(frame, quantities or {})
    if quantities is None:
        quantities = guessed_quantities([str(c) for c in frame.columns if str(c) not in known])
    for column, (_, unit) in quantities.items():
        base_unit(unit)
        if column not in frame.columns:
            there = ", ".join(map(str, frame.columns))
            raise MfalError(f"the table has no column {column!r}; it has {there}", "name it so")
    rows: list[Material] = []
    seen: set[str] = set()
    problems: list[MfalError] = []
    for number, row in enumerate(frame.to_dict("records"), 1):
        try:
            material = _row_from_flat(number, row, quantities, known)
            if material.id in seen:
                raise MfalError(f"row {number}: id {material.id} occurs twice", "keep one of them")
            MaterialTable.from_rows([material])
        except MfalError as error:
            if strict:
                raise
            problems.append(error)
            warn(f"left out: {error}")
        else:
            rows.append(material)
            seen.add(material.id)
    if problems and not rows:
        raise problems[0]
    return MaterialTable.from_rows(rows)


def read_csv(path: Path, **options: Any) -> pd.DataFrame:
    """A CSV file as a data frame; `options` are pandas'.

    Its encoding and what separates its cells (comma, semicolon, tab) are found out.

    Raises:
      MfalError: when there's no file, or it isn't one.
    """
    import pandas as pd

    from mfal.crystals.reading import text_of_bytes

    try:
        text = text_of_bytes(Path(path).read_bytes())
        header = text.lstrip().partition("\n")[0]
        separator = max(",;\t", key=header.count)
        return pd.read_csv(io.StringIO(text), sep=separator, **options)
    except FileNotFoundError:
        raise MfalError(f"{path} does not exist", "give the path of a table") from None
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        line = re.search(r"line (\d+)", str(error))
        where = f", line {line[1]}" if line else ""
        raise MfalError(
            f"{path} is not a readable CSV{where}",
            "check that each line has as many cells as the first, and that quotes are closed",
        ) from None


def _row_from_flat(
    number: int, row: Mapping[Any, Any], quantities: Mapping[str, tuple[str, str]], known: set[str]
) -> Material:
    identifier = f"row-{number}" if _is_missing(row.get("id")) else str(row["id"])
    where = f"row {number} ({identifier})"

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
    formula = "" if _is_missing(row["formula"]) else str(row["formula"]).strip()
    if composition is None:
        units = _number(row.get(UNITS_COLUMN), where, UNITS_COLUMN)
        if math.isnan(units) and not any(map(math.isnan, lattice)):
            raise MfalError(
                f"{where} has a cell, but not how many formula units are in it",
                f"add the column {UNITS_COLUMN} (Z)",
            )
        formula_unit = composition_of_formula(formula, where)
        composition = {e: x * (1 if math.isnan(units) else units) for e, x in formula_unit.items()}
    return row_from_dict(
        {
            "id": identifier,
            "formula": formula,
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
    if isinstance(value, (int, float)):
        return float(value)
    try:
        return written_number(str(value)).value
    except MfalError as error:
        raise MfalError(f"{where}, column {column}: {error.what}", error.remedy) from None


def _parse_label(value: Any, quantity: str, unit: str, where: str) -> Iterator[dict[str, Any]]:
    if _is_missing(value) or not str(value).strip():
        return
    try:
        written = written_number(str(value))
    except MfalError as error:
        raise MfalError(f"{where}: {error.what}", error.remedy) from None
    base, factor = base_unit(unit)
    # Through decimal digits, so that 2.6e-4 mS/cm is 2.6e-7 S/cm to the last digit.
    amount = float(f"{written.value * factor:.15g}")
    yield {"quantity": quantity, "value": amount, "unit": base, "censoring": written.censoring}
