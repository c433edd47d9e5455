"""Energy maps as files for viewers, and as a picture in the browser."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mfal.crystals.elements import atomic_number
from mfal.errors import MfalError

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["isosurface", "write_cube", "write_grd"]

BOHR = 0.529177210544
"""Å, CODATA 2022; Gaussian cube files measure in it."""


def write_cube(path: Path | str, energy: np.ndarray, structure: "Structure") -> None:
    """Writes a map as a Gaussian cube file, read by VESTA, Ovito, VMD and others.

    Args:
      path: of the file.
      energy: [n1, n2, n3], eV, point (i, j, k) at fractions (i/n1, j/n2, k/n3) of the cell.
      structure: whose cell it is; a shared site is drawn as its most frequent species.
    """
    lattice = structure.lattice.matrix / BOHR
    lines = ["bond-valence site energy, eV", structure.composition.formula]
    lines.append(f"{len(structure):5d} {0.0:11.6f} {0.0:11.6f} {0.0:11.6f}")
    for count, row in zip(energy.shape, lattice, strict=True):
        x, y, z = row / count
        lines.append(f"{count:5d} {x:11.6f} {y:11.6f} {z:11.6f}")
    for site in structure:
        symbol = max(site.species.items(), key=lambda item: item[1])[0].symbol
        number = atomic_number(symbol)
        x, y, z = site.coords / BOHR
        lines.append(f"{number:5d} {float(number):11.6f} {x:11.6f} {y:11.6f} {z:11.6f}")
    for run in np.asarray(energy, float).reshape(-1, energy.shape[2]):
        for start in range(0, len(run), 6):
            lines.append(" ".join(f"{value:12.5e}" for value in run[start : start + 6]))
    _write(path, lines)


def write_grd(path: Path | str, energy: np.ndarray, structure: "Structure") -> None:
    """Writes a map in VESTA's general grid format (.grd, end planes not doubled).

    Args:
      path: of the file.
      energy: [n1, n2, n3], eV.
      structure: whose cell it is.
    """
    cell = structure.lattice
    lines = [
        f"{structure.composition.reduced_formula} bond-valence site energy, eV",
        " ".join(f"{x:.6f}" for x in (*cell.abc, *cell.angles)),
        " ".join(str(count) for count in energy.shape),
    ]
    for run in np.asarray(energy, float).reshape(-1, energy.shape[2]):
        lines.append(" ".join(f"{value:.6e}" for value in run))
    _write(path, lines)


def _write(path: Path | str, lines: list[str]) -> None:
    try:
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise MfalError(
            f"{path}: {error.strerror}", "choose a folder that can be written"
        ) from None


def isosurface(energy: np.ndarray, structure: "Structure", level: float) -> Any:
    """A plotly figure of the surface `level` eV above the map's minimum; shows the ions' paths.

    Raises:
      MfalError: when plotly is not installed.
    """
    try:
        import plotly.graph_objects as go
    except ImportError:
        raise MfalError("no plotly", "pip install plotly") from None
    # Closed at the cell's far faces: the first planes are repeated there.
    closed = np.pad(np.asarray(energy, float), ((0, 1),) * 3, mode="wrap")
    closed = np.minimum(closed - closed.min(), 4.0 * level + 1.0)
    axes = [np.linspace(0, 1, count) for count in closed.shape]
    fractions = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    x, y, z = (fractions @ structure.lattice.matrix).T
    surface = go.Isosurface(
        x=x, y=y, z=z, value=closed.ravel(), isomin=0.0, isomax=level, surface_count=2,
        opacity=0.4, colorscale="Viridis", caps={"x_show": False, "y_show": False, "z_show": False},
        colorbar={"title": "eV"}, name="site energy",
    )  # fmt: skip
    places = structure.cart_coords
    names = [site.species_string for site in structure]
    colour = [sorted(set(names)).index(name) for name in names]
    atoms = go.Scatter3d(
        x=places[:, 0], y=places[:, 1], z=places[:, 2], mode="markers", text=names,
        marker={"size": 4, "color": colour}, name="ions",
    )  # fmt: skip
    title = f"{structure.composition.reduced_formula}, {level:g} eV above the minimum"
    return go.Figure([surface, atoms], {"title": {"text": title}, "scene": {"aspectmode": "data"}})
