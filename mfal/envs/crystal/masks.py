"""Which actions lead on, and which led here."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.crystals.groups import CRYSTAL_SYSTEM
from mfal.envs.crystal.sites import make_site_rules
from mfal.envs.crystal.state import CrystalState, Static

__all__ = ["Masks", "make_masks"]


class Masks(NamedTuple):
    """The three predicates of a state."""

    action: Callable[[CrystalState], jax.Array]
    parent: Callable[[CrystalState], jax.Array]
    terminal: Callable[[CrystalState], jax.Array]


def make_masks(static: Static) -> Masks:
    """Masks over the action blocks of `Blocks`, exact by the look-ahead tables."""
    blocks, num_species = static.blocks, static.num_species
    systems = np.arange(7, dtype=np.int32)
    system_of = jnp.asarray(CRYSTAL_SYSTEM, jnp.int32)
    point_of = jnp.asarray(static.point_of)
    points = np.arange(static.num_points, dtype=np.int32)
    groups = np.arange(230, dtype=np.int32)
    parameters = np.arange(6, dtype=np.int32)
    group_legal = jnp.asarray(static.group_legal)
    rules = make_site_rules(static)
    in_system, in_point = (jnp.asarray(legal) for legal in _legal_within(static))
    bit = np.arange(num_species, dtype=np.int32)
    counts = np.arange(1, static.max_count + 1, dtype=np.int32)

    def symmetry(state: CrystalState) -> list[jax.Array]:
        # One stage after the other: the next one that is open.
        due = state.group < 0
        at_system, at_point = state.system < 0, (state.system >= 0) & (state.point < 0)
        legal = group_legal & (state.system == system_of) & (state.point == point_of)
        return [in_system & at_system & due, in_point[state.system] & at_point & due, legal & due]

    def fits(total: jax.Array, atoms: jax.Array) -> jax.Array:
        if static.totals_ahead:
            return atoms == static.totals[total]
        return (atoms >= static.spec.min_atoms) & (atoms <= static.spec.max_atoms)

    def composition(state: CrystalState) -> list[jax.Array]:
        due = (state.group >= 0) & ~state.finished
        wyckoff = state.wyckoff
        centre = static.max_charge
        total_mask = []
        if static.totals_ahead:
            open_nodes = static.node[:, 0, 0, centre]
            possible = jnp.any(static.options[open_nodes, wyckoff] != 0, axis=-1)
            total_mask = [possible & due & (state.total < 0)]
            due &= state.total >= 0
        total = jnp.maximum(state.total, 0)
        atoms = jnp.sum(state.counts, dtype=jnp.int32)
        charge = jnp.sum(static.charge[state.species, state.counts], dtype=jnp.int32)
        blocked = jax.lax.reduce(
            static.exclude[state.species], jnp.uint32(0), jax.lax.bitwise_or, (0,)
        )
        idle = state.pending == num_species

        node = static.node[total, state.pattern, atoms, charge + centre]
        words = static.options[node, wyckoff] & ~blocked
        can_follow = (words[bit // 32] >> (bit % 32).astype(np.uint32)) & 1 == 1
        element_mask = can_follow & idle & due

        def balanced(
            pattern: jax.Array, atoms: jax.Array, charge: jax.Array, wyckoff: jax.Array
        ) -> jax.Array:
            enough = static.pattern_done[pattern] & fits(total, atoms)
            return enough & (charge == 0) & (wyckoff > 0)

        pattern = static.pattern_next[state.pattern, state.pending]
        new_atoms = atoms + counts
        new_charge = charge + static.charge[state.pending, 1:]
        inside = (new_atoms <= static.spec.max_atoms) & (jnp.abs(new_charge) <= centre)
        # All indices are in bounds by now (a missing pattern is masked below), so none is checked.
        row = static.node.at[
            total,
            jnp.maximum(pattern, 0),
            jnp.minimum(new_atoms, static.spec.max_atoms),
            jnp.clip(new_charge + centre, 0, 2 * centre),
        ].get(mode="promise_in_bounds")
        new_wyckoff = static.wyckoff_step[wyckoff, 1:]
        onward = static.options.at[row, new_wyckoff].get(mode="promise_in_bounds")
        onward &= ~(blocked | static.exclude[state.pending])[None]
        alive = jnp.any(onward != 0, axis=-1)
        alive |= balanced(pattern, new_atoms, new_charge, new_wyckoff)
        allowed = static.count_ok[total, state.pending, 1:] & (pattern >= 0)
        count_mask = alive & inside & allowed & due & ~idle

        finish = balanced(state.pattern, atoms, charge, wyckoff) & idle & due
        return [*total_mask, element_mask, count_mask, finish[None]]

    def next_parameter(state: CrystalState) -> jax.Array:
        """The lattice parameter to set, 0 to 5; 6 where all are set or others are due first."""
        order = static.parameter_order[static.lattice_system[state.group], state.placed]
        return jnp.where(complete(state), order, 6)

    def complete(state: CrystalState) -> jax.Array:
        """Whether all but the lattice is chosen."""
        return state.finished & (state.group >= 0) & rules.done(state)

    def action(state: CrystalState) -> jax.Array:
        lattice = parameters == next_parameter(state)
        return jnp.concatenate(
            [
                *symmetry(state),
                *composition(state),
                rules.mask(state),
                lattice,
            ]
        )

    def terminal(state: CrystalState) -> jax.Array:
        return complete(state) & (next_parameter(state) == 6)

    def parent(state: CrystalState) -> jax.Array:
        system = static.lattice_system[state.group]
        last = static.parameter_order[system, jnp.maximum(state.placed - 1, 0)]
        in_lattice = state.placed > 0
        lattice = (parameters == last) & in_lattice
        site = rules.last(state) & ~in_lattice
        late = in_lattice | jnp.any(site)

        symmetry_open = ~late & untouched(state)
        has_group = state.group >= 0
        group = (groups == state.group) & symmetry_open
        point = (points == state.point) & symmetry_open & ~has_group
        first = (systems == state.system) & symmetry_open & ~has_group & (state.point < 0)

        finish = state.finished & ~late
        composition_open = ~late & ~state.finished
        idle, used = state.pending == num_species, state.species < num_species
        count_due = state.counts[jnp.maximum(jnp.sum(used, dtype=jnp.int32) - 1, 0)]
        element = bit == state.pending
        count = (counts == count_due) & idle
        total_mask = []
        if static.totals_ahead:
            fresh = composition_open & idle & ~used[0]
            total_mask = [(np.arange(len(static.totals), dtype=np.int32) == state.total) & fresh]
        return jnp.concatenate(
            [
                first,
                point,
                group,
                *total_mask,
                element & composition_open,
                count & composition_open,
                finish[None],
                site,
                lattice,
            ]
        )

    def untouched(state: CrystalState) -> jax.Array:
        """Whether the composition has not been begun."""
        fresh = (state.species[0] == num_species) & (state.pending == num_species)
        fresh &= ~state.finished
        return fresh & (state.total < 0) if static.totals_ahead else fresh

    assert blocks.end == blocks.lattice + 6
    return Masks(action, parent, terminal)


def _legal_within(static: Static) -> tuple[np.ndarray, np.ndarray]:
    """Whether a legal group is in each system, [7] bool, and class of each system, [7, P] bool."""
    held = np.zeros((7, static.num_points), bool)
    legal = np.flatnonzero(static.group_legal)
    held[CRYSTAL_SYSTEM[legal], static.point_of[legal]] = True
    return np.any(held, axis=1), held
