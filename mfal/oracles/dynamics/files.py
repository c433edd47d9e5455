"""What a simulation showed, as files: displacement against time, and where the ions were."""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mfal.crystals.elements import SYMBOLS, atomic_number
from mfal.errors import MfalError
from mfal.oracles.dynamics.cells import SimulatedCells
from mfal.oracles.dynamics.options import DynamicsOptions
from mfal.oracles.dynamics.running import kept_trajectory
from mfal.oracles.dynamics.shown import draw_arrhenius, draw_displacements
from mfal.oracles.dynamics.store import kept_folder, read_json, run_folder

__all__ = ["ion_density", "write_densities", "write_dynamics_files"]

RESOLUTION = 0.3
"""Å, between the points of a density."""


def ion_density(
    positions: np.ndarray, cell: np.ndarray, resolution: float = RESOLUTION
) -> np.ndarray:
    """Mean number of ions per Å³ in the boxes of a grid over the cell.

    Args:
      positions: [F, n, 3] Å, of the ions in the frame of the framework.
      cell: [3, 3] Å, lattice vectors as rows.
      resolution: Å, the widest box.

    Returns:
      [n1, n2, n3], box (i, j, k) around the fractions (i/n1, j/n2, k/n3); its sum times the volume
      of a box is the number of ions.
    """
    shape = np.ceil(np.linalg.norm(cell, axis=1) / resolution).astype(int)
    fractions = positions.reshape(-1, 3) @ np.linalg.inv(cell)
    index = np.mod(np.rint(fractions * shape).astype(int), shape)
    counts = np.bincount(np.ravel_multi_index(tuple(index.T), tuple(shape)), minlength=shape.prod())
    box = abs(np.linalg.det(cell)) / shape.prod()
    return (counts / (len(positions) * box)).reshape(shape)


def write_dynamics_files(record: dict[str, Any], folder: Path, stem: str) -> list[Path]:
    """Writes what a provenance of the dynamics oracle tells, and the density from the run it kept.

    `STEM-msd.csv` and `STEM-msd.png` hold the mean square displacements, `STEM-1000K.cube` the
    density of the mobile ions in the first cell, `STEM-arrhenius.png` the coefficients where there
    are several temperatures.

    Raises:
      MfalError: when the folder can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = [_write_table(record, folder / f"{stem}-msd.csv")]
        written.append(_write_picture(draw_displacements, record, folder / f"{stem}-msd.png"))
        if len(record["simulated"]) > 1:
            path = folder / f"{stem}-arrhenius.png"
            written.append(_write_picture(draw_arrhenius, record, path))
        return written + write_densities(record, folder, stem)
    except OSError as error:
        raise MfalError(
            f"{folder}: {error.strerror}", "choose a folder that can be written"
        ) from None


def _write_table(record: dict[str, Any], path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["temperature (K)", "species", "lag (ps)", "msd (Å²)"])
        for run in record["simulated"]:
            series = {record["protocol"]["mobile"]: run["msd"], **run["msd_framework"]}
            for symbol, msd in series.items():
                for lag, square in zip(run["lag_ps"], msd, strict=True):
                    writer.writerow([run["temperature"], symbol, lag, square])
    return path


def _write_picture(draw: Callable[..., None], record: dict[str, Any], path: Path) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 4.0), layout="constrained")
    draw(figure.add_subplot(), record)
    figure.savefig(path, dpi=150)
    return path


def write_densities(record: Mapping[str, Any], folder: Path, stem: str) -> list[Path]:
    """Writes the density of the mobile ions in the first cell at each temperature, STEM-1000K.cube.

    Nothing where the run is no longer kept, or was on another machine.
    """
    from pymatgen.core import Lattice, Structure

    from mfal.oracles.bond_valence.volumetric import write_cube

    kept = kept_folder(record["kept"]) if "kept" in record else None
    start = read_json(kept / "start.json") if kept else None
    if kept is None or start is None:
        return []
    options = DynamicsOptions(
        **{**record["protocol"], "temperatures": tuple(record["protocol"]["temperatures"])}
    )
    positions, cell, species = SimulatedCells.from_json(start).cells[0]
    moving = species == atomic_number(options.mobile)
    written = []
    for kelvin in sorted(set(options.temperatures)):
        run = kept_trajectory(run_folder(kept, 0, kelvin), species, options)
        if run is None:
            continue
        drift = run.positions[:, ~moving].mean(1) - positions[~moving].mean(0)
        density = ion_density(run.positions[:, moving] - drift[:, None], cell)
        symbols = [SYMBOLS[z - 1] for z in species]
        drawn = Structure(Lattice(cell), symbols, positions, coords_are_cartesian=True)
        path = folder / f"{stem}-{kelvin:g}K.cube"
        title = f"{options.mobile} per cubic angstrom at {kelvin:g} K"
        write_cube(path, density, drawn, comment=title)
        written.append(path)
    return written
