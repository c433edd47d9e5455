"""What `mfal score` and `mfal relax` take: files, folders, globs, tables, standard input.

Nothing heavy is imported before the list is known, so that the command answers at once.
"""

import glob
import hashlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mfal.crystals.file_names import is_structure_name
from mfal.errors import MfalError

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from mfal.crystals.reading import ReadStructure
    from mfal.data.table import StructureRecord

__all__ = ["Row", "Source", "expand_sources", "structures_of"]

_STANDARD_INPUT = "-"
_TABLE_SUFFIXES = (".csv", ".tsv")


class Row(NamedTuple):
    """A row of a table; its atoms are made where it is scored."""

    identifier: str
    record: "StructureRecord"
    """Its structure as the table keeps it."""
    notes: tuple[str, ...]
    """What the table says of it."""


class Source(NamedTuple):
    """A file, or a row of a table."""

    name: str
    """The path of the file, or the row as TABLE:ID."""
    contents: bytes | Row | MfalError | None
    """Of what has no file of its own: standard input, a row, or why a row has no structure. None:
    the file is read where it is scored."""

    def digest(self) -> str:
        """A fingerprint of the contents; empty where they can't be read."""
        if self.contents is None:
            try:
                return hashlib.sha256(Path(self.name).read_bytes()).hexdigest()[:16]
            except OSError:
                return ""
        return hashlib.sha256(repr(self.contents).encode()).hexdigest()[:16]


def expand_sources(references: Sequence[str]) -> list[Source]:
    """All that the references name, in their order, each file once.

    A folder stands for the structure files in it and in the folders within; what is no file may be
    a pattern, or a table that `mfal data` knows.

    Raises:
      MfalError: for a table that can't be read.
    """
    found: dict[str, Source] = {}
    for reference in references:
        for source in _expand(reference):
            found.setdefault(source.name, source)
    return list(found.values())


def structures_of(source: Source) -> "list[ReadStructure]":
    """The structures of a source, each perhaps with a problem instead; one at least."""
    from mfal.crystals.reading import ReadStructure, read_structures, structures_in

    contents = source.contents
    try:
        if isinstance(contents, MfalError):
            raise contents
        if isinstance(contents, Row):
            return [ReadStructure(source.name, _atoms_of(contents), None)]
        if contents is None:
            return read_structures(source.name)
        return structures_in(contents, source.name)
    except MfalError as error:
        return [ReadStructure(source.name, None, error)]


def _atoms_of(row: Row) -> "Structure":
    from mfal.crystals.checks import add_notes
    from mfal.data.table import load_structure

    structure = load_structure(row.record, row.identifier)
    assert structure is not None  # rows without atoms are told apart before
    add_notes(structure, list(row.notes))
    return structure


def _expand(reference: str) -> Iterator[Source]:
    path = Path(reference)
    if reference == _STANDARD_INPUT:
        yield Source("standard input", sys.stdin.buffer.read())
    elif path.is_dir():
        names = sorted(each for each in path.rglob("*") if each.is_file())
        inside = [each for each in names if is_structure_name(each)]
        if not inside:
            yield Source(
                reference, MfalError(f"{reference} holds no structure file", "give another folder")
            )
        yield from (Source(str(each), None) for each in inside)
    elif path.is_file():
        if path.suffix.lower() in _TABLE_SUFFIXES or _is_table(path):
            yield from _rows(reference)
        else:
            yield Source(reference, None)
    elif matching := sorted(glob.glob(reference, recursive=True)):
        for each in matching:
            yield from _expand(each) if each != reference else ()
    elif _is_named_table(reference):
        yield from _rows(reference)
    else:
        yield Source(reference, None)  # reading it says that it does not exist


def _is_table(path: Path) -> bool:
    """Whether a JSON file is a table of mfal's."""
    if path.suffix.lower() != ".json":
        return False
    try:
        with path.open("rb") as file:
            return b'"materials"' in file.read(200)
    except OSError:
        return False


def _is_named_table(reference: str) -> bool:
    from mfal.data.named import NAMED_TABLES

    return reference.partition(":")[0] in NAMED_TABLES


def _rows(reference: str) -> Iterator[Source]:
    from mfal.data.named import open_table

    table = open_table(reference)
    for index, identifier in enumerate(table.ids):
        record = table.structure_records[index]
        contents: Row | MfalError
        if record is None:
            contents = MfalError(f"{identifier} has no atoms", "give a structure file for it")
        else:
            notes = tuple(str(note) for note in table.details[index].get("notes", ()))
            contents = Row(identifier, record, notes)
        yield Source(f"{reference}:{identifier}", contents)
