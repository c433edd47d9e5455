"""Interatomic potentials as pure functions: needs jax and numpy alone."""

from typing import TYPE_CHECKING

from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.potentials.ase import as_calculator, from_calculator
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
    from mfal.potentials.nequix import nequix_potential
    from mfal.potentials.phonons import Phonons, find_phonons
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
    "Phonons",
    "Potential",
    "RelaxSettings",
    "RelaxedCrystal",
    "Sizes",
    "TrajectoryFrames",
    "as_calculator",
    "bucket",
    "chgnet_potential",
    "energy_forces_stress",
    "evaluate_crystals",
    "find_phonons",
    "from_calculator",
    "langevin",
    "load_state",
    "nequix_potential",
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
        "ase": "as_calculator from_calculator",
        "chgnet": "chgnet_potential",
        "dynamics": "DynamicsState TrajectoryFrames run_dynamics start_dynamics",
        "evaluation": "Evaluation evaluate_crystals",
        "integrators": "Integrator langevin nose_hoover nve",
        "neighbours": "NeighbourTables Sizes bucket outdated sizes_of",
        "nequix": "nequix_potential",
        "phonons": "Phonons find_phonons",
        "relax": "RelaxSettings RelaxedCrystal relax_crystals",
        "trajectory": "load_state save_state write_extxyz",
        "types": "GPA EnergyForcesStress Potential energy_forces_stress pad_atoms",
    },
)
