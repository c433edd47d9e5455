"""From composition, space group and lattice to atoms.

The triple does not fix the atoms. This module starts from known structures of the same group and
counts with their ions exchanged, and from random coordinates on random Wyckoff positions; searches
for low bond-valence energy within group and cell (`mfal.crystals.search`); throws away what has
atoms too near each other, and returns the best of what is left.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import spglib
from pymatgen.core import Lattice, Species, Structure

from mfal.crystals.contacts import least_distances
from mfal.crystals.elements import SYMBOLS
from mfal.crystals.groups import WYCKOFF_FREEDOM, WYCKOFF_MULTIPLICITY, wyckoff_letters
from mfal.crystals.lattice import cell_matrix, is_consistent
from mfal.crystals.placement import Assignment
from mfal.crystals.relax import Arrangement, atoms
from mfal.crystals.search import search
from mfal.crystals.structures import SYMPREC
from mfal.crystals.templates import Template, matching_arrangements
from mfal.crystals.types import Crystal
from mfal.errors import MfalError

__all__ = ["MAX_INSTABILITY", "Realisation", "realise"]

MAX_INSTABILITY = 0.35
"""Greatest global instability index over the root mean square charge of a structure that counts.

Of the 114 ordered compounds of the embedded table with sharp positions and at most 60 atoms,
relaxed as here, all but one lie below (98 % below 0.30; Li3OBr has 0.40). Cells stretched by a
tenth, whose ions would move all too freely, lie about it (LiF 0.34, LiCl 0.34, Li2S 0.38).
"""

TEMPLATE_BONUS = 0.1
"""eV an atom by which a substituted known structure is preferred to a random start."""

_MAX_TEMPLATES = 16


class Realisation(NamedTuple):
    """Structures that a crystal may stand for, the best first; all fields of one length."""

    structures: list[Structure]
    """In the standard conventional cell, species with charges."""
    routes: tuple[str, ...]
    """"template: NAME" or "placement"."""
    energies: np.ndarray
    """[n] float64, bond-valence energy, eV an atom."""
    instabilities: np.ndarray
    """[n] float64, global instability index, valence units."""
    space_groups: tuple[int, ...]
    """Numbers that spglib finds: the one asked for, or that of a supergroup."""
    tried: int
    """Arrangements that were relaxed."""
    rejected: dict[str, int]
    """How many of these came to nothing, by reason."""


def realise(
    crystal: Crystal,
    oxidation_states: Mapping[str, float],
    *,
    seed: int,
    count: int = 5,
    max_tries: int = 128,
    templates: Sequence[Template] = (),
    sites: Sequence[tuple[str, str]] | None = None,
    max_instability: float = MAX_INSTABILITY,
) -> Realisation:
    """Up to `count` different structures with the crystal's composition, group and lattice.

    Args:
      crystal: one crystal, no batch axes, with whole numbers of atoms.
      oxidation_states: charge of each of its elements, none zero.
      seed: fixes the result: the same arguments give the same structures.
      count: structures wanted; fewer come back when fewer are found.
      max_tries: arrangements to relax, templates included.
      templates: known structures, from `mfal.crystals.templates.template`; leave the crystal's own
        out to find how well it is recovered.
      sites: (element, Wyckoff letter) of every orbit, where the positions are known; templates
        that fill others are then passed over.
      max_instability: share of the root mean square charge; structures whose global instability
        index is greater are rejected.

    Raises:
      MfalError: when the composition is not whole, a charge is missing, the lattice is not one, or
        the sites do not hold the composition.
    """
    number, cell, species, counts = _checked(crystal, oxidation_states)
    rng = np.random.default_rng(seed)

    assignment = None if sites is None else _assignment(number, species, counts, sites)
    names: list[str] = []
    given: list[Arrangement] = []
    for name, arrangement in matching_arrangements(crystal, species, templates):
        if assignment is not None and not _fills(arrangement, assignment):
            continue
        if len(given) < min(_MAX_TEMPLATES, max_tries):
            names.append(name)
            given.append(arrangement)
    found = search(
        number,
        cell,
        species,
        counts,
        given=given,
        assignment=assignment,
        max_tries=max_tries,
        rng=rng,
    )
    if not found.tried:
        return Realisation([], (), np.zeros(0), np.zeros(0), (), 0, {"no Wyckoff assignment": 1})

    rejected = Counter({"same as a better one": found.repeated, "did not converge": found.diverged})
    of_template = np.array([ancestor >= 0 for ancestor in found.ancestor])
    order = np.argsort(found.score - TEMPLATE_BONUS * of_template, kind="stable")
    charges = np.repeat([charge for _, charge in species], counts)
    limit = max_instability * np.sqrt(np.mean(charges**2))
    picked: list[int] = []
    structures: list[Structure] = []
    groups: list[int] = []
    for i in order.tolist():
        if len(picked) == count:
            rejected["not among the best"] += 1
            continue
        kinds, coordinates = atoms(number, found.relaxed.arrangements[i])
        if _too_close(cell, kinds, coordinates, species):
            rejected["atoms too close"] += 1
            continue
        if found.relaxed.instability[i] > limit:
            rejected["valences out of balance"] += 1
            continue
        group = _group(cell, kinds, coordinates, number)
        if not group:
            rejected["lost its symmetry"] += 1
            continue
        picked.append(i)
        ions = [Species(*species[kind]) for kind in kinds]
        structures.append(Structure(Lattice(cell), ions, coordinates))
        groups.append(group)
    return Realisation(
        structures=structures,
        routes=tuple(
            f"template: {names[found.ancestor[i]]}" if of_template[i] else "placement"
            for i in picked
        ),
        energies=found.relaxed.energy[picked] / sum(counts),
        instabilities=found.relaxed.instability[picked],
        space_groups=tuple(groups),
        tried=found.tried,
        rejected={reason: n for reason, n in rejected.items() if n},
    )


def _checked(
    crystal: Crystal, oxidation_states: Mapping[str, float]
) -> tuple[int, np.ndarray, list[tuple[str, float]], list[int]]:
    """Group, cell, species in the order of atomic numbers, counts."""
    composition = np.asarray(crystal.composition, float)
    lattice = np.asarray(crystal.lattice, float)
    number = int(crystal.space_group_number)
    elements = np.flatnonzero(composition > 1e-6)
    counts = composition[elements].round().astype(int)
    if (
        not len(elements)
        or np.abs(composition[elements] - counts).max() > 1e-3
        or (counts < 1).any()
    ):
        raise MfalError(
            "a composition with fractions of atoms cannot be placed",
            "give whole numbers of atoms in the conventional cell",
        )
    if not 1 <= number <= 230:
        raise MfalError(f"space group {number}", "give a number from 1 to 230")
    if not np.isfinite(lattice).all() or not is_consistent(lattice):
        raise MfalError(f"lattice {lattice.tolist()} is no cell", "give a b c alpha beta gamma")
    species = []
    for z in elements:
        charge = oxidation_states.get(SYMBOLS[z], 0)
        if not charge:
            raise MfalError(
                f"no oxidation state for {SYMBOLS[z]}",
                "give each element a charge that is not zero",
            )
        species.append((SYMBOLS[z], float(charge)))
    return number, np.asarray(cell_matrix(lattice), float), species, counts.tolist()


def _assignment(
    number: int,
    species: Sequence[tuple[str, float]],
    counts: Sequence[int],
    sites: Sequence[tuple[str, str]],
) -> Assignment:
    """Positions of each species' orbits, checked against counts and tables."""
    letters = wyckoff_letters(number)
    symbols = [symbol for symbol, _ in species]
    positions: list[list[int]] = [[] for _ in species]
    for symbol, letter in sites:
        if letter not in letters or symbol not in symbols:
            raise MfalError(
                f"{symbol} on position {letter!r} of space group {number}",
                f"use elements of the composition and letters among {''.join(letters)}",
            )
        positions[symbols.index(symbol)].append(letters.index(letter))
    multiplicity, freedom = WYCKOFF_MULTIPLICITY[number - 1], WYCKOFF_FREEDOM[number - 1]
    for symbol, count, own in zip(symbols, counts, positions, strict=True):
        held = sum(int(multiplicity[p]) for p in own)
        if held != count:
            raise MfalError(
                f"the sites hold {held} {symbol}, the composition {count}",
                "give sites for every atom of the conventional cell",
            )
    fixed = [p for own in positions for p in own if freedom[p] == 0]
    if len(fixed) != len(set(fixed)):
        raise MfalError(
            f"a position of space group {number} without freedom is filled twice",
            "use each such letter once",
        )
    return tuple(tuple(own) for own in positions)


