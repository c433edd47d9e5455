"""Tables to and from JSON, and files written whole."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mfal.data.asymmetric import AsymmetricUnit
from mfal.data.table import Label, Material, MaterialTable, StructureRecord
from mfal.errors import MfalError

__all__ = [
    "from_json",
    "load_json",
    "row_from_dict",
    "row_to_dict",
    "save_json",
    "stream_json",
    "structure_from_dict",
    "structure_to_dict",
    "to_json",
    "write_text",
]

SCHEMA = 1


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
    except RecursionError:
        raise MfalError(f"{name} is nested too deeply", "fetch or write it again") from None
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


def stream_json(path: str | Path) -> Iterator[Material]:
    """The rows of a table's file, one after the other, so that a large one needs little memory.

    A file that is not laid out as `to_json` does, a row a line, is read whole.

    Raises:
      MfalError: as `load_json`; for a broken row only when its turn comes.
    """
    path = Path(path)
    if not _is_lined(path):
        yield from load_json(path)
        return
    with path.open(encoding="utf-8") as file:
        file.readline()
        for number, line in enumerate(file, 1):
            if line.strip() == "]}":
                return
            yield _row(line.rstrip().rstrip(","), number, str(path))
    raise MfalError(f"{path} is not complete JSON", "fetch or write it again")


def _is_lined(path: Path) -> bool:
    """Whether a file is laid out as `to_json` does."""
    try:
        with path.open("rb") as file:
            return file.readline() == f'{{"schema": {SCHEMA}, "materials": [\n'.encode()
    except OSError:
        return False  # reading it says what is wrong


def _row(text: str, number: int, name: str) -> Material:
    try:
        return row_from_dict(json.loads(text))
    except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise MfalError(
            f"{name}: material {number} is malformed ({type(error).__name__}: {error})",
            "write it again with this version of mfal",
        ) from None


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
    if row.structure is not None:
        data["structure"] = structure_to_dict(row.structure)
    return data


def structure_to_dict(record: StructureRecord) -> dict[str, Any]:
    """A row's atoms as plain dicts and lists, for JSON."""
    if isinstance(record, AsymmetricUnit):
        return {"asymmetric_unit": record.to_dict()}
    return {"cif": record["cif"]} if "cif" in record else {"pymatgen": dict(record)}


def structure_from_dict(data: Mapping[str, Any]) -> StructureRecord:
    """Inverse of `structure_to_dict`; `KeyError` for anything else."""
    if "asymmetric_unit" in data:
        return AsymmetricUnit.from_dict(data["asymmetric_unit"])
    return data if "cif" in data else data["pymatgen"]


def row_from_dict(data: Mapping[str, Any]) -> Material:
    """Inverse of `row_to_dict`; `KeyError`, `TypeError` or `ValueError` for anything else."""
    structure = data["structure"]
    if structure is not None:
        structure = structure_from_dict(structure)
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
