"""Whether a crystal is known: comparison with tables of known ones, by structure.

    known = known_crystals()
    known.name_of(structure)              # "Li2O, mp-1960", or "" where it is new to them

Crystals of one reduced formula are compared by pymatgen's `StructureMatcher` at its usual
tolerances, in primitive cells and up to scale, as generators of crystals are judged (Zeni et al.,
Nature 639, 624 (2025)). A row whose atoms are not at hand counts as the same crystal where formula
and space group agree, or where the formula does if not even the group is told: nothing is called
new that might be old.
"""

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mfal.crystals.matching import same_crystal
from mfal.data.table import MaterialTable

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["KNOWN_TABLES", "KnownCrystals", "known_crystals"]

KNOWN_TABLES = ("embedded", "phases", "set40", "set41")
"""Tables that every crystal is compared with, as `mfal.data.open_table` names them."""


class KnownCrystals(NamedTuple):
    """Crystals to compare with."""

    tables: tuple[MaterialTable, ...]
    rows: Mapping[str, Sequence[tuple[int, int]]]
    """Reduced formula to (table, row) of its crystals."""

    def name_of(self, structure: "Structure") -> str:
        """Formula and id of the first known crystal that an ordered structure is; "" if none is.

        Rows with atoms go before those without.
        """
        formula = structure.composition.element_composition.reduced_formula
        found = self.rows.get(formula, ())
        for table, row in found:
            known = _structure(self.tables[table], row)
            if known is not None and same_crystal(structure, known):
                return f"{formula}, {self.tables[table].ids[row]}"
        blind = [(t, r) for t, r in found if not self.tables[t].has_structure[r]]
        if not blind:
            return ""
        from mfal.crystals.structures import space_group_number

        group = space_group_number(structure)
        for table, row in blind:
            if int(self.tables[table].space_group_number[row]) in (0, group):
                return f"{formula}, {self.tables[table].ids[row]}"
        return ""


def known_crystals(
    references: Sequence[str] = (), *, own: bool = True, hide: Sequence[str] = ()
) -> KnownCrystals:
    """The crystals of `KNOWN_TABLES` and of further tables.

    Args:
      references: as `mfal.data.open_table` takes them: names, files, folders of structures.
      own: whether those of `KNOWN_TABLES` are among them.
      hide: formulas of compounds that count as unknown, in whatever table they are.

    Raises:
      MfalError: a table that isn't there or can't be read.
    """
    named = dict.fromkeys((*(KNOWN_TABLES if own else ()), *references))
    return _known_crystals(tuple(named), tuple(hide))


@functools.lru_cache(maxsize=4)
def _known_crystals(references: tuple[str, ...], hide: tuple[str, ...]) -> KnownCrystals:
    from mfal.data.named import open_table

    return _indexed(open_table(reference).without(hide) for reference in references)


def _indexed(tables: Iterable[MaterialTable]) -> KnownCrystals:
    kept = tuple(tables)
    rows: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for number, table in enumerate(kept):
        for row, formula in enumerate(table.formulas):
            rows[_reduced(formula)].append((number, row))
    return KnownCrystals(kept, rows)


def _structure(table: MaterialTable, row: int) -> "Structure | None":
    """The ordered structure of a row, if it has one."""
    structure = table.structure(row)
    return structure if structure is not None and structure.is_ordered else None


@functools.cache
def _reduced(formula: str) -> str:
    from pymatgen.core import Composition

    try:
        return str(Composition(formula).element_composition.reduced_formula)
    except (ValueError, KeyError):
        return formula
