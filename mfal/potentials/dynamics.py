"""Molecular dynamics of several replicas at once, stopped and continued bit for bit.

    state = start_dynamics(potential, crystals, masses, integrator, key, temperature=800.0)
    state, trajectory = run_dynamics(potential, integrator, state, steps=10_000, every=10)

Many steps run in one dispatch. Before each the new positions are known, and the forces are only
asked for if the neighbour tables hold there for every replica; otherwise the program stops and the
host makes new tables, around the new positions, where they are needed. So no force ever comes from
an outdated table, however narrow the skin, and where tables are renewed depends on the state alone,
which carries them: a run that is stopped and continued gives the same bits as one that isn't.

A replica whose energy or forces are not finite, or of which an atom would move by more than 0.3 Å
within one step, has exploded: it stays where it was and the others go on.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.errors import MfalError
from mfal.potentials.integrators import (
    Integrator,
    IntegratorMethods,
    IntegratorSettings,
    Motion,
    degrees_of_freedom,
    kinetic_energy,
    maxwell_boltzmann,
)
from mfal.potentials.neighbours import NeighbourTables, Sizes, outdated
from mfal.potentials.renewal import renewed
from mfal.potentials.types import Energy, Potential, over_crystals, pad_atoms
from mfal.potentials.units import BOLTZMANN

__all__ = [
    "DynamicsState",
    "TrajectoryFrames",
    "advance",
    "exploded_after",
    "run_dynamics",
    "start_dynamics",
]

_FRAMES = 32
"""TrajectoryFrames held on the device before the host fetches them."""
_FARTHEST = 0.3
"""Å that an atom may move within one step. A tenth of a bond is much; lithium at 1000 K moves by
0.04 Å in 2 fs, root mean square, and by 0.12 Å within some picoseconds."""


class DynamicsState(NamedTuple):
    """Replicas at one moment: all that is needed to go on."""

    step: jax.Array
    """[] int32, steps done."""
    motion: Motion
    """Positions, velocities, forces and bath, each with a leading axis [replicas]."""
    potential_energy: jax.Array
    """[replicas] eV."""
    cell: jax.Array
    """[replicas, 3, 3] Å, lattice vectors as rows."""
    species: jax.Array
    """[replicas, N] int32 atomic numbers, 0 for absent atoms."""
    inverse_masses: jax.Array
    """[replicas, N] 1/u, 0 for absent atoms."""
    key: jax.Array
    """[replicas, 2] uint32, data of each replica's key; the noise of a step is drawn from it folded
    with the step's number."""
    exploded: jax.Array
    """[replicas] bool."""
    neighbours: NeighbourTables
    """The tables in use."""


class TrajectoryFrames(NamedTuple):
    """Moments of a run, thinned. Arrays of numpy."""

    step: np.ndarray
    """[frames] int, steps done; times the timestep it is the time."""
    positions: np.ndarray
    """[frames, replicas, N, 3] Å, not wrapped into the cell."""
    velocities: np.ndarray
    """[frames, replicas, N, 3] Å/fs."""
    potential_energy: np.ndarray
    """[frames, replicas] eV."""
    kinetic_energy: np.ndarray
    """[frames, replicas] eV."""
    temperature: np.ndarray
    """[frames, replicas] K, twice the kinetic energy over Boltzmann's constant and 3 (n - 1)."""
    conserved: np.ndarray
    """[frames, replicas] eV, what exact integration would keep constant."""


def start_dynamics(
    potential: Potential,
    crystals: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    masses: Sequence[np.ndarray],
    integrator: Integrator,
    key: jax.Array,
    *,
    temperature: float | np.ndarray,
    skin: float = 0.12,
    sizes: Sizes | None = None,
    atoms: int | None = None,
    dtype: Any = None,
) -> DynamicsState:
    """Replicas at their first step, with velocities drawn at a temperature.

    Args:
      potential: an interatomic potential.
      crystals: (positions [n, 3] Å, cell [3, 3] Å, species [n] atomic numbers) of each replica;
        repeat one for several replicas of it.
      masses: [n] u, of each replica.
      integrator: the one that `run_dynamics` will use.
      key: a PRNG key; replicas draw from keys of their own.
      temperature: K, [] or [replicas]. A crystal at rest turns half of it into potential energy.
      skin: Å, of the neighbour tables: wider ones last longer and cost more each step.
      sizes: of the tables, from `sizes_of`, where they suffice; larger ones are taken later when
        they don't, which compiles the steps anew.
      atoms: atoms to pad to; by default the next bucket.
      dtype: of the computation; by default JAX's float.

    Raises:
      MfalError: crystals that the potential refuses, or masses that don't fit them.
    """
    if not skin > 0:
        raise MfalError(f"a skin of {skin:g} Å", "use some tenths of an Å")
    positions, cell, species = pad_atoms(crystals, atoms, dtype)
    inverse = np.zeros(species.shape)
    for row, (mass, (_, _, kinds)) in enumerate(zip(masses, crystals, strict=True)):
        if np.shape(mass) != np.shape(kinds) or not np.all(np.asarray(mass) > 0):
            raise MfalError(
                f"replica {row} has {len(kinds)} atoms and masses of shape {np.shape(mass)}",
                "give a positive mass for each atom",
            )
        inverse[row, : len(kinds)] = 1 / np.asarray(mass)
    inverse_masses = jnp.asarray(inverse, positions.dtype)
    keys = jax.vmap(lambda n: jax.random.split(jax.random.fold_in(key, n)))(
        jnp.arange(len(species))
    )
    temperatures = jnp.broadcast_to(jnp.asarray(temperature, positions.dtype), len(species))
    velocities = jax.vmap(maxwell_boltzmann)(keys[:, 0], inverse_masses, temperatures)
    neighbours = potential.neighbours(positions, cell, species, skin=skin, sizes=sizes)
    bath = jnp.zeros((len(species), integrator.methods.bath_size), positions.dtype)
    state = DynamicsState(
        step=jnp.full((), -1, jnp.int32),
        motion=Motion(positions, velocities, jnp.zeros_like(positions), bath),
        potential_energy=jnp.zeros(len(species), positions.dtype),
        cell=cell,
        species=species,
        inverse_masses=inverse_masses,
        key=jax.random.key_data(keys[:, 1]),
        exploded=jnp.zeros(len(species), bool),
        neighbours=neighbours,
    )
    # The first forces, by the program that makes the steps: nothing else has to be compiled.
    return _advance(potential, integrator, state, 0, 1)[0]


