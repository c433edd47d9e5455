"""Interatomic potentials as pure functions: needs jax and numpy alone."""

from typing import TYPE_CHECKING

from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.potentials.chgnet import chgnet_potential
    from mfal.potentials.evaluation import Evaluation, evaluate_crystals
    from mfal.potentials.neighbours import NeighbourTables, Sizes, bucket, outdated, sizes_of
    from mfal.potentials.types import (
        GPA,
        EnergyForcesStress,
        Potential,
        energy_forces_stress,
        pad_atoms,
    )

__all__ = [
    "GPA",
    "EnergyForcesStress",
    "Evaluation",
    "NeighbourTables",
    "Potential",
    "Sizes",
    "bucket",
    "chgnet_potential",
    "energy_forces_stress",
    "evaluate_crystals",
    "outdated",
    "pad_atoms",
    "sizes_of",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "chgnet": "chgnet_potential",
        "evaluation": "Evaluation evaluate_crystals",
        "neighbours": "NeighbourTables Sizes bucket outdated sizes_of",
        "types": "GPA EnergyForcesStress Potential energy_forces_stress pad_atoms",
    },
)
