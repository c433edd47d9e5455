"""The cells that stand for a crystal in a simulation: wide, ordered, relaxed."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import spglib

from mfal.crystals.elements import SYMBOLS, atomic_number
from mfal.crystals.structures import SYMPREC
from mfal.errors import MfalError
from mfal.oracles.dynamics.options import DynamicsOptions
from mfal.oracles.dynamics.supercell import cell_widths, smallest_supercell, wide_supercell
from mfal.potentials.evaluation import evaluate_crystals
from mfal.potentials.relax import RelaxSettings
from mfal.potentials.types import Potential

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["SimulatedCells", "fill_mobile_sites", "simulated_cells"]

LARGEST = 400
"""Atoms of a cell beyond which a simulation would take hours on two cores."""
APART = 2.2
"""Å that two mobile ions keep from each other in a decoration, where the sites allow."""
ORDERED = RelaxSettings(force=0.05, steps=300)
DECORATED = RelaxSettings(force=0.1, stress=0.5, steps=100)
"""A decoration is only brought near its minimum: the dynamics forget where in it they began."""


class SimulatedCells(NamedTuple):
    """Cells to simulate, and how they were found."""

    cells: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
    """Positions [N, 3] Å, lattice vectors [3, 3] Å and atomic numbers [N] of each."""
    record: dict[str, Any]
    """For the provenance; serialisable as JSON."""

    def to_json(self) -> dict[str, Any]:
        """As plain values, exact."""
        cells = [[part.tolist() for part in cell] for cell in self.cells]
        return {"cells": cells, "record": self.record}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "SimulatedCells":
        """What `to_json` made."""
        cells = [
            (np.array(places), np.array(cell), np.array(kinds, int))
            for places, cell, kinds in value["cells"]
        ]
        return cls(cells, value["record"])


def simulated_cells(
    structure: "Structure", potential: Potential, options: DynamicsOptions
) -> SimulatedCells:
    """One cell of an ordered crystal; of a partly occupied one those of lowest energy of several.

    An ordered crystal is relaxed within its space group in the primitive cell, and repeated. A
    partly occupied one is repeated first. Then framework and mobile ions are placed at random on
    their sites, in whole numbers as near to the occupancies as the cell allows and as neutral as
    can be; the potential's energy ranks the cells, and the best are relaxed without symmetry.

    Raises:
      MfalError: for a crystal without mobile ions or without framework, one that is too large, or
        one that the potential refuses or that falls apart when it is relaxed.
    """
    name = structure.composition.reduced_formula
    symbols = {specie.symbol for site in structure for specie in site.species}
    if options.mobile not in symbols:
        raise MfalError(
            f"no {options.mobile} in {name}", f"give a structure that contains {options.mobile}"
        )
    if symbols == {options.mobile}:
        raise MfalError(f"nothing but {options.mobile} in {name}", "give a compound with an anion")
    if structure.is_ordered:
        cells, record = _ordered(structure, potential, options)
    else:
        cells, record = _decorated(structure, potential, options)
    record |= {
        "atoms": len(cells[0][2]),
        "widths": [round(float(x), 3) for x in cell_widths(cells[0][1])],
        "repeats": round(len(cells[0][2]) / structure.composition.num_atoms, 4),
    }
    return SimulatedCells(cells, record)


def _ordered(
    structure: "Structure", potential: Potential, options: DynamicsOptions
) -> tuple[list[tuple[np.ndarray, np.ndarray, np.ndarray]], dict[str, Any]]:
    from pymatgen.core import Lattice, Structure

    kinds = [site.specie.Z for site in structure]
    given: Any = (structure.lattice.matrix, structure.frac_coords, kinds)
    found = spglib.standardize_cell(given, to_primitive=True, no_idealize=True, symprec=SYMPREC)
    matrix, places, numbers = given if found is None else found
    symbols = [SYMBOLS[z - 1] for z in numbers]
    primitive = Structure(Lattice(matrix), symbols, places)
    _refuse_large(primitive.lattice.matrix, options, structure)
    record: dict[str, Any] = {"occupancy": "full", "warnings": []}
    if options.relax:
        primitive, said = _relaxed(primitive, potential, ORDERED, symmetric=True)
        record |= said
    species = np.array([site.specie.Z for site in primitive])
    cell = wide_supercell(primitive.cart_coords, primitive.lattice.matrix, species, options.width)
    return [cell], record


def _decorated(
    structure: "Structure", potential: Potential, options: DynamicsOptions
) -> tuple[list[tuple[np.ndarray, np.ndarray, np.ndarray]], dict[str, Any]]:
    large = _repeated(structure, options)
    drawn: dict[tuple[bytes, bytes], Structure] = {}
    for number in range(options.drawn):
        one = fill_mobile_sites(large, options.seed * options.drawn + number, options)
        drawn.setdefault(_arrangement(one), one)
    candidates = list(drawn.values())
    arrays = [
        (one.cart_coords, one.lattice.matrix, np.array([site.specie.Z for site in one]))
        for one in candidates
    ]
    # Decorations may differ in their composition where a share of a site is no whole number.
    energies = [found.energy for found in evaluate_crystals(potential, arrays)]
    per_atom = np.array([e / len(a[2]) for e, a in zip(energies, arrays, strict=True)])
    order = np.argsort(np.where(np.isfinite(per_atom), per_atom, np.inf))[: options.decorations]
    record: dict[str, Any] = {
        "occupancy": f"{len(order)} decorations",
        "drawn": len(candidates),
        "decoration_energies": [round(float(per_atom[k]), 4) for k in order],
        "warnings": [],
    }
    cells = []
    changes = []
    for k in order:
        best = candidates[int(k)]
        if options.relax:
            best, said = _relaxed(best, potential, DECORATED, symmetric=False)
            changes.append(said["volume_change"])
            record["warnings"] += [w for w in said["warnings"] if w not in record["warnings"]]
        kinds = np.array([site.specie.Z for site in best])
        cells.append((best.cart_coords, best.lattice.matrix, kinds))
    if changes:
        record["volume_change"] = changes
    return cells, record


def fill_mobile_sites(structure: "Structure", seed: int, options: DynamicsOptions) -> "Structure":
    """An ordered draw of a partly occupied crystal: its framework, then its mobile ions.

    The framework is drawn by `mfal.oracles.bond_valence.sample_decoration`. Mobile ions are as many
    as make the cell neutral, if that is within a twentieth of what the occupancies say, else the
    nearest whole number. They go to sites at random, by occupancy, and keep `APART` from one
    another; where the sites are too near for that, the distance shrinks.

    Raises:
      MfalError: when there are fewer sites than ions.
    """
    from pymatgen.core import Structure

    from mfal.crystals.charges import charge
    from mfal.oracles.bond_valence.decorations import TOO_CLOSE, sample_decoration

    drawn = sample_decoration(structure, seed, options.mobile)
    rest, places, amounts = [], [], []
    for site in drawn:
        shares = {s.symbol: amount for s, amount in site.species.items()}
        if options.mobile in shares:
            places.append(site.frac_coords)
            amounts.append(shares[options.mobile])
        else:
            rest.append(site)
    expected = float(sum(amounts))
    excess = sum(charge(site.specie) for site in rest)
    neutral = -excess / options.charge
    fits = abs(neutral - expected) <= max(1.0, expected / 20)
    count = max(1, round(neutral if fits else expected))
    # A site that mobile ions share with the framework is free where the framework left it.
    taken = drawn.lattice.get_all_distances(places, [site.frac_coords for site in rest])
    free = np.flatnonzero(taken.min(axis=1) > TOO_CLOSE)
    places, amounts = [places[k] for k in free], [amounts[k] for k in free]
    if count > len(places):
        raise MfalError(
            f"{structure.composition.reduced_formula}: {count} {options.mobile} for {len(places)} "
            "sites",
            "check the occupancies",
        )
    rng = np.random.default_rng([seed, 1])
    occupancy = np.array(amounts)
    # Drawing without replacement in proportion to weights is a sort by Gumbel numbers.
    score = np.log(occupancy) + rng.gumbel(size=len(occupancy))
    order = np.argsort(-np.where(occupancy > 0.999, np.inf, score), kind="stable")
    distances = drawn.lattice.get_all_distances(places, places)
    chosen: list[int] = []
    for apart in (*np.arange(APART, 0.5, -0.1), 0.0):
        chosen = []
        for k in order:
            if len(chosen) < count and not (distances[k][chosen] < apart).any():
                chosen.append(int(k))
        if len(chosen) == count:
            break
    symbols = [site.specie.symbol for site in rest] + [options.mobile] * count
    coordinates = [site.frac_coords for site in rest] + [places[k] for k in chosen]
    return Structure(drawn.lattice, symbols, coordinates)


def _repeated(structure: "Structure", options: DynamicsOptions) -> "Structure":
    """The partly occupied supercell, its sites as they are in the crystal."""
    from pymatgen.core import Lattice, Structure

    contents = [site.species for site in structure]
    kinds = list(dict.fromkeys(contents))
    types = [kinds.index(content) + 1 for content in contents]
    given: Any = (structure.lattice.matrix, structure.frac_coords, types)
    found = spglib.standardize_cell(given, to_primitive=True, no_idealize=True, symprec=SYMPREC)
    matrix, places, numbers = given if found is None else found
    cartesian = np.asarray(places) @ np.asarray(matrix)
    _refuse_large(np.asarray(matrix), options, structure)
    wide, cell, numbers = wide_supercell(
        cartesian, np.asarray(matrix), np.asarray(numbers), options.width
    )
    return Structure(
        Lattice(cell), [kinds[t - 1] for t in numbers], wide, coords_are_cartesian=True
    )


def _refuse_large(cell: np.ndarray, options: DynamicsOptions, structure: "Structure") -> None:
    density = structure.composition.num_atoms / structure.volume
    large = smallest_supercell(cell, options.width) @ cell
    atoms = density * abs(float(np.linalg.det(large)))
    if atoms > LARGEST:
        raise MfalError(
            f"{structure.composition.reduced_formula}: a supercell of {atoms:.0f} atoms",
            f"give a crystal whose cell of {options.width:g} Å has at most {LARGEST}",
        )


def _relaxed(
    structure: "Structure", potential: Potential, settings: RelaxSettings, *, symmetric: bool
) -> tuple["Structure", dict[str, Any]]:
    from mfal.oracles.stability.relaxing import relax_structures

    (found,) = relax_structures([structure], potential, settings, keep_symmetry=symmetric)
    name = structure.composition.reduced_formula
    if found.status.startswith(("refused", "exploded")):
        raise MfalError(f"{name}: {found.status}", "check the structure")
    notes = [] if found.status == "converged" else [f"relaxation left {found.force:.2f} eV/Å"]
    return found.structure, {
        "volume_change": round(found.volume_change, 5),
        "warnings": notes,
    }


def _arrangement(structure: "Structure") -> tuple[bytes, bytes]:
    """What tells two decorations of one cell apart."""
    return (
        np.array([atomic_number(s.symbol) for s in structure.species]).tobytes(),
        np.round(structure.frac_coords, 6).tobytes(),
    )
