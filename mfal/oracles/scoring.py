"""What `mfal score` asks about a structure, and the record of what came out."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfal.errors import MfalError, warn
from mfal.numbers import number_or_text

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from mfal.oracles.types import Observation, Oracle

__all__ = ["SCORING", "score_structure", "scoring_oracles"]

SCORING = "mfal.oracles.scoring:scoring_oracles"
"""Where the oracles come from that are asked unless others are named."""

COARSER = 0.2
"""Å, of the map that tells how much of a barrier is the grid's."""

_RELAXATION = ("energy", "volume_change", "shift", "space_groups", "steps")
_HULL = ("decomposition", "bounded", "lacking", "reduction", "oxidation")
"""What is told of the record of a relaxation and of a place on the hull."""

DECORATION_RESOLUTION = 0.3
"""Å, of the maps of ordered frameworks drawn from a partly occupied one, which lack symmetry."""


def scoring_oracles(ion: str = "Li", decorations: int = 3) -> "tuple[Oracle, ...]":
    """Sendek's probability, the migration barrier, the conductivity at 300 K, for one structure.

    These are the campaign's, with the spread of the barrier over grids and occupations beside it.
    What can't be asked about another ion is left out with a warning.

    Args:
      ion: symbol of the mobile ion.
      decorations: ordered frameworks to draw from a partly occupied one, for the spread.

    Raises:
      MfalError: for what is no ion that the potential has rows for.
    """
    from dataclasses import replace

    from mfal.oracles.ions import charge_of_ion
    from mfal.oracles.ladder import MapOptions, bvse_oracle, conductivity_oracle, sendek_oracle

    charge = charge_of_ion(ion)
    options = MapOptions(mobile=ion, mobile_charge=charge)
    barrier = _with_spread(
        bvse_oracle(options),
        bvse_oracle(replace(options, resolution=COARSER)),
        bvse_oracle(replace(options, resolution=DECORATION_RESOLUTION, decorations=decorations))
        if decorations
        else None,
    )
    if ion == "Li":
        return sendek_oracle(sampled=True), barrier, conductivity_oracle(options)
    if charge == 1:
        warn(f"{ion}: Sendek's regression was made for lithium, it is left out")
        return barrier, conductivity_oracle(options)
    warn(
        f"{ion}: Sendek's regression was made for lithium, the conductivity for ions of one "
        "charge; both are left out"
    )
    return (barrier,)


def _with_spread(barrier: "Oracle", coarser: "Oracle", drawn: "Oracle | None") -> "Oracle":
    """The barrier, with its difference to a coarser grid's as uncertainty.

    The range over ordered occupations of a partly occupied framework is put beside it.
    """

    def evaluate(structures: "Sequence[Structure]") -> "list[Observation]":
        return [_spread(structure) for structure in structures]

    def _spread(structure: "Structure") -> "Observation":
        # The finer map comes last: the conductivity is read from the same.
        occupations = None
        if drawn is not None and _is_partial(structure, barrier):
            (occupations,) = drawn.evaluate([structure])
        (rough,) = coarser.evaluate([structure])
        (fine,) = barrier.evaluate([structure])
        record = dict(fine.provenance)
        uncertainty = fine.uncertainty
        if fine.ok and rough.ok and math.isfinite(fine.value) and math.isfinite(rough.value):
            uncertainty = abs(fine.value - rough.value)
        if occupations is not None and "values" in occupations.provenance:
            record["decorations"] = occupations.provenance["values"]
        return fine._replace(uncertainty=uncertainty, provenance=record)

    return barrier._replace(evaluate=evaluate)


def _is_partial(structure: "Structure", barrier: "Oracle") -> bool:
    """Whether the framework is partly occupied, and the barrier's ion is in it."""
    ion = barrier.version.split("-")[1].rstrip("+0123456789")
    return any(
        specie.symbol != ion and amount < 1.0 - 1e-6
        for site in structure
        for specie, amount in site.species.items()
    )