def _fills(arrangement: Arrangement, assignment: Assignment) -> bool:
    """Whether an arrangement fills just these positions."""
    own = sorted((orbit.species, orbit.position) for orbit in arrangement)
    return own == sorted((s, p) for s, positions in enumerate(assignment) for p in positions)


def _too_close(
    cell: np.ndarray,
    kinds: np.ndarray,
    coordinates: np.ndarray,
    species: Sequence[tuple[str, float]],
) -> bool:
    """Whether any two atoms, images included, are nearer than their kinds allow."""
    least = least_distances(species)
    lattice = Lattice(cell)
    structure = Structure(lattice, [species[k][0] for k in kinds], coordinates)
    centres, others, _, distances = structure.get_neighbor_list(float(least.max()))
    return bool((distances < least[kinds[centres], kinds[others]]).any())


def _group(cell: np.ndarray, kinds: np.ndarray, coordinates: np.ndarray, asked: int) -> int:
    """Space group number by spglib, 0 where it finds fewer operations than `asked` has.

    A structure built in a group has all its operations, so with as many or more found, the group
    is the one asked for or a supergroup.
    """
    contents: Any = (cell, coordinates, kinds + 1)
    dataset = spglib.get_symmetry_dataset(contents, symprec=SYMPREC)
    if dataset is None or len(dataset.rotations) < WYCKOFF_MULTIPLICITY[asked - 1].max():
        return 0
    return int(dataset.number)
