"""Between crystals as arrays or structures and the records that the ledger keeps of them."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from mfal.campaign.ledger.records import POOL, CrystalRecord, crystal_hash
from mfal.crystals.elements import SYMBOLS
from mfal.crystals.types import Crystal

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = [
    "crystal_arrays",
    "known_record",
    "plain_structure",
    "pool_record",
    "record_of",
    "structure_of",
]


def record_of(crystal: Crystal, oxidation_states: dict[str, float], source: str) -> CrystalRecord:
    """The ledger's form of one triple (NumPy or JAX arrays, no batch axis)."""
    counts = np.asarray(crystal.composition)
    composition = {SYMBOLS[i]: _amount(float(counts[i])) for i in np.flatnonzero(counts > 0)}
    lattice = tuple(float(x) for x in np.asarray(crystal.lattice, np.float32))
    group = int(crystal.space_group_number)
    return CrystalRecord(
        hash=crystal_hash(composition, group, lattice),
        formula=_reduced_formula(composition),
        composition=composition,
        space_group=group,
        lattice=lattice,
        oxidation_states={s: oxidation_states[s] for s in composition if s in oxidation_states},
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


def _as_text(structure: "Structure") -> str:
    """A structure in pymatgen's form of JSON, the same whatever the process has done before.

    pymatgen keeps one species for charges of 1 and 1.0, written as whichever was asked for first.
    """
    plain = structure.as_dict()
    for site in plain["sites"]:
        for species in site["species"]:
            if species.get("oxidation_state") is not None:
                species["oxidation_state"] = float(species["oxidation_state"])
    return json.dumps(plain)


def known_record(structure: "Structure", identifier: str) -> CrystalRecord:
    """The ledger's form of a crystal whose atoms are known."""
    from mfal.crystals.structures import crystal_from_structure, element_charges

    crystal = crystal_from_structure(structure)
    record = record_of(crystal, element_charges(structure), f"known:{identifier}")
    name = crystal_hash(record.composition, record.space_group, record.lattice, record.source)
    return record._replace(hash=name, structure=_as_text(structure))


def pool_record(
    crystal: Crystal, name: str, origin: str, structure: "Structure | None"
) -> CrystalRecord:
    """The ledger's form of a candidate from a pool, with its atoms where they are known.

    Args:
      crystal: its triple (NumPy arrays, no batch axis).
      name: in the pool.
      origin: where it comes from, in words.
      structure: its atoms, which then are told by the name `mfal.oracles.lookup_oracle` knows.

    Raises:
      MfalError: where no atoms are known and no charges balance, so that none can be found.
    """
    source = f"{POOL}{name}; {origin}"
    if structure is None:
        from mfal.crystals.charges import balanced_charges

        counts = np.asarray(crystal.composition)
        amounts = {SYMBOLS[i]: float(counts[i]) for i in np.flatnonzero(counts > 0)}
        return record_of(crystal, balanced_charges(amounts), source)
    from mfal.crystals.charges import charge

    charges = {s.symbol: charge(s) for s in structure.composition if charge(s)}
    record = record_of(crystal, charges, source)
    structure.properties = {**structure.properties, "material": name}
    return record._replace(
        hash=crystal_hash(record.composition, record.space_group, record.lattice, f"{POOL}{name}"),
        structure=_as_text(structure),
    )


def _amount(number: float) -> float:
    """Atoms in a cell: a whole number, or four decimals where sites are partly filled."""
    whole = round(number)
    return whole if abs(number - whole) < 1e-3 else round(number, 4)


def _reduced_formula(composition: dict[str, float]) -> str:
    """Cations first, as chemists write it; the conventional cell's content reduced."""
    from pymatgen.core import Composition

    return str(Composition(composition).reduced_formula)


def plain_structure(structure: "Structure") -> dict[str, Any]:
    """A structure as values for JSON, in a third of the space that pymatgen's form takes."""
    return {
        "lattice": structure.lattice.matrix.tolist(),
        "species": [str(site.specie) for site in structure],
        "coordinates": structure.frac_coords.tolist(),
    }


def structure_of(plain: Mapping[str, Any]) -> "Structure":
    """The structure that an answer's `detail["arrangement"]` holds."""
    from pymatgen.core import Structure

    return Structure(plain["lattice"], plain["species"], plain["coordinates"])
