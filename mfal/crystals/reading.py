"""Files to structures: whatever compression, encoding and format they come in.

A file is told by its contents, not by its name. What could only be read with an assumption, and
what is odd about a structure (`mfal.crystals.checks`), goes with it as notes.
"""

import bz2
import gzip
import io
import lzma
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pymatgen.core import Element, Species, Structure

from mfal.crystals.checks import Stated, add_notes, check_structure
from mfal.crystals.cif import cif_structures
from mfal.crystals.elements import SYMBOLS, atomic_number
from mfal.crystals.expansion import MAX_SITES
from mfal.crystals.file_names import COMPRESSED, plain_name
from mfal.crystals.formats import is_cif, other_structures
from mfal.errors import MfalError

__all__ = [
    "COMPRESSED",
    "STANDARD_INPUT",
    "ReadStructure",
    "parse_structure",
    "read_bytes",
    "read_structure",
    "read_structures",
    "structures_in",
    "text_of_bytes",
]

STANDARD_INPUT = "-"
"""Stands for standard input where the path of a file is asked for."""

MAX_FILE_BYTES = 10_000_000
"""Of a file's contents, after decompression."""


class ReadStructure(NamedTuple):
    """One structure of a file, or why it could not be read."""

    name: str
    """The file, and the number of the structure in it where it holds several: "a.cif#2"."""
    structure: Structure | None
    """With its notes, see `mfal.crystals.checks.notes_of`."""
    problem: MfalError | None


def read_structures(path: str | Path, *, max_sites: int = MAX_SITES) -> list[ReadStructure]:
    """All structures in a file, checked; one that is broken stands there with its problem.

    Sites keep their occupancies; deuterium and tritium become hydrogen. Occupancies that add up to
    slightly more than one (at most 5 %, rounding in refinements) are scaled to one.

    Args:
      path: of the file; "-" is standard input.
      max_sites: as many sites as a cell may have.

    Raises:
      MfalError: when the file is missing, too large, or nothing in it can be read.
    """
    name = "standard input" if str(path) == STANDARD_INPUT else str(path)
    try:
        data = read_bytes(path)
    except MfalError as error:
        raise _named(error, name) from None
    return structures_in(data, name, max_sites=max_sites)


def structures_in(data: bytes, name: str, *, max_sites: int = MAX_SITES) -> list[ReadStructure]:
    """As `read_structures`, from the contents of a file, decompressed; `name` is the file's."""
    try:
        found = _parse(text_of_bytes(data), Path(name), max_sites)
    except MfalError as error:
        raise _named(error, name) from None
    readings = []
    for number, (label, one) in enumerate(found, start=1):
        several = len(found) > 1
        own = f"{name}#{number}" if several else name
        where = f"{own} ({label})" if several and label else own
        try:
            if isinstance(one, MfalError):
                raise one
            structure = _sound(one.structure, max_sites)
            add_notes(structure, [*one.notes, *check_structure(structure, one.stated)])
        except MfalError as error:
            readings.append(ReadStructure(own, None, _named(error, where)))
        else:
            readings.append(ReadStructure(own, structure, None))
    return readings


def read_structure(path: str | Path, *, max_sites: int = MAX_SITES) -> Structure:
    """The one structure in a file, see `read_structures`.

    Raises:
      MfalError: also when the file holds several structures, or a broken one.
    """
    readings = read_structures(path, max_sites=max_sites)
    if len(readings) > 1:
        raise MfalError(f"{path} holds {len(readings)} structures", "give one structure a file")
    if readings[0].structure is None:
        assert readings[0].problem is not None
        raise readings[0].problem
    return readings[0].structure


def parse_structure(text: str, name: str, *, max_sites: int = MAX_SITES) -> Structure:
    """The one structure in a text, with notes of how it was read, but not checked any further.

    This is for what a table, a ledger or a database holds. `name` stands for the text in errors,
    which are those of `read_structure`.
    """
    try:
        found = _parse(text, Path(name), max_sites)
        if len(found) > 1:
            raise MfalError(f"holds {len(found)} structures", "give one structure a file")
        _, one = found[0]
        if isinstance(one, MfalError):
            raise one
        structure = _sound(one.structure, max_sites)
    except MfalError as error:
        raise _named(error, name) from None
    add_notes(structure, one.notes)
    return structure


