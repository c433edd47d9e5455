"""What a campaign is about: which crystals there are, which are known, and who answers.

The loop sees only this value, so that another space or other known data can take its place.
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from mfal.campaign.config import CampaignConfig, SpaceConfig
from mfal.campaign.records import CrystalRecord, crystal_hash
from mfal.campaign.tasks import load_oracles
from mfal.crystals.elements import SYMBOLS
from mfal.crystals.types import Crystal
from mfal.envs.types import Environment, State
from mfal.errors import MfalError
from mfal.oracles.types import Oracle

if TYPE_CHECKING:
    from mfal.envs.crystal import CrystalSpec

__all__ = ["Problem", "crystal_arrays", "make_problem", "make_spec", "record_of"]


class Problem(NamedTuple):
    """A space of crystals, those already known in it, and the oracles."""

    environment: Environment
    """Of crystals, without the fidelity."""
    to_crystal: Callable[[State], Crystal]
    """Terminal state to its triple; traceable, no batch axis."""
    oxidation_states: Callable[[State], dict[str, int]]
    """Terminal state to the charge of each element; on the host."""
    known: Callable[[], list[CrystalRecord]]
    """Crystals whose atoms are known and which every oracle can take, in a fixed order."""
    oracles: tuple[Oracle, ...]
    """By rising fidelity; the last is the top."""


def make_problem(config: CampaignConfig) -> Problem:
    """Lithium crystals under the configured limits, with the embedded table as what is known.

    Raises:
      MfalError: where limits or oracles make no sense.
    """
    from mfal.envs.crystal import crystal_environment, species_of, to_crystal

    oracles = load_oracles(config.oracles)
    spec = make_spec(config.space)
    return Problem(
        environment=crystal_environment(spec),
        to_crystal=lambda state: to_crystal(spec, state),
        oxidation_states=lambda state: dict(species_of(spec, state)),
        known=_embedded,
        oracles=oracles,
    )


def make_spec(space: SpaceConfig) -> "CrystalSpec":
    """The environment's limits from the campaign's.

    Raises:
      MfalError: where no crystal could meet them.
    """
    from mfal.envs.crystal import CrystalSpec

    if "Li" not in space.elements:
        raise MfalError(f"space.elements {', '.join(space.elements)}", "add Li")
    return CrystalSpec(
        elements=space.elements,
        min_elements=space.min_elements,
        max_elements=space.max_elements,
        max_atoms=space.max_atoms,
    )


def record_of(crystal: Crystal, oxidation_states: dict[str, int], source: str) -> CrystalRecord:
    """The ledger's form of one triple (NumPy or JAX arrays, no batch axis)."""
    counts = np.asarray(crystal.composition)
    composition = {SYMBOLS[i]: round(float(counts[i])) for i in np.flatnonzero(counts > 0)}
    lattice = tuple(float(x) for x in np.asarray(crystal.lattice, np.float32))
    group = int(crystal.space_group_number)
    return CrystalRecord(
        hash=crystal_hash(composition, group, lattice),
        formula=_reduced_formula(composition),
        composition=composition,
        space_group=group,
        lattice=lattice,
        oxidation_states={symbol: oxidation_states[symbol] for symbol in composition},
        source=source,
    )


def crystal_arrays(records: list[CrystalRecord]) -> Crystal:
    """The learner's form of ledger records: NumPy arrays with a leading axis."""
    composition = np.zeros((len(records), len(SYMBOLS)), np.float32)
    for row, record in zip(composition, records, strict=True):
        for symbol, count in record.composition.items():
            row[SYMBOLS.index(symbol)] = count
    groups: Any = np.array([record.space_group for record in records], np.int32)
    lattice: Any = np.array([record.lattice for record in records], np.float32).reshape(-1, 6)
    arrays: Any = composition
    return Crystal(jax.numpy.asarray(arrays), jax.numpy.asarray(groups), jax.numpy.asarray(lattice))


def _reduced_formula(composition: dict[str, int]) -> str:
    """Cations first, as chemists write it; the conventional cell's content reduced."""
    from pymatgen.core import Composition

    return str(Composition(composition).reduced_formula)


def _embedded() -> list[CrystalRecord]:
    """Ordered crystals of the embedded table."""
    from mfal.data import load_embedded

    table = load_embedded()
    records = []
    for identifier, structure in zip(table.id, table.structures(), strict=True):
        if structure is None or not structure.is_ordered:
            continue
        records.append(known_record(structure, str(identifier)))
    return records


def known_record(structure: Any, identifier: str) -> CrystalRecord:
    """The ledger's form of a crystal whose atoms are known (a pymatgen `Structure`)."""
    from mfal.crystals.structures import crystal_from_structure, element_charges

    crystal = crystal_from_structure(structure)
    charges = {symbol: round(charge) for symbol, charge in element_charges(structure).items()}
    record = record_of(crystal, charges, f"known:{identifier}")
    name = crystal_hash(record.composition, record.space_group, record.lattice, record.source)
    return record._replace(hash=name, structure=json.dumps(structure.as_dict()))
