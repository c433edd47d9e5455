"""Structures as the learner's triple and as CIF; their symmetry and distances.

The standard setting throughout is that of the International Tables as spglib and pyxtal share it:
unique axis b for the monoclinic groups, hexagonal axes for the rhombohedral ones, multiplicities
counted in the conventional cell.
"""

import warnings
from collections import defaultdict
from typing import Any, cast

import jax
import numpy as np
import spglib
from pymatgen.core import Composition, Lattice, Structure

from mfal.crystals.charges import add_oxidation_states, element_charges
from mfal.crystals.elements import atomic_number
from mfal.crystals.types import NUM_ELEMENTS, Crystal
from mfal.errors import MfalError

__all__ = [
    "SYMPREC",
    "add_oxidation_states",
    "conventional_structure",
    "crystal_from_structure",
    "element_charges",
    "shortest_distance",
    "shortest_distances",
    "space_group_number",
    "standard_setting",
    "structure_to_cif",
]

SYMPREC = 0.01
"""Å by which atoms may miss their symmetric positions when symmetry is looked for."""

_RISES = 4
"""Times that a structure is idealised at the most until its space group stays."""


def _cell(structure: Structure) -> tuple[Any, Any, list[int], list[dict[str, float]]]:
    """Lattice rows, fractional coordinates, site types and the elements' amounts of each type.

    Charges do not tell sites apart; occupancies do.
    """
    kinds: dict[tuple[tuple[str, float], ...], int] = {}
    types = []
    for site in structure:
        amounts: dict[str, float] = defaultdict(float)
        for species, amount in site.species.items():
            amounts[species.symbol] += amount
        key = tuple(sorted((symbol, round(amount, 4)) for symbol, amount in amounts.items()))
        types.append(kinds.setdefault(key, len(kinds)))
    return structure.lattice.matrix, structure.frac_coords, types, [dict(key) for key in kinds]


def _dataset(structure: Structure, symprec: float) -> spglib.SpglibDataset:
    matrix, coordinates, types, _ = _cell(structure)
    # Type 0 is taken for a site without atom by some of spglib's functions.
    dataset = spglib.get_symmetry_dataset(
        (matrix, coordinates, [t + 1 for t in types]), symprec=symprec
    )
    if dataset is None:
        raise MfalError(
            f"{structure.composition.reduced_formula}: no symmetry found within {symprec} Å",
            "check that no two atoms share a position",
        )
    return dataset


def space_group_number(structure: Structure, symprec: float = SYMPREC) -> int:
    """Space group number, 1 to 230, by spglib; `symprec` in Å."""
    return int(_dataset(structure, symprec).number)


def conventional_structure(structure: Structure, symprec: float = SYMPREC) -> Structure:
    """The same crystal in the standard conventional cell, without charges; `symprec` in Å."""
    dataset = _dataset(structure, symprec)
    kinds = _cell(structure)[3]
    return Structure(
        Lattice(dataset.std_lattice),
        [Composition(kinds[t - 1]) for t in dataset.std_types],
        dataset.std_positions,
        to_unit_cell=True,
    )


def standard_setting(structure: Structure, symprec: float = SYMPREC) -> Structure:
    """The same crystal in its standard conventional cell, with its charges and notes.

    Whatever cell, origin, setting or order of atoms a crystal is given in, this is one and the
    same, as far as symmetry fixes it: the origin along a polar axis stays free. Atoms stand exactly
    on their symmetric places, and have no higher symmetry there. A structure without any symmetry
    that spglib finds comes back as it is. `symprec` in Å.
    """
    group = 0
    for _ in range(_RISES):
        kinds = sorted(dict.fromkeys(site.species for site in structure), key=_contents)
        types = [kinds.index(site.species) + 1 for site in structure]
        cell: Any = (structure.lattice.matrix, structure.frac_coords, types)
        dataset = spglib.get_symmetry_dataset(cell, symprec=symprec)
        # Atoms moved onto their places may then be near those of a higher symmetry.
        if dataset is None or dataset.number == group:
            return structure
        group = dataset.number
        order = _place_order(dataset.std_types, dataset.std_positions)
        structure = Structure(
            Lattice(dataset.std_lattice),
            [kinds[t - 1] for t in dataset.std_types[order]],
            dataset.std_positions[order],
            to_unit_cell=True,
            properties=structure.properties,
        )
    return structure


