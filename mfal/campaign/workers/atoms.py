"""Atoms for a candidate: its own or arrangements by bond valence, the best of them relaxed.

Known crystals serve as prototypes. What has been found is kept in a form that the ledger can hold,
so that the next question about the same crystal needn't find it again.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from mfal.campaign.ledger.crystals import crystal_arrays, plain_structure, structure_of
from mfal.campaign.ledger.records import CrystalRecord
from mfal.crystals.realisation import realise
from mfal.crystals.templates import Template, template
from mfal.errors import MfalError
from mfal.numbers import finite_or_none

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = [
    "ATOMS_KEYS",
    "candidate_atoms",
    "own_atoms",
    "realise_record",
    "stored_atoms",
]

_STARTS = 64
"""Arrangements brought to rest by bond valence per triple, of which the best are kept."""
ATOMS_KEYS = (
    "tried",
    "rejected",
    "routes",
    "energies_ev_per_atom",
    "instabilities",
    "space_groups",
    "relaxation",
    "known_as",
    "arrangement",
)
"""What an answer's detail says of its crystal's atoms; the same in every answer about them."""


def candidate_atoms(
    crystal: CrystalRecord, *, seed: int, count: int, known: tuple[str, ...] = ()
) -> "tuple[list[Structure], dict[str, Any]]":
    """The relaxed atoms of a candidate: its own, or the lowest of `count` arrangements.

    A pool's candidates are compared with the further known tables alone: that somebody knows them
    is no surprise.

    Args:
      crystal: the candidate; its own atoms, if it has some, must be ordered.
      seed: decides with it what is found.
      count: arrangements to relax.
      known: tables of known crystals to compare with, beside those that always are
        (`mfal.data.novelty`).

    Returns:
      The structure, or none, and how it was found; where there is none, `detail["reason"]` says
      why.

    Raises:
      MfalError: where the triple is none that atoms could be given to.
    """
    found, detail = _candidate_atoms(json.dumps(crystal), seed, count, known)
    return [structure_of(detail["arrangement"])] if found else [], dict(detail)


@lru_cache(maxsize=32)  # one worker may be asked about a crystal by several oracles
def _candidate_atoms(
    crystal: str, seed: int, count: int, known: tuple[str, ...]
) -> tuple[bool, dict[str, Any]]:
    from mfal.data.novelty import known_crystals
    from mfal.oracles.stability.arrangements import lowest_arrangement

    record = CrystalRecord(*json.loads(crystal))
    if record.structure is not None:
        structures, detail = [own_atoms(record)], dict[str, Any]()
    else:
        structures, detail = realise_record(record, seed=seed, count=count)
    if not structures:
        return False, detail
    try:
        found = lowest_arrangement(structures)
    except MfalError as error:
        return False, detail | {"reason": error.what}
    return True, detail | {
        "relaxation": found.record() | _place(found.energy, found.structure),
        "known_as": known_crystals(known, own=record.pool_name is None).name_of(found.structure),
        "arrangement": plain_structure(found.structure),
    }


def _place(energy: float, structure: "Structure") -> dict[str, Any]:
    """Where a relaxed crystal lies against the hull of known phases, as values for JSON."""
    from mfal.oracles.stability.hull import hull_distance

    place = hull_distance(energy, structure.composition.element_composition)
    return {
        "hull_distance_ev_per_atom": finite_or_none(place.distance),
        "decomposition": dict(place.products),
        "hull_bounded": place.bounded,
        "hull_lacking": list(place.lacking),
    }


def own_atoms(crystal: CrystalRecord) -> "Structure":
    """The atoms that a record holds."""
    from pymatgen.core import Structure

    assert crystal.structure is not None
    return Structure.from_dict(json.loads(crystal.structure))


def stored_atoms(detail: Mapping[str, Any]) -> "tuple[list[Structure], dict[str, Any]]":
    """What `candidate_atoms` gave, from the detail of an earlier answer about the same crystal."""
    kept = {key: detail[key] for key in ATOMS_KEYS if key in detail}
    return [structure_of(detail["arrangement"])], kept


def realise_record(
    crystal: CrystalRecord, *, seed: int, count: int
) -> "tuple[list[Structure], dict[str, Any]]":
    """Up to `count` structures for a triple, and how they were found; the seed decides which.

    Raises:
      MfalError: where the triple is none that atoms could be given to.
    """
    arrays = crystal_arrays([crystal])
    found = realise(
        type(arrays)(*(leaf[0] for leaf in arrays)),
        crystal.oxidation_states,
        seed=seed,
        count=count,
        max_tries=_STARTS,
        templates=_templates(crystal.space_group),
    )
    detail = {
        "tried": found.tried,
        "rejected": found.rejected,
        "routes": list(found.routes),
        "energies_ev_per_atom": [float(x) for x in found.energies],
        "instabilities": [float(x) for x in found.instabilities],
        "space_groups": list(found.space_groups),
    }
    return found.structures, detail


@lru_cache(maxsize=230)
def _templates(space_group: int) -> tuple[Template, ...]:
    """Ordered crystals of the embedded table in one group that can serve as prototypes."""
    from mfal.data import load_embedded

    table = load_embedded()
    prototypes = []
    for index in np.flatnonzero(table.space_group_number == space_group):
        structure = table.structure(int(index))
        if structure is None or not structure.is_ordered:
            continue
        try:
            prototypes.append(template(structure, name=table.ids[index]))
        except MfalError:
            continue
    return tuple(prototypes)
