"""Runs on disk: states that go on from where they stopped, and frames as extended XYZ.

Extended XYZ is read by ASE, OVITO and most others; its format is that of
https://github.com/libAtoms/extxyz.
"""

from os import PathLike
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from mfal.crystals.elements import SYMBOLS
from mfal.errors import MfalError
from mfal.potentials.dynamics import DynamicsState, TrajectoryFrames
from mfal.potentials.integrators import Motion
from mfal.potentials.neighbours import NeighbourTables

__all__ = ["load_state", "save_state", "write_extxyz"]


def write_extxyz(
    path: str | PathLike[str],
    frames: TrajectoryFrames,
    state: DynamicsState,
    timestep: float,
    *,
    replica: int = 0,
    append: bool = False,
) -> None:
    """Write one replica's frames, with velocities (Å/fs), energies (eV) and times (fs).

    Args:
      path: the file.
      frames: from `mfal.potentials.dynamics.run_dynamics`.
      state: any state of that run, for the cell and the species.
      timestep: fs.
      replica: which.
      append: whether to go on with an existing file.

    Raises:
      MfalError: a file that cannot be written.
    """
    species = np.asarray(state.species[replica])
    species = species[species > 0]
    symbols = [SYMBOLS[z - 1] for z in species]
    lattice = " ".join(f"{x:.8f}" for x in np.asarray(state.cell[replica], np.float64).ravel())
    lines = []
    for frame, step in enumerate(frames.step.tolist()):
        lines.append(str(len(species)))
        lines.append(
            f'Lattice="{lattice}" Properties=species:S:1:pos:R:3:velo:R:3 pbc="T T T" '
            f"step={step} time={step * timestep:.6g} "
            f"energy={frames.potential_energy[frame, replica]:.8f} "
            f"kinetic_energy={frames.kinetic_energy[frame, replica]:.8f} "
            f"temperature={frames.temperature[frame, replica]:.4f}"
        )
        positions = frames.positions[frame, replica].tolist()
        velocities = frames.velocities[frame, replica].tolist()
        for symbol, (x, y, z), (u, v, w) in zip(symbols, positions, velocities, strict=False):
            lines.append(f"{symbol} {x:.8f} {y:.8f} {z:.8f} {u:.8e} {v:.8e} {w:.8e}")
    try:
        with Path(path).open("a" if append else "w") as file:
            file.writelines(f"{line}\n" for line in lines)
    except OSError as error:
        raise MfalError(
            f"{path}: cannot be written ({error.strerror})", "give another file"
        ) from error


def save_state(path: str | PathLike[str], state: DynamicsState) -> None:
    """Write a state to an `.npz` file, from which `load_state` makes the same bits.

    Raises:
      MfalError: a file that cannot be written.
    """
    fields: dict[str, Any] = state._asdict()
    motion, neighbours = fields.pop("motion"), fields.pop("neighbours")
    fields |= {f"motion.{name}": leaf for name, leaf in motion._asdict().items()}
    fields |= {f"neighbours.{name}": leaf for name, leaf in neighbours._asdict().items()}
    try:
        with Path(path).open("wb") as file:
            arrays: dict[str, Any] = {name: np.asarray(leaf) for name, leaf in fields.items()}
            np.savez(file, **arrays)
    except OSError as error:
        raise MfalError(
            f"{path}: cannot be written ({error.strerror})", "give another file"
        ) from error


def load_state(path: str | PathLike[str]) -> DynamicsState:
    """Read what `save_state` wrote. A state in float64 needs `jax_enable_x64`.

    Raises:
      MfalError: a file that is missing or holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: jnp.asarray(file[name]) for name in file.files}
    except (OSError, ValueError) as error:
        raise MfalError(f"{path}: no state can be read ({error})", "give a saved state") from error
    parts: dict[str, dict[str, Any]] = {"": {}, "motion": {}, "neighbours": {}}
    for name, array in arrays.items():
        head, _, tail = name.rpartition(".")
        parts.setdefault(head, {})[tail] = array
    try:
        motion, neighbours = Motion(**parts["motion"]), NeighbourTables(**parts["neighbours"])
        return DynamicsState(**parts[""], motion=motion, neighbours=neighbours)
    except TypeError as error:
        raise MfalError(f"{path}: not a state of dynamics", "give a saved state") from error
