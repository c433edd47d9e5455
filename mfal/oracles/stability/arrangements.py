"""Of several arrangements of one crystal's atoms the lowest in energy, relaxed.

    found = lowest_arrangement(structures)          # of several crystals: lowest_arrangements
    found.structure, found.energy, found.shift, found.survived

Each arrangement is relaxed, positions and cell, within its own space group and in its primitive
cell, which is what makes it cheap; what comes back is in the cell that it came in.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pymatgen.core import Structure

from mfal.crystals.matching import same_crystal
from mfal.crystals.primitive import PrimitiveCell, from_primitive, to_primitive
from mfal.errors import MfalError
from mfal.numbers import finite_or_none
from mfal.oracles.stability.relaxing import RelaxedStructure, relax_structures
from mfal.potentials.neighbours import Sizes
from mfal.potentials.relax import DEFAULT, RelaxSettings
from mfal.potentials.shapes import PaddedShape
from mfal.potentials.types import Potential

__all__ = [
    "POTENTIAL",
    "SETTINGS",
    "LowestFound",
    "RelaxedArrangement",
    "lowest_arrangement",
    "lowest_arrangements",
]

POTENTIAL = "CHGNet 0.3.0"
"""Whose weights come with the package and relax by default."""
SETTINGS = DEFAULT._replace(steps=200)
"""Within a space group few coordinates are free: all 52 arrangements of 20 generated crystals came
to rest within 66 evaluations."""


def _shapes() -> Iterator[PaddedShape]:
    for atoms in (18, 36):
        for near, far, neighbours, angles, fan in (
            (4, 28, 64, 10, 8),  # halides
            (7, 48, 128, 56, 16),  # sulfides, oxides of heavy cations
            (10, 80, 192, 144, 24),  # Li2O
        ):
            yield PaddedShape(
                atoms, Sizes(near * atoms, far * atoms, neighbours, angles * atoms, fan)
            )


SHAPES = tuple(_shapes())
"""Padded sizes of candidates' primitive cells, of which the default space has 36 atoms at most.
At sizes of their own twenty generated crystals took twenty programs, each compiled for as long as
it takes to relax several crystals; so they take six at most."""


class RelaxedArrangement(NamedTuple):
    """The lowest arrangement, and how it compares with what it was and with the others."""

    structure: Structure
    """As it ended, its charges kept, in the cell that it came in."""
    before: Structure
    """As it came."""
    lowest: int
    """Its place among the arrangements given."""
    energy: float
    """eV per atom."""
    energies: tuple[float, ...]
    """eV per atom, of all arrangements; NaN where one failed."""
    statuses: tuple[str, ...]
    """Of all arrangements, as in `RelaxedStructure`."""
    volume_change: float
    """Relative: 0.1 where the volume has grown by a tenth."""
    shift: float
    """Å, root mean square over atoms of how far they moved beyond the cell's deformation."""
    space_group_before: int
    space_group_after: int
    survived: bool
    """Whether pymatgen's `StructureMatcher` takes it for the same structure as before, at its usual
    tolerances and up to scale (`same_crystal`)."""
    steps: int
    """Evaluations of the potential, of all arrangements."""

    @property
    def energy_spread(self) -> float:
        """From the lowest to the highest arrangement, eV per atom; NaN for fewer than two."""
        known = [energy for energy in self.energies if math.isfinite(energy)]
        return max(known) - min(known) if len(known) > 1 else math.nan

    @property
    def converged(self) -> bool:
        """Whether it came to rest; else its steps were used up on the way down."""
        return self.statuses[self.lowest] == "converged"

    def record(self) -> dict[str, Any]:
        """All but the atoms, as values for JSON; what isn't known is None."""
        return {
            "potential": POTENTIAL,
            "energy_ev_per_atom": self.energy,
            "energies_ev_per_atom": [finite_or_none(energy) for energy in self.energies],
            "energy_spread_ev_per_atom": finite_or_none(self.energy_spread),
            "statuses": list(self.statuses),
            "lowest": self.lowest,
            "volume_change": self.volume_change,
            "shift_angstrom": self.shift,
            "space_group_before": self.space_group_before,
            "space_group_after": self.space_group_after,
            "survived": self.survived,
            "steps": self.steps,
            "cell_before": [float(x) for x in self.before.lattice.parameters],
            "cell_after": [float(x) for x in self.structure.lattice.parameters],
        }


