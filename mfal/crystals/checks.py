"""The one check of a structure that was read, before any oracle is asked.

A structure for which every number would be meaningless is refused. Of what is only odd a note is
made; notes go with the structure (`structure.properties["notes"]`, see `notes_of`) into terminal,
JSON, tables and reports.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from pymatgen.core import Composition, Element, Structure

from mfal.crystals.charges import balanced_charges, charge
from mfal.crystals.elements import COVALENT_RADIUS, atomic_number
from mfal.crystals.groups import GROUP_SYMBOLS
from mfal.crystals.structures import space_group_number
from mfal.errors import MfalError

__all__ = [
    "Stated",
    "add_notes",
    "check_structure",
    "formula_difference",
    "formula_note",
    "is_doubtful",
    "notes_of",
    "too_close",
]

NOTES = "notes"
"""Key of a structure's properties under which its notes go with it."""

SAME_FORMULA = 0.02
"""Sum of the absolute differences of atomic fractions up to which two formulas are one: occupancies
are given to two or three digits."""

LEAST_CONTACT = 0.55
"""Share of the sum of covalent radii below which no two atoms come: the shortest bonds there are
have 0.67 (U-O in uranyl), 0.77 (N-N), 0.79 (C-O)."""

SHORT_CONTACT = 0.63
"""The same, below which a note is made. Of 508 measured structures of OBELiX and of mfal's own
table, 9 have a shorter contact, all but two of them between partly occupied sites."""

LONGEST_SHORTEST = 1.5
"""The same for the shortest contact of a cell: atoms further apart than that do not make a solid.
The largest in OBELiX and in mfal's own table is 1.2."""

LEAST_PACKING = 0.09
"""Share of the volume within covalent radii; faujasite, the most open of common frameworks, has
0.11, rock salt 0.4, garnets 0.85."""

LEAST_PACKING_WITH_HYDROGEN = 0.04
"""The same with hydrogen, whose radius is small: ice has 0.046, organic crystals 0.09 to 0.12."""

MOST_PACKING = 1.1
"""The same, above which atoms are squeezed; garnets have 0.855, the largest in OBELiX and in mfal's
own table."""

DENSEST = 25.0
"""g/cm^3: osmium, the densest solid, has 22.6."""

VACUUM = 6.0
"""Å between neighbouring planes of atoms that are taken as a layer of vacuum; the gaps of layered
compounds are 3 to 4 Å."""

EXCESS_CHARGE = 0.05
"""e per formula unit that rounded occupancies may be off."""

MIXED_VALENCE = 0.03
"""Share of the positive charge beyond which a mean oxidation state is likelier than a misfit; as in
`mfal.crystals.charges`."""

BOTH_FILLED = 1.05
"""Occupancies of two sites that add up to more exclude that one of them is always empty."""


_DOUBTS = (
    *("mean nothing", "atoms may be missing", "the cell is too small", "is the cell in pm"),
    *("no site for", "the file gives no position"),
)
"""In notes: atoms are missing, or too far or too near, or this is no bulk."""


class Stated(NamedTuple):
    """What a file says of its structure, besides the atoms; None or 0 where it doesn't."""

    amounts: Mapping[str, float] | None = None
    """Its formula."""
    units: float | None = None
    """Formula units in the cell."""
    density: float | None = None
    """g/cm^3."""
    volume: float | None = None
    """Å^3."""
    group: int = 0
    """Space group number."""
    symbol: str = ""
    """The group in words."""


class Contact(NamedTuple):
    """Two atoms that are too near."""

    names: str
    distance: float
    """Å."""
    share: float
    """Of the sum of covalent radii."""
    filled: bool
    """Whether both sites are full, so that no ordering avoids the contact."""


def notes_of(structure: Structure) -> tuple[str, ...]:
    """What has been noted of a structure when it was read."""
    return tuple(structure.properties.get(NOTES) or ())


def is_doubtful(notes: Sequence[str]) -> bool:
    """Whether notes say that a structure can't be the crystal that somebody could measure."""
    return any(doubt in note for note in notes for doubt in _DOUBTS)