def run_dynamics(
    potential: Potential,
    integrator: Integrator,
    state: DynamicsState,
    steps: int,
    *,
    every: int = 10,
    report: Callable[[int], None] | None = None,
) -> tuple[DynamicsState, TrajectoryFrames]:
    """Go on by a number of steps.

    Args:
      potential: the one that `start_dynamics` was given.
      integrator: its temperature may change from run to run; a change of method starts a new bath.
      state: from `start_dynamics` or an earlier run; it is left as it is.
      steps: how many.
      every: a frame is kept where the number of steps done is a multiple of this.
      report: called now and then with the number of steps done so far in all.

    Returns:
      The state after the last step, and the frames after the first one.

    Raises:
      MfalError: where all replicas have exploded.
    """
    if steps < 0 or every < 1:
        raise MfalError(f"{steps} steps with a frame every {every}", "give positive numbers")
    if state.motion.bath.shape[-1] != integrator.methods.bath_size:
        bath = jnp.zeros((len(state.cell), integrator.methods.bath_size), state.motion.bath.dtype)
        state = state._replace(motion=state.motion._replace(bath=bath))
    last = int(state.step) + steps
    collected: list[TrajectoryFrames] = []
    fresh = np.zeros(len(state.cell), bool)
    while int(state.step) < last:
        before = int(state.step)
        state, stale, frames, count = _advance(potential, integrator, state, last, every)
        collected.append(jax.tree.map(lambda leaf, n=int(count): np.asarray(leaf[:n]), frames))
        now, wanted = int(state.step), np.asarray(stale)
        if now > before:
            fresh[:] = False
        lost = wanted & fresh
        if wanted.any():
            ahead, farthest = _ahead(integrator.methods, _settings(integrator, state), state)
            lost |= wanted & ~(np.asarray(farthest) <= _FARTHEST)
        rows = np.nonzero(wanted & ~lost)[0]
        if len(rows):
            neighbours, refused = renewed(
                potential, state.neighbours, rows, ahead, state.cell, np.asarray(state.species)
            )
            lost[list(refused)] = True
            state = state._replace(neighbours=neighbours)
            fresh[rows] = True
        if lost.any():
            state = state._replace(exploded=state.exploded | jnp.asarray(lost))
        if bool(state.exploded.all()):
            raise exploded_after(now)
        if report is not None:
            report(now)
    if not collected:
        return state, _no_frames(state)
    return state, jax.tree.map(lambda *parts: np.concatenate(parts), *collected)


def exploded_after(steps: int) -> MfalError:
    """What is raised where nothing is left to go on with after so many steps."""
    return MfalError(
        f"the dynamics exploded after {steps} steps",
        "relax the crystal first, or use a shorter timestep",
    )


def _advance(
    potential: Potential, integrator: Integrator, state: DynamicsState, last: int, every: int
) -> tuple[DynamicsState, jax.Array, TrajectoryFrames, jax.Array]:
    return advance(
        potential.energy,
        integrator.methods,
        potential.params,
        _settings(integrator, state),
        state,
        jnp.asarray(last, jnp.int32),
        jnp.asarray(every, jnp.int32),
    )


def _settings(integrator: Integrator, state: DynamicsState) -> IntegratorSettings:
    """Of each replica."""
    dtype, replicas = state.motion.positions.dtype, len(state.cell)
    return IntegratorSettings(
        *(jnp.broadcast_to(jnp.asarray(x, dtype), replicas) for x in integrator.settings)
    )


