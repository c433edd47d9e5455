"""Structures relaxed by an interatomic potential of `mfal.potentials`, many at once.

    relaxed = relax_structures(structures)          # CHGNet, symmetry kept

`mfal.potentials.relax` does the work on arrays; here are structures in and out, and what became of
their symmetry.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from pymatgen.core import Lattice, Structure

from mfal.crystals.operations import Operations, find_operations
from mfal.crystals.structures import SYMPREC, space_group_number
from mfal.errors import MfalError
from mfal.potentials.chgnet import chgnet_potential
from mfal.potentials.relax import (
    DEFAULT,
    RelaxedCrystal,
    RelaxSettings,
    relax_crystals,
)
from mfal.potentials.shapes import PaddedShape
from mfal.potentials.types import Potential

__all__ = ["RelaxedStructure", "relax_structures"]


class RelaxedStructure(NamedTuple):
    """What became of a structure."""

    structure: Structure
    """As it ended, its sites in the order given; as it was where it was refused."""
    energy: float
    """eV per atom; NaN where there is none."""
    force: float
    """eV/Å, the longest force left on an atom."""
    stress: float
    """GPa, the largest component of the stress left."""
    steps: int
    """Evaluations of the potential."""
    status: str
    """`converged`, `steps used up`, `exploded: ...` or `refused: ...`."""
    volume_change: float
    """Relative: 0.1 where the volume has grown by a tenth."""
    shift: float
    """Å, root mean square over atoms of how far they moved beyond the cell's deformation."""
    space_group_before: int
    """Number by spglib; 0 where it finds none."""
    space_group_after: int


def relax_structures(
    structures: Sequence[Structure],
    potential: Potential | None = None,
    settings: RelaxSettings = DEFAULT,
    *,
    keep_symmetry: bool = True,
    symprec: float = SYMPREC,
    batch: int | None = None,
    shapes: Sequence[PaddedShape] = (),
    independent: bool = False,
    report: Callable[[int], None] | None = None,
) -> list[RelaxedStructure]:
    """Relax ordered structures, positions and cell, to the nearest minimum of the energy.

    Args:
      structures: in any cells.
      potential: by default CHGNet's embedded weights.
      settings: tolerances and limits.
      keep_symmetry: whether each keeps the space group it comes with; else it may lower it.
      symprec: Å, for the space groups.
      batch: crystals computed at once (`mfal.potentials.relax_crystals`).
      shapes: sizes to which crystals are padded (ditto).
      independent: whether each answer is the same to the last bit in any company (ditto).
      report: called with the number of structures done so far.

    Returns:
      One answer for each structure, in order. One with partial occupancies, atoms on top of one
      another or elements that the potential doesn't know is refused, and says so.
    """
    potential = chgnet_potential() if potential is None else potential
    answers: dict[int, RelaxedStructure] = {}
    numbers: list[int] = []
    operations: list[Operations | None] = []
    crystals = []
    for number, structure in enumerate(structures):
        try:
            crystal, found = _arrays(structure, symprec)
        except MfalError as error:
            answers[number] = _refused(structure, error.what)
            continue
        numbers.append(number)
        crystals.append(crystal)
        operations.append(found if keep_symmetry else None)
    refused = len(answers)

    def count(done: int) -> None:
        if report is not None:
            report(refused + done)

    relaxed = relax_crystals(
        potential,
        crystals,
        operations,
        settings,
        batch=batch,
        shapes=shapes,
        independent=independent,
        report=count,
    )
    for number, one in zip(numbers, relaxed, strict=True):
        answers[number] = _answer(structures[number], one, symprec)
    return [answers[number] for number in range(len(structures))]


def _arrays(
    structure: Structure, symprec: float
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], Operations]:
    if not structure.is_ordered:
        raise MfalError(
            f"{structure.composition.reduced_formula}: partial occupancies", "order the cell first"
        )
    species = np.array([site.specie.Z for site in structure])
    crystal = (structure.cart_coords, structure.lattice.matrix, species)
    return crystal, find_operations(*crystal, symprec=symprec)


def _answer(before: Structure, one: RelaxedCrystal, symprec: float) -> RelaxedStructure:
    after = Structure(Lattice(one.cell), before.species, one.positions, coords_are_cartesian=True)
    if one.status.startswith("refused"):
        after = before
    return RelaxedStructure(
        structure=after,
        energy=one.energy,
        force=one.force,
        stress=float(np.abs(one.stress).max()),
        steps=one.steps,
        status=one.status,
        volume_change=one.volume_change,
        shift=one.shift,
        space_group_before=_space_group(before, symprec),
        space_group_after=_space_group(after, symprec),
    )


def _refused(structure: Structure, reason: str) -> RelaxedStructure:
    nothing, group = float("nan"), _space_group(structure, SYMPREC)
    return RelaxedStructure(
        structure=structure,
        energy=nothing,
        force=nothing,
        stress=nothing,
        steps=0,
        status=f"refused: {reason}",
        volume_change=nothing,
        shift=nothing,
        space_group_before=group,
        space_group_after=group,
    )


def _space_group(structure: Structure, symprec: float) -> int:
    try:
        return space_group_number(structure, symprec)
    except MfalError:
        return 0
