"""Reading an energy map for an oracle: options, framework, grid, sweep, and the record of it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mfal.errors import MfalError
from mfal.numbers import number_or_text

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from mfal.oracles.bond_valence.framework import Framework
    from mfal.oracles.bond_valence.percolation import Percolation
    from mfal.oracles.bond_valence.symmetry import Grid

__all__ = [
    "DEFAULT_MAP",
    "NO_BARRIER",
    "Estimate",
    "MapOptions",
    "averaged",
    "map_record",
    "read_map",
]

DEGENERATE = 0.01
"""eV; saddles of other energy as near as this to the one that decides a barrier are told of: the
choice between them is below the resolution of the grid."""

NO_BARRIER = 0.1
"""eV, 4 kT at 300 K: where ions meet no more than that they do not stay on sites."""

LARGEST_MAP = 20_000_000
"""Grid points beyond which a cell is refused: some 67,000 Å^3 at 0.15 Å."""


@dataclass(frozen=True)
class MapOptions:
    """How an energy map is made and read."""

    resolution: float = 0.15
    """Å, the largest distance of neighbouring grid points along an axis."""
    margin: float = 0.5
    """eV above the 3-D threshold up to which hops are listed: what lies higher carries less than
    1e-8 of the current at 300 K."""
    shallow: float = 0.02
    """eV; minima less deep belong to their neighbours (grid noise, less than kT)."""
    mobile: str = "Li"
    decorations: int = 0
    """Ordered frameworks to draw from a partly occupied one; the answer is their mean, with their
    spread as uncertainty. 0 weights each site by its occupancy instead."""
    mobile_charge: int = 1
    """e, of the mobile ion."""

    def tag(self) -> str:
        """What of these options may change a value, for an oracle's version."""
        drawn = f"-{self.decorations}d" if self.decorations else ""
        margins = (self.margin, self.shallow)
        other = "" if margins == (0.5, 0.02) else f"-{self.margin:g}-{self.shallow:g}"
        charge = "" if self.mobile_charge == 1 else f"{self.mobile_charge:+d}"
        return f"{self.mobile}{charge}-{self.resolution:g}{drawn}{other}"


DEFAULT_MAP = MapOptions()
"""What every oracle reads unless told otherwise: campaigns and `mfal score`, barriers and
conductivities, so that a structure has one map, and one answer wherever it is asked about."""


class Estimate(NamedTuple):
    """What an oracle's own function returns for one structure."""

    value: float
    uncertainty: float | None
    provenance: dict[str, Any]


def averaged(
    answer: Callable[["Structure"], Estimate], structure: "Structure", options: MapOptions
) -> Estimate:
    """The answer, or the mean over decorations of a partly occupied framework."""
    from mfal.oracles.bond_valence.decorations import sample_decoration

    partial = any(
        specie.symbol != options.mobile and amount < 1.0 - 1e-6
        for site in structure
        for specie, amount in site.species.items()
    )
    if not options.decorations or not partial:
        return answer(structure)
    drawn = [
        answer(sample_decoration(structure, seed, options.mobile))
        for seed in range(options.decorations)
    ]
    values = np.array([one.value for one in drawn])
    # Where answers have errors of their own, these add to the spread over decorations.
    errors = np.array([one.uncertainty or 0.0 for one in drawn])
    finite_all = bool(np.isfinite(values).all())
    spread = float(np.sqrt(values.var() + (errors**2).mean())) if finite_all else None
    provenance = drawn[0].provenance | {
        "occupancy": f"{options.decorations} decorations",
        "values": [number_or_text(float(value)) for value in values],
    }
    return Estimate(float(values.mean()), spread, provenance)


def read_map(
    structure: "Structure", options: MapOptions
) -> tuple["Framework", "Grid", "Percolation"]:
    """Framework, grid and what the sweep found.

    The last map is kept: barrier and conductivity of one structure are asked one after the other.
    """
    global _last
    key = (
        structure.lattice.matrix.tobytes(),
        structure.frac_coords.tobytes(),
        tuple(site.species_string for site in structure),
        options,
    )
    if _last is None or _last[0] != key:
        _last = (key, _swept(structure, options))
    return _last[1]


_last: tuple[Any, tuple["Framework", "Grid", "Percolation"]] | None = None


def _swept(
    structure: "Structure", options: MapOptions
) -> tuple["Framework", "Grid", "Percolation"]:
    from mfal.oracles.bond_valence.framework import framework_of
    from mfal.oracles.bond_valence.percolation import percolate
    from mfal.oracles.bond_valence.site_energy import grid_shape, symmetric_map
    from mfal.oracles.bond_valence.symmetry import symmetric_grid

    framework = framework_of(structure, options.mobile, options.mobile_charge)
    shape = grid_shape(framework.lattice, options.resolution)
    if math.prod(shape) > LARGEST_MAP:
        raise MfalError(
            f"{structure.composition.reduced_formula}: a map of {math.prod(shape)} points",
            "give a smaller cell, or a coarser resolution",
        )
    grid = symmetric_grid(framework, options.resolution)
    return framework, grid, percolate(symmetric_map(framework, grid), options.margin)


def map_record(
    framework: "Framework", grid: "Grid", options: MapOptions, found: "Percolation"
) -> dict[str, Any]:
    """What every answer from an energy map says of how it was made."""
    from mfal.oracles.bond_valence.symmetry import NOISE, intended_order

    notes = list(framework.warnings)
    for dimension, barrier in enumerate(found.barrier, start=1):
        if not np.isfinite(barrier):
            notes.append(f"no {dimension}-D path below 10 eV")
            break
    near = np.abs(found.saddle_energy - found.threshold[2]) < DEGENERATE
    levels = len(np.unique(np.round(found.saddle_energy[near], 3)))
    if levels > 1:
        notes.append(f"{levels} saddles within {DEGENERATE} eV of the one that decides")
    order = intended_order(framework)
    if order > grid.order:
        notes.append(
            f"noise in positions: {grid.order} symmetry operations, {order} if ions may be "
            f"{NOISE} Å off"
        )
    if found.own_barrier[2] < NO_BARRIER:
        notes.append(f"a 3-D barrier below {NO_BARRIER} eV: no site holds an ion at 300 K")
    return {
        "method": "bond-valence site energy, percolation",
        "resolution": options.resolution,
        "margin": options.margin,
        "mobile": options.mobile,
        "occupancy": "weighted" if framework.partial else "full",
        "barriers": [number_or_text(float(x)) for x in found.barrier],
        "own_barriers": [number_or_text(float(x)) for x in found.own_barrier],
        "sites": len(found.site),
        "warnings": notes,
    }
