"""Tables to and from folders of CIFs."""

from __future__ import annotations

import csv
from pathlib import Path

from mfal.data.rows import material_from_structure, structure_record
from mfal.data.table import MaterialTable, load_structure
from mfal.data.table_json import write_text
from mfal.data.table_pandas import from_pandas, read_csv, to_pandas
from mfal.errors import MfalError

__all__ = ["INDEX_FILE", "from_cif_folder", "to_cif_folder"]

INDEX_FILE = "materials.csv"
"""Beside the CIFs, everything else of the table."""


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
    from mfal.crystals.reading import read_structure

    folder = Path(folder)
    paths = sorted(folder.glob("*.cif"))
    index = folder / INDEX_FILE
    if index.exists():
        frame = read_csv(index, keep_default_na=False)
        if "cif" not in frame.columns:
            raise MfalError(f"{index} has no column cif", "export the table again")
        names = [str(name) for name in frame["cif"]]
        strays = [name for name in names if name != Path(name).name]
        if strays:
            raise MfalError(f"{index} names {strays[0]}", "name files of the same folder only")
        rows = from_pandas(frame.drop(columns="cif"))
        return MaterialTable.from_rows(
            row._replace(
                structure=structure_record(read_structure(folder / name)) if name else None
            )
            for row, name in zip(rows, names, strict=True)
        )
    if not paths:
        raise MfalError(f"{folder} holds no CIF", "give a folder with files named *.cif")
    return MaterialTable.from_rows(
        material_from_structure(path.stem, read_structure(path), source=str(path.name))
        for path in paths
    )


def _file_name(identifier: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in identifier)