def add_notes(structure: Structure, notes: Sequence[str]) -> None:
    """Let notes go with a structure, each once."""
    if notes:
        structure.properties[NOTES] = list(dict.fromkeys([*notes_of(structure), *notes]))


def check_structure(structure: Structure, stated: Stated | None = None) -> list[str]:
    """Notes on what is odd about a structure, also against what its file says of it.

    Raises:
      MfalError: where any number computed from it would be meaningless.
    """
    stated = stated or Stated()
    close = too_close(structure)
    _refuse(structure, close)
    notes = []
    if stated.amounts:
        notes += formula_note(structure.composition, stated.amounts, "the file's formula")
        notes += _units(structure, stated)
    notes += _charge(structure, stated)
    notes += _density(structure, stated)
    notes += _contacts(close)
    notes += _vacuum(structure)
    notes += _group(structure, stated)
    return notes


def _refuse(structure: Structure, close: Sequence[Contact]) -> None:
    density = float(structure.density)
    worst = next((one for one in close if one.filled and one.share < LEAST_CONTACT), None)
    if density <= DENSEST and worst is None:
        return
    said = f"density {density:.3g} g/cm³"
    if worst is not None:
        said = f"{worst.names} {worst.distance:.2g} Å apart"
    if density > DENSEST and density / 1e3 < DENSEST and max(structure.lattice.abc) < 5.0:
        said, remedy = f"{said}: is the cell in nm?", "give its lengths in Å, ten times as much"
    else:
        remedy = "check cell, coordinates and sites that are listed twice"
    raise MfalError(said, remedy)


def formula_difference(composition: Composition, amounts: Mapping[str, float]) -> float:
    """Sum of the absolute differences of atomic fractions, 0 to 2."""
    here = composition.get_el_amt_dict()
    totals = sum(here.values()), sum(amounts.values())
    return float(
        sum(
            abs(here.get(e, 0.0) / totals[0] - amounts.get(e, 0.0) / totals[1])
            for e in {*here, *amounts}
        )
    )


def formula_note(composition: Composition, amounts: Mapping[str, float], whose: str) -> list[str]:
    """A note where a formula and the sites contradict each other; `whose` begins it."""
    if formula_difference(composition, amounts) <= SAME_FORMULA:
        return []
    here = composition.get_el_amt_dict()
    totals = sum(here.values()), sum(amounts.values())
    shares = {
        e: (amounts.get(e, 0.0) / totals[1], here.get(e, 0.0) / totals[0])
        for e in {**amounts, **here}
    }
    missing = [e for e, (stated, found) in shares.items() if stated and not found]
    if missing:
        return [f"no site for {', '.join(missing)}, which {whose} has"]
    element = max(shares, key=lambda e: round(abs(shares[e][0] - shares[e][1]), 6))
    stated, found = shares[element]
    return [f"{whose} has {stated:.2f} of its atoms {element}, the sites have {found:.2f}"]


def _units(structure: Structure, stated: Stated) -> list[str]:
    if not stated.amounts or not stated.units:
        return []
    expected = stated.units * sum(stated.amounts.values())
    found = float(structure.composition.num_atoms)
    # Some files give the formula of the cell and Z all the same.
    alike = [expected, sum(stated.amounts.values())]
    if any(abs(found / count - 1.0) < 0.02 for count in alike):
        return []
    if formula_difference(structure.composition, stated.amounts) > SAME_FORMULA:
        return []  # it has been said
    return [f"Z = {stated.units:g} formula units are {expected:g} atoms, the cell has {found:g}"]


