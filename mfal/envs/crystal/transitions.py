"""Steps, their inverses, and the values of continuous actions."""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np

from mfal.envs.crystal.masks import make_masks
from mfal.envs.crystal.state import Blocks, CrystalState, Static
from mfal.envs.types import Action

__all__ = ["make_lattice_values", "make_transitions"]


def make_transitions(
    static: Static,
) -> tuple[
    Callable[[CrystalState, Action], CrystalState], Callable[[CrystalState, Action], CrystalState]
]:
    """`step` and `undo` of an environment."""
    blocks, none = static.blocks, static.num_species
    slots = np.arange(static.max_elements, dtype=np.int32)
    parameters = np.arange(6, dtype=np.int32)
    terminal = make_masks(static).terminal

    def within(index: jax.Array, block: str) -> jax.Array:
        position = Blocks._fields.index(block)
        return (index >= blocks[position]) & (index < blocks[position + 1])

    def sites_moved(sites: jax.Array | None, index: jax.Array, change: int) -> jax.Array | None:
        """One orbit more or less, where the action places one."""
        if sites is None:
            return None
        here = np.arange(sites.size, dtype=np.int32) == index - blocks.site
        return sites + change * here.reshape(sites.shape).astype(jnp.int32)

    def insert(state: CrystalState, species: jax.Array, count: jax.Array) -> CrystalState:
        """The composition with one more element, no longer pending."""
        place = jnp.sum(state.species < species, dtype=jnp.int32)

        def put(array: jax.Array, entry: jax.Array) -> jax.Array:
            moved = jnp.concatenate([array[:1], array[:-1]])
            return jnp.where(slots < place, array, jnp.where(slots == place, entry, moved))

        return state._replace(
            species=put(state.species, species),
            counts=put(state.counts, count),
            pending=jnp.int32(none),
            pattern=static.pattern_next[state.pattern, species],
            wyckoff=static.wyckoff_after(state.wyckoff, count),
        )

    def remove(state: CrystalState, place: jax.Array) -> CrystalState:
        """The composition without its element at a place; that becomes pending."""

        def take(array: jax.Array, empty: int) -> jax.Array:
            moved = jnp.append(array[1:], jnp.int32(empty))
            return jnp.where(slots < place, array, moved)

        species, counts = take(state.species, none), take(state.counts, 0)
        pattern, wyckoff = jnp.int32(0), static.wyckoff_of_start(state.group)
        for k in range(static.max_elements):
            onward = static.pattern_next[pattern, species[k]]
            pattern = jnp.where(species[k] < none, onward, pattern)
            wyckoff = static.wyckoff_after(wyckoff, counts[k])
        return state._replace(
            species=species,
            counts=counts,
            pending=state.species[place],
            pattern=pattern,
            wyckoff=wyckoff,
        )

    def choose(flag: jax.Array, new: CrystalState, old: CrystalState) -> CrystalState:
        return jax.tree.map(lambda a, b: jnp.where(flag, a, b), new, old)

    def step(state: CrystalState, action: Action) -> CrystalState:
        chex.assert_shape([action.index, action.value], ())
        index = action.index
        at_group, at_element = within(index, "group"), within(index, "element")
        at_count, at_lattice = within(index, "count"), within(index, "lattice")
        group = jnp.where(at_group, index - blocks.group, state.group)
        count = index - blocks.count + 1

        low, width = static.interval(state, jnp.clip(index - blocks.lattice, 0, 5))
        parameter = low + width * action.value
        here = at_lattice & (parameters == index - blocks.lattice)
        after = state._replace(
            system=jnp.where(within(index, "system"), index - blocks.system, state.system),
            point=jnp.where(within(index, "point"), index - blocks.point, state.point),
            group=group,
            total=jnp.where(within(index, "total"), index - blocks.total, state.total),
            finished=state.finished | within(index, "finish"),
            lattice=jnp.where(here, parameter, state.lattice).astype(jnp.float32),
            sites=sites_moved(state.sites, index, 1),
            placed=state.placed + at_lattice.astype(jnp.int32),
        )
        after = after._replace(
            pending=jnp.where(at_element, index - blocks.element, state.pending),
            wyckoff=jnp.where(at_group, static.wyckoff_of_start(group), state.wyckoff),
        )
        counted = insert(after, state.pending, jnp.clip(count, 0, static.max_count))
        return choose(terminal(state), state, choose(at_count, counted, after))

    def undo(state: CrystalState, action: Action) -> CrystalState:
        chex.assert_shape(action.index, ())
        index = action.index
        at_group, at_element = within(index, "group"), within(index, "element")
        at_count, at_lattice = within(index, "count"), within(index, "lattice")
        group = jnp.where(at_group, -1, state.group)
        cleared = at_lattice & (parameters == index - blocks.lattice)
        before = state._replace(
            system=jnp.where(within(index, "system"), -1, state.system),
            point=jnp.where(within(index, "point"), -1, state.point),
            group=group,
            total=jnp.where(within(index, "total"), -1, state.total),
            finished=state.finished & ~within(index, "finish"),
            lattice=jnp.where(cleared, 0, state.lattice),
            sites=sites_moved(state.sites, index, -1),
            placed=state.placed - at_lattice.astype(jnp.int32),
        )
        before = before._replace(
            wyckoff=jnp.where(at_group, static.wyckoff_of_start(group), state.wyckoff)
        )
        used = jnp.sum(state.species < none, dtype=jnp.int32)
        uncounted = remove(before, jnp.maximum(used - 1, 0))
        before = before._replace(pending=jnp.where(at_element, none, state.pending))
        return choose(at_count, uncounted, before)

    return step, undo


def make_lattice_values(
    static: Static,
) -> tuple[
    Callable[[CrystalState, jax.Array], jax.Array], Callable[[CrystalState, Action], jax.Array]
]:
    """`recover_value` and `log_jacobian` of an environment."""
    first = static.blocks.lattice

    def recover_value(state: CrystalState, index: jax.Array) -> jax.Array:
        # The interval reads only the parameters set before this one, so nothing need be undone.
        parameter = jnp.clip(index - first, 0, 5)
        low, width = static.interval(state, parameter)
        value = jnp.clip((state.lattice[parameter] - low) / width, 0, 1)
        return jnp.where(index >= first, value, 0).astype(jnp.float32)

    def log_jacobian(state: CrystalState, action: Action) -> jax.Array:
        _, width = static.interval(state, jnp.clip(action.index - first, 0, 5))
        return jnp.where(action.index >= first, jnp.log(width), 0).astype(jnp.float32)

    return recover_value, log_jacobian
