"""Energies, the convex hull, and the electrochemical stability window."""

from typing import TYPE_CHECKING

from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.oracles.stability.coverage import Limit, missing_phases
    from mfal.oracles.stability.energies import (
        Energies,
        chemical_system,
        energies_from_json,
        energies_from_materials_project,
    )
    from mfal.oracles.stability.mlip import formation_energy, hull_distance, stable_conductors
    from mfal.oracles.stability.potential_energy import (
        RelaxationConfig,
        Relaxed,
        energies_from_calculator,
        entry_from_calculator,
        formation_energy_oracle,
        load_calculator,
        reference_energies,
        relax_with,
    )
    from mfal.oracles.stability.relaxing import RelaxedStructure, relax_structures
    from mfal.oracles.stability.thermochemistry import (
        computed_energies,
        embedded_energies,
        measured_energies,
        potential_energies,
    )
    from mfal.oracles.stability.window import (
        StabilityWindow,
        equilibrium_window,
        first_bounded_window,
        stability_oracle,
        stability_window,
    )

__all__ = [
    "Energies",
    "Limit",
    "RelaxationConfig",
    "Relaxed",
    "RelaxedStructure",
    "StabilityWindow",
    "chemical_system",
    "computed_energies",
    "embedded_energies",
    "energies_from_calculator",
    "energies_from_json",
    "energies_from_materials_project",
    "entry_from_calculator",
    "equilibrium_window",
    "first_bounded_window",
    "formation_energy",
    "formation_energy_oracle",
    "hull_distance",
    "load_calculator",
    "measured_energies",
    "missing_phases",
    "potential_energies",
    "reference_energies",
    "relax_structures",
    "relax_with",
    "stability_oracle",
    "stability_window",
    "stable_conductors",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "coverage": "Limit missing_phases",
        "energies": "Energies chemical_system energies_from_json energies_from_materials_project",
        "mlip": "formation_energy hull_distance stable_conductors",
        "potential_energy": (
            "RelaxationConfig Relaxed energies_from_calculator entry_from_calculator "
            "formation_energy_oracle load_calculator reference_energies relax_with"
        ),
        "relaxing": "RelaxedStructure relax_structures",
        "thermochemistry": (
            "computed_energies embedded_energies measured_energies potential_energies"
        ),
        "window": (
            "StabilityWindow equilibrium_window first_bounded_window stability_oracle "
            "stability_window"
        ),
    },
)
