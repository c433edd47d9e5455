"""Tables to and from JSON, pandas and folders of CIFs."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfal.data.asymmetric import AsymmetricUnit
from mfal.data.table import Label, Material, MaterialTable, load_structure
from mfal.errors import MfalError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "from_cif_folder",
    "from_json",
    "from_pandas",
    "load_json",
    "material_from_structure",
    "parse_formula",
    "row_from_dict",
    "row_to_dict",
    "save_json",
    "to_cif_folder",
    "to_json",
    "to_pandas",
    "write_text",
]

SCHEMA = 1
LATTICE_COLUMNS = ("a", "b", "c", "alpha", "beta", "gamma")
TEXT_COLUMNS = ("source", "licence", "group")
UNITS_COLUMN = "formula_units"
INDEX_FILE = "materials.csv"


def to_json(table: MaterialTable) -> str:
    """The whole table as JSON text, one material a line; `from_json` reads it back."""
    rows = [json.dumps(row_to_dict(row), ensure_ascii=False, allow_nan=False) for row in table]
    return f'{{"schema": {SCHEMA}, "materials": [\n' + ",\n".join(rows) + "\n]}\n"


def from_json(text: str, name: str = "the text") -> MaterialTable:
    """Inverse of `to_json`; `name` stands for the file in errors.

    Raises:
      MfalError: when the text is cut short, of another schema, or a row makes no sense.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise MfalError(
            f"{name} is not complete JSON (line {error.lineno})", "fetch or write it again"
        ) from None
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA or not isinstance(data.get("materials"), list):
        raise MfalError(
            f"{name} has schema {schema!r}, this version reads {SCHEMA}",
            "write it again with this version of mfal",
        )
    rows = []
    for number, row in enumerate(data["materials"], 1):
        try:
            rows.append(row_from_dict(row))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise MfalError(
                f"{name}: material {number} is malformed ({type(error).__name__}: {error})",
                "write it again with this version of mfal",
            ) from None
    return MaterialTable.from_rows(rows)


def save_json(table: MaterialTable, path: str | Path) -> None:
    """Write the table to a file, whole or not at all."""
    write_text(path, to_json(table))


def load_json(path: str | Path) -> MaterialTable:
    """Read a table that `save_json` wrote; raises as `from_json`, or when there is no file."""
    return from_json(_read_text(Path(path)), str(path))


