"""Known structures as prototypes: the same group and the same counts, other ions."""

import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import spglib
from pymatgen.core import Structure

from mfal.crystals.charges import element_charges
from mfal.crystals.elements import atomic_number, ionic_radius
from mfal.crystals.groups import WYCKOFF_MULTIPLICITY
from mfal.crystals.orbits import wyckoff_operations
from mfal.crystals.relax import Arrangement, Orbit
from mfal.crystals.types import Crystal
from mfal.errors import MfalError

__all__ = ["Template", "arrangement_of", "matching_arrangements", "template"]

_MAX_SUBSTITUTIONS = 64


class Template(NamedTuple):
    """A known, ordered structure in its standard cell."""

    name: str
    space_group_number: int
    species: tuple[tuple[str, float], ...]
    """(symbol, mean charge) of each element."""
    counts: tuple[int, ...]
    """Atoms of each element in the conventional cell."""
    cell: np.ndarray
    """[3, 3] rows a, b, c, Å."""
    arrangement: Arrangement


def template(structure: Structure, *, name: str = "", symprec: float = 0.01) -> Template:
    """A structure made ready for substitution; `symprec` in Å.

    Raises:
      MfalError: when sites are shared or partly filled, charges cannot be found, or the atoms do
        not lie on the Wyckoff positions of the group that spglib finds.
    """
    name = name or structure.composition.reduced_formula
    number, cell, symbols, arrangement = arrangement_of(structure, symprec=symprec)
    charges = element_charges(structure)
    multiplicity = WYCKOFF_MULTIPLICITY[number - 1]
    counts = [0] * len(symbols)
    for orbit in arrangement:
        counts[orbit.species] += int(multiplicity[orbit.position])
    species = tuple((symbol, charges[symbol]) for symbol in symbols)
    return Template(name, number, species, tuple(counts), cell, arrangement)


def arrangement_of(
    structure: Structure, *, symprec: float = 0.01
) -> tuple[int, np.ndarray, tuple[str, ...], Arrangement]:
    """Space group number, standard cell [3, 3] in Å, elements, and the occupied positions.

    The orbits' `species` count the elements in the order returned. Raises `MfalError` when an orbit
    fits no Wyckoff position to within `symprec`, Å.
    """
    if not structure.is_ordered:
        raise MfalError(
            f"{structure.composition.reduced_formula}: partly occupied sites",
            "give an ordered structure",
        )
    symbols = tuple(dict.fromkeys(site.specie.symbol for site in structure))
    kinds = [symbols.index(site.specie.symbol) + 1 for site in structure]
    cell_of: Any = (structure.lattice.matrix, structure.frac_coords, kinds)
    dataset = spglib.get_symmetry_dataset(cell_of, symprec=symprec)
    hall = _standard_hall_number(int(dataset.number)) if dataset else 0
    if dataset is not None and hall != dataset.hall_number:
        dataset = spglib.get_symmetry_dataset(cell_of, symprec=symprec, hall_number=hall)
    if dataset is None:
        raise MfalError(
            f"{structure.composition.reduced_formula}: no symmetry found within {symprec} Å",
            "check that no two atoms share a position",
        )
    number = int(dataset.number)
    cell = np.array(dataset.std_lattice)
    positions, types = dataset.std_positions, dataset.std_types
    orbits = []
    left = list(range(len(types)))
    while left:
        orbit, members = _orbit_of(number, cell, positions, types, left, max(symprec, 1e-3))
        if orbit is None:
            raise MfalError(
                f"{structure.composition.reduced_formula}: atoms off the Wyckoff positions of "
                f"group {number}",
                "refine the structure's symmetry",
            )
        orbits.append(orbit)
        left = [i for i in left if i not in members]
    return number, cell, symbols, tuple(orbits)


