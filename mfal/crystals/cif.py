"""CIF: text to structures, with what the file says of them.

Nothing of a file is dropped in silence: sites without a position, dummy atoms, hydrogens without
sites and the like are named in the notes.
"""

import re
from typing import NamedTuple

import gemmi
import numpy as np
from pymatgen.core import Element, Lattice, Species, Structure

from mfal.crystals.checks import Stated, formula_difference, too_close
from mfal.crystals.cif_blocks import Block, cif_blocks, column, number_of, text_of
from mfal.crystals.cif_symmetry import Symmetry, fitting_symmetries, stated_symmetries
from mfal.crystals.elements import SYMBOLS, atomic_number
from mfal.crystals.expansion import MAX_SITES, ListedSite, expand
from mfal.crystals.formulas import formula_amounts
from mfal.errors import MfalError

__all__ = ["CifStructure", "cif_structures"]

_LENGTHS = ("_cell_length_a", "_cell_length_b", "_cell_length_c")
_ANGLES = ("_cell_angle_alpha", "_cell_angle_beta", "_cell_angle_gamma")
_FRACTIONAL = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
_CARTESIAN = ("_atom_site_cartn_x", "_atom_site_cartn_y", "_atom_site_cartn_z")

_MULTIPLICITY = ("_atom_site_symmetry_multiplicity", "_atom_site_site_symmetry_multiplicity")

_GROUPS = {"wat": "O", "h2o": "O", "oh2": "O", "hoh": "O", "ow": "O", "oh": "O", "o-h": "O"}
_GROUPS |= {"nh": "N", "nh2": "N", "nh3": "N", "nh4": "N", "ch": "C", "ch2": "C", "ch3": "C"}
"""Symbols of whole groups, by the atom that is not hydrogen."""

_NO_ATOM = {"", "?", ".", "x", "va", "vac", "vc", "du", "dum", "q", "zz"}
"""Symbols of vacancies and dummy atoms."""


ROUNDED_THIRD = 1e-4
"""Share of itself by which a coordinate may miss 1/3 or 2/3 and be meant to be it."""


class CifStructure(NamedTuple):
    """A structure of a CIF."""

    block: str
    """Name of its data block."""
    structure: Structure
    stated: Stated
    """What the file says that the atoms can be compared with."""
    notes: list[str]


def cif_structures(text: str, max_sites: int = MAX_SITES) -> list[CifStructure | MfalError]:
    """The structures in a CIF, one for each block that has atoms; at least one.

    What a block that can't be understood lacks stands in its place as an error; its message begins
    with the block or the site, not with the file.

    Raises:
      MfalError: where no block has atoms.
    """
    blocks = cif_blocks(text)
    holding = [one for one in blocks if column(one, *_FRACTIONAL[:1], *_CARTESIAN[:1])]
    if not holding:
        raise MfalError(
            "no block has atom sites", "give one with cell, symmetry and _atom_site_fract_x"
        )
    structures: list[CifStructure | MfalError] = []
    for block in holding:
        try:
            structures.append(_structure(block, max_sites))
        except MfalError as error:
            structures.append(error)
    return structures


def _structure(block: Block, max_sites: int) -> CifStructure:
    lattice, notes = _lattice(block)
    stated = _stated(block)
    sites, more = _sites(block, lattice, set(stated.amounts or ()))
    notes += more
    if not sites:
        raise MfalError("no site has a position", "give coordinates of the atoms")
    angles = (lattice.alpha, lattice.beta, lattice.gamma)
    metric = np.asarray(lattice.metric_tensor)
    ways = fitting_symmetries(stated_symmetries(block, angles), metric)
    best: tuple[tuple[float, bool], Symmetry, Structure, list[str]] | None = None
    problem: MfalError | None = None
    for way in ways:
        try:
            structure, said = expand(lattice, sites, way.rotations, way.translations, max_sites)
        except MfalError as error:
            problem = problem or error
            continue
        rank = (0.0, False) if len(ways) == 1 else _strangeness(structure, stated)
        if best is None or rank < best[0]:
            best = (rank, way, structure, said)
    if best is None:
        assert problem is not None
        raise problem
    _, way, structure, said = best
    notes += [way.note] if way.note else []
    if way.group is not None:
        stated = stated._replace(group=way.group.number, symbol=way.group.short_name())
    if len(ways) > 1 and way.group is not None and way.group.ext in ("1", "2") and not way.note:
        notes.append(f"origin choice {way.group.ext} taken: the file does not state it")
    return CifStructure(block.name, structure, stated, notes + said + _oddities(block))