def _charge(structure: Structure, stated: Stated) -> list[str]:
    amounts = structure.composition.get_el_amt_dict()
    carried = {species: charge(species) for species in structure.composition}
    if all(carried.values()):
        excess = sum(amount * carried[species] for species, amount in structure.composition.items())
    else:
        if len(amounts) < 2 or not any(atomic_number(e) in _ANIONS for e in amounts):
            return []
        least = _least_excess(amounts, structure.is_ordered)
        if least is None:
            return ["no oxidation states balance the composition"]
        excess = least
    # Of a cell that is not whole in all elements, what its whole ones have in common.
    whole = [round(amount) for amount in amounts.values() if abs(amount - round(amount)) < 0.01]
    units = max(stated.units or 1.0, float(np.gcd.reduce(whole)) if whole else 1.0)
    if abs(excess) / units <= EXCESS_CHARGE:
        return []
    return [f"the composition carries a charge of {excess:+.3g} e a cell"]


def _least_excess(amounts: Mapping[str, float], ordered: bool) -> float | None:
    """Charge of a cell with the likeliest oxidation states, e; None where none are near balance.

    Of whole numbers of atoms nothing but exact balance makes sense. Rounded occupancies miss it by
    what is told, and a gross fault is searched for where that is quick; a transition metal of
    mixed valence is none.
    """
    for tolerance in [1e-3] if ordered else [0.15, 0.5][: 1 + (len(amounts) < 6)]:
        try:
            charges = balanced_charges(amounts, tolerance=tolerance)
        except MfalError:
            continue
        terms = [amounts[symbol] * value for symbol, value in charges.items()]
        if abs(sum(terms)) > MIXED_VALENCE * sum(term for term in terms if term > 0):
            try:
                exact = balanced_charges(amounts)
            except MfalError:
                return sum(terms)
            mixed = [Element(symbol) for symbol, value in exact.items() if value != round(value)]
            if all(element.is_transition_metal or element.is_rare_earth for element in mixed):
                return 0.0
        return sum(terms)
    return None


_ANIONS = frozenset(map(atomic_number, ("N", "O", "F", "S", "Cl", "Se", "Br", "Te", "I", "P")))


def _density(structure: Structure, stated: Stated) -> list[str]:
    notes = []
    volume, density = float(structure.volume), float(structure.density)
    if stated.volume and abs(stated.volume / volume - 1.0) > 0.02:
        notes.append(
            f"the file's volume is {stated.volume:.4g} Å³, that of its cell {volume:.4g} Å³"
        )
    amounts = structure.composition.get_el_amt_dict()
    packing = sum(amount * 4 / 3 * np.pi * _radius(e) ** 3 for e, amount in amounts.items())
    least = LEAST_PACKING_WITH_HYDROGEN if "H" in amounts else LEAST_PACKING
    shortest, share = _shortest(structure)
    if packing < least * volume or share > LONGEST_SHORTEST:
        unit = ": is the cell in pm?" if packing < 1e-4 * volume else ": atoms may be missing"
        notes.append(f"density {density:.2g} g/cm³, shortest contact {shortest:.2g} Å{unit}")
    elif packing > MOST_PACKING * volume:
        notes.append(
            f"density {density:.2g} g/cm³, shortest contact {shortest:.2g} Å: the cell is too small"
        )
    elif stated.density and abs(stated.density / density - 1.0) > 0.05:
        notes.append(
            f"the file's density is {stated.density:.3g} g/cm³, that of its atoms {density:.3g}"
        )
    return notes


def _radius(symbol: str) -> float:
    radius = COVALENT_RADIUS[atomic_number(symbol) - 1]
    return 1.7 if np.isnan(radius) else float(radius)  # actinides beyond curium: as curium


def _radii(structure: Structure) -> np.ndarray:
    """Covalent radius of each site, the largest of what shares it, [N] Å."""
    return np.array([max(_radius(s.symbol) for s in site.species) for site in structure])


def _shortest(structure: Structure) -> tuple[float, float]:
    """The shortest distance between atoms that are both there, Å, and its share of their radii."""
    reach = 1.01 * max(structure.lattice.get_lll_reduced_lattice().abc)
    cutoff = min(reach, 4.0)
    while True:
        centres, others, distances = _pairs(structure, cutoff)
        filled = np.array([site.species.num_atoms for site in structure])
        both = filled[centres] + filled[others] > BOTH_FILLED
        if both.any() or cutoff >= reach:
            break
        cutoff = min(2 * cutoff, reach)
    if not both.any():
        return reach, 1.0  # thinly filled sites only: nothing can be said
    radii = _radii(structure)
    shares = distances / (radii[centres] + radii[others])
    at = int(np.argmin(np.where(both, distances, np.inf)))
    return float(distances[at]), float(shares[both].min())