def score_structure(
    structure: "Structure",
    oracles: "tuple[Oracle, ...]",
    files: str | None = None,
    name: str = "structure",
) -> dict[str, Any]:
    """Formula, space group, notes, and each oracle's answer, as plain values for JSON.

    The oracles see the standard setting of the crystal, so that one crystal has one value in
    whatever cell, origin or setting it is given. Where a note says that atoms are missing or that
    this is no bulk, no conductivity is to be expected, and the answers say so.

    Args:
      structure: the crystal.
      oracles: to ask.
      files: folder for what simulations showed, as files; None for none.
      name: of the source, which the files are named after.
    """
    from mfal.crystals.checks import is_doubtful, notes_of
    from mfal.crystals.structures import space_group_number, standard_setting
    from mfal.oracles.loading import ask_oracle

    try:
        group = space_group_number(structure)
        standard = standard_setting(structure)
    except MfalError as error:
        return {"error": str(error)}
    notes = list(notes_of(structure))
    return {
        "formula": structure.composition.reduced_formula,
        "space_group": group,
        "notes": notes,
        "oracles": [
            _answer(oracle, ask_oracle(oracle, [standard])[0], files, name, is_doubtful(notes))
            for oracle in oracles
        ],
    }


def _answer(
    oracle: "Oracle", observation: "Observation", files: str | None, name: str, doubtful: bool
) -> dict[str, Any]:
    from mfal.oracles.expected import expected_conductivity

    record = observation.provenance
    answer: dict[str, Any] = {
        "oracle": oracle.name,
        "version": oracle.version,
        "value": number_or_text(observation.value),
        "uncertainty": observation.uncertainty,
        "unit": oracle.unit,
        "status": observation.status,
        "notes": [str(note) for note in record.get("warnings", ())],
        "seconds": round(observation.seconds, 4),
        "cost": oracle.cost,
    }
    if observation.ok and doubtful:
        answer["notes"].append("not to be expected of any sample: see the notes on the structure")
    elif observation.ok:
        expected = expected_conductivity(oracle.name, oracle.version, observation.value)
        if expected is not None:
            answer["expected_conductivity"] = {
                "S/cm": 10**expected.log10,
                "decades": expected.decades,
                "words": str(expected),
            }
    if oracle.unit == "eV" and "own_barriers" in record:
        answer["map_angstrom"] = record.get("resolution")
        answer["barriers"] = dict(zip(("1-D", "2-D", "3-D"), record["own_barriers"], strict=True))
    if record.get("decorations"):
        answer["decorations"] = list(record["decorations"])
    if record.get("censoring", "exact") != "exact":
        answer["censoring"] = record["censoring"]
    if oracle.unit == "log10 S/cm" and record.get("temperature", 300.0) != 300.0:
        answer["temperature"] = record["temperature"]
    if "simulated" in record:
        answer |= _of_dynamics(record, files, name, answer["notes"])
    if all(name in record for name in _RELAXATION):
        answer["relaxation"] = {name: record[name] for name in _RELAXATION}
    if "decomposition" in record:
        answer["hull"] = {name: record[name] for name in _HULL if name in record}
    return answer


def _of_dynamics(
    record: dict[str, Any], files: str | None, name: str, notes: list[str]
) -> dict[str, Any]:
    """What was seen of diffusion, and the files that show it, where the record is of dynamics."""
    from mfal.oracles.dynamics.shown import is_dynamics, run_words

    if not is_dynamics(record):
        return {}
    said: dict[str, Any] = {"diffusion": [run_words(run) for run in record["simulated"]]}
    if files is None:
        return said
    from mfal.oracles.dynamics.files import write_dynamics_files

    stem = re.sub(r"[^\w.-]+", "-", Path(name).name).strip("-")
    try:
        written = write_dynamics_files(record, Path(files), stem)
    except MfalError as error:
        notes.append(str(error))
        return said
    return said | {"files": [str(one) for one in written]}