def _moved(
    methods: IntegratorMethods, settings: IntegratorSettings, state: DynamicsState
) -> Motion:
    """Where a step takes the atoms, its forces out of date; step -1 leaves them where they are."""
    keys = jax.vmap(jax.random.fold_in, (0, None))(jax.random.wrap_key_data(state.key), state.step)
    moved = jax.vmap(methods.before)(settings, state.inverse_masses, keys, state.motion)
    return jax.tree.map(partial(jnp.where, state.step < 0), state.motion, moved)


@partial(jax.jit, static_argnames="methods")
def _ahead(
    methods: IntegratorMethods, settings: IntegratorSettings, state: DynamicsState
) -> tuple[jax.Array, jax.Array]:
    """The positions that forces are asked for next, and [replicas] Å, the farthest move to them."""
    positions = _moved(methods, settings, state).positions
    moves = jnp.sum((positions - state.motion.positions) ** 2, -1)
    return positions, jnp.sqrt(moves.max(-1))


def _finite(energy: jax.Array, forces: jax.Array) -> jax.Array:
    return jnp.isfinite(energy) & jnp.isfinite(forces).all((1, 2))


@partial(jax.jit, static_argnames=("energy", "methods"))
def advance(
    energy: Energy,
    methods: IntegratorMethods,
    params: Any,
    settings: IntegratorSettings,
    state: DynamicsState,
    last: jax.Array,
    every: jax.Array,
) -> tuple[DynamicsState, jax.Array, TrajectoryFrames, jax.Array]:
    """Steps until the last, or a replica's tables don't hold for the next, or frames are full.

    Step -1 only evaluates the forces where the atoms are.

    Returns:
      The state, which replicas need new tables, frames [_FRAMES, ...] and how many there are.
    """

    def step(state: DynamicsState) -> tuple[DynamicsState, jax.Array]:
        """The state one step on, or the same where tables don't hold; and where they don't."""
        moved, starting = _moved(methods, settings, state), state.step < 0
        stale = jax.vmap(outdated)(state.neighbours, moved.positions, state.cell) & ~state.exploded

        def finish() -> DynamicsState:
            values, gradients = over_crystals(jax.value_and_grad(partial(energy, params)))(
                moved.positions, state.cell, state.species, state.neighbours
            )
            there = moved._replace(forces=-gradients)
            done = jax.vmap(methods.after)(settings, state.inverse_masses, there)
            done = jax.tree.map(partial(jnp.where, starting), there, done)
            lost = state.exploded | ~_finite(values, gradients)
            motion, values = jax.tree.map(
                lambda old, new: jnp.where(lost.reshape(-1, *[1] * (new.ndim - 1)), old, new),
                (state.motion, state.potential_energy),
                (done, values),
            )
            return state._replace(
                step=state.step + 1, motion=motion, potential_energy=values, exploded=lost
            )

        return jax.lax.cond(stale.any(), lambda: state, finish), stale

    def going(carry: tuple[DynamicsState, jax.Array, TrajectoryFrames, jax.Array]) -> jax.Array:
        state, stale, _, count = carry
        return ~stale.any() & (state.step < last) & (count < _FRAMES)

    def body(
        carry: tuple[DynamicsState, jax.Array, TrajectoryFrames, jax.Array],
    ) -> tuple[DynamicsState, jax.Array, TrajectoryFrames, jax.Array]:
        old, _, frames, count = carry
        state, stale = step(old)
        keep = (state.step > old.step) & (state.step % every == 0)
        frame = _frame(methods, settings, state)
        # Where no frame is kept it is written to a place that is written again or never read.
        frames = jax.tree.map(lambda all, one: all.at[count].set(one), frames, frame)
        return state, stale, frames, count + keep

    frame = jax.eval_shape(partial(_frame, methods), settings, state)
    frames = jax.tree.map(lambda leaf: jnp.zeros((_FRAMES, *leaf.shape), leaf.dtype), frame)
    none = jnp.zeros(len(state.cell), bool)
    return jax.lax.while_loop(going, body, (state, none, frames, jnp.zeros((), jnp.int32)))


def _frame(
    methods: IntegratorMethods, settings: IntegratorSettings, state: DynamicsState
) -> TrajectoryFrames:
    """The fields of one frame, traced."""
    kinetic = jax.vmap(kinetic_energy)(state.inverse_masses, state.motion.velocities)
    freedom = jnp.maximum(jax.vmap(degrees_of_freedom)(state.inverse_masses), 1)
    bath = jax.vmap(methods.bath_energy)(settings, state.inverse_masses, state.motion)
    fields: Any = (
        state.step,
        state.motion.positions,
        state.motion.velocities,
        state.potential_energy,
        kinetic,
        2 * kinetic / (freedom * BOLTZMANN),
        state.potential_energy + kinetic + bath,
    )
    return TrajectoryFrames(*fields)


def _no_frames(state: DynamicsState) -> TrajectoryFrames:
    replicas, atoms = state.species.shape
    none = np.zeros((0, replicas), state.potential_energy.dtype)
    vectors = np.zeros((0, replicas, atoms, 3), state.potential_energy.dtype)
    return TrajectoryFrames(np.zeros(0, np.int32), vectors, vectors, none, none, none, none)