def _pairs(structure: Structure, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of sites up to the cut-off (Å) and perhaps beyond, each both ways, and distances."""
    # The search divides the cell into cubes of that size: of a huge one they would be too many.
    cutoff = max(cutoff, (float(structure.volume) / 1e5) ** (1 / 3))
    centres, others, _, distances = structure.get_neighbor_list(cutoff)
    return centres, others, distances


def too_close(structure: Structure) -> list[Contact]:
    """Pairs that are nearer than atoms come, the nearest first, each kind once."""
    radii = _radii(structure)
    filled = np.array([site.species.num_atoms for site in structure])
    reach = SHORT_CONTACT * 2 * float(radii.max())
    centres, others, distances = _pairs(structure, reach)
    shares = distances / (radii[centres] + radii[others])
    near = np.flatnonzero(
        (shares < SHORT_CONTACT) & (filled[centres] + filled[others] > BOTH_FILLED)
    )
    found: dict[str, Contact] = {}
    for k in near[np.argsort(shares[near], kind="stable")]:
        i, j = centres[k], others[k]
        names = "–".join(sorted((_name(structure, i), _name(structure, j))))
        full = bool(min(filled[i], filled[j]) > 0.95)
        found.setdefault(names, Contact(names, float(distances[k]), float(shares[k]), full))
    return list(found.values())


def _name(structure: Structure, index: int) -> str:
    site = structure[int(index)]
    label = str(site.label or "")
    symbols = "/".join(dict.fromkeys(s.symbol for s in site.species))
    return label if label[: len(symbols)] == symbols and len(label) < 8 else symbols


def _contacts(close: Sequence[Contact]) -> list[str]:
    if not close:
        return []
    worst = close[0]
    more = f", and {len(close) - 1} more pairs" if len(close) > 1 else ""
    what = "" if worst.filled else ", filled to more than one atom together"
    return [f"{worst.names} only {worst.distance:.2g} Å apart{what}{more}"]


def _vacuum(structure: Structure) -> list[str]:
    """Gaps between planes of atoms, in all directions of low indices of the reduced cell."""
    reduced = structure.lattice.get_lll_reduced_lattice()
    places = reduced.get_fractional_coords(structure.cart_coords)
    reciprocal = reduced.reciprocal_lattice_crystallographic.matrix
    empty: list[tuple[float, tuple[int, ...]]] = []
    for hkl in itertools.product(range(-2, 3), repeat=3):
        first = next((x for x in hkl if x), 0)
        if first <= 0 or np.gcd.reduce(hkl) != 1:
            continue
        spacing = 1.0 / float(np.linalg.norm(np.array(hkl) @ reciprocal))
        if spacing < VACUUM:
            continue
        height = np.sort(places @ hkl % 1.0)
        gap = float(np.diff(np.append(height, height[0] + 1.0)).max()) * spacing
        if gap > VACUUM:
            empty.append((gap, hkl))
    if not empty:
        return []
    dimensions = int(np.linalg.matrix_rank(np.array([hkl for _, hkl in empty])))
    what = {1: "a slab", 2: "a chain or tube", 3: "a molecule in a box"}[dimensions]
    return [
        f"the cell holds {max(empty)[0]:.1f} Å of vacuum: {what}, for which values of a bulk "
        "crystal mean nothing"
    ]


def _group(structure: Structure, stated: Stated) -> list[str]:
    if stated.group <= 1:  # programs write P 1 for whatever they have
        return []
    try:
        found = space_group_number(structure)
    except MfalError:
        return ["no symmetry is found: atoms may share positions"]
    if found == stated.group:
        return []
    return [
        f"the file's group is {stated.symbol} ({stated.group}), its atoms have "
        f"{GROUP_SYMBOLS[found - 1]} ({found})"
    ]
