"""The queries that a round may choose among."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mfal.campaign.ledger.records import CrystalRecord
from mfal.campaign.strategy.stability import Judged, Stability
from mfal.campaign.strategy.types import Round

__all__ = ["CandidatePool", "make_candidate_pool", "without"]


class CandidatePool(NamedTuple):
    """Queries that might be asked, [N] each."""

    records: list[CrystalRecord]
    fidelity: np.ndarray
    """int32"""
    available: np.ndarray
    """bool, which may be asked for information."""
    pending: np.ndarray
    """Positions of those that are open already, [P] int: at the end, none of them available."""
    parents: dict[str, tuple[int, ...]]
    """Earlier queries about each crystal (its hash)."""
    counts: dict[str, int]
    answered: np.ndarray
    """[N, M] bool, at which fidelities the crystal has answered."""
    judged: Judged | None = None
    """What is known of the stability, where there is a requirement."""


def make_candidate_pool(
    round_: Round,
    records: Sequence[CrystalRecord],
    fidelity: np.ndarray,
    target: int,
    stability: Stability | None,
) -> CandidatePool:
    """What may be asked: new draws, and crystals of earlier rounds at fidelities not asked.

    Crystals that were asked about in vain are left out.

    Args:
      round_: with its answers and what is open.
      records: the crystals drawn.
      fidelity: [len(records)], at which each was drawn.
      target: the highest fidelity.
      stability: judges candidates, where there is a requirement.
    """
    proposed = [answer for answer in round_.answers if answer.query.crystal.proposed]
    earlier = {a.query.crystal.hash: a.query.crystal for a in proposed if a.kind == "observed"}
    heard = {(a.query.crystal.hash, a.query.fidelity) for a in proposed if a.kind == "observed"}
    vain = {a.query.crystal.hash for a in proposed if a.kind == "failed"} - set(earlier)
    asked = round_.asked({record.hash for record in records} | set(earlier))
    # A crystal that was drawn for one oracle may be a good one to ask another.
    crystals = {r.hash: r for r in records if r.hash not in vain} | earlier
    pairs = {(name, m): crystal for name, crystal in crystals.items() for m in range(target + 1)}
    open_ = {pair: crystal for pair, crystal in pairs.items() if pair not in asked}
    drawn = {(record.hash, m) for record, m in zip(records, fidelity.tolist(), strict=True)}
    waiting = [query.crystal for query in round_.pending]
    levels = [m for _, m in open_] + [query.fidelity for query in round_.pending]
    # The target costs most: it is asked for information where the sampler drew it, or of crystals
    # that have been asked before.
    available = [p in drawn or p[0] in earlier or p[1] < target for p in open_]
    available += [False] * len(waiting)
    parents: dict[str, tuple[int, ...]] = {}
    for query in [answer.query for answer in round_.answers] + list(round_.pending):
        parents[query.crystal.hash] = (*parents.get(query.crystal.hash, ()), query.id)
    askable = [*open_.values(), *waiting]
    judged = stability.judge(askable, round_.answers) if stability else None
    return CandidatePool(
        records=askable,
        fidelity=np.array(levels, np.int32),
        available=np.array(available, bool)
        & ((judged.label > 0) & ~judged.known if judged else True),
        pending=np.arange(len(open_), len(open_) + len(waiting)),
        parents=parents,
        judged=judged,
        counts={
            "drawn": len(records),
            "distinct": len({record.hash for record in records}),
            "asked_before": len(earlier),
        },
        answered=np.array(
            [[(record.hash, m) in heard for m in range(target + 1)] for record in askable], bool
        ).reshape(len(askable), target + 1),
    )


def without(pool: CandidatePool, taken: Sequence[tuple[int, int]]) -> CandidatePool:
    """The pool without queries, each a position and a fidelity, that are decided on already."""
    pairs = {(pool.records[i].hash, fidelity) for i, fidelity in taken}
    left = [
        (record.hash, fidelity) not in pairs
        for record, fidelity in zip(pool.records, pool.fidelity.tolist(), strict=True)
    ]
    return pool._replace(available=pool.available & np.array(left, bool))
