"""Rows of a table from what sources give: formulas and structures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mfal.data.asymmetric import AsymmetricUnit
from mfal.data.table import Material
from mfal.errors import MfalError

__all__ = [
    "LATTICE_COLUMNS",
    "composition_of_formula",
    "material_from_structure",
    "structure_record",
]

LATTICE_COLUMNS = ("a", "b", "c", "alpha", "beta", "gamma")
"""What the six lattice parameters are called in spreadsheets."""


def composition_of_formula(formula: str, where: str) -> dict[str, float]:
    """Amounts of the elements in a formula, none for no text; `where` begins errors."""
    from mfal.crystals.formulas import formula_amounts

    if not formula.strip():
        return {}
    try:
        return formula_amounts(formula)
    except MfalError as error:
        raise MfalError(f"{where}: {error.what}", error.remedy) from None


def material_from_structure(
    identifier: str, structure: Any, *, charged: bool = True, **columns: Any
) -> Material:
    """A row from a pymatgen structure; further columns by name.

    With `charged` it gets oxidation states; if none are neutral it is kept as it is. What was noted
    when it was read becomes the detail "notes".

    Raises:
      MfalError: when spglib finds no symmetry (atoms on top of each other).
    """
    from mfal.crystals.checks import notes_of
    from mfal.crystals.structures import crystal_from_structure

    if notes := notes_of(structure):
        columns["details"] = {**columns.get("details", {}), "notes": list(notes)}
    unit = structure_record(structure, charged)
    if isinstance(unit, AsymmetricUnit):
        composition: Mapping[str, float] = unit.composition
        number, lattice = unit.space_group_number, unit.lattice
    else:
        crystal = crystal_from_structure(structure)
        composition = {
            e.symbol: float(crystal.composition[e.Z - 1])
            for e in structure.composition.element_composition
        }
        number = int(crystal.space_group_number)
        lattice = tuple(float(x) for x in crystal.lattice)
    formula = structure.composition.element_composition.reduced_formula
    return Material(
        identifier, columns.pop("formula", formula), composition, number, lattice,
        structure=unit, **columns,
    )  # fmt: skip


def structure_record(structure: Any, charged: bool = True) -> AsymmetricUnit | dict[str, Any]:
    """An asymmetric unit, or the structure as it is where charges or symmetry are not found."""
    from mfal.data.asymmetric import asymmetric_unit

    try:
        return asymmetric_unit(structure, charged=charged)
    except MfalError:
        return dict(structure.as_dict())
