"""What a round's answers teach: scores for the belief, and which queries came to nothing."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mfal.campaign.ledger.crystals import crystal_arrays
from mfal.campaign.ledger.records import CrystalRecord
from mfal.campaign.strategy.lessons import lessons
from mfal.campaign.strategy.types import Round
from mfal.crystals.types import Crystal
from mfal.errors import MfalError
from mfal.oracles.types import Oracle
from mfal.proxies.dataset import ABOVE, BELOW, EXACT, Dataset, make_dataset

__all__ = [
    "Attempts",
    "ScoredRows",
    "attempts_of",
    "in_units",
    "own_scores",
    "score",
    "scored_rows",
]


class ScoredRows(NamedTuple):
    """Observations as scores: larger is better."""

    records: list[CrystalRecord]
    """[N]"""
    fidelity: np.ndarray
    """[N] int32"""
    score: np.ndarray
    """[N] float32, within the oracle's bounds, sign turned where lower is better."""
    proposed: np.ndarray
    """[N] bool, whether the crystal is one that the campaign proposed, not a known one."""
    censoring: np.ndarray
    """[N] int32, of the score: -1 where it is an upper limit, 1 a lower one, 0 exact."""

    def dataset(self, capacity: int) -> Dataset:
        """The rows padded to one capacity for the campaign, so that nothing compiles twice."""
        crystals = crystal_arrays(self.records)
        return make_dataset(crystals, self.fidelity, self.score, self.censoring, capacity=capacity)

    def first(self) -> dict[str, int]:
        """The first row about each crystal, by hash."""
        return {record.hash: i for i, record in reversed(list(enumerate(self.records)))}


class Attempts(NamedTuple):
    """Queries about proposed crystals, whatever came of them."""

    crystal: Crystal
    """[N]"""
    answered: np.ndarray
    """[N] bool."""


def scored_rows(round_: Round, oracles: Sequence[Oracle], capacity: int) -> ScoredRows:
    """Observations as scores, in the order of decisions; what was told comes last.

    A measured value of what the target oracle estimates stands in for the oracle's own answer
    about that crystal. What is a limit ("below" or "above"), of detection or of a simulation, is a
    limit to the proxy too.

    Args:
      round_: with its answers.
      oracles: by rising fidelity.
      capacity: most rows; the latest are kept.

    Raises:
      MfalError: where nothing was answered.
    """
    target = len(oracles) - 1
    told = lessons(round_.told, oracles[target].unit)
    seen = [
        answer
        for answer in round_.answers
        if answer.kind == "observed"
        and not (answer.query.fidelity == target and answer.query.crystal.hash in told)
    ]
    if not seen:
        reasons = sorted({answer.detail["status"] for answer in round_.answers})
        raise MfalError(
            f"no query of the initial data was answered ({'; '.join(reasons[:3])})",
            "check the oracles with `mfal score`",
        )
    facts: list[tuple[CrystalRecord, int, float, int]]
    facts = [
        (answer.query.crystal, m, answer.value or 0.0, _limit(answer.censoring, oracles[m]))
        for answer in seen
        for m in (answer.query.fidelity,)
    ]
    facts += [
        (crystal, target, value, _limit(said, oracles[target]))
        for crystal, value, said in told.values()
    ]
    facts = facts[-capacity:]
    return ScoredRows(
        [crystal for crystal, _, _, _ in facts],
        np.array([fidelity for _, fidelity, _, _ in facts], np.int32),
        np.array([score(oracles[m], value) for _, m, value, _ in facts], np.float32),
        np.array([crystal.proposed for crystal, _, _, _ in facts], bool),
        np.array([limit for _, _, _, limit in facts], np.int32),
    )


def _limit(censoring: str, oracle: Oracle) -> int:
    """Of the score: -1 for an upper limit, 1 for a lower one, 0 for an exact answer."""
    limit = {"below": BELOW, "above": ABOVE}.get(censoring, EXACT)
    return limit if oracle.higher_is_better else -limit


def attempts_of(round_: Round) -> Attempts:
    """All ended queries about proposed crystals, answered or not.

    Known crystals don't count: their atoms need not be found.
    """
    asked = [answer for answer in round_.answers if answer.query.crystal.proposed]
    return Attempts(
        crystal_arrays([answer.query.crystal for answer in asked]),
        np.array([answer.kind == "observed" for answer in asked], bool),
    )


def score(oracle: Oracle, value: float) -> float:
    """The value within the oracle's bounds, its sign turned where smaller values are better."""
    clipped = float(np.clip(value, *oracle.bounds))
    return clipped if oracle.higher_is_better else -clipped


def own_scores(
    rows: ScoredRows, records: Sequence[CrystalRecord], levels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which of N crystals have answered at which fidelity, [N, M] bool, and their scores [N, M].

    A limit is no answer to condition on; the proxy learns from it.
    """
    place = {record.hash: i for i, record in enumerate(records)}
    answered, value = np.zeros((len(records), levels), bool), np.zeros((len(records), levels))
    exact = np.flatnonzero(rows.censoring == EXACT)
    for row in exact[[rows.records[i].hash in place for i in exact]] if len(exact) else exact:
        i, m = place[rows.records[row].hash], rows.fidelity[row]
        answered[i, m], value[i, m] = True, rows.score[row]
    return answered, value


def in_units(mean: np.ndarray, std: np.ndarray, oracles: Sequence[Oracle]) -> dict[str, Any]:
    """One crystal's expected answers [M] in the oracles' units, as the ledger keeps them."""
    sign = [1.0 if oracle.higher_is_better else -1.0 for oracle in oracles]
    return {
        "mean": [s * float(x) for s, x in zip(sign, mean, strict=True)],
        "std": [float(x) for x in std],
    }
