"""Between the ledger's rows and the records that they hold."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from mfal.campaign.ledger.records import (
    CrystalRecord,
    Proposal,
    Query,
    query_hash,
    realisation_seed,
)

__all__ = [
    "ANSWER_COLUMNS",
    "QUERY_COLUMNS",
    "Answer",
    "Tally",
    "answer_of_row",
    "crystal_values",
    "query_of_row",
    "query_values",
]


class Tally(NamedTuple):
    """How many queries of one account and fidelity there are, and what they cost, CPU seconds."""

    account: str
    fidelity: int
    kind: str
    """"proposed" (all of them), "observed", "failed" or "abandoned"; "decided", at fidelity -1, for
    what the campaign itself computed."""
    number: int
    cost: float


class Answer(NamedTuple):
    """A query with the event that ended it."""

    query: Query
    kind: str
    value: float | None
    spread: float | None
    seconds: float | None
    detail: dict[str, Any]

    @property
    def censoring(self) -> str:
        """What was told or the oracle says of the value: `below`, `above` a limit, or `exact`."""
        said = self.detail.get("censoring")
        return str(said or (self.detail.get("provenance") or {}).get("censoring") or "exact")


QUERY_COLUMNS = """
    q.id, q.account, q.round, q.fidelity, q.oracle, q.oracle_version, q.cost, q.structures,
    q.seed, q.predicted, q.parents, c.hash, c.formula, c.composition, c.space_group, c.lattice,
    c.oxidation_states, c.source, c.structure
"""
"""Columns of `query q JOIN crystal c`, in the order in which `query_of_row` reads them."""

ANSWER_COLUMNS = f"{QUERY_COLUMNS}, e.kind, e.value, e.spread, e.seconds, e.detail"
"""The same columns and those of `event e`, in the order in which `answer_of_row` reads them."""

_QUERY_WIDTH = QUERY_COLUMNS.count(",") + 1


def crystal_values(crystal: CrystalRecord) -> dict[str, Any]:
    """The columns of a crystal's row."""
    return {
        "hash": crystal.hash,
        "formula": crystal.formula,
        "composition": json.dumps(crystal.composition),
        "space_group": crystal.space_group,
        "lattice": json.dumps(crystal.lattice),
        "oxidation_states": json.dumps(crystal.oxidation_states),
        "source": crystal.source,
        "structure": crystal.structure,
    }


def query_values(proposal: Proposal) -> dict[str, Any]:
    """The columns of a query's row that a proposal decides."""
    crystal = proposal.crystal.hash
    return {
        "hash": query_hash(
            crystal,
            proposal.fidelity,
            proposal.oracle,
            proposal.oracle_version,
            proposal.structures,
        ),
        "fidelity": proposal.fidelity,
        "oracle": proposal.oracle,
        "oracle_version": proposal.oracle_version,
        "cost": proposal.cost,
        "structures": proposal.structures,
        "seed": realisation_seed(crystal),
        "predicted": json.dumps(proposal.predicted),
        "parents": json.dumps(proposal.parents),
    }


def query_of_row(row: Sequence[Any]) -> Query:
    """A query from `QUERY_COLUMNS`."""
    crystal = CrystalRecord(
        hash=row[11],
        formula=row[12],
        composition=json.loads(row[13]),
        space_group=row[14],
        lattice=tuple(json.loads(row[15])),
        oxidation_states=json.loads(row[16]),
        source=row[17],
        structure=row[18],
    )
    return Query(
        id=row[0],
        account=row[1],
        round=row[2],
        crystal=crystal,
        fidelity=row[3],
        oracle=row[4],
        oracle_version=row[5],
        cost=row[6],
        structures=row[7],
        seed=row[8],
        predicted=json.loads(row[9]),
        parents=tuple(json.loads(row[10])),
    )


def answer_of_row(row: Sequence[Any]) -> Answer:
    """An answer from `ANSWER_COLUMNS`."""
    kind, value, spread, seconds, detail = row[_QUERY_WIDTH:]
    return Answer(
        query_of_row(row[:_QUERY_WIDTH]), kind, value, spread, seconds, json.loads(detail)
    )
