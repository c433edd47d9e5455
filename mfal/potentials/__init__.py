"""Interatomic potentials as pure functions: needs jax and numpy alone."""

from typing import TYPE_CHECKING

from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.potentials.chgnet import chgnet_potential
    from mfal.potentials.dynamics import (
        DynamicsState,
        TrajectoryFrames,
        run_dynamics,
        start_dynamics,
    )
    from mfal.potentials.evaluation import Evaluation, evaluate_crystals
    from mfal.potentials.integrators import Integrator, langevin, nose_hoover, nve
    from mfal.potentials.neighbours import NeighbourTables, Sizes, bucket, outdated, sizes_of
    from mfal.potentials.relax import RelaxedCrystal, RelaxSettings, relax_crystals
    from mfal.potentials.trajectory import load_state, save_state, write_extxyz
    from mfal.potentials.types import (
        GPA,
        EnergyForcesStress,
        Potential,
        energy_forces_stress,
        pad_atoms,
    )

__all__ = [
    "GPA",
    "DynamicsState",
    "EnergyForcesStress",
    "Evaluation",
    "Integrator",
    "NeighbourTables",
    "Potential",
    "RelaxSettings",
    "RelaxedCrystal",
    "Sizes",
    "TrajectoryFrames",
    "bucket",
    "chgnet_potential",
    "energy_forces_stress",
    "evaluate_crystals",
    "langevin",
    "load_state",
    "nose_hoover",
    "nve",
    "outdated",
    "pad_atoms",
    "relax_crystals",
    "run_dynamics",
    "save_state",
    "sizes_of",
    "start_dynamics",
    "write_extxyz",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "chgnet": "chgnet_potential",
        "dynamics": "DynamicsState TrajectoryFrames run_dynamics start_dynamics",
        "evaluation": "Evaluation evaluate_crystals",
        "integrators": "Integrator langevin nose_hoover nve",
        "neighbours": "NeighbourTables Sizes bucket outdated sizes_of",
        "relax": "RelaxSettings RelaxedCrystal relax_crystals",
        "trajectory": "load_state save_state write_extxyz",
        "types": "GPA EnergyForcesStress Potential energy_forces_stress pad_atoms",
    },
)
