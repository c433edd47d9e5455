"""Structures relaxed by CHGNet and placed on the hull: the oracle of hull distances.

    hull_distance  =  relaxed energy  -  energy of the best mixture of all other known phases

The structure, its competitors and the elements are relaxed by one potential, within their space
groups, and nothing is mixed with energies of another source. The default potential and the default
table belong together; another potential needs a table of its own (`mfal data phases`).
"""

import math
import time
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from mfal.crystals.hidden import is_hidden
from mfal.errors import MfalError
from mfal.oracles.stability.hull import HullPlace, competing_phases, hull_distance
from mfal.oracles.stability.phases import fingerprint
from mfal.oracles.stability.types import CompetingPhase
from mfal.oracles.types import Observation, Oracle

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from mfal.oracles.stability.relaxing import RelaxedStructure
    from mfal.potentials.relax import RelaxSettings
    from mfal.potentials.types import Potential

__all__ = ["HULL_COST", "PlacedStructure", "formation_energy", "hull_oracle", "place_structures"]

HULL_COST = 5.0
"""CPU seconds of one evaluation, relaxation included: an estimate, no median yet."""
POTENTIAL = "CHGNet 0.3.0"
LARGEST = 200
"""Atoms in the primitive cell beyond which a structure is refused: it would take minutes."""


class PlacedStructure(NamedTuple):
    """What became of a structure, and where it lies."""

    relaxed: "RelaxedStructure | None"
    """In its primitive cell; None where there was nothing to relax."""
    place: HullPlace | None
    """None where no energy came out."""
    problem: str
    """Why there is no place, and what to do about it; empty where there is one."""


def place_structures(
    structures: "Sequence[Structure]",
    potential: "Potential | None" = None,
    phases: Sequence[CompetingPhase] | None = None,
    settings: "RelaxSettings | None" = None,
) -> list[PlacedStructure]:
    """Relax structures within their space groups and find their distances from the hull.

    Args:
      structures: ordered ones, in any cells; they are relaxed in their primitive cells.
      potential: by default CHGNet's embedded weights.
      phases: the competitors, whose energies are this potential's; by default the table that comes
        with the package, which is CHGNet's.
      settings: of the relaxation, by default those that made the table.

    Raises:
      MfalError: a potential without a table of its own.
    """
    from mfal.oracles.stability.relaxing import relax_structures
    from mfal.potentials.relax import DEFAULT

    if potential is not None and phases is None:
        raise MfalError(
            "a potential of your own with CHGNet's energies of competing phases",
            "give the phases' energies by the same potential",
        )
    cells: list[Structure] = []
    problems: dict[int, str] = {}
    for number, structure in enumerate(structures):
        try:
            cells.append(_primitive(structure))
        except MfalError as error:
            problems[number] = str(error)
    answers = iter(relax_structures(cells, potential, settings or DEFAULT) if cells else ())
    return [
        PlacedStructure(None, None, problems[number])
        if number in problems
        else _placed(next(answers), phases)
        for number in range(len(structures))
    ]


def hull_oracle(
    potential: "Potential | None" = None,
    phases: Sequence[CompetingPhase] | None = None,
    *,
    fidelity: int = 0,
    cost: float = HULL_COST,
    version: str | None = None,
) -> Oracle:
    """Distance from the hull, eV per atom; negative where a structure beats all that is known.

    The record holds the products it would decompose to, whether the table bounds the chemistry (if
    not, the distance is a lower bound), what relaxing did to the structure, and the window against
    lithium where the same energies bound it.

    Args:
      potential: by default CHGNet's embedded weights.
      phases: the competitors, as in `place_structures`.
      fidelity: the oracle's rank.
      cost: CPU seconds of one evaluation.
      version: of potential and phases; needed with your own.

    Raises:
      MfalError: a potential or phases of your own without a version.
    """
    if (potential is not None or phases is not None) and version is None:
        raise MfalError(
            "a hull oracle of your own potential or phases without a version",
            "give version='...', and change it with them",
        )

    def answer(placed: PlacedStructure) -> tuple[float, dict[str, Any]]:
        assert placed.place is not None
        return placed.place.distance, _window_record(placed, phases)

    def without(hide: tuple[str, ...]) -> Oracle:
        known = competing_phases() if phases is None else phases
        left = tuple(phase for phase in known if not is_hidden(phase.amounts, hide))
        tag = f"{number}-without-{fingerprint(left)}"
        return hull_oracle(potential, left, fidelity=fidelity, cost=cost, version=tag)

    number = version or f"1-{POTENTIAL.replace(' ', '-')}-{_fingerprint()}"
    return Oracle(
        name="hull_distance",
        version=number,
        fidelity=fidelity,
        cost=cost,
        unit="eV/atom",
        higher_is_better=False,
        bounds=(-1.0, 5.0),
        evaluate=_evaluate("hull_distance", number, answer, potential, phases),
        without=without,
    )


def formation_energy(*, fidelity: int = 0, cost: float = HULL_COST) -> Oracle:
    """Energy of formation from the elements by CHGNet, eV per atom, after relaxation.

    Args:
      fidelity: the oracle's rank.
      cost: CPU seconds of one evaluation.
    """

    def answer(placed: PlacedStructure) -> tuple[float, dict[str, Any]]:
        assert placed.relaxed is not None
        return placed.relaxed.energy - _elements_energy(placed.relaxed.structure), {}

    number = f"2-{POTENTIAL.replace(' ', '-')}-{_fingerprint()}"
    return Oracle(
        name="formation_energy",
        version=number,
        fidelity=fidelity,
        cost=cost,
        unit="eV/atom",
        higher_is_better=False,
        bounds=(-6.0, 2.0),
        evaluate=_evaluate("formation_energy", number, answer, None, None),
    )


