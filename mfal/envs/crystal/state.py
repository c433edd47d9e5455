"""The state of a crystal under way, and what the functions of one environment close over."""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.crystals.groups import (
    LATTICE_SYSTEM,
    POINT_GROUP,
    WYCKOFF_MULTIPLICITY,
)
from mfal.envs.crystal.cache import cached_tables
from mfal.envs.crystal.cell import cell_limits, interval, parameter_order
from mfal.envs.crystal.spec import CrystalSpec, Species, species_list
from mfal.envs.crystal.tables import CompositionTables
from mfal.errors import MfalError

__all__ = ["NUM_LETTERS", "Blocks", "CrystalState", "Static", "static_of"]

NUM_LETTERS = WYCKOFF_MULTIPLICITY.shape[1]
"""Most Wyckoff positions of any group."""


class CrystalState(NamedTuple):
    """A crystal under way. K = greatest number of elements, S = number of species of the spec."""

    system: jax.Array
    """[] int32, crystal system 0 to 6; -1 not chosen."""
    point: jax.Array
    """[] int32, crystal class; -1 not chosen."""
    group: jax.Array
    """[] int32, space group number - 1; -1 not chosen."""
    total: jax.Array
    """[] int32, position in the list of total atom counts where that is chosen ahead, else 0."""
    species: jax.Array
    """[K] int32, species of the composition, ascending, then S."""
    counts: jax.Array
    """[K] int32, atoms of each, then 0."""
    pending: jax.Array
    """[] int32, species whose count is due; S none."""
    pattern: jax.Array
    """[] int32, summary of the elements used (`tables`)."""
    wyckoff: jax.Array
    """[] int32, look-ahead state of the group after these counts; 0 before there is a group."""
    finished: jax.Array
    """[] bool, whether the composition is complete."""
    sites: jax.Array | None
    """[27, K] int32, orbits of each element on each Wyckoff position; None, which is no leaf of the
    tree, unless the spec assigns them."""
    lattice: jax.Array
    """[6] float32, free parameters set so far, Å and degrees; 0 elsewhere."""
    placed: jax.Array
    """[] int32, number of lattice parameters set."""


class Blocks(NamedTuple):
    """First action index of each block; blocks that a spec doesn't need are empty."""

    system: int
    point: int
    group: int
    total: int
    element: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nothing needs
    finish: int
    site: int
    lattice: int
    end: int


class Static:
    """What the functions of one environment close over; read-only once made."""

    def __init__(self, spec: CrystalSpec) -> None:
        self.spec = spec
        self.species: tuple[Species, ...] = species_list(spec)
        self.limits = cell_limits(spec)
        listed = (
            np.ones(230, bool)
            if spec.groups is None
            else np.isin(np.arange(1, 231), np.array(spec.groups))
        )
        tables: CompositionTables = cached_tables(
            spec, listed & self.limits.admitted[LATTICE_SYSTEM]
        )
        self.totals_ahead = bool(tables.totals[0])
        self.num_species = len(self.species)
        self.max_elements = spec.element_limits[1]
        self.max_count = tables.wyckoff_step.shape[1] - 1
        self.max_charge = tables.node.shape[-1] // 2
        self.point_of = POINT_GROUP.astype(np.int32)
        self.num_points = int(POINT_GROUP.max()) + 1

        begin = tables.node[:, 0, 0, self.max_charge]
        possible = (tables.options[begin] != 0).any((0, -1))
        self.group_legal = possible[tables.wyckoff_start] & (tables.wyckoff_start > 0)
        if not self.group_legal.any():
            raise MfalError(
                "no crystal obeys the spec",
                "widen its groups, atoms, elements, fractions or angles",
            )

        sizes = (
            7,
            self.num_points,
            230,
            len(tables.totals) * self.totals_ahead,
            self.num_species,
            self.max_count,
            1,
            NUM_LETTERS * self.max_elements * spec.wyckoff,
            6,
        )
        self.blocks = Blocks(*np.cumsum((0, *sizes)).tolist())
        self.max_steps = 3 + self.totals_ahead + 2 * self.max_elements + 1 + self._most_orbits() + 6

        self.totals = jnp.asarray(tables.totals)
        self.charge = jnp.asarray(np.pad(tables.charge, ((0, 1), (0, 0))))
        self.count_ok = jnp.asarray(np.pad(tables.count_ok, ((0, 0), (0, 1), (0, 0))))
        self.pattern_next = jnp.asarray(tables.pattern_next)
        self.pattern_done = jnp.asarray(tables.pattern_done)
        self.exclude = jnp.asarray(tables.exclude)
        self.node = jnp.asarray(tables.node)
        self.options = jnp.asarray(tables.options)
        self.start = jnp.asarray(tables.wyckoff_start)
        self.wyckoff_step = jnp.asarray(tables.wyckoff_step)
        self.lattice_system = jnp.asarray(LATTICE_SYSTEM, jnp.int32)
        self.parameter_order = jnp.asarray(parameter_order())
        if spec.volume_per_atom is None:
            self.volume_range = spec.packing
            volumes = [s.volume for s in self.species]
        else:
            self.volume_range = spec.volume_per_atom
            volumes = [1.0] * self.num_species
        self.volumes = jnp.asarray([*volumes, 0.0], jnp.float32)

    def initial(self) -> CrystalState:
        """Nothing chosen yet."""
        none = jnp.int32(-1)
        k, s = self.max_elements, self.num_species
        return CrystalState(
            system=none,
            point=none,
            group=none,
            total=none if self.totals_ahead else jnp.int32(0),
            species=jnp.full((k,), s, jnp.int32),
            counts=jnp.zeros((k,), jnp.int32),
            pending=jnp.int32(s),
            pattern=jnp.int32(0),
            wyckoff=self.wyckoff_of_start(none),
            finished=jnp.zeros((), bool),
            sites=jnp.zeros((NUM_LETTERS, k), jnp.int32) if self.spec.wyckoff else None,
            lattice=jnp.zeros((6,), jnp.float32),
            placed=jnp.int32(0),
        )

    def _most_orbits(self) -> int:
        """No assignment has more: the atoms over the smallest multiplicity."""
        if not self.spec.wyckoff:
            return 0
        sizes = np.where(WYCKOFF_MULTIPLICITY > 0, WYCKOFF_MULTIPLICITY, np.iinfo(np.int16).max)
        return self.spec.max_atoms // int(sizes[self.group_legal].min())

    def wyckoff_of_start(self, group: jax.Array) -> jax.Array:
        """Automaton state before any element, given the group or -1."""
        return jnp.where(group >= 0, self.start[group], 0)

    def wyckoff_after(self, wyckoff: jax.Array, count: jax.Array) -> jax.Array:
        """Automaton state after an element with `count` atoms."""
        return self.wyckoff_step[wyckoff, count]

    def ion_volume(self, state: CrystalState) -> jax.Array:
        """What the volume range multiplies: summed ion volumes in Å^3, or the number of atoms."""
        return jnp.sum(self.volumes[state.species] * state.counts.astype(jnp.float32))

    def interval(self, state: CrystalState, parameter: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Low end and width of a lattice parameter, 0 a to 5 gamma."""
        volume = self.ion_volume(state)
        low, high = self.volume_range
        system = self.lattice_system[state.group]
        return interval(
            self.limits, (low * volume, high * volume), system, state.lattice, parameter
        )


@lru_cache(maxsize=8)
def static_of(spec: CrystalSpec) -> Static:
    """The tables and sizes of a spec, made once."""
    # They outlive whatever is being traced when they are first asked for.
    with jax.ensure_compile_time_eval():
        return Static(spec)