def _strangeness(structure: Structure, stated: Stated) -> tuple[float, bool]:
    """How little a reading agrees with the file's formula and with distances between atoms."""
    difference = 0.0
    if stated.amounts:
        difference = round(formula_difference(structure.composition, stated.amounts), 2)
        if stated.units:
            expected = stated.units * sum(stated.amounts.values())
            difference += round(abs(structure.composition.num_atoms / expected - 1.0), 2)
    return difference, bool(too_close(structure))


def _lattice(block: Block) -> tuple[Lattice, list[str]]:
    lengths = [number_of(text_of(block, tag)) for tag in _LENGTHS]
    angles = [number_of(text_of(block, tag)) for tag in _ANGLES]
    for tag, value in zip(_LENGTHS, lengths, strict=True):
        if value is None or value <= 0:
            said = text_of(block, tag)
            raise MfalError(f"{tag} is {said!r}" if said else f"no {tag}", "give the cell in Å")
    notes = []
    if None in angles:
        notes.append("angles of the cell that are not given are taken as 90°")  # the standard's
    a, b, c = (float(x or 0.0) for x in lengths)
    alpha, beta, gamma = (90.0 if x is None else float(x) for x in angles)
    if not all(0 < x < 180 for x in (alpha, beta, gamma)):
        raise MfalError(f"angles of the cell {alpha:g} {beta:g} {gamma:g}", "give them in degrees")
    lattice = Lattice.from_parameters(a, b, c, alpha, beta, gamma)
    if not (np.isfinite(lattice.matrix).all() and lattice.volume > 0.1):
        raise MfalError(
            f"the cell {a:g} {b:g} {c:g} {alpha:g} {beta:g} {gamma:g} has no volume",
            "check its lengths (Å) and angles (degrees)",
        )
    return lattice, notes


def _sites(
    block: Block, lattice: Lattice, expected: set[str]
) -> tuple[list[ListedSite], list[str]]:
    """The sites with positions, and notes on what could not be taken over."""
    positions = _positions(block, lattice)
    count = len(positions)
    labels = _filled(column(block, "_atom_site_label"), count, "")
    types = _filled(column(block, "_atom_site_type_symbol"), count, "")
    flags = _filled(column(block, "_atom_site_calc_flag"), count, ".")
    occupancies = _filled(column(block, "_atom_site_occupancy"), count, ".")
    attached = _filled(column(block, "_atom_site_attached_hydrogens"), count, "0")
    multiplicities = _filled(column(block, *_MULTIPLICITY), count, "0")
    charges = _oxidation_states(block)
    sites, unknown, dummies, empty, bare = [], [], [], [], []
    for k in range(count):
        label = labels[k] or types[k] or f"site {k + 1}"
        given = types[k] if types[k] not in ("", "?", ".") else labels[k]
        amounts = _contents(given, types[k] == given, expected, label)
        if not amounts or flags[k].lower() == "dum":
            dummies.append(label)
            continue
        if np.isnan(positions[k]).any():
            unknown.append(label)
            continue
        occupancy = _occupancy(occupancies[k], label)
        if occupancy == 0:
            empty.append(label)
            continue
        if _plain(given) in _GROUPS or (number_of(attached[k]) or 0) > 0:
            bare.append(label)
        ions = {
            _ion(symbol, charges, given): share * occupancy for symbol, share in amounts.items()
        }
        multiplicity = int(number_of(multiplicities[k]) or 0)
        sites.append(ListedSite(label, positions[k], ions, multiplicity))
    notes = [
        f"{_listed(some)} left out: {why}"
        for some, why in (
            (unknown, "the file gives no position"),
            (dummies, "no atoms"),
            (empty, "occupancy 0"),
        )
        if some
    ]
    if bare:
        notes.append(f"hydrogens of {_listed(bare)} have no sites: they are missing")
    far = [site.label for site in sites if np.abs(site.position).max() > 3.0]
    if len(far) > 1:
        notes.append(f"fractional coordinates beyond 3 ({_listed(far)}): are they in Å?")
    return sites, notes


def _positions(block: Block, lattice: Lattice) -> np.ndarray:
    """Fractional coordinates of the rows, [N, 3] float64, NaN where unknown."""
    tags = _FRACTIONAL if column(block, _FRACTIONAL[0]) else _CARTESIAN
    columns = [column(block, tag) for tag in tags]
    lengths = {len(one) for one in columns if one is not None}
    if None in columns or len(lengths) != 1:
        raise MfalError("x, y and z of the atom sites differ in number", "complete the list")
    numbers = [[number_of(text) for text in one] for one in columns if one is not None]
    positions = np.array(numbers, float).T
    for third in (1 / 3, 2 / 3):  # 0.3333 is meant to be a third
        positions[np.abs(positions / third - 1.0) < ROUNDED_THIRD] = third
    if tags == _CARTESIAN:
        cell = gemmi.UnitCell(*lattice.parameters)
        places = [cell.fractionalize(gemmi.Position(*row)) for row in positions]
        positions = np.array([place.tolist() for place in places])
    return positions


