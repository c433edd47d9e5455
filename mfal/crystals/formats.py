"""Structures in the formats besides CIF, told apart by their contents.

VASP's and the JSON of pymatgen and ASE are read here, SHELX's in `mfal.crystals.shelx`, and what is
left by ASE.
"""

import json
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pymatgen.core import Lattice, Structure

from mfal.crystals.elements import atomic_number
from mfal.crystals.expansion import MOST_FILLED
from mfal.crystals.shelx import is_shelx, shelx_structure
from mfal.errors import MfalError

__all__ = ["Found", "is_cif", "other_structures"]


class Found(NamedTuple):
    """A structure of a file."""

    structure: Structure
    notes: list[str]


def is_cif(text: str) -> bool:
    """Whether text is a CIF: a data block begins a line, or a tag of the cell does."""
    return bool(re.search(r"^[ \t]*(data_\S*\s|_cell[_.]length_a)", text, re.M | re.I))


def other_structures(text: str, suffix: str) -> list[Found]:
    """The structures in a text that is no CIF; at least one.

    Args:
      text: all of the file.
      suffix: of the file's name, ".cell"; it counts where the contents don't tell the format.

    Raises:
      MfalError: where the format is not known, or the text doesn't keep to it. The message begins
        with the format.
    """
    for name, fits, read in _FORMATS:
        if fits(text):
            return _read(name, read, text)
    try:
        return _read("file", lambda whole: _by_ase(whole, _format_of(whole, suffix)), text)
    except MfalError:
        raise MfalError(
            "this is no structure file of a format that is known",
            "give a CIF, POSCAR, extended XYZ, XSF, SHELX or JSON file",
        ) from None


def _read(name: str, read: Callable[[str], list[Found]], text: str) -> list[Found]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = read(text)
        except MfalError:
            raise
        except Exception:  # the parsers raise whatever they stumble over
            raise MfalError(
                f"this is no complete {name}", "open it in a structure viewer, or export it again"
            ) from None
    if not found:
        raise MfalError(f"no structure in this {name}", "give one with a cell and atoms")
    return found


# --- VASP -----------------------------------------------------------------------------------------


def _numbers(line: str) -> int:
    """How many numbers a line holds, 0 where there is something else."""
    try:
        return len([float(word) for word in line.split()])
    except ValueError:
        return 0


def _is_poscar(text: str) -> bool:
    lines = text.splitlines()
    if len(lines) < 8 or _numbers(lines[1]) not in (1, 3):
        return False
    return all(_numbers(line) == 3 for line in lines[2:5])


def _poscar(text: str) -> list[Found]:
    lines = text.splitlines()
    notes = []
    if _numbers(lines[5]):  # the old form, which need not name its elements
        count = len(lines[5].split())
        symbols = [re.sub(r"[^A-Za-z].*", "", word) for word in lines[0].split()]
        named = re.search(r"[A-Z][a-z]?\s*$", lines[-1] if lines[-1].strip() else lines[-2])
        if len(symbols) == count and all(map(_is_element, symbols)):
            lines.insert(5, " ".join(symbols))
            notes.append(f"elements {', '.join(symbols)} taken from the first line")
        elif not named:
            raise MfalError(
                "the elements are not named", "add a line of symbols above the numbers of atoms"
            )
    from pymatgen.io.vasp import Poscar  # loads SciPy's signal processing and statistics

    return [Found(Poscar.from_str("\n".join(lines)).structure, notes)]


def _is_element(symbol: str) -> bool:
    try:
        return bool(atomic_number(symbol))
    except MfalError:
        return False


def _is_xdatcar(text: str) -> bool:
    return bool(re.search(r"^\s*Direct configuration\s*=", text, re.M))


# --- JSON -----------------------------------------------------------------------------------------


