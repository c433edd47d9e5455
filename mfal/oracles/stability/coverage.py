"""Whether a table of energies holds what a stability window needs to be bounded.

A window is only as narrow as the competing phases that are known: leave one out and it comes out
too wide. A table that doesn't mean to be complete is therefore asked, before a limit is given, for
the compound itself, for a binary of every pair of elements that forms one, and for a ternary of
lithium and an anion with each cation. These conditions are necessary, not sufficient; a limit
that passes them is an outer bound.

Which pairs form no compound: T. B. Massalski (ed.), Binary Alloy Phase Diagrams, 2nd ed. (1990),
for the metals; for the anions, pairs whose compounds all have positive Gibbs energies of formation
at 298 K (NIST-JANAF tables, 4th ed., 1998).
"""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Literal

from pymatgen.core import Composition

__all__ = ["ANIONS", "Limit", "missing_phases"]

Limit = Literal["reduction", "oxidation"]
"""The end of a window where a compound is reduced, or where it is oxidised."""

ANIONS = frozenset({"N", "O", "F", "S", "Cl", "Se", "Br", "Te", "I"})
ALKALI = frozenset({"Na", "K", "Rb", "Cs"})
RARE_EARTHS = frozenset(
    {"Sc", "Y", "La", "Ce", "Pr", "Nd", "Sm", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Lu"}
)
GROUPS_4_AND_5 = frozenset({"Ti", "Zr", "Hf", "V", "Nb", "Ta"})
NONE_WITH_LITHIUM = (
    ALKALI | RARE_EARTHS | GROUPS_4_AND_5 | {"Cr", "Mo", "W", "Mn", "Fe", "Co", "Ni", "Cu", "Mg"}
)
"""Elements that form no compound with lithium: immiscible, or a solid solution only."""
EUTECTIC = frozenset(
    frozenset(pair) for pair in (("Al", "Si"), ("Al", "Ge"), ("B", "Ge"), ("Mg", "Ti"))
)
"""Further pairs that only mix or don't: eutectics without a compound, or immiscible."""
LARGE_EARTHS = RARE_EARTHS - {"Sc"}
ENDERGONIC = frozenset(
    frozenset(pair)
    for pair in (
        ("N", "O"),
        ("N", "S"),
        ("N", "Se"),
        ("N", "Te"),
        ("N", "Cl"),
        ("N", "Br"),
        ("N", "I"),
        ("O", "F"),
        ("O", "Cl"),
        ("O", "Br"),
        ("S", "I"),
        ("S", "Se"),
    )
)
"""Pairs of anions without a compound that is stable against the elements at 298 K, 1 bar."""


def missing_phases(
    composition: Composition,
    known: Iterable[Composition],
    limit: Limit,
    *,
    itself: bool = True,
) -> tuple[str, ...]:
    """What the table lacks for one limit of the window, in words; empty where it lacks nothing.

    Args:
      composition: the compound asked about.
      known: compositions of all compounds whose energies are known, the compound's own included.
      limit: "reduction" needs the alloys of lithium and of the cations with each other;
        "oxidation" happens among the compounds of the anions, so alloys don't matter.
      itself: whether the compound's own energy is needed too.
    """
    compounds = list(known)
    systems = {frozenset(_symbols(compound)) for compound in compounds}
    formula = composition.reduced_formula
    lacking = []
    if itself and formula not in {compound.reduced_formula for compound in compounds}:
        lacking.append(f"the energy of {formula} itself")
    elements = sorted(_symbols(composition))
    lacking += [
        f"any {first}-{second} compound"
        for first, second in _pairs_needed(elements, limit)
        if frozenset((first, second)) not in systems
    ]
    anions = sorted(ANIONS.intersection(elements))
    if "Li" in elements and anions:
        lacking += [
            f"any compound of Li, {cation} and {' or '.join(anions)}"
            for cation in elements
            if cation not in ANIONS | {"Li"}
            and not any(frozenset(("Li", cation, anion)) in systems for anion in anions)
        ]
    return tuple(lacking)


def _pairs_needed(elements: Sequence[str], limit: Limit) -> list[tuple[str, str]]:
    return [
        pair
        for pair in combinations(elements, 2)
        if not _forms_nothing(*pair) and (limit == "reduction" or not ANIONS.isdisjoint(pair))
    ]


def _forms_nothing(first: str, second: str) -> bool:
    pair = frozenset((first, second))
    if pair in ENDERGONIC or pair in EUTECTIC:
        return True
    if "Li" in pair:
        return not pair.isdisjoint(NONE_WITH_LITHIUM)
    return (
        pair <= GROUPS_4_AND_5 - {"V"}
        or pair <= RARE_EARTHS
        or (not pair.isdisjoint(LARGE_EARTHS) and not pair.isdisjoint(GROUPS_4_AND_5))
        or (not pair.isdisjoint(ALKALI) and not pair.isdisjoint(GROUPS_4_AND_5 | RARE_EARTHS))
    )


def _symbols(composition: Composition) -> set[str]:
    return {element.symbol for element in composition.elements}
