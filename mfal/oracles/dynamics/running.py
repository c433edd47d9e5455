"""One simulation of one cell at one temperature, in segments that are kept.

    trajectory = simulate_cell(potential, crystal, 1000.0, options, folder)

The run is a chain of segments of a fifth of a picosecond or so. After each its moments and then its
state go to disk. A run that is asked for again reads what is there and simulates the rest, with the
bits of one that was never stopped.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from mfal.crystals.elements import ATOMIC_MASS, atomic_number
from mfal.errors import MfalError
from mfal.oracles.dynamics.displacements import count_hops
from mfal.oracles.dynamics.options import DynamicsOptions
from mfal.oracles.dynamics.store import read_frames, write_frames, write_whole
from mfal.potentials.dynamics import DynamicsState, run_dynamics, start_dynamics
from mfal.potentials.integrators import langevin
from mfal.potentials.neighbours import Sizes, sizes_of
from mfal.potentials.trajectory import load_state, save_state
from mfal.potentials.types import Potential

__all__ = [
    "KeptTrajectory",
    "RunPlan",
    "hot_sizes",
    "kept_trajectory",
    "run_plan",
    "simulate_cell",
]

SEGMENT = 100
"""Steps between what is kept: some five seconds of a cell of forty atoms."""


EQUILIBRATING = 0.01
"""1/fs, friction while a crystal comes to temperature."""
LITHIUM = 6.94
"""u; what is lighter gets a shorter timestep."""
SHAKEN = 0.2
"""Å along each axis, how far atoms are displaced at 1000 K where tables are sized: lithium's root
mean square there is about that."""


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
    potential: Potential,
    crystal: tuple[np.ndarray, np.ndarray, np.ndarray],
    temperature: float,
    options: DynamicsOptions,
    folder: Path,
    report: Callable[[int, int, int], None] | None = None,
) -> KeptTrajectory:
    """Simulates what the folder doesn't hold yet.

    Args:
      potential: an interatomic potential.
      crystal: positions [N, 3] Å, cell [3, 3] Å and atomic numbers [N] of the supercell.
      temperature: K.
      options: of the run.
      folder: for this cell and temperature alone, made if it is not there.
      report: called with the steps done, those of the whole run, and the hops seen so far.

    Raises:
      MfalError: when the dynamics explode, or the folder can't be written.
    """
    plan = run_plan(crystal[2], options)
    hot = langevin(plan.timestep, temperature, EQUILIBRATING)
    steady = langevin(plan.timestep, temperature, options.friction)
    folder.mkdir(parents=True, exist_ok=True)
    state = _resumed(folder, plan)
    if state is None:
        masses = ATOMIC_MASS[crystal[2] - 1]
        key = jax.random.fold_in(jax.random.key(options.seed), round(temperature))
        state = start_dynamics(
            potential,
            [crystal],
            [masses],
            hot,
            key,
            temperature=temperature,
            skin=options.skin,
            sizes=hot_sizes(potential, crystal, temperature, options.skin),
        )
    seen = _Seen(crystal[2], options, plan, folder, int(state.step))
    while int(state.step) < plan.total:
        before = int(state.step)
        if report is not None:
            report(before, plan.total, seen.hops())
        integrator = hot if before < plan.equilibration else steady
        state, frames = run_dynamics(potential, integrator, state, SEGMENT, every=options.every)
        if before >= plan.equilibration:
            fields = {
                "positions": np.asarray(frames.positions[:, 0, : len(crystal[2])], np.float32),
                "temperature": np.asarray(frames.temperature[:, 0], np.float32),
            }
            write_frames(folder, int(state.step), fields)
            seen.parts.append(fields["positions"])
        write_whole(folder / "state.npz", partial(save_state, state=state))
    if report is not None:
        report(plan.total, plan.total, seen.hops())
    found = kept_trajectory(folder, crystal[2], options)
    if found is None:
        raise MfalError(f"{folder}: moments of the run are gone", "delete the folder, run it again")
    return found


class _Seen:
    """The measured moments so far, of which hops are told while the run goes on."""

    def __init__(
        self, species: np.ndarray, options: DynamicsOptions, plan: RunPlan, folder: Path, step: int
    ) -> None:
        self._moving = species == atomic_number(options.mobile)
        self._interval = options.every * plan.timestep
        done = [end for end in plan.measured if end <= step]
        kept = read_frames(folder, done) if done else None
        self.parts: list[np.ndarray] = [] if kept is None else [kept["positions"]]

    def hops(self) -> int:
        """Counted as at the end, but for the drift of the framework, taken as that of its mean."""
        if not self.parts:
            return 0
        positions = np.concatenate(self.parts)
        drift = positions[:, ~self._moving].mean(1)
        return count_hops(positions[:, self._moving] - drift[:, None], self._interval)


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
    moves = np.random.default_rng(0).normal(0, amplitude, (4, *positions.shape))
    tables = potential.neighbours(
        positions + moves, np.stack([cell] * 4), np.stack([species] * 4), skin=skin
    )
    return sizes_of(tables)


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
