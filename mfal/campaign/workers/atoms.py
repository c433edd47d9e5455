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

    from mfal.oracles.stability.arrangements import RelaxedArrangement

__all__ = [
    "ATOMS_KEYS",
    "candidate_atoms",
    "own_atoms",
    "realise_record",
    "relaxed_detail",
    "starting_atoms",
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
    crystal: CrystalRecord,
    *,
    seed: int,
    count: int,
    known: tuple[str, ...] = (),
    hide: tuple[str, ...] = (),
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
      hide: formulas of compounds that lend no positions, are not recognised, and are no phases of
        the hull.

    Returns:
      The structure, or none, and how it was found; where there is none, `detail["reason"]` says
      why.

    Raises:
      MfalError: where the triple is none that atoms could be given to.
    """
    found, detail = _candidate_atoms(json.dumps(crystal), seed, count, known, hide)
    return [structure_of(detail["arrangement"])] if found else [], dict(detail)


@lru_cache(maxsize=32)  # one worker may be asked about a crystal by several oracles
def _candidate_atoms(
    crystal: str, seed: int, count: int, known: tuple[str, ...], hide: tuple[str, ...]
) -> tuple[bool, dict[str, Any]]:
    from mfal.oracles.stability.arrangements import lowest_arrangement

    record = CrystalRecord(*json.loads(crystal))
    structures, detail = starting_atoms(record, seed=seed, count=count, hide=hide)
    if not structures:
        return False, detail
    try:
        found = lowest_arrangement(structures)
    except MfalError as error:
        return False, detail | {"reason": error.what}
    return True, detail | relaxed_detail(record, found, known, hide)


def starting_atoms(
    crystal: CrystalRecord, *, seed: int, count: int, hide: tuple[str, ...] = ()
) -> "tuple[list[Structure], dict[str, Any]]":
    """What is relaxed: a candidate's own atoms, or up to `count` arrangements.

    Raises:
      MfalError: where the triple is none that atoms could be given to.
    """
    if crystal.structure is not None:
        return [own_atoms(crystal)], {}
    return realise_record(crystal, seed=seed, count=count, hide=hide)


def relaxed_detail(
    crystal: CrystalRecord,
    found: "RelaxedArrangement",
    known: tuple[str, ...],
    hide: tuple[str, ...],
) -> dict[str, Any]:
    """What is said of a candidate's lowest arrangement; see `candidate_atoms`."""
    from mfal.data.novelty import known_crystals

    compared = known_crystals(known, own=crystal.pool_name is None, hide=hide)
    return {
        "relaxation": found.record() | _place(found.energy, found.structure, hide),
        "known_as": compared.name_of(found.structure),
        "arrangement": plain_structure(found.structure),
    }


def _place(energy: float, structure: "Structure", hide: tuple[str, ...]) -> dict[str, Any]:
    """Where a relaxed crystal lies against the hull of known phases, as values for JSON."""
    from mfal.oracles.stability.hull import competing_phases, hull_distance

    composition = structure.composition.element_composition
    place = hull_distance(energy, composition, competing_phases(hide))
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
    crystal: CrystalRecord, *, seed: int, count: int, hide: tuple[str, ...] = ()
) -> "tuple[list[Structure], dict[str, Any]]":
    """Up to `count` structures for a triple, and how they were found; the seed decides which.

    Compounds with one of the formulas of `hide` lend it no positions.

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
        templates=_templates(crystal.space_group, hide),
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
def _templates(space_group: int, hide: tuple[str, ...]) -> tuple[Template, ...]:
    """Ordered crystals of the embedded table in one group that can serve as prototypes."""
    from mfal.data import load_embedded

    table = load_embedded().without(hide)
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
