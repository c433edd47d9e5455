"""What the ledger holds, as plain values, and the hashes that name it.

Nothing here needs JAX or pymatgen, so that workers and readers start at once.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "KNOWN",
    "POOL",
    "CrystalRecord",
    "Outcome",
    "Proposal",
    "Query",
    "crystal_hash",
    "query_hash",
    "realisation_seed",
]

KNOWN = "known:"
"""Begins the source of a crystal that is known, and no candidate."""
POOL = "pool:"
"""Begins the source of a candidate from a pool; its name follows, and after a semicolon where it
comes from."""
LATTICE_DECIMALS = 3
"""Lattices that agree to 0.001 Å and 0.001 degrees are the same candidate."""


class CrystalRecord(NamedTuple):
    """A candidate, or a known crystal, as the ledger keeps it."""

    hash: str
    formula: str
    composition: dict[str, float]
    """Atoms of each element in the conventional cell; whole numbers but where sites are partly
    filled."""
    space_group: int
    lattice: tuple[float, ...]
    """a b c in Å, alpha beta gamma in degrees; float32 values."""
    oxidation_states: dict[str, float]
    """Mean charge of each element's ions."""
    source: str
    """"sampled", "random", "pool:NAME; ORIGIN" for a candidate from a pool, or "known:ID"."""
    structure: str | None = None
    """Atoms, a pymatgen structure as JSON; None where none are known."""

    @property
    def proposed(self) -> bool:
        """Whether the crystal is a candidate, not one that was known beforehand."""
        return not self.source.startswith(KNOWN)

    @property
    def pool_name(self) -> str | None:
        """Its name in the pool; None for a crystal that comes from none."""
        if not self.source.startswith(POOL):
            return None
        return self.source.removeprefix(POOL).partition("; ")[0]

    @property
    def relaxable(self) -> bool:
        """Whether its atoms may be relaxed before an oracle sees them.

        Those of candidates, unless they are given with sites that are partly filled or shared;
        known crystals are asked about as they are known.
        """
        return self.proposed and (self.structure is None or _is_ordered(self.structure))


class Proposal(NamedTuple):
    """A query that has been decided on, before it has an id."""

    crystal: CrystalRecord
    fidelity: int
    oracle: str
    oracle_version: str
    cost: float
    """Nominal CPU seconds that the query takes from the budget, whatever comes of it."""
    structures: int
    """Atom arrangements to be asked about."""
    predicted: dict[str, Any]
    """What the proxy expected, by fidelity in the oracle's unit: mean, standard deviation of the
    true value, and noise, the standard deviation of an answer around it."""
    parents: tuple[int, ...] = ()
    """Ids of the earlier queries that it follows from: those about the same crystal."""


class Query(NamedTuple):
    """A proposal in the ledger."""

    id: int
    account: str
    round: int
    crystal: CrystalRecord
    fidelity: int
    oracle: str
    oracle_version: str
    cost: float
    structures: int
    seed: int
    predicted: dict[str, Any]
    parents: tuple[int, ...]


class Outcome(NamedTuple):
    """What came of a query: JSON-ready, so that any executor can carry it."""

    value: float | None
    """Mean over the structures that the oracle answered, None where it answered none."""
    spread: float | None
    """Standard deviation over those structures, None for fewer than two."""
    status: str
    """"ok" or "failed: why"."""
    seconds: float
    """CPU seconds that it really took, atoms included."""
    detail: dict[str, Any]
    """The answers about all structures, how many were tried and why others were rejected, the
    oracle's provenance, and the CIF of a typical structure."""


@lru_cache(maxsize=8192)
def _is_ordered(structure: str) -> bool:
    """Whether each site of a pymatgen structure, as JSON, holds one whole atom."""
    return all(
        len(site["species"]) == 1 and site["species"][0]["occu"] > 1 - 1e-6
        for site in json.loads(structure)["sites"]
    )


def crystal_hash(
    composition: Mapping[str, float], space_group: int, lattice: tuple[float, ...], atoms: str = ""
) -> str:
    """The name of a crystal: 32 hex digits.

    Args:
      composition: atoms of each element in the conventional cell; the order doesn't matter.
      space_group: 1 to 230.
      lattice: a b c in Å, alpha beta gamma in degrees; rounded to three decimals.
      atoms: what tells known arrangements of one triple apart; empty for a bare triple.
    """
    rounded = [f"{float(x):.{LATTICE_DECIMALS}f}" for x in lattice]
    return _digest([sorted(composition.items()), int(space_group), rounded, atoms])


def query_hash(crystal: str, fidelity: int, oracle: str, version: str, structures: int) -> str:
    """The name of a question: which crystal, at which fidelity, of which oracle, how often."""
    return _digest([crystal, int(fidelity), oracle, version, int(structures)])


def realisation_seed(crystal: str) -> int:
    """The seed with which a crystal's atoms are placed: a function of the crystal alone."""
    return int(np.uint32(int(crystal[:8], 16)) >> 1)


def _digest(parts: list[Any]) -> str:
    text = json.dumps(parts, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]
