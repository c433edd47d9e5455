"""Energies, the convex hull, and the electrochemical stability window."""

from typing import TYPE_CHECKING

from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.oracles.stability.arrangements import RelaxedArrangement, lowest_arrangement
    from mfal.oracles.stability.coverage import Limit, missing_phases
    from mfal.oracles.stability.energies import (
        Energies,
        chemical_system,
        energies_from_json,
        energies_from_materials_project,
    )
    from mfal.oracles.stability.hull import HullPlace, competing_phases, hull_distance
    from mfal.oracles.stability.phases import (
        phases_from_materials_project,
        phases_of_table,
        read_phases,
        write_phases,
    )
    from mfal.oracles.stability.placing import (
        PlacedStructure,
        formation_energy,
        hull_oracle,
        place_structures,
    )
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
        energies_of_phases,
        measured_energies,
        potential_energies,
    )
    from mfal.oracles.stability.types import CompetingPhase
    from mfal.oracles.stability.vibrations import vibrations_oracle
    from mfal.oracles.stability.window import (
        StabilityWindow,
        equilibrium_window,
        first_bounded_window,
        stability_oracle,
        stability_window,
    )

__all__ = [
    "CompetingPhase",
    "Energies",
    "HullPlace",
    "Limit",
    "PlacedStructure",
    "RelaxationConfig",
    "Relaxed",
    "RelaxedArrangement",
    "RelaxedStructure",
    "StabilityWindow",
    "chemical_system",
    "competing_phases",
    "computed_energies",
    "embedded_energies",
    "energies_from_calculator",
    "energies_from_json",
    "energies_from_materials_project",
    "energies_of_phases",
    "entry_from_calculator",
    "equilibrium_window",
    "first_bounded_window",
    "formation_energy",
    "formation_energy_oracle",
    "hull_distance",
    "hull_oracle",
    "load_calculator",
    "lowest_arrangement",
    "measured_energies",
    "missing_phases",
    "phases_from_materials_project",
    "phases_of_table",
    "place_structures",
    "potential_energies",
    "read_phases",
    "reference_energies",
    "relax_structures",
    "relax_with",
    "stability_oracle",
    "stability_window",
    "vibrations_oracle",
    "write_phases",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "arrangements": "RelaxedArrangement lowest_arrangement",
        "coverage": "Limit missing_phases",
        "energies": "Energies chemical_system energies_from_json energies_from_materials_project",
        "hull": "HullPlace competing_phases hull_distance",
        "phases": "phases_from_materials_project phases_of_table read_phases write_phases",
        "types": "CompetingPhase",
        "placing": "PlacedStructure formation_energy hull_oracle place_structures",
        "potential_energy": (
            "RelaxationConfig Relaxed energies_from_calculator entry_from_calculator "
            "formation_energy_oracle load_calculator reference_energies relax_with"
        ),
        "relaxing": "RelaxedStructure relax_structures",
        "thermochemistry": (
            "computed_energies embedded_energies energies_of_phases measured_energies "
            "potential_energies"
        ),
        "vibrations": "vibrations_oracle",
        "window": (
            "StabilityWindow equilibrium_window first_bounded_window stability_oracle "
            "stability_window"
        ),
    },
)