def _orbit_of(
    number: int,
    cell: np.ndarray,
    positions: np.ndarray,
    types: np.ndarray,
    left: list[int],
    tolerance: float,
) -> tuple[Orbit | None, set[int]]:
    """The most special position whose orbit of the first atom left consists of atoms left."""
    kind = types[left[0]]
    same = [i for i in left if types[i] == kind]
    multiplicity = WYCKOFF_MULTIPLICITY[number - 1]
    order = sorted(np.flatnonzero(multiplicity), key=lambda p: (multiplicity[p], p))
    for position in order:
        linear, shift = wyckoff_operations(number, int(position))
        if len(shift) > len(same):
            break
        # The first atom may be any atom of its orbit: try each operation on it.
        for matrix, translation in zip(linear, shift, strict=True):
            free = _solve(matrix, positions[left[0]] - translation, cell, tolerance)
            if free is None:
                continue
            images = linear @ free + shift
            gap = images[:, None] - positions[same]
            gap -= gap.round()
            distance = np.linalg.norm(gap @ cell, axis=-1)
            nearest = distance.argmin(1)
            hit = distance[np.arange(len(images)), nearest] < 3 * tolerance
            if hit.all() and len(set(nearest)) == len(images):
                return Orbit(int(kind) - 1, int(position), free), {same[i] for i in nearest}
    return None, set()


def _solve(
    matrix: np.ndarray, target: np.ndarray, cell: np.ndarray, tolerance: float
) -> np.ndarray | None:
    """Solve matrix x = target up to whole cells, to within `tolerance` Å; least norm."""
    inverse = np.linalg.pinv(matrix)
    base = target % 1.0
    for whole in itertools.product((0, -1, 1), repeat=3):
        free = inverse @ (base + whole)
        miss = matrix @ free - base - whole
        if np.linalg.norm(miss @ cell) < tolerance:
            return free
    return None


@lru_cache(maxsize=230)
def _standard_hall_number(number: int) -> int:
    """Number, as spglib counts settings, of origin choice 2, hexagonal axes, unique axis b."""
    first = 0
    for hall in range(1, 531):
        kind: Any = spglib.get_spacegroup_type(hall)
        if kind.number == number:
            first = first or hall
            if kind.choice == "2":
                return hall
        elif first:
            break
    return first


def matching_arrangements(
    crystal: Crystal, species: Sequence[tuple[str, float]], templates: Sequence[Template]
) -> Iterator[tuple[str, Arrangement]]:
    """Names and arrangements of all substitutions into templates, the most alike first.

    A template matches when its group is the crystal's and its elements can be exchanged one to one
    with equal counts and charges of equal sign. Likeness counts differences of charges, ionic
    radii and cell edges.

    Args:
      crystal: one crystal, no batch axes; counts are its composition's.
      species: (symbol, charge) of its elements; the arrangements' `species` count these.
      templates: the known structures.
    """
    number = int(crystal.space_group_number)
    composition = np.asarray(crystal.composition, float)
    edges = np.asarray(crystal.lattice, float)[:3]
    counts = [round(float(composition[atomic_number(s) - 1])) for s, _ in species]
    radii = [ionic_radius(*ion) for ion in species]
    found: list[tuple[float, int, str, Arrangement]] = []
    for index, prototype in enumerate(templates):
        if prototype.space_group_number != number or sorted(prototype.counts) != sorted(counts):
            continue
        prototype_radii = [ionic_radius(*ion) for ion in prototype.species]
        scale = np.log(edges / np.linalg.norm(prototype.cell, axis=1))
        shape = float(np.abs(scale - scale.mean()).sum())
        for order in itertools.islice(
            itertools.permutations(range(len(species))), 10 * _MAX_SUBSTITUTIONS
        ):
            # element i of the template becomes species order[i]
            if any(
                prototype.counts[i] != counts[j] or prototype.species[i][1] * species[j][1] <= 0
                for i, j in enumerate(order)
            ):
                continue
            unlike = sum(
                abs(prototype.species[i][1] - species[j][1]) + abs(prototype_radii[i] - radii[j])
                for i, j in enumerate(order)
            )
            arrangement = tuple(o._replace(species=order[o.species]) for o in prototype.arrangement)
            found.append((unlike + 5 * shape, index, prototype.name, arrangement))
    found.sort(key=lambda item: item[:2])
    yield from ((name, arrangement) for _, _, name, arrangement in found[:_MAX_SUBSTITUTIONS])
