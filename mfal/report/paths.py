"""Where ions would go: site energies of the best candidates, small enough for a page."""

import base64
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mfal.errors import MfalError
from mfal.report.summary import Candidate

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["EnergyMap", "energy_maps", "page_map", "write_map"]

_RESOLUTION = 0.25
"""Å between grid points, where the cell is small enough."""
_MOST_POINTS = 48_000
"""Of one map; larger cells get a coarser grid."""
_ABOVE = 1.0
"""eV above the 3-D threshold that the page's map keeps; higher energies are clipped."""
_HIGHEST = 4.0
"""eV above the minimum where the page's map ends in any case, and where nothing percolates."""


class EnergyMap(NamedTuple):
    """Bond-valence site energies of the mobile ion in one arrangement."""

    structure: "Structure"
    ion: str
    """Symbol of the mobile ion."""
    energy: np.ndarray
    """[n1, n2, n3] float32, eV above the lowest site; periodic, end planes not doubled."""
    threshold: tuple[float, float, float]
    """eV above the lowest site at which paths close in one, two and three dimensions; infinite
    where they don't. On this grid, which is not the oracle's."""


def energy_maps(candidates: Sequence[Candidate], ion: str = "Li") -> dict[str, EnergyMap | str]:
    """Maps by crystal hash; in place of a map that can't be made, why."""
    return {c.crystal.hash: _energy_map(c.cif or "", c.crystal.formula, ion) for c in candidates}


def _energy_map(cif: str, name: str, ion: str) -> EnergyMap | str:
    from mfal.crystals.reading import parse_structure
    from mfal.oracles.bond_valence.framework import framework_of
    from mfal.oracles.bond_valence.percolation import percolate
    from mfal.oracles.bond_valence.site_energy import symmetric_map
    from mfal.oracles.bond_valence.symmetry import symmetric_grid
    from mfal.oracles.ions import charge_of_ion

    try:
        structure = parse_structure(cif, name)
        framework = framework_of(structure, ion, charge_of_ion(ion))
        coarse = (structure.volume / _MOST_POINTS) ** (1 / 3)
        grid = symmetric_grid(framework, max(_RESOLUTION, coarse))
        energy = symmetric_map(framework, grid)
        found = percolate(energy)
    except MfalError as error:
        return str(error)
    one, two, three = (float(x) for x in found.barrier)
    return EnergyMap(structure, ion, energy - np.min(energy), (one, two, three))


def page_map(site_energies: EnergyMap) -> dict[str, Any]:
    """The map for the page's script: one byte a point, in steps of a few meV.

    `data` holds bytes in base64, [n1 + 1, n2 + 1, n3 + 1] with the end planes doubled, so that the
    surface closes over the whole cell; energy in eV = byte x `step`. `level` is where the page
    draws the surface first, `vectors` are the cell's, Å.
    """
    finite = [x for x in site_energies.threshold if math.isfinite(x) and x < _HIGHEST]
    level = finite[-1] if finite else _HIGHEST / 4
    top = min(max(level + _ABOVE, 1.5), _HIGHEST + _ABOVE)
    step = top / 255
    closed = np.pad(site_energies.energy, ((0, 1),) * 3, mode="wrap")
    steps = np.clip(np.rint(np.minimum(closed, top) / step), 0, 255).astype(np.uint8)
    return {
        "shape": list(closed.shape),
        "vectors": site_energies.structure.lattice.matrix.tolist(),
        "data": base64.b64encode(steps.tobytes()).decode("ascii"),
        "step": step,
        "level": level,
        "dimensions": len(finite),
        "top": top,
    }


def write_map(site_energies: EnergyMap, path: Path) -> Path:
    """Writes the map as a Gaussian cube file for VESTA and its like; returns the path."""
    from mfal.oracles.bond_valence.volumetric import write_cube

    write_cube(path, site_energies.energy, site_energies.structure)
    return path
