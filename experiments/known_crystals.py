"""Known crystals with their atoms, and which of them share composition, space group and cell."""

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from mfal.crystals.groups import wyckoff_letters
from mfal.crystals.structures import conventional_structure, crystal_from_structure
from mfal.crystals.templates import Template, arrangement_of, template
from mfal.crystals.types import Crystal
from mfal.data import load_embedded, load_obelix
from mfal.errors import MfalError

__all__ = ["MATCHER", "Known", "known_crystals", "shared_triples"]

SAME_CELL = (0.03, 3.0)  # relative difference of lengths, degrees
MATCHER = StructureMatcher(scale=False)


class Known(NamedTuple):
    """A crystal with its atoms, and what remains when they are forgotten."""

    name: str
    formula: str
    structure: Structure
    crystal: Crystal
    prototype: Template
    sites: list[tuple[str, str]]


def known_crystals(folder: Path | None, max_atoms: int) -> list[Known]:
    """Ordered crystals with charges, at most `max_atoms` in the conventional cell, each once."""
    tables = [load_embedded()] + ([load_obelix(folder)] if folder else [])
    found: list[Known] = []
    by_formula: dict[str, list[Structure]] = defaultdict(list)
    for table in tables:
        for name, structure in zip(table.ids, table.structures(), strict=True):
            if structure is None or not structure.is_ordered or "Li" not in structure.composition:
                continue
            plain = structure.copy().remove_oxidation_states()
            formula = plain.composition.reduced_formula
            if any(MATCHER.fit(plain, other) for other in by_formula[formula]):
                continue
            try:
                prototype = template(plain, name=name)
            except MfalError as error:
                print(f"left out: {error}")
                continue
            if sum(prototype.counts) > max_atoms:
                continue
            by_formula[formula].append(plain)
            found.append(
                Known(
                    name=name,
                    formula=formula,
                    structure=conventional_structure(plain),
                    crystal=crystal_from_structure(plain),
                    prototype=prototype,
                    sites=occupied_sites(plain),
                )
            )
    return found


def occupied_sites(structure: Structure) -> list[tuple[str, str]]:
    """(element, Wyckoff letter) of every orbit."""
    number, _, symbols, arrangement = arrangement_of(structure)
    letters = wyckoff_letters(number)
    return [(symbols[orbit.species], letters[orbit.position]) for orbit in arrangement]


def shared_triples(crystals: list[Known]) -> list[tuple[str, str]]:
    """Pairs of different structures with one composition, group, and cell to within `SAME_CELL`."""
    pairs = []
    for i, a in enumerate(crystals):
        for b in crystals[:i]:
            one, two = a.crystal, b.crystal
            cells = np.asarray(one.lattice), np.asarray(two.lattice)
            if (
                int(one.space_group_number) == int(two.space_group_number)
                and np.array_equal(one.composition, two.composition)
                and np.abs(np.log(cells[0][:3] / cells[1][:3])).max() < SAME_CELL[0]
                and np.abs(cells[0][3:] - cells[1][3:]).max() < SAME_CELL[1]
            ):
                pairs.append((b.name, a.name))
    return pairs
