"""Simulations of one cell at one temperature each, in segments that are kept.

    trajectory = simulate_cell(potential, CellRun(crystal, 1000.0, options, folder))

A run is a chain of segments of a fifth of a picosecond or so. After each its moments and then its
state go to disk. A run that is asked for again reads what is there and simulates the rest, with the
bits of one that was never stopped.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.crystals.elements import ATOMIC_MASS, atomic_number
from mfal.errors import MfalError
from mfal.oracles.dynamics.displacements import count_hops
from mfal.oracles.dynamics.options import DynamicsOptions
from mfal.oracles.dynamics.store import read_frames, write_frames, write_whole
from mfal.potentials.dynamics import (
    DynamicsState,
    TrajectoryFrames,
    exploded_after,
    run_dynamics,
    start_dynamics,
)
from mfal.potentials.integrators import Integrator, langevin
from mfal.potentials.neighbours import Sizes, enlarged, sizes_of
from mfal.potentials.trajectory import load_state, save_state
from mfal.potentials.types import Potential

__all__ = [
    "CellRun",
    "KeptTrajectory",
    "RunPlan",
    "hot_sizes",
    "kept_trajectory",
    "run_plan",
    "simulate_cell",
    "simulate_cells",
]

SEGMENT = 100
"""Steps between what is kept: some five seconds of a cell of forty atoms."""
PLACES = 8
"""Runs of one padded size that an accelerator computes at once."""
EQUILIBRATING = 0.01
"""1/fs, friction while a crystal comes to temperature."""
LITHIUM = 6.94
"""u; what is lighter gets a shorter timestep."""
SHAKEN = 0.25
"""Å along each axis, how far atoms are displaced at 1000 K where tables are sized: lithium's root
mean square there is about that."""
SHAKES = 8
"""So often."""
ROOM = (1.05, 1.05, 1.1, 1.15, 1.4)
"""Factors on the sizes (`Sizes`) found so: within picoseconds ions get into places that no shaking
shows, and a program for larger tables takes 8 CPU seconds to compile. Thirteen runs of 3 to 11 ps
outgrew tables without this room 34 times, with it 8 times, and seven of them never; steps then take
3 % longer than with tables that are just large enough in the end."""


class CellRun(NamedTuple):
    """What is simulated, and where it is kept."""

    crystal: tuple[np.ndarray, np.ndarray, np.ndarray]
    """Positions [N, 3] Å, cell [3, 3] Å and atomic numbers [N] of the supercell."""
    temperature: float
    """K."""
    options: DynamicsOptions
    folder: Path
    """For this cell and temperature alone, made if it is not there."""


class KeptTrajectory(NamedTuple):
    """The measured part of a run."""

    positions: np.ndarray
    """[F, N, 3] Å, float32, not wrapped into the cell."""
    temperature: np.ndarray
    """[F] K."""
    interval: float
    """fs between moments."""


class RunPlan(NamedTuple):
    """How a cell is simulated."""

    timestep: float
    """fs."""
    equilibration: int
    """Steps, whole segments."""
    total: int
    """Steps in all, whole segments."""

    @property
    def measured(self) -> range:
        """The steps that measured segments end with."""
        return range(self.equilibration + SEGMENT, self.total + 1, SEGMENT)


def run_plan(species: np.ndarray, options: DynamicsOptions) -> RunPlan:
    """Timestep and steps for a cell of atoms [N]."""
    lightest = float(ATOMIC_MASS[species - 1].min())
    timestep = options.timestep * min(1.0, float(np.sqrt(lightest / LITHIUM)))
    ions = int((species == atomic_number(options.mobile)).sum())
    segments = [
        -(-round(time * 1e3 / timestep) // SEGMENT)
        for time in (options.equilibration, options.measured(ions))
    ]
    return RunPlan(timestep, segments[0] * SEGMENT, sum(segments) * SEGMENT)


def simulate_cell(
    potential: Potential, run: CellRun, report: Callable[[int, int, int], None] | None = None
) -> KeptTrajectory:
    """Simulates what the run's folder doesn't hold yet.

    Args:
      potential: an interatomic potential.
      run: what is simulated.
      report: called with the steps done, those of the whole run, and the hops seen so far.

    Raises:
      MfalError: when the dynamics explode, or the folder can't be written.
    """
    under_way = _UnderWay(potential, run)
    while not under_way.ended:
        if report is not None:
            report(*under_way.told())
        _go_on(potential, [under_way], 1)
        if under_way.error is not None:
            raise under_way.error
    if report is not None:
        report(*under_way.told())
    found = kept_trajectory(run.folder, run.crystal[2], run.options)
    if found is None:
        folder = run.folder
        raise MfalError(f"{folder}: moments of the run are gone", "delete the folder, run it again")
    return found


def simulate_cells(
    potential: Potential, runs: Sequence[CellRun], *, places: int | None = None
) -> list[MfalError | None]:
    """The same for many runs, segment by segment and in batches: on an accelerator at once.

    What is furthest behind goes first, and others join where it meets them. The bits of a run are
    those of `simulate_cell` on the same device where it has one place, and the same in any company
    with any other number: a batch has all its places, filled or not, and where tables are outgrown
    each run of it does the segment by itself.

    Args:
      potential: of all runs.
      runs: each with a folder of its own.
      places: runs that are computed at once; by default one on a CPU, where more gain nothing.

    Returns:
      Of each run why it has no trajectory, or None where its folder holds all.
    """
    if places is None:
        places = 1 if jax.default_backend() == "cpu" else PLACES
    errors: dict[int, MfalError] = {}
    under_way: dict[int, _UnderWay] = {}
    for number, run in enumerate(runs):
        try:
            under_way[number] = _UnderWay(potential, run)
        except MfalError as error:
            errors[number] = error
    while left := [one for one in under_way.values() if not one.ended and one.error is None]:
        behind = min(one.step for one in left)
        groups: dict[Hashable, list[_UnderWay]] = {}
        for one in left:
            if one.step == behind:
                groups.setdefault(one.kind, []).append(one)
        for group in groups.values():
            for first in range(0, len(group), places):
                _go_on(potential, group[first : first + places], places)
    errors |= {number: one.error for number, one in under_way.items() if one.error is not None}
    return [errors.get(number) for number in range(len(runs))]


class _UnderWay:
    """A run, its state and what has been seen of it."""

    def __init__(self, potential: Potential, run: CellRun) -> None:
        species, options, temperature = run.crystal[2], run.options, run.temperature
        self.run = run
        self.plan = plan = run_plan(species, options)
        self.error: MfalError | None = None
        self._hot = langevin(plan.timestep, temperature, EQUILIBRATING)
        self._steady = langevin(plan.timestep, temperature, options.friction)
        run.folder.mkdir(parents=True, exist_ok=True)
        state = _resumed(run.folder, plan)
        if state is None:
            key = jax.random.fold_in(jax.random.key(options.seed), round(temperature))
            state = start_dynamics(
                potential,
                [run.crystal],
                [ATOMIC_MASS[species - 1]],
                self._hot,
                key,
                temperature=temperature,
                skin=options.skin,
                sizes=hot_sizes(potential, run.crystal, temperature, options.skin),
            )
        self.state = state
        self._moving = species == atomic_number(options.mobile)
        done = [end for end in plan.measured if end <= self.step]
        kept = read_frames(run.folder, done) if done else None
        self._parts: list[np.ndarray] = [] if kept is None else [kept["positions"]]

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self.state.step)

    @property
    def ended(self) -> bool:
        """Whether all of it is done."""
        return self.step >= self.plan.total

    @property
    def kind(self) -> Hashable:
        """What runs of one batch share beside the step: a program."""
        shapes = tuple(leaf.shape for leaf in jax.tree.leaves(self.state))
        return self.run.options.every, shapes

    @property
    def integrator(self) -> Integrator:
        """Of the next segment."""
        return self._hot if self.step < self.plan.equilibration else self._steady

    def take(self, state: DynamicsState, frames: TrajectoryFrames, row: int) -> None:
        """Keep a segment, in which this run was one row."""
        measured, folder = self.step >= self.plan.equilibration, self.run.folder
        self.state = _row(state, row)
        if measured:
            fields = {
                "positions": np.asarray(
                    frames.positions[:, row, : len(self.run.crystal[2])], np.float32
                ),
                "temperature": np.asarray(frames.temperature[:, row], np.float32),
            }
            write_frames(folder, self.step, fields)
            self._parts.append(fields["positions"])
        write_whole(folder / "state.npz", partial(save_state, state=self.state))

    def told(self) -> tuple[int, int, int]:
        """Steps done, those of the whole run, and hops.

        They are counted as at the end, but for the drift of the framework, taken as that of its
        mean.
        """
        hops = 0
        if self._parts:
            positions = np.concatenate(self._parts)
            drift = positions[:, ~self._moving].mean(1)
            interval = self.run.options.every * self.plan.timestep
            hops = count_hops(positions[:, self._moving] - drift[:, None], interval)
        return self.step, self.plan.total, hops


def _go_on(potential: Potential, group: list[_UnderWay], places: int) -> None:
    """One segment of runs of one kind at the same step; places that are left repeat the first."""
    filled = group + group[:1] * (places - len(group))
    states = [one.state for one in filled]
    settings: Any = [one.integrator.settings for one in filled]
    integrator = filled[0].integrator._replace(
        settings=jax.tree.map(lambda *each: np.array(each), *settings)
    )
    before = _stacked(states)
    try:
        after, frames = run_dynamics(
            potential, integrator, before, SEGMENT, every=filled[0].run.options.every
        )
    except MfalError as error:
        for one in group:
            one.error = error
        return
    if len(group) > 1 and sizes_of(after.neighbours) != sizes_of(before.neighbours):
        for one in group:
            _go_on(potential, [one], places)
        return
    for row, one in enumerate(group):
        if bool(after.exploded[row]):
            one.error = exploded_after(int(after.step))
        else:
            one.take(after, frames, row)


def _stacked(states: list[DynamicsState]) -> DynamicsState:
    """States at the same step as replicas of one."""
    return jax.tree.map(
        lambda *each: jnp.concatenate(each) if each[0].ndim and len(each) > 1 else each[0], *states
    )


def _row(state: DynamicsState, row: int) -> DynamicsState:
    """One replica."""
    if len(state.cell) == 1:
        return state
    return jax.tree.map(lambda leaf: leaf[row : row + 1] if leaf.ndim else leaf, state)


def kept_trajectory(
    folder: Path, species: np.ndarray, options: DynamicsOptions
) -> KeptTrajectory | None:
    """The run as far as its options ask, from the folder; None where it isn't there yet."""
    plan = run_plan(species, options)
    fields = read_frames(folder, plan.measured)
    if fields is None:
        return None
    interval = options.every * plan.timestep
    return KeptTrajectory(fields["positions"], fields["temperature"], interval)


def hot_sizes(
    potential: Potential,
    crystal: tuple[np.ndarray, np.ndarray, np.ndarray],
    temperature: float,
    skin: float,
) -> Sizes:
    """Sizes of neighbour tables that hold when the crystal is hot.

    Those of a crystal at rest are outgrown within a few steps, and every time the program is
    compiled anew.
    """
    positions, cell, species = crystal
    amplitude = SHAKEN * np.sqrt(temperature / 1000)
    moves = np.random.default_rng(0).normal(0, amplitude, (SHAKES, *positions.shape))
    tables = potential.neighbours(
        positions + moves, np.stack([cell] * SHAKES), np.stack([species] * SHAKES), skin=skin
    )
    return enlarged(sizes_of(tables), ROOM)


def _resumed(folder: Path, plan: RunPlan) -> DynamicsState | None:
    """The state that was kept, if its moments are there too."""
    try:
        state = load_state(folder / "state.npz")
    except MfalError:
        return None
    ends = [step for step in plan.measured if step <= int(state.step)]
    if ends and read_frames(folder, ends) is None:
        return None
    return state
