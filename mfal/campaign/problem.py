"""What a campaign is about: which crystals there are, which are known, and who answers.

The loop sees only this value, so that another space or other known data can take its place.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from mfal.campaign.config import (
    COMMON_ELEMENTS,
    COMMON_GROUPS,
    COMMON_MAX_ATOMS,
    SpaceConfig,
)
from mfal.campaign.pool.restrictions import (
    ALWAYS_ANIONS,
    barred_elements,
    check_restrictions,
    parse_pattern,
    restrictions_met,
)
from mfal.crystals.elements import OXIDATION_STATES, SYMBOLS
from mfal.crystals.types import Crystal
from mfal.envs.types import Environment, State
from mfal.errors import MfalError
from mfal.oracles.loading import load_oracles
from mfal.oracles.types import Oracle

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from mfal.campaign.pool import Pool
    from mfal.envs.crystal import CrystalSpec

__all__ = ["Problem", "make_problem", "make_spec"]


_LEFT_OUT = {("P", -3), ("As", -3), ("Sb", -3), ("C", -4), ("H", -1), ("S", 6)}
"""Oxidation states that candidates don't get: anions for which softBV has no potential with
lithium, so that no barrier could be computed, and sulfates, whose sulfur would pass for a cation
beside bromide as well."""


class Problem(NamedTuple):
    """A space of crystals, those already known in it, and the oracles."""

    environment: Environment | None
    """The environment that makes crystals, without the choice of a fidelity; None where all
    candidates come from a pool."""
    to_crystal: Callable[[State], Crystal]
    """From a terminal state to its triple; JAX can trace it, and it takes no batch axis."""
    oxidation_states: Callable[[State], dict[str, float]]
    """From a terminal state to the charge of each element; it runs on the host."""
    known: Callable[[], "list[tuple[str, Structure]]"]
    """Crystals whose atoms are known, with their names, in a fixed order, the most akin to the
    space first."""
    oracles: tuple[Oracle, ...]
    """The oracles by rising fidelity; the last one answers at the target fidelity."""
    allowed: Callable[[Crystal], Any]
    """Whether a triple meets the user's restrictions, [] bool; JAX can trace it."""
    pool: "Pool | None" = None
    """Candidates that people have; None where there are none."""


@lru_cache(maxsize=4)
def make_problem(
    space: SpaceConfig,
    references: tuple[str, ...],
    *,
    generate: bool = True,
    hide: tuple[str, ...] = (),
) -> Problem:
    """Lithium crystals under the configured limits, with the embedded table as what is known.

    Without `generate` there is no environment: candidates come from a pool.

    Args:
      space: which crystals may be proposed.
      references: where the oracles come from, each as module:function.
      generate: whether crystals are generated.
      hide: formulas of compounds that are not to be known (`CampaignConfig.hide`).

    Raises:
      MfalError: where limits or oracles make no sense.
    """
    oracles = load_oracles(references, hide)
    check_restrictions(space)
    import jax.numpy as jnp

    from mfal.envs.crystal import crystal_environment, species_of, to_crystal

    def allowed(crystal: Crystal) -> Any:
        met = restrictions_met(space, crystal.composition, crystal.space_group_number, jnp)
        return jnp.stack([jnp.asarray(True), *met.values()]).all(0)

    spec = make_spec(space) if generate else make_spec(SpaceConfig())
    return Problem(
        environment=crystal_environment(spec) if generate else None,
        to_crystal=lambda state: to_crystal(spec, state),
        oxidation_states=lambda state: species_of(spec, state),
        known=lambda: _embedded(space, hide),
        oracles=oracles,
        allowed=allowed,
    )


def make_spec(space: SpaceConfig) -> "CrystalSpec":
    """The environment's limits from the campaign's.

    Raises:
      MfalError: where no crystal could meet them.
    """
    check_restrictions(space)
    named = ", ".join(space.elements or ())
    if space.elements is not None and "Li" not in space.elements:
        raise MfalError(f"space.elements {named}", "add Li")
    if "Li" in barred_elements(space):
        raise MfalError(
            "no candidate may hold Li", "generated crystals hold Li: search a pool for others"
        )
    if space.elements is not None and len(set(space.elements)) < space.min_elements:
        raise MfalError(
            f"space.elements {named}: fewer than space.min_elements, {space.min_elements}",
            "add elements, or lower space.min_elements",
        )
    from mfal.envs.crystal import CrystalSpec
    from mfal.envs.crystal.spec import LITHIUM_CONDUCTOR_STATES

    usual = {**OXIDATION_STATES, **dict(LITHIUM_CONDUCTOR_STATES)}
    states = {
        symbol: tuple(q for q in usual.get(symbol, ()) if (symbol, q) not in _LEFT_OUT)
        for symbol in _generated_elements(space)
    }
    return CrystalSpec(
        elements=states,
        required=tuple(dict.fromkeys(("Li", *space.must_contain))),
        element_limits=(space.min_elements, min(space.max_elements, len(states))),
        min_atoms=space.min_atoms,
        max_atoms=COMMON_MAX_ATOMS if space.max_atoms is None else space.max_atoms,
        groups=(COMMON_GROUPS if space.groups is None else space.groups) or None,
        min_length=space.min_length,
        max_length=space.max_length,
        max_aspect=space.max_aspect,
        min_angle=space.min_angle,
        max_angle=space.max_angle,
        packing=(space.min_packing, space.max_packing),
    )


def _generated_elements(space: SpaceConfig) -> tuple[str, ...]:
    """Elements of generated crystals that no restriction rules out."""
    chosen = (*(COMMON_ELEMENTS if space.elements is None else space.elements), *space.must_contain)
    barred = barred_elements(space)
    found = [s for s in dict.fromkeys(chosen) if s not in barred]
    if space.anions:
        found = [s for s in found if s in space.anions or s not in ALWAYS_ANIONS]
        found += [s for s in space.anions if space.elements is None and s not in found]
    patterns = [parse_pattern(text) for text in space.formula]
    if patterns and not any(pattern.any for pattern in patterns):
        within = {SYMBOLS[i] for pattern in patterns for i in pattern.elements}
        extra = sorted(within - set(found)) if space.elements is None else []
        found = [s for s in (*found, *extra) if s in within and s not in barred]
    return tuple(found)


def _embedded(space: SpaceConfig, hide: tuple[str, ...]) -> "list[tuple[str, Structure]]":
    """Ordered crystals of the embedded table that are no larger than the space's own.

    Those made of the space's elements alone come first.
    """
    from mfal.data import load_embedded

    table = load_embedded().without(hide)
    within: list[tuple[str, Structure]] = []
    beyond: list[tuple[str, Structure]] = []
    most = COMMON_MAX_ATOMS if space.max_atoms is None else space.max_atoms
    elements = set(_generated_elements(space))
    for name, structure in zip(table.ids, table.structures(), strict=True):
        if structure is None or not structure.is_ordered or len(structure) > most:
            continue
        own = {element.symbol for element in structure.composition.elements} <= elements
        (within if own else beyond).append((name, structure))
    return within + beyond
