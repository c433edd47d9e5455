"""What a competing phase is."""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["CompetingPhase"]


class CompetingPhase(NamedTuple):
    """A phase whose energy is known."""

    formula: str
    """Reduced, without brackets; an element by its symbol alone."""
    amounts: Mapping[str, float]
    """Atoms of each element in the reduced formula."""
    energy: float
    """eV per atom, relaxed by the potential."""
    space_group_number: int
    """0 where unknown."""
    volume: float
    """Å³ per atom; NaN where unknown."""
    source: str
    """Where its structure is from."""
    key: str
    """Unique name of the structure in its source."""