def write_text(path: str | Path, text: str) -> None:
    """Write a file so that a crash leaves the old one or the new one, never half of one.

    Raises:
      MfalError: when the folder can't be written to.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True) if partial.parent.is_dir() else None
        raise MfalError(
            f"{path} cannot be written ({error.strerror})", "choose a folder that you may write to"
        ) from None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MfalError(f"{path} does not exist", "give the path of a table") from None
    except UnicodeDecodeError:
        raise MfalError(f"{path} is not text", "give a table in JSON or CSV") from None
    except OSError as error:
        raise MfalError(f"{path} cannot be read ({error.strerror})", "check the path") from None


def row_to_dict(row: Material) -> dict[str, Any]:
    """A row as plain dicts and lists, for JSON."""
    data = row._asdict()
    data["lattice"] = None if any(map(math.isnan, row.lattice)) else list(row.lattice)
    data["labels"] = [_label_to_dict(label) for label in row.labels]
    if isinstance(row.structure, AsymmetricUnit):
        data["structure"] = {"asymmetric_unit": row.structure.to_dict()}
    elif row.structure is not None:
        kind = "cif" if "cif" in row.structure else "pymatgen"
        data["structure"] = {kind: row.structure["cif"] if kind == "cif" else dict(row.structure)}
    return data


def row_from_dict(data: Mapping[str, Any]) -> Material:
    """Inverse of `row_to_dict`; `KeyError`, `TypeError` or `ValueError` for anything else."""
    structure: Any = data["structure"]
    if structure is not None:
        if "asymmetric_unit" in structure:
            structure = AsymmetricUnit.from_dict(structure["asymmetric_unit"])
        elif "cif" not in structure:
            structure = structure["pymatgen"]
    return Material(
        **{
            **data,
            "lattice": tuple(data["lattice"] or (math.nan,) * 6),
            "labels": tuple(_label_from_dict(label) for label in data["labels"]),
            "structure": structure,
        }
    )


def _label_to_dict(label: Label) -> dict[str, Any]:
    return {
        key: value
        for key, value in label._asdict().items()
        if not (isinstance(value, float) and math.isnan(value))
    }


def _label_from_dict(data: Mapping[str, Any]) -> Label:
    return Label(**data)


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
    from mfal.data.table import CENSORING

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
        except json.JSONDecodeError:
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
        formula_unit = parse_formula(str(row["formula"]), where)
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


def parse_formula(formula: str, where: str) -> dict[str, float]:
    """Amounts of the elements in a formula; `where` begins the message of the error."""
    from pymatgen.core import Composition

    if not formula:
        return {}
    try:
        return {e.symbol: float(x) for e, x in Composition(formula, strict=True).items()}
    except ValueError:
        raise MfalError(f"{where}: {formula!r} is no formula", "write it like Li3PS4") from None


def to_cif_folder(table: MaterialTable, folder: str | Path) -> int:
    """Write a CIF for each structure, and `materials.csv` with everything else.

    Returns:
      How many CIFs were written.
    """
    from mfal.crystals.structures import structure_to_cif

    folder = Path(folder)
    frame = to_pandas(table).drop(columns="structure_json")
    names: list[str] = []
    for identifier, record in zip(table.ids, table.structure_records, strict=True):
        structure = load_structure(record)
        name = "" if structure is None else f"{_file_name(identifier)}.cif"
        if name in names and name:
            name = f"{_file_name(identifier)}-{len(names)}.cif"
        if structure is not None:
            write_text(folder / name, structure_to_cif(structure))
        names.append(name)
    frame["cif"] = names
    write_text(folder / INDEX_FILE, frame.to_csv(index=False, quoting=csv.QUOTE_MINIMAL))
    return sum(name != "" for name in names)


def from_cif_folder(folder: str | Path) -> MaterialTable:
    """A table of the CIFs in a folder, ids from their names.

    With a `materials.csv` from `to_cif_folder`, its ids, labels and sources are taken over.

    Raises:
      MfalError: when there is no CIF, or one can't be read.
    """
    import pandas as pd

    from mfal.crystals.structures import read_structure

    folder = Path(folder)
    paths = sorted(folder.glob("*.cif"))
    index = folder / INDEX_FILE
    if index.exists():
        frame = pd.read_csv(index, keep_default_na=False)
        names = [str(name) for name in frame["cif"]]
        rows = from_pandas(frame.drop(columns="cif"))
        return MaterialTable.from_rows(
            row._replace(structure=_asymmetric(read_structure(folder / name)) if name else None)
            for row, name in zip(rows, names, strict=True)
        )
    if not paths:
        raise MfalError(f"{folder} holds no CIF", "give a folder with files named *.cif")
    return MaterialTable.from_rows(
        material_from_structure(path.stem, read_structure(path), source=str(path.name))
        for path in paths
    )


def material_from_structure(
    identifier: str, structure: Any, *, charged: bool = True, **columns: Any
) -> Material:
    """A row from a pymatgen structure; further columns by name.

    With `charged` it gets oxidation states; if none are neutral it is kept as it is.

    Raises:
      MfalError: when spglib finds no symmetry (atoms on top of each other).
    """
    from mfal.crystals.structures import crystal_from_structure

    unit = _asymmetric(structure, charged)
    if isinstance(unit, AsymmetricUnit):
        composition: Mapping[str, float] = unit.composition
        number, lattice = unit.space_group_number, unit.lattice
    else:
        crystal = crystal_from_structure(structure)
        composition = {
            e.symbol: float(crystal.composition[e.Z - 1])
            for e in structure.composition.element_composition
        }
        number = int(crystal.space_group_number)
        lattice = tuple(float(x) for x in crystal.lattice)
    formula = structure.composition.element_composition.reduced_formula
    return Material(
        identifier, columns.pop("formula", formula), composition, number, lattice,
        structure=unit, **columns,
    )  # fmt: skip


def _asymmetric(structure: Any, charged: bool = True) -> AsymmetricUnit | dict[str, Any]:
    from mfal.data.asymmetric import asymmetric_unit

    try:
        return asymmetric_unit(structure, charged=charged)
    except MfalError:
        return dict(structure.as_dict())


def _file_name(identifier: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in identifier)