class LowestFound(NamedTuple):
    """What came of a crystal's arrangements."""

    found: RelaxedArrangement | None
    """None where none has come through."""
    refusal: str
    """Why there is none."""
    work: float
    """Evaluations of the potential, each times the atoms of its primitive cell."""


def lowest_arrangement(
    arrangements: Sequence[Structure],
    potential: Potential | None = None,
    settings: RelaxSettings = SETTINGS,
) -> RelaxedArrangement:
    """Relax arrangements of one crystal, and take the lowest in energy.

    One whose steps are used up counts with the energy that it has come to, which is no less than
    that of its minimum.

    Args:
      arrangements: ordered structures of one composition.
      potential: by default CHGNet's embedded weights.
      settings: tolerances and limits of each.

    Raises:
      MfalError: where there is none, or none has come through; the message says what happened.
    """
    (one,) = lowest_arrangements([arrangements], potential, settings)
    if one.found is None:
        raise MfalError(one.refusal, "start from other arrangements")
    return one.found


def lowest_arrangements(
    crystals: Sequence[Sequence[Structure]],
    potential: Potential | None = None,
    settings: RelaxSettings = SETTINGS,
) -> list[LowestFound]:
    """The same for several crystals, relaxed together: on an accelerator in batches.

    Each answer is that of `lowest_arrangement`, to the last bit on one device, whatever crystals
    it was relaxed with.
    """
    cells: dict[tuple[int, int], PrimitiveCell] = {}
    refusals: dict[tuple[int, int], str] = {}
    for crystal, arrangements in enumerate(crystals):
        for number, structure in enumerate(arrangements):
            try:
                cells[crystal, number] = to_primitive(structure)
            except MfalError as error:
                refusals[crystal, number] = f"refused: {error.what}"
    relaxed = relax_structures(
        [one.cell for one in cells.values()], potential, settings, shapes=SHAPES, independent=True
    )
    answers = dict(zip(cells, relaxed, strict=True))
    return [
        _lowest(
            arrangements,
            {number: cell for (of, number), cell in cells.items() if of == crystal},
            {number: answer for (of, number), answer in answers.items() if of == crystal},
            {number: refusal for (of, number), refusal in refusals.items() if of == crystal},
        )
        for crystal, arrangements in enumerate(crystals)
    ]


def _lowest(
    arrangements: Sequence[Structure],
    cells: Mapping[int, PrimitiveCell],
    answers: Mapping[int, RelaxedStructure],
    refusals: Mapping[int, str],
) -> LowestFound:
    """The lowest of one crystal's arrangements, given what became of each or why it was refused."""
    work = sum(one.steps * len(one.structure) for one in answers.values())
    statuses = tuple(
        answers[number].status if number in answers else refusals[number]
        for number in range(len(arrangements))
    )
    energies = tuple(
        answers[number].energy if status in ("converged", "steps used up") else math.nan
        for number, status in enumerate(statuses)
    )
    sound = [number for number, energy in enumerate(energies) if math.isfinite(energy)]
    if not sound:
        refusal = "no arrangement of atoms came through its relaxation" + (
            f" ({'; '.join(dict.fromkeys(statuses))})" if statuses else ""
        )
        return LowestFound(None, refusal, work)
    lowest = min(sound, key=lambda number: energies[number])
    answer, before = answers[lowest], arrangements[lowest]
    found = RelaxedArrangement(
        structure=from_primitive(cells[lowest], answer.structure),
        before=before,
        lowest=lowest,
        energy=energies[lowest],
        energies=energies,
        statuses=statuses,
        volume_change=answer.volume_change,
        shift=answer.shift,
        space_group_before=answer.space_group_before,
        space_group_after=answer.space_group_after,
        survived=same_crystal(cells[lowest].cell, answer.structure),
        steps=sum(one.steps for one in answers.values()),
    )
    return LowestFound(found, "", work)