class _Parsed(NamedTuple):
    structure: Structure
    stated: Stated
    notes: list[str]


def _named(error: MfalError, name: str) -> MfalError:
    verb = error.what.startswith(("has ", "is ", "holds ", "does ", "cannot "))
    return MfalError(f"{name}{' ' if verb else ': '}{error.what}", error.remedy)


def read_bytes(path: str | Path) -> bytes:
    """The contents of a file, or of standard input, decompressed.

    Raises:
      MfalError: when it is missing, too large or damaged; the message is without the file's name.
    """
    try:
        if str(path) == STANDARD_INPUT:
            data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            path = Path(path)
            if path.is_dir():
                raise MfalError("is a folder", "give a structure file")
            with path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise MfalError("does not exist", "give the path of a structure file") from None
    except OSError as error:
        raise MfalError(
            f"cannot be read ({error.strerror})", "check the file and its permissions"
        ) from None
    if len(data) <= MAX_FILE_BYTES:
        data = _decompressed(data)
    if len(data) > MAX_FILE_BYTES:
        raise MfalError(
            f"is too large (more than {MAX_FILE_BYTES / 1e6:.0f} MB)",
            "give a file of one unit cell",
        )
    return data


def _decompressed(data: bytes) -> bytes:
    """What is compressed, opened as far as it may be large."""
    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    for suffix, beginning in COMPRESSED.items():
        if data.startswith(beginning):
            try:
                with openers[suffix](io.BytesIO(data)) as file:
                    return bytes(file.read(MAX_FILE_BYTES + 1))
            except (OSError, EOFError, lzma.LZMAError, ValueError):
                raise MfalError("is damaged: it cannot be decompressed", "copy it again") from None
    return data


def text_of_bytes(data: bytes) -> str:
    """Text in UTF-8 or UTF-16, with or without a byte-order mark, or else in Windows-1252."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"),
                           (b"\xfe\xff", "utf-16")):  # fmt: skip
        if data.startswith(mark):
            return _lines(data.decode(encoding, errors="replace"))
    # In UTF-16 every other byte of plain text is zero.
    for encoding, start in (("utf-16-le", 1), ("utf-16-be", 0)):
        zeros = data[start:400:2]
        if len(zeros) > 4 and not any(zeros) and any(data[1 - start : 400 : 2]):
            return _lines(data.decode(encoding, errors="replace"))
    try:
        return _lines(data.decode("utf-8"))
    except UnicodeDecodeError:
        return _lines(data.decode("cp1252", errors="replace"))


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _parse(text: str, path: Path, max_sites: int) -> list[tuple[str, _Parsed | MfalError]]:
    """Structures and what each is called in the file."""
    if not text.strip():
        raise MfalError("is empty", "give a structure file")
    if is_cif(text):
        return [
            (f"block {one.block}" if one.block else "", _Parsed(*one[1:]))
            if not isinstance(one, MfalError)
            else ("", one)
            for one in cif_structures(text, max_sites)
        ]
    return [("", _Parsed(one.structure, Stated(), one.notes)) for one in
            other_structures(text, plain_name(path).suffix)]  # fmt: skip


def _sound(structure: Structure, max_sites: int) -> Structure:
    """The structure with isotopes as their elements.

    Raises:
      MfalError: for too many sites, no cell, or what is no element.
    """
    if len(structure) > max_sites:
        raise MfalError(f"has {len(structure)} sites", f"give a cell of at most {max_sites} sites")
    numbers = np.concatenate([structure.lattice.matrix.ravel(), structure.frac_coords.ravel()])
    if not np.isfinite(numbers).all() or not structure.lattice.volume > 0.1:
        raise MfalError("has no sensible cell or coordinates", "check the file's numbers")
    return _plain(structure)


def _plain(structure: Structure) -> Structure:
    replace: dict[Any, Any] = {}
    for species in structure.composition:
        symbol = getattr(species, "symbol", str(species))
        plain = SYMBOLS[atomic_number(symbol) - 1]
        if plain != symbol:
            charge = getattr(species, "oxi_state", None)
            replace[species] = Element(plain) if charge is None else Species(plain, charge)
    if replace:
        structure = structure.replace_species(replace, in_place=False)
    return structure
