"""What a campaign is about: which crystals there are, which are known, and who answers.

The loop sees only this value, so that another space or other known data can take its place.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from mfal.campaign.config import SpaceConfig
from mfal.crystals.types import Crystal
from mfal.envs.types import Environment, State
from mfal.errors import MfalError
from mfal.oracles.loading import load_oracles
from mfal.oracles.types import Oracle

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from mfal.envs.crystal import CrystalSpec

__all__ = ["Problem", "make_problem", "make_spec"]


_LEFT_OUT = {("P", -3), ("As", -3), ("Sb", -3), ("C", -4), ("H", -1), ("S", 6)}
"""Oxidation states that candidates don't get: anions for which softBV has no potential with
lithium, so that no barrier could be computed, and sulfates, whose sulfur would pass for a cation
beside bromide as well."""


class Problem(NamedTuple):
    """A space of crystals, those already known in it, and the oracles."""

    environment: Environment
    """The environment that makes crystals, without the choice of a fidelity."""
    to_crystal: Callable[[State], Crystal]
    """From a terminal state to its triple; JAX can trace it, and it takes no batch axis."""
    oxidation_states: Callable[[State], dict[str, float]]
    """From a terminal state to the charge of each element; it runs on the host."""
    known: Callable[[], "list[tuple[str, Structure]]"]
    """Crystals whose atoms are known, with their names, in a fixed order, the most akin to the
    space first."""
    oracles: tuple[Oracle, ...]
    """The oracles by rising fidelity; the last one answers at the target fidelity."""


@lru_cache(maxsize=4)
def make_problem(space: SpaceConfig, references: tuple[str, ...]) -> Problem:
    """Lithium crystals under the configured limits, with the embedded table as what is known.

    Raises:
      MfalError: where limits or oracles make no sense.
    """
    oracles = load_oracles(references)
    spec = make_spec(space)
    from mfal.envs.crystal import crystal_environment, species_of, to_crystal

    return Problem(
        environment=crystal_environment(spec),
        to_crystal=lambda state: to_crystal(spec, state),
        oxidation_states=lambda state: species_of(spec, state),
        known=lambda: _embedded(space),
        oracles=oracles,
    )


def make_spec(space: SpaceConfig) -> "CrystalSpec":
    """The environment's limits from the campaign's.

    Raises:
      MfalError: where no crystal could meet them.
    """
    if "Li" not in space.elements:
        raise MfalError(f"space.elements {', '.join(space.elements)}", "add Li")
    if len(set(space.elements)) < space.min_elements:
        raise MfalError(
            f"space.elements {', '.join(space.elements)}: fewer than space.min_elements,"
            f" {space.min_elements}",
            "add elements, or lower space.min_elements",
        )
    from mfal.crystals.elements import OXIDATION_STATES
    from mfal.envs.crystal import CrystalSpec
    from mfal.envs.crystal.spec import LITHIUM_CONDUCTOR_STATES

    usual = {**OXIDATION_STATES, **dict(LITHIUM_CONDUCTOR_STATES)}
    states = {
        symbol: tuple(q for q in usual.get(symbol, ()) if (symbol, q) not in _LEFT_OUT)
        for symbol in space.elements
    }
    return CrystalSpec(
        elements=states,
        element_limits=(space.min_elements, space.max_elements),
        min_atoms=space.min_atoms,
        max_atoms=space.max_atoms,
        groups=space.groups or None,
        min_length=space.min_length,
        max_length=space.max_length,
        max_aspect=space.max_aspect,
        min_angle=space.min_angle,
        max_angle=space.max_angle,
        packing=(space.min_packing, space.max_packing),
    )


def _embedded(space: SpaceConfig) -> "list[tuple[str, Structure]]":
    """Ordered crystals of the embedded table that are no larger than the space's own.

    Those made of the space's elements alone come first.
    """
    from mfal.data import load_embedded

    table = load_embedded()
    within: list[tuple[str, Structure]] = []
    beyond: list[tuple[str, Structure]] = []
    for name, structure in zip(table.ids, table.structures(), strict=True):
        if structure is None or not structure.is_ordered or len(structure) > space.max_atoms:
            continue
        own = {element.symbol for element in structure.composition.elements} <= set(space.elements)
        (within if own else beyond).append((name, structure))
    return within + beyond
