"""Atoms for a proposed triple, with known crystals as prototypes."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from mfal.campaign.ledger.crystals import crystal_arrays
from mfal.campaign.ledger.records import CrystalRecord
from mfal.crystals.realisation import realise
from mfal.crystals.templates import Template, template
from mfal.errors import MfalError

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["realise_record"]

_STARTS = 64
"""Arrangements relaxed per triple, of which the best are kept."""


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
