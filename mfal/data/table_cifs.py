"""Tables to folders of CIFs, and from folders of structure files."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from mfal.crystals.file_names import is_structure_name, plain_name
from mfal.data.rows import material_from_structure, structure_record
from mfal.data.table import MaterialTable, load_structure
from mfal.data.table_json import write_text
from mfal.data.table_pandas import from_pandas, read_csv, to_pandas
from mfal.errors import MfalError, warn

__all__ = ["INDEX_FILE", "from_cif_folder", "to_cif_folder"]

INDEX_FILE = "materials.csv"
"""The file beside the CIFs that holds everything else of the table."""


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


def from_cif_folder(folder: str | Path, *, strict: bool = False) -> MaterialTable:
    """A table of the structure files in a folder, ids from their names.

    Whatever `mfal.crystals.read_structures` reads counts, compressed or not, with names in small or
    large letters. A file that can't be read, or that holds several structures, is left out with a
    warning. With a `materials.csv` from `to_cif_folder`, its ids, labels and sources are taken
    over.

    Args:
      folder: where to look; not in the folders within.
      strict: raise an error where something would be left out.

    Raises:
      MfalError: when no structure can be read, or with `strict` when one can't.
    """
    from mfal.crystals.reading import read_structure

    folder = Path(folder)
    index = folder / INDEX_FILE
    if index.exists():
        return _indexed(folder, index, strict)
    paths = sorted(folder.glob("*"))
    paths = [path for path in paths if path.is_file() and is_structure_name(path)]
    if not paths:
        raise MfalError(
            f"{folder} holds no structure file", "give a folder of CIFs, POSCARs or the like"
        )
    stems = Counter(_stem(path) for path in paths)
    rows = []
    for path in paths:
        identifier = _stem(path) if stems[_stem(path)] == 1 else path.name
        try:
            structure = read_structure(path)
            rows.append(material_from_structure(identifier, structure, source=path.name))
        except MfalError as error:
            if strict or len(paths) == 1:
                raise
            warn(f"left out: {error}")
    if not rows:
        raise MfalError(f"{folder}: none of {len(paths)} files can be read", "see the warnings")
    return MaterialTable.from_rows(rows)


def _indexed(folder: Path, index: Path, strict: bool) -> MaterialTable:
    """The rows of an index with the structures of its files."""
    from mfal.crystals.reading import read_structure

    frame = read_csv(index, keep_default_na=False)
    if "cif" not in frame.columns:
        raise MfalError(f"{index} has no column cif", "export the table again")
    names = [str(name) for name in frame["cif"]]
    strays = [name for name in names if name != Path(name).name]
    if strays:
        raise MfalError(f"{index} names {strays[0]}", "name files of the same folder only")
    rows = []
    for row, name in zip(from_pandas(frame.drop(columns="cif")), names, strict=True):
        record = None
        if name:
            try:
                record = structure_record(read_structure(folder / name))
            except MfalError as error:
                if strict:
                    raise
                warn(f"{row.id}: its atoms are left out: {error}")
        rows.append(row._replace(structure=record))
    return MaterialTable.from_rows(rows)


def _stem(path: Path) -> str:
    """A file's name without what it is compressed by and its format."""
    return plain_name(path).stem


def _file_name(identifier: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in identifier)