def _evaluate(name: str, version: str, answer: Any, potential: Any, phases: Any) -> Any:
    """An oracle's function: all structures are relaxed together, and none can raise."""

    def evaluate(structures: "Sequence[Structure]") -> list[Observation]:
        start = time.perf_counter()
        record: dict[str, Any] = {"oracle": name, "version": version}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            placed = place_structures(structures, potential, phases)
            answers = []
            for one in placed:
                value, status = math.nan, f"failed: {one.problem}"
                detail = _record(one)
                if not one.problem:
                    try:
                        value, more = answer(one)
                        detail, status = detail | more, "ok"
                    except MfalError as error:
                        status = f"failed: {error}"
                answers.append((value, status, record | detail))
        seconds = (time.perf_counter() - start) / max(1, len(structures))
        return [Observation(v, None, status, seconds, detail) for v, status, detail in answers]

    return evaluate


def _primitive(structure: "Structure") -> "Structure":
    """The primitive cell without charges.

    Raises:
      MfalError: partial occupancies, atoms on top of one another, or too many atoms.
    """
    from mfal.crystals.structures import space_group_number

    formula = structure.composition.reduced_formula
    if not structure.is_ordered:
        raise MfalError(
            f"{formula}: partial occupancies have no energy by a potential", "order the cell first"
        )
    space_group_number(structure)  # refuses atoms that share a position
    plain = structure.copy().remove_oxidation_states()
    cell = _standard_primitive(plain)
    if len(cell) > LARGEST:
        raise MfalError(
            f"{formula}: {len(cell)} atoms in the primitive cell, more than {LARGEST}",
            "relax it with `mfal relax`, or on an accelerator",
        )
    return cell


def _standard_primitive(structure: "Structure") -> "Structure":
    import spglib
    from pymatgen.core import Element, Lattice, Structure

    from mfal.crystals.structures import SYMPREC

    numbers = [site.specie.Z for site in structure]
    contents: Any = (structure.lattice.matrix, structure.frac_coords, numbers)
    found = spglib.standardize_cell(contents, to_primitive=True, symprec=SYMPREC)
    if found is None or len(found[2]) > len(structure):
        return structure
    lattice, positions, kinds = found
    return Structure(Lattice(lattice), [Element.from_Z(int(kind)) for kind in kinds], positions)


def _placed(
    relaxed: "RelaxedStructure", phases: Sequence[CompetingPhase] | None
) -> PlacedStructure:
    formula = relaxed.structure.composition.reduced_formula
    if relaxed.status != "converged":
        remedy = "check the structure"
        if relaxed.status == "steps used up":
            remedy = "relax it further with `mfal relax --steps`"
        return PlacedStructure(relaxed, None, f"{formula}: {relaxed.status}; {remedy}")
    place = hull_distance(relaxed.energy, relaxed.structure.composition, phases)
    if math.isnan(place.distance):
        lacking = ", ".join(place.lacking)
        return PlacedStructure(
            relaxed,
            None,
            f"{formula}: the table of competing phases lacks {lacking}; "
            "make one with `mfal data phases`",
        )
    return PlacedStructure(relaxed, place, "")


def _record(placed: PlacedStructure) -> dict[str, Any]:
    """What relaxing did, and where the structure lies, as values for JSON."""
    record: dict[str, Any] = {"method": POTENTIAL, "warnings": []}
    relaxed, place = placed.relaxed, placed.place
    if relaxed is not None and math.isfinite(relaxed.energy):
        record |= {
            "energy": relaxed.energy,
            "volume_change": relaxed.volume_change,
            "shift": relaxed.shift,
            "space_groups": [relaxed.space_group_before, relaxed.space_group_after],
            "steps": relaxed.steps,
            "largest_force": relaxed.force,
        }
    if place is not None:
        record |= {
            "hull_distance": place.distance,
            "decomposition": place.products,
            "bounded": place.bounded,
            "lacking": list(place.lacking),
        }
        if not place.bounded:
            record["warnings"] = [f"a lower bound: the table lacks {', '.join(place.lacking)}"]
    return record


def _window_record(
    placed: PlacedStructure, phases: Sequence[CompetingPhase] | None
) -> dict[str, Any]:
    """The window of the structure where the phases bound it, else nothing."""
    from pymatgen.core import Element
    from pymatgen.entries.computed_entries import ComputedEntry

    from mfal.oracles.stability.thermochemistry import energies_of_phases, potential_energies
    from mfal.oracles.stability.window import stability_window

    relaxed = placed.relaxed
    assert relaxed is not None
    composition = relaxed.structure.composition
    if Element("Li") not in composition:
        return {}
    energies = potential_energies() if phases is None else energies_of_phases(phases)
    entry = ComputedEntry(composition, relaxed.energy * composition.num_atoms)
    try:
        window = stability_window(composition, energies, candidate=entry)
    except MfalError:
        return {}
    names = ("reduction", "oxidation", "reduced_to", "oxidised_to", "source")
    return {name: getattr(window, name) for name in names}


def _elements_energy(structure: "Structure") -> float:
    """EV per atom of the elements that a structure is made of."""
    alone: dict[str, float] = {}
    for phase in competing_phases():
        if len(phase.amounts) == 1:
            symbol = next(iter(phase.amounts))
            alone[symbol] = min(alone.get(symbol, math.inf), phase.energy)
    amounts = structure.composition.get_el_amt_dict()
    return sum(alone[e] * amount for e, amount in amounts.items()) / sum(amounts.values())


@lru_cache(maxsize=1)
def _fingerprint() -> str:
    """Of the table that comes with the package: answers change with it."""
    return fingerprint(competing_phases())
