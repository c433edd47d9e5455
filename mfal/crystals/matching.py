"""Whether two structures are one crystal, by pymatgen's `StructureMatcher` at its usual tolerances.

These are the tolerances by which generators of crystals are judged: a fifth of lengths, 5 degrees,
and .3 of the mean free length of an atom, between primitive cells of one volume.
"""

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["same_crystal"]


def same_crystal(first: "Structure", second: "Structure") -> bool:
    """Whether two structures are one crystal, up to scale, small displacements and charges."""
    plain = (each.copy().remove_oxidation_states() for each in (first, second))
    return bool(_matcher().fit(*plain))


@functools.cache
def _matcher() -> Any:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    return StructureMatcher()
