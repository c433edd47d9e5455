"""Molecular dynamics of crystals: how far their ions get, and what they conduct."""

from typing import TYPE_CHECKING

from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.oracles.dynamics.cells import SimulatedCells, simulated_cells
    from mfal.oracles.dynamics.displacements import (
        Diffusion,
        Displacements,
        count_hops,
        diffusion,
        mean_square_displacement,
        measure_displacements,
    )
    from mfal.oracles.dynamics.files import ion_density, write_dynamics_files
    from mfal.oracles.dynamics.options import DynamicsOptions
    from mfal.oracles.dynamics.oracle import dynamics, dynamics_oracle
    from mfal.oracles.dynamics.supercell import smallest_supercell

__all__ = [
    "Diffusion",
    "Displacements",
    "DynamicsOptions",
    "SimulatedCells",
    "count_hops",
    "diffusion",
    "dynamics",
    "dynamics_oracle",
    "ion_density",
    "mean_square_displacement",
    "measure_displacements",
    "simulated_cells",
    "smallest_supercell",
    "write_dynamics_files",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "cells": "SimulatedCells simulated_cells",
        "displacements": (
            "Diffusion Displacements count_hops diffusion mean_square_displacement "
            "measure_displacements"
        ),
        "files": "ion_density write_dynamics_files",
        "options": "DynamicsOptions",
        "oracle": "dynamics dynamics_oracle",
        "supercell": "smallest_supercell",
    },
)
