"""Crystals as arrays, and what symmetry and chemistry allow."""

from typing import TYPE_CHECKING

from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.crystals.charges import add_oxidation_states, balanced_charges
    from mfal.crystals.checks import notes_of
    from mfal.crystals.elements import (
        ATOMIC_MASS,
        COVALENT_RADIUS,
        ELECTRONEGATIVITY,
        IONIC_RADIUS,
        OXIDATION_STATES,
        SYMBOLS,
        atomic_number,
        ionic_radius,
    )
    from mfal.crystals.formulas import formula_amounts
    from mfal.crystals.groups import (
        CRYSTAL_SYSTEM,
        CRYSTAL_SYSTEM_NAMES,
        GROUP_SYMBOLS,
        LATTICE_SYSTEM,
        LATTICE_SYSTEM_NAMES,
        NUM_GROUPS,
        POINT_GROUP,
        POINT_GROUP_NAMES,
        WYCKOFF_MULTIPLICITY,
        wyckoff_letters,
    )
    from mfal.crystals.lattice import cell_matrix, cell_volume, is_consistent
    from mfal.crystals.operations import Operations, find_operations, symmetrised
    from mfal.crystals.reading import (
        ReadStructure,
        parse_structure,
        read_structure,
        read_structures,
    )
    from mfal.crystals.realisation import Realisation, realise
    from mfal.crystals.structures import (
        conventional_structure,
        crystal_from_structure,
        space_group_number,
        structure_to_cif,
    )
    from mfal.crystals.types import NUM_ELEMENTS, Crystal

__all__ = [
    "ATOMIC_MASS",
    "COVALENT_RADIUS",
    "CRYSTAL_SYSTEM",
    "CRYSTAL_SYSTEM_NAMES",
    "ELECTRONEGATIVITY",
    "GROUP_SYMBOLS",
    "IONIC_RADIUS",
    "LATTICE_SYSTEM",
    "LATTICE_SYSTEM_NAMES",
    "NUM_ELEMENTS",
    "NUM_GROUPS",
    "OXIDATION_STATES",
    "POINT_GROUP",
    "POINT_GROUP_NAMES",
    "SYMBOLS",
    "WYCKOFF_MULTIPLICITY",
    "Crystal",
    "Operations",
    "ReadStructure",
    "Realisation",
    "add_oxidation_states",
    "atomic_number",
    "balanced_charges",
    "cell_matrix",
    "cell_volume",
    "conventional_structure",
    "crystal_from_structure",
    "find_operations",
    "formula_amounts",
    "ionic_radius",
    "is_consistent",
    "notes_of",
    "parse_structure",
    "read_structure",
    "read_structures",
    "realise",
    "space_group_number",
    "structure_to_cif",
    "symmetrised",
    "wyckoff_letters",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "charges": "add_oxidation_states balanced_charges",
        "checks": "notes_of",
        "elements": (
            "ATOMIC_MASS COVALENT_RADIUS ELECTRONEGATIVITY IONIC_RADIUS OXIDATION_STATES "
            "SYMBOLS atomic_number ionic_radius"
        ),
        "formulas": "formula_amounts",
        "groups": (
            "CRYSTAL_SYSTEM CRYSTAL_SYSTEM_NAMES GROUP_SYMBOLS LATTICE_SYSTEM "
            "LATTICE_SYSTEM_NAMES NUM_GROUPS POINT_GROUP POINT_GROUP_NAMES "
            "WYCKOFF_MULTIPLICITY wyckoff_letters"
        ),
        "lattice": "cell_matrix cell_volume is_consistent",
        "operations": "Operations find_operations symmetrised",
        "reading": "ReadStructure parse_structure read_structure read_structures",
        "realisation": "Realisation realise",
        "structures": (
            "conventional_structure crystal_from_structure space_group_number structure_to_cif"
        ),
        "types": "Crystal NUM_ELEMENTS",
    },
)
