"""SHELX's .res and .ins files, and those that AIRSS and CASTEP write in their form."""

import re

import gemmi
import numpy as np
from pymatgen.core import Element, Lattice, Structure

from mfal.crystals.elements import SYMBOLS, atomic_number
from mfal.crystals.expansion import ListedSite, expand
from mfal.errors import MfalError

__all__ = ["is_shelx", "shelx_structure"]

_CENTRINGS = {
    1: ("0,0,0",),
    2: ("0,0,0", "1/2,1/2,1/2"),
    3: ("0,0,0", "2/3,1/3,1/3", "1/3,2/3,2/3"),
    4: ("0,0,0", "0,1/2,1/2", "1/2,0,1/2", "1/2,1/2,0"),
    5: ("0,0,0", "0,1/2,1/2"),
    6: ("0,0,0", "1/2,0,1/2"),
    7: ("0,0,0", "1/2,1/2,0"),
}
"""Translations by the number after LATT: P, I, R (obverse), F, A, B, C; negative numbers are
without the inversion. Sheldrick, Acta Cryst. C 71, 3 (2015), doi:10.1107/S2053229614024218, and the
manual of SHELXL."""


_INSTRUCTIONS = frozenset(
    [
        "TITL",
        "ZERR",
        "UNIT",
        "DISP",
        "NEUT",
        "TEMP",
        "SIZE",
        "LAUE",
        "WGHT",
        "EXTI",
        "SWAT",
        "PLAN",
        "GRID",
        "FMAP",
        "MOLE",
        "MERG",
        "OMIT",
        "SHEL",
        "TWIN",
        "BASF",
        "HOPE",
        "L.S.",
        "CGLS",
        "DAMP",
        "STIR",
        "BLOC",
        "ACTA",
        "BOND",
        "CONF",
        "CONN",
        "BIND",
        "FREE",
        "MPLA",
        "RTAB",
        "HTAB",
        "EQIV",
        "LIST",
        "MORE",
        "SIZE",
        "SPEC",
        "TIME",
        "TWST",
        "WPDB",
        "XNPD",
        "REM",
        "ANIS",
        "AFIX",
        "PART",
        "RESI",
        "SAME",
        "SADI",
        "DFIX",
        "DANG",
        "SIMU",
        "DELU",
        "ISOR",
        "RIGU",
        "FLAT",
        "CHIV",
        "NCSY",
        "EADP",
        "EXYZ",
        "SUMP",
        "DEFS",
        "FRAG",
        "FEND",
        "MOVE",
        "HFIX",
        "ABIN",
        "ANSC",
        "ANSR",
        "PRIG",
    ]
)
"""First words of lines that are no atoms."""


def is_shelx(text: str) -> bool:
    """Whether text has the cell and the elements of a SHELX file."""
    return all(re.search(rf"^{word}\s", text, re.M | re.I) for word in ("CELL", "SFAC"))


def shelx_structure(text: str) -> tuple[Structure, list[str]]:
    """The structure and what a reader should know of it.

    Raises:
      MfalError: where cell or atoms are missing, or make no sense.
    """
    text = re.sub(r"=\s*\n\s*", " ", text)  # lines that go on in the next
    cell: list[float] = []
    elements: list[str] = []
    operations = [gemmi.Op()]
    lattice_type, free = 1, [1.0]
    rows: list[tuple[str, str, list[float]]] = []
    peaks = 0
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        keyword = words[0].upper()[:4]
        if keyword == "CELL":
            cell = [float(word) for word in words[2:8]]
        elif keyword == "LATT":
            lattice_type = int(words[1])
        elif keyword == "SYMM":
            operations.append(gemmi.Op("".join(words[1:]).lower()))
        elif keyword == "SFAC":
            elements += [SYMBOLS[atomic_number(w.capitalize()) - 1] for w in words[1:]]
        elif keyword == "FVAR":
            free += [float(word) for word in words[1:]][1 if len(free) == 1 else 0 :]
        elif keyword in ("END", "HKLF"):
            break
        elif keyword in _INSTRUCTIONS:
            continue
        elif len(words) >= 5 and words[1].isdigit() and 1 <= int(words[1]) <= len(elements):
            if re.fullmatch(r"Q\d+", words[0], re.I):
                peaks += 1
                continue
            rows.append((words[0], elements[int(words[1]) - 1], [float(w) for w in words[2:6]]))
    if len(cell) != 6 or not rows:
        raise MfalError("no cell or no atoms", "give a SHELX file with CELL, SFAC and atoms")
    if lattice_type > 0:
        operations += [gemmi.Op("-x,-y,-z") * operation for operation in operations]
    shifts = [gemmi.Op(_moved(shift)) for shift in _CENTRINGS[abs(lattice_type)]]
    every = {(s * o).wrap().triplet(): (s * o).wrap() for s in shifts for o in operations}
    rotations = np.array([one.rot for one in every.values()]) // gemmi.Op.DEN
    translations = np.array([one.tran for one in every.values()]) / gemmi.Op.DEN
    lattice = Lattice.from_parameters(*cell)
    sites = []
    for label, symbol, numbers in rows:
        position = np.array([_refined(x, [1.0]) for x in numbers[:3]])
        share = _refined(numbers[3], free) if len(numbers) > 3 else 1.0
        # The factor counts the atoms of an asymmetric unit: on a special position, a fraction.
        images = len(
            expand(lattice, [ListedSite(label, position, {symbol: 1.0})], rotations, translations)[
                0
            ]
        )
        occupancy = round(share * len(rotations) / images, 6)
        if occupancy > 0:
            sites.append(ListedSite(label, position, {Element(symbol): occupancy}))
    structure, notes = expand(lattice, sites, rotations, translations)
    if peaks:
        notes.append(f"{peaks} peaks of the difference map left out")
    return structure, notes


def _moved(shift: str) -> str:
    return ",".join(f"{axis}+{part}" for axis, part in zip("xyz", shift.split(","), strict=True))


def _refined(value: float, free: list[float]) -> float:
    """What SHELX means by a number: 10 added holds it fixed, 20 and more name a free variable."""
    number = int(abs(value) / 10 + 0.5)
    rest = abs(value) - 10 * number
    if number == 0:
        return value
    if number == 1:
        return rest if value > 0 else -rest
    variable = free[number - 1] if number <= len(free) else 1.0
    return rest * variable if value > 0 else abs(rest) * (1.0 - variable)