def _contents(species: Composition) -> list[tuple[str, float]]:
    """What fills a site, in an order of its own."""
    return sorted((str(one), float(amount)) for one, amount in species.items())


def _place_order(types: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Sorts sites by kind and place, the same for coordinates that differ in their last digits.

    They are compared on steps of 1e-4 whose ends no coordinate of less than nine digits meets.
    """
    steps = np.floor(positions * 1e4 + 0.31831).astype(int) % 10_000
    return np.lexsort((*steps.T[::-1], types))


def crystal_from_structure(structure: Structure, symprec: float = SYMPREC) -> Crystal:
    """Composition, space group and lattice of the standard conventional cell.

    Partial occupancies count as fractions of atoms. `symprec` in Å. The arrays are NumPy's.

    Raises:
      MfalError: when spglib finds no symmetry at all (atoms on top of each other).
    """
    dataset = _dataset(structure, symprec)
    kinds = _cell(structure)[3]
    composition = np.zeros(NUM_ELEMENTS, np.float32)
    for kind in dataset.std_types:
        for symbol, amount in kinds[kind - 1].items():
            composition[atomic_number(symbol) - 1] += amount
    lattice = Lattice(dataset.std_lattice).parameters
    return Crystal(
        composition=cast(jax.Array, composition),
        space_group_number=cast(jax.Array, np.int32(dataset.number)),
        lattice=cast(jax.Array, np.array(lattice, np.float32)),
    )


def structure_to_cif(structure: Structure, *, symprec: float | None = SYMPREC) -> str:
    """CIF text, with the space group found within `symprec` Å, or in P1 if that is None.

    Charges are written where all atoms have them. A structure whose symmetry cannot be found is
    written in P1.
    """
    from pymatgen.io.cif import CifWriter

    charges: dict[str, set[float]] = defaultdict(set)
    for species in structure.composition:
        charges[species.symbol].add(float(getattr(species, "oxi_state", None) or 0.0))
    charged = all(all(each) for each in charges.values())
    written, table = structure, ""
    if not charged or all(len(each) == 1 for each in charges.values()):
        # Plain symbols, which any program reads, with a table of charges at the end.
        written = structure.copy()
        written.remove_oxidation_states()
        rows = [f"  {symbol}  {next(iter(each)):g}" for symbol, each in charges.items()]
        head = ["loop_", " _atom_type_symbol", " _atom_type_oxidation_number"]
        table = "\n".join([*head, *rows, ""]) if charged else ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if symprec is not None:
            try:
                return str(CifWriter(written, symprec=symprec, significant_figures=8)) + table
            except Exception:  # spglib found nothing, or not what pymatgen expects
                pass
        return str(CifWriter(written, significant_figures=8)) + table


def shortest_distances(
    structure: Structure, *, cutoff: float = 4.0
) -> dict[tuple[str, str], float]:
    """Shortest distance of each pair of elements, in Å, keys in alphabetical order.

    Periodic images count, a site's own among them. Pairs further apart than `cutoff` (Å) are left
    out, and so are pairs of partly occupied sites that cannot both be filled: those nearer than
    1 Å whose occupancies add up to no more than one.
    """
    centres, others, _, distances = structure.get_neighbor_list(cutoff)
    elements = [{species.symbol for species in site.species} for site in structure]
    filled = np.array([site.species.num_atoms for site in structure])
    shortest: dict[tuple[str, str], float] = {}
    for i, j, distance in zip(centres, others, distances, strict=True):
        if distance < 1.0 and filled[i] + filled[j] <= 1.0 + 1e-3:
            continue
        for a in elements[i]:
            for b in elements[j]:
                pair = (a, b) if a <= b else (b, a)
                shortest[pair] = min(float(distance), shortest.get(pair, np.inf))
    return shortest


def shortest_distance(structure: Structure) -> float:
    """Shortest distance between any two atoms or their images, Å; see `shortest_distances`."""
    # No lattice has all its points further apart than the longest row of its reduced basis.
    reach = 1.01 * max(structure.lattice.get_lll_reduced_lattice().abc)
    return min(shortest_distances(structure, cutoff=reach).values())
