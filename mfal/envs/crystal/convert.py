"""Between states and crystals."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import product

import chex
import jax.numpy as jnp
import numpy as np

from mfal.crystals.elements import SYMBOLS, atomic_number
from mfal.crystals.groups import (
    CRYSTAL_SYSTEM,
    LATTICE_SYSTEM,
    WYCKOFF_FREEDOM,
    WYCKOFF_MULTIPLICITY,
    wyckoff_letters,
)
from mfal.crystals.lattice import FREE_PARAMETERS
from mfal.crystals.types import NUM_ELEMENTS, Crystal
from mfal.envs.crystal.cell import fill_tied
from mfal.envs.crystal.spec import CrystalSpec, species_list
from mfal.envs.crystal.state import NUM_LETTERS, CrystalState, Static, static_of
from mfal.envs.crystal.validity import violations
from mfal.errors import MfalError

__all__ = ["from_crystal", "species_of", "to_crystal"]


def to_crystal(spec: CrystalSpec, state: CrystalState) -> Crystal:
    """What a terminal state stands for. Pure and unbatched: `jax.vmap` it over states."""
    chex.assert_equal_shape([state.species, state.counts])
    chex.assert_shape(state.lattice, (6,))
    chex.assert_shape(state.group, ())
    slots = jnp.asarray(_atomic_numbers(spec))[state.species]
    composition = jnp.zeros((NUM_ELEMENTS + 1,), jnp.float32)
    composition = composition.at[slots].add(state.counts.astype(jnp.float32))[:NUM_ELEMENTS]
    system = jnp.asarray(LATTICE_SYSTEM, jnp.int32)[state.group]
    return Crystal(composition, state.group + 1, fill_tied(system, state.lattice))


def species_of(spec: CrystalSpec, state: CrystalState) -> dict[str, float]:
    """Oxidation state of each element of one state; a mean one, not whole, in a mixture."""
    species = species_list(spec)
    found = {}
    for index in np.asarray(state.species):
        if index < len(species):
            chosen = species[index]
            whole = chosen.state.denominator == 1
            found[chosen.symbol] = int(chosen.state) if whole else float(chosen.state)
    return found


def from_crystal(
    spec: CrystalSpec,
    crystal: Crystal,
    oxidation_states: Mapping[str, float] | None = None,
    *,
    sites: Sequence[tuple[str, str]] | None = None,
    tolerance: float = 1e-3,
) -> CrystalState:
    """The terminal state that stands for a crystal, so that known crystals can be trained on.

    Args:
      spec: the environment's spec.
      crystal: one crystal, unbatched, in the conventional setting.
      oxidation_states: where given, the states to use; else the first neutral choice in the
        order in which the spec lists them.
      sites: (element, Wyckoff letter) of every orbit, where the spec assigns them.
      tolerance: relative slack of the lattice parameters.

    Raises:
      MfalError: when the spec forbids the crystal; the message says why.
    """
    amounts = np.asarray(crystal.composition, float)
    counts = {SYMBOLS[z]: float(amounts[z]) for z in np.flatnonzero(amounts)}
    formula = "".join(f"{symbol}{n:g}" for symbol, n in counts.items())
    chosen = _neutral_species(spec, counts, oxidation_states, formula)
    species = species_list(spec)
    states = {species[i].symbol: float(species[i].state) for i in chosen}
    if found := violations(spec, crystal, states, tolerance=tolerance):
        raise MfalError(f"{formula}: {found[0]}", "choose another crystal, or widen the spec")

    static = static_of(spec)
    group = int(crystal.space_group_number) - 1
    system = int(LATTICE_SYSTEM[group])
    begin = static.initial()
    wyckoff, pattern = static.wyckoff_of_start(jnp.int32(group)), begin.pattern
    slots = np.full(static.max_elements, static.num_species, np.int32)
    numbers = np.zeros(static.max_elements, np.int32)
    for k, index in enumerate(sorted(chosen)):
        slots[k], numbers[k] = index, round(counts[species[index].symbol])
        wyckoff = static.wyckoff_after(wyckoff, jnp.int32(numbers[k]))
        pattern = static.pattern_next[pattern, index]
    symbols = [species[i].symbol for i in sorted(chosen)]
    orbits = _orbits(
        static, formula, group, dict(zip(symbols, numbers.tolist(), strict=False)), sites
    )
    total = np.flatnonzero(np.asarray(static.totals) == numbers.sum())
    free = FREE_PARAMETERS[system]
    return begin._replace(
        system=jnp.int32(CRYSTAL_SYSTEM[group]),
        point=jnp.int32(static.point_of[group]),
        group=jnp.int32(group),
        total=jnp.int32(total[0]) if static.totals_ahead else begin.total,
        species=jnp.asarray(slots),
        counts=jnp.asarray(numbers),
        pattern=jnp.asarray(pattern),
        wyckoff=wyckoff,
        finished=jnp.ones((), bool),
        sites=None if orbits is None else jnp.asarray(orbits),
        lattice=jnp.asarray(np.where(free, crystal.lattice, 0), jnp.float32),
        placed=jnp.int32(free.sum()),
    )


def _orbits(
    static: Static,
    formula: str,
    group: int,
    counts: Mapping[str, int],
    sites: Sequence[tuple[str, str]] | None,
) -> np.ndarray | None:
    """[27, K] int32 orbits from given sites, or None where the spec assigns none."""
    slots = static.max_elements
    if not static.spec.wyckoff:
        return None
    orbits = np.zeros((NUM_LETTERS, slots), np.int32)
    letters, symbols = wyckoff_letters(group + 1), list(counts)
    for symbol, letter in sites or ():
        if symbol not in counts or letter not in letters:
            raise MfalError(
                f"{formula}: site {letter} of {symbol}",
                f"give letters from {letters[0]} to {letters[-1]} and elements of the formula",
            )
        orbits[letters.index(letter), symbols.index(symbol)] += 1
    placed = WYCKOFF_MULTIPLICITY[group] @ orbits
    once = WYCKOFF_FREEDOM[group] == 0
    if placed[: len(counts)].tolist() != list(counts.values()) or (orbits[once].sum(1) > 1).any():
        raise MfalError(
            f"{formula}: its sites don't hold its atoms in space group {group + 1}",
            "give the element and Wyckoff letter of every orbit",
        )
    return orbits


def _neutral_species(
    spec: CrystalSpec,
    counts: Mapping[str, float],
    oxidation_states: Mapping[str, float] | None,
    formula: str,
) -> tuple[int, ...]:
    """Species of the spec, one an element, whose charges add up to zero."""
    choices = []
    for symbol, n in counts.items():
        fitting = [
            i
            for i, s in enumerate(species_list(spec))
            if s.symbol == symbol
            and n % s.repeat == 0
            and (oxidation_states is None or abs(float(s.state) - oxidation_states[symbol]) < 1e-6)
        ]
        if not fitting:
            raise MfalError(
                f"{formula}: no oxidation state of the spec fits {symbol}",
                "add it to the spec's elements",
            )
        choices.append([(i, species_list(spec)[i].state * round(n)) for i in fitting])
    for choice in product(*choices):
        if sum(charge for _, charge in choice) == 0:
            return tuple(i for i, _ in choice)
    raise MfalError(
        f"{formula}: no oxidation states of the spec make it neutral",
        "add the state that is missing to the spec's elements",
    )


@lru_cache(maxsize=64)
def _atomic_numbers(spec: CrystalSpec) -> np.ndarray:
    """[S + 1] int32, Z - 1 of each species; the last stands for none."""
    numbers = [atomic_number(s.symbol) - 1 for s in species_list(spec)]
    return np.array([*numbers, NUM_ELEMENTS], np.int32)
