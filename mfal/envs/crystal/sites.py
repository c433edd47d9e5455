"""The optional stage that puts every atom on a Wyckoff position.

One action places one orbit: index = letter * K + slot, where slot is the element's place in the
composition (0 to K - 1). Orbits come in ascending order of that index, so each assignment has one
path; a position without free coordinates is taken at most once. What remains to be placed must fit
the positions that are still to come: for elements from the current slot on the current letter and
all later ones, for the earlier elements the later letters only. `suffix_automaton` decides that
exactly.

Assignments that a shift of the origin or a change of axes would map onto each other count as
different.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.crystals.groups import WYCKOFF_FREEDOM, WYCKOFF_MULTIPLICITY, wyckoff_letters
from mfal.envs.crystal.automata import suffix_automaton
from mfal.envs.crystal.spec import CrystalSpec, species_list
from mfal.envs.crystal.state import NUM_LETTERS, CrystalState, Static
from mfal.errors import MfalError

__all__ = ["SiteRules", "make_site_rules", "sites_of"]


class SiteRules(NamedTuple):
    """Predicates and moves of the stage. Without the stage all is done from the start."""

    size: int
    """Number of actions; 0 without the stage."""
    done: Callable[[CrystalState], jax.Array]
    """[] bool, whether every atom has its position."""
    mask: Callable[[CrystalState], jax.Array]
    """[size] bool, orbits that can be placed next."""
    last: Callable[[CrystalState], jax.Array]
    """[size] bool, the orbit placed last."""


def make_site_rules(static: Static) -> SiteRules:
    """The rules of an environment."""
    if not static.spec.wyckoff:
        empty = jnp.zeros((0,), bool)
        return SiteRules(0, lambda s: jnp.ones((), bool), lambda s: empty, lambda s: empty)

    slots = static.max_elements
    size = NUM_LETTERS * slots
    automaton = suffix_automaton(static.max_count)
    start = jnp.asarray(automaton.start.reshape(-1, NUM_LETTERS))
    onward = jnp.asarray(automaton.step)
    multiplicity = jnp.asarray(WYCKOFF_MULTIPLICITY, jnp.int32)
    free = jnp.asarray(WYCKOFF_FREEDOM > 0)
    index = np.arange(size, dtype=np.int32)
    slot = np.arange(slots, dtype=np.int32)

    def orbits(state: CrystalState) -> jax.Array:
        """[27, K] int32, which every state of these specs has."""
        assert state.sites is not None
        return state.sites

    def remaining(state: CrystalState) -> jax.Array:
        """[K] int32, atoms without a position."""
        sizes = multiplicity[state.group][:, None]
        return state.counts - jnp.sum(sizes * orbits(state), axis=0, dtype=jnp.int32)

    def pointer(state: CrystalState) -> jax.Array:
        """[] index of the last orbit; -1 before any."""
        return jnp.max(jnp.where(orbits(state).reshape(-1) > 0, index, -1))

    def done(state: CrystalState) -> jax.Array:
        return ~jnp.any(remaining(state) > 0)

    def mask(state: CrystalState) -> jax.Array:
        left = remaining(state)
        sizes, is_free = multiplicity[state.group], free[state.group]
        fits = (sizes[:, None] > 0) & (left[None] >= sizes[:, None])
        # After the orbit is placed, by letter and slot: atoms left of each element.
        same = (slot[:, None] == slot).astype(np.int32)
        after = left[None, None] - sizes[:, None, None] * same[None]
        after = jnp.maximum(after, 0)
        # Elements from the placed one on may take the same letter again.
        onward_word = (slot >= slot[:, None]).astype(np.int32) * (static.max_count + 1)
        word = after + onward_word[None]
        suffix = jnp.broadcast_to(start[state.group][:, None], (NUM_LETTERS, slots))
        for k in range(slots):
            suffix = onward[suffix, word[:, :, k]]
        last = pointer(state)
        later = index.reshape(NUM_LETTERS, slots) >= last
        letter = np.arange(NUM_LETTERS, dtype=np.int32)[:, None]
        repeatable = is_free[:, None] | (letter > last // slots) | (last < 0)
        legal = fits & (suffix > 0) & later & repeatable
        return legal.reshape(-1) & state.finished & (state.group >= 0)

    def last(state: CrystalState) -> jax.Array:
        return index == pointer(state)

    return SiteRules(size, done, mask, last)


def sites_of(spec: CrystalSpec, state: CrystalState) -> list[tuple[str, str]]:
    """(element, Wyckoff letter) of every orbit of one state, in the order of the letters.

    Raises:
      MfalError: when the spec has no stage that assigns positions.
    """
    if not spec.wyckoff:
        raise MfalError("the spec assigns no Wyckoff positions", "give CrystalSpec(wyckoff=True)")
    letters = wyckoff_letters(int(state.group) + 1)
    symbols = [s.symbol for s in species_list(spec)]
    sites, species = np.asarray(state.sites), np.asarray(state.species)
    return [
        (symbols[species[k]], letters[w])
        for w, k in zip(*np.nonzero(sites), strict=True)
        for _ in range(sites[w, k])
    ]