def _json(text: str) -> list[Found]:
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        raise MfalError("this is no complete JSON", "write it again") from None
    found = [Found(Structure.from_dict(_at_most_full(one)), []) for one in _structure_dicts(data)]
    if found:
        return found
    if isinstance(data, dict) and ("ids" in data or "__ase_objtype__" in text):
        if "ids" in data:
            return _by_ase(text, "json")
        from ase.io.jsonio import decode

        decoded = decode(text)
        atoms = decoded if isinstance(decoded, list) else [decoded]
        return [_from_ase(one) for one in atoms]
    raise MfalError(
        "no structure in this JSON", "give one that pymatgen or ASE wrote, or a table of mfal"
    )


def _at_most_full(data: dict[str, Any]) -> dict[str, Any]:
    """A structure's dict with sites that hold at most one atom.

    Raises:
      MfalError: for a site that is filled more than rounding explains.
    """
    for site in data["sites"]:
        total = sum(float(one["occu"]) for one in site["species"])
        if total > MOST_FILLED:
            place = " ".join(f"{x:.4g}" for x in site.get("abc", ()))
            raise MfalError(
                f"{site.get('label') or 'a site'} at {place}: occupancy {total:.4g}",
                "a site holds at most one atom: check occupancies",
            )
        if total > 1.0:
            for one in site["species"]:
                one["occu"] = float(one["occu"]) / total
    return data


def _structure_dicts(data: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Pymatgen structures anywhere in nested lists and dicts."""
    if isinstance(data, dict):
        if isinstance(data.get("lattice"), dict) and isinstance(data.get("sites"), list):
            yield data
            return
        data = list(data.values())
    if isinstance(data, list) and depth < 6:
        for each in data:
            yield from _structure_dicts(each, depth + 1)


# --- ASE ------------------------------------------------------------------------------------------

_NOT_READ = {"py", "db", "traj", "bundletrajectory", "postgresql", "mysql", "mariadb", "aselmdb"}
"""Formats of ASE that are programs or databases rather than files of structures."""


def _format_of(text: str, suffix: str) -> str:
    """ASE's name of the format, by contents, else by the suffix; empty where it has none."""
    from ase.io.formats import UnknownFileTypeError, filetype, match_magic

    try:
        name = match_magic(text[:50_000].encode()).name
    except UnknownFileTypeError:
        try:
            name = filetype(f"name{suffix}", read=False)
        except UnknownFileTypeError:
            name = ""
    return "" if name in _NOT_READ else str(name)


def _by_ase(text: str, name: str) -> list[Found]:
    from ase.io import read

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "structure")  # some of its readers want a file, not a stream
        path.write_text(text, encoding="utf-8")
        atoms = read(path, index=":", format=name) if name else []
    return [_from_ase(one) for one in atoms]


def _from_ase(atoms: Any) -> Found:
    cell = np.asarray(atoms.cell, float)
    if not abs(np.linalg.det(cell)) > 0.1:
        raise MfalError("this is a molecule without a cell", "give a crystal with its cell")
    structure = Structure(
        Lattice(cell), atoms.get_chemical_symbols(), atoms.positions, coords_are_cartesian=True
    )
    open_axes = [axis for axis, periodic in zip("abc", atoms.pbc, strict=True) if not periodic]
    notes = [f"the file is not periodic along {', '.join(open_axes)}"] if open_axes else []
    return Found(structure, notes)


def _is_extxyz(text: str) -> bool:
    lines = text.splitlines()
    return len(lines) > 1 and lines[0].strip().isdigit()


def _is_xsf(text: str) -> bool:
    return bool(re.search(r"^\s*(CRYSTAL|PRIMVEC|PRIMCOORD)\b", text, re.M))


_Format = tuple[str, Callable[[str], bool], Callable[[str], list[Found]]]

_FORMATS: tuple[_Format, ...] = (
    ("JSON", lambda text: text.lstrip()[:1] in ("{", "["), _json),
    ("XDATCAR", _is_xdatcar, lambda text: _by_ase(text, "vasp-xdatcar")),
    ("POSCAR", _is_poscar, _poscar),
    ("extended XYZ file", _is_extxyz, lambda text: _by_ase(text, "extxyz")),
    ("XSF file", _is_xsf, lambda text: _by_ase(text, "xsf")),
    ("SHELX file", is_shelx, lambda text: [Found(*shelx_structure(text))]),
)
