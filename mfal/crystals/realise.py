"""From composition, space group and lattice to atoms.

The triple does not fix the atoms. This module draws starts (known structures of the same group and
counts with their ions exchanged, and random coordinates on random Wyckoff positions), relaxes them
by the bond-valence force field within group and cell, throws away what has atoms too near each
other, and returns the best of what is left.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import spglib
from pymatgen.core import Lattice, Species, Structure

from mfal.crystals.elements import SYMBOLS, ionic_radius
from mfal.crystals.groups import WYCKOFF_FREEDOM, WYCKOFF_MULTIPLICITY
from mfal.crystals.lattice import cell_matrix, is_consistent
from mfal.crystals.placement import assignments, random_arrangement
from mfal.crystals.relax import Arrangement, Relaxation, atoms, relax
from mfal.crystals.templates import Template, matching_arrangements
from mfal.crystals.types import Crystal
from mfal.errors import MfalError

__all__ = ["SYMPREC", "VALENCE_WEIGHT", "Realisation", "realise"]

SYMPREC = 0.01
"""Å, for the check that a realised structure has the space group that was asked for."""

VALENCE_WEIGHT = 2.0
"""eV, weight of the squared defects of the valence sums in relaxation and ranking."""

TEMPLATE_BONUS = 0.1
"""eV an atom by which a substituted known structure is preferred to a random start."""

_SCREENING_STEPS = 60
_FINAL_STEPS = 150
_STARTS_PER_ASSIGNMENT = 4
_MAX_TEMPLATES = 16
# Shares of the sum of ionic radii below which two atoms are too near. Known bonds are at 0.82 or
# more of it (C-O in carbonates, P-O, S-O); like ions stay further apart than unlike ones.
_SHORTEST_BOND = 0.75
_SHORTEST_ANIONS = 0.70
# Å between cations, whose radii say nothing of how near they come; with hydrogen among them.
_SHORTEST_CATIONS = 1.8
_SHORTEST_PROTONS = 1.2


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
    """Starts that were relaxed."""
    rejected: dict[str, int]
    """Starts that came to nothing, by reason."""


def realise(
    crystal: Crystal,
    oxidation_states: Mapping[str, float],
    *,
    seed: int,
    count: int = 5,
    max_tries: int = 64,
    templates: Sequence[Template] = (),
) -> Realisation:
    """Up to `count` different structures with the crystal's composition, group and lattice.

    Args:
      crystal: one crystal, no batch axes, with whole numbers of atoms.
      oxidation_states: charge of each of its elements, none zero.
      seed: fixes the result: the same arguments give the same structures.
      count: structures wanted; fewer come back when fewer are found.
      max_tries: starts to relax, templates included.
      templates: known structures, from `mfal.crystals.templates.template`; leave the crystal's own
        out to find how well it is recovered.

    Raises:
      MfalError: when the composition is not whole, a charge is missing, or the lattice is not one.
    """
    number, cell, species, counts = _checked(crystal, oxidation_states)
    rng = np.random.default_rng(seed)

    starts: list[Arrangement] = []
    routes: list[str] = []
    for name, arrangement in matching_arrangements(crystal, species, templates):
        if len(starts) < min(_MAX_TEMPLATES, max_tries):
            starts.append(arrangement)
            routes.append(f"template: {name}")
    starts += _random_starts(number, counts, max_tries - len(starts), rng)
    routes += ["placement"] * (len(starts) - len(routes))
    rejected: Counter[str] = Counter()
    if not starts:
        return Realisation([], (), np.zeros(0), np.zeros(0), (), 0, {"no Wyckoff assignment": 1})

    kept = list(range(len(starts)))
    total = sum(counts)
    screened = relax(
        number, cell, species, starts, steps=_SCREENING_STEPS, valence_weight=VALENCE_WEIGHT
    )
    bonus = np.array([TEMPLATE_BONUS * route.startswith("template") for route in routes])
    order = np.argsort(_score(screened, total) - bonus, kind="stable")
    # The worst half of the random starts never catches up; templates always stay.
    half = set(order[: max(len(order) // 2, 4 * count)].tolist())
    kept = [i for i in order.tolist() if i in half or bonus[i]]
    rejected["high energy"] = len(starts) - len(kept)
    relaxed = relax(
        number,
        cell,
        species,
        [screened.arrangements[i] for i in kept],
        steps=_FINAL_STEPS,
        valence_weight=VALENCE_WEIGHT,
    )

    score = _score(relaxed, total)
    best = np.argsort(score - bonus[kept], kind="stable")
    chosen: list[tuple[int, Structure, int]] = []
    for i in best.tolist():
        if len(chosen) == count:
            break
        if not np.isfinite(score[i]):
            rejected["did not converge"] += 1
            continue
        if any(_same(relaxed, total, i, j) for j, _, _ in chosen):
            rejected["same as a better one"] += 1
            continue
        kinds, coordinates = atoms(number, relaxed.arrangements[i])
        if _too_close(cell, kinds, coordinates, species):
            rejected["atoms too close"] += 1
            continue
        found = _group(cell, kinds, coordinates, number)
        if not found:
            rejected["lost its symmetry"] += 1
            continue
        ions = [Species(*species[kind]) for kind in kinds]
        chosen.append((i, Structure(Lattice(cell), ions, coordinates), found))
    picked = [i for i, _, _ in chosen]
    return Realisation(
        structures=[structure for _, structure, _ in chosen],
        routes=tuple(routes[kept[i]] for i in picked),
        energies=relaxed.energy[picked] / total,
        instabilities=relaxed.instability[picked],
        space_groups=tuple(found for _, _, found in chosen),
        tried=len(starts),
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


def _random_starts(
    number: int, counts: list[int], wanted: int, rng: np.random.Generator
) -> list[Arrangement]:
    """Random coordinates on random positions; few starts where nothing is free."""
    if wanted <= 0:
        return []
    ways = assignments(number, counts, num=-(-wanted // _STARTS_PER_ASSIGNMENT), rng=rng)
    if not ways:
        return []
    starts = []
    for round_ in range(-(-wanted // len(ways))):
        for way in ways:
            fixed = not any(_is_free(number, p) for positions in way for p in positions)
            if round_ == 0 or not fixed:
                starts.append(random_arrangement(way, rng))
    return starts[:wanted]


def _is_free(number: int, position: int) -> bool:
    return bool(WYCKOFF_FREEDOM[number - 1, position] > 0)


def _score(relaxed: Relaxation, num_atoms: int) -> np.ndarray:
    """[n], eV an atom: energy and penalty; infinite where the arithmetic failed."""
    score = relaxed.energy / num_atoms + VALENCE_WEIGHT * relaxed.instability**2
    return np.where(np.isfinite(score), score, np.inf)


def _same(relaxed: Relaxation, num_atoms: int, i: int, j: int) -> bool:
    """Equal in energy (1 meV an atom) and instability: the same up to the choice of origin."""
    energy = abs(relaxed.energy[i] - relaxed.energy[j]) / num_atoms
    return bool(energy < 1e-3 and abs(relaxed.instability[i] - relaxed.instability[j]) < 2e-3)


def _too_close(
    cell: np.ndarray,
    kinds: np.ndarray,
    coordinates: np.ndarray,
    species: Sequence[tuple[str, float]],
) -> bool:
    """Whether any two atoms, images included, are nearer than their kinds allow."""
    size = len(species)
    least = np.zeros((size, size))
    for i, (a, p) in enumerate(species):
        for j, (b, q) in enumerate(species):
            radii = ionic_radius(a, p) + ionic_radius(b, q)
            if p * q < 0:
                least[i, j] = _SHORTEST_BOND * radii
            elif p < 0:
                least[i, j] = _SHORTEST_ANIONS * radii
            else:
                least[i, j] = _SHORTEST_PROTONS if "H" in (a, b) else _SHORTEST_CATIONS
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