def _filled(values: list[str] | None, count: int, default: str) -> list[str]:
    if values is None:
        return [default] * count
    if len(values) != count:
        raise MfalError("the columns of the atom sites differ in length", "complete the list")
    return [value.strip() for value in values]


def _occupancy(text: str, label: str) -> float:
    if text in (".", "?", ""):
        return 1.0  # the standard's default
    value = number_of(text)
    if value is None or value < 0:
        raise MfalError(f"{label}: occupancy {text!r}", "give a number from 0 to 1")
    return value


def _contents(text: str, is_type: bool, expected: set[str], label: str) -> dict[str, float]:
    """Elements of a site by a type symbol or a label; none for vacancies and dummy atoms."""
    if " + " in text:  # '0.8Nb + 0.2Zr', as the Pauling file writes it
        parts = [
            re.match(r"([\d.]*)\s*\D*?([A-Z][a-z]?)", part.strip()) for part in text.split("+")
        ]
        if all(parts):
            return {_element(m[2], True, expected, label): float(m[1] or 1.0) for m in parts if m}
    plain = _plain(text)
    if plain in _NO_ATOM:
        return {}
    if plain in _GROUPS:
        return {_GROUPS[plain]: 1.0}
    return {_element(text, is_type, expected, label): 1.0}


def _plain(text: str) -> str:
    """Lower case, without what numbers a label."""
    word = re.sub(r"[^A-Za-z]+\d*$", "", text).lower()
    return text.lower() if text.lower() in _GROUPS else word


def _element(text: str, is_type: bool, expected: set[str], label: str) -> str:
    """The element that a symbol such as Li1+ or a label such as CL1 begins with."""
    match = re.match(r"[A-Za-z]{1,2}", text.lstrip("0123456789( "))
    letters = match[0] if match else ""
    choices = [one for one in (letters.capitalize(), letters[:1].upper()) if one]
    found = []
    for choice in dict.fromkeys(choices):
        try:
            found.append(SYMBOLS[atomic_number(choice) - 1])
        except MfalError:
            continue
    if not found:
        raise MfalError(f"{label}: {text!r} is no element", "give the symbol of an element")
    if is_type and re.fullmatch(r"[A-Z][a-z]", letters) and letters not in SYMBOLS:
        rest = re.sub(r"[^A-Za-z]", "", text)
        if len(rest) == 2 and letters[0] not in "DHONCT":
            raise MfalError(f"{label}: {text!r} is no element", "give the symbol of an element")
    # "CO1" may be cobalt or carbon: what the formula has counts, then the longer symbol.
    return next((one for one in found if one in expected), found[0])


def _ion(symbol: str, charges: dict[str, float], given: str) -> Element | Species:
    if not charges:
        return Element(symbol)
    return Species(symbol, charges.get(given, charges.get(symbol, 0.0)))


def _oxidation_states(block: Block) -> dict[str, float]:
    """Charges by type symbol and by element; none unless all are given and some are not zero."""
    symbols = column(block, "_atom_type_symbol")
    numbers = column(block, "_atom_type_oxidation_number")
    if symbols is None or numbers is None or len(symbols) != len(numbers):
        return {}
    values = [number_of(text.replace("+", "")) for text in numbers]
    if None in values or not any(values):
        return {}
    charges: dict[str, float] = {}
    for symbol, value in zip(symbols, values, strict=True):
        charges[symbol] = charges[re.sub(r"[^A-Za-z].*$", "", symbol)] = float(value or 0.0)
    return charges


def _stated(block: Block) -> Stated:
    amounts = None
    text = text_of(block, "_chemical_formula_sum")
    if text:
        try:
            amounts = formula_amounts(text)
        except MfalError:
            amounts = None
    return Stated(
        amounts=amounts,
        units=number_of(text_of(block, "_cell_formula_units_z")),
        density=number_of(text_of(block, "_exptl_crystal_density_diffrn")),
        volume=number_of(text_of(block, "_cell_volume")),
    )


def _oddities(block: Block) -> list[str]:
    """Notes on kinds of structure that the atoms alone do not describe."""
    tags = block.items
    notes = []
    moments = ("_atom_site_moment", "_space_group_magn", "_space_group_symop_magn")
    if any(tag.startswith(moments) for tag in tags):
        notes.append("magnetic structure: its moments are left out")
    dimension = number_of(text_of(block, "_cell_modulation_dimension"))
    waves = ("_cell_wave_vector", "_atom_site_fourier", "_space_group_ssg")
    if dimension or any(tag.startswith(waves) for tag in tags):
        notes.append("modulated structure: only its average is read")
    return notes


def _listed(names: list[str], most: int = 6) -> str:
    names = list(dict.fromkeys(names))
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
