"""What a round's answers teach: scores for the proxy, and which queries came to nothing."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mfal.campaign.ledger.crystals import crystal_arrays
from mfal.campaign.ledger.records import CrystalRecord
from mfal.campaign.strategy.learner import Attempts, Expectation, ScoredRows
from mfal.campaign.strategy.lessons import lessons
from mfal.campaign.strategy.types import Round
from mfal.errors import MfalError
from mfal.oracles.types import Oracle
from mfal.proxies.dataset import ABOVE, BELOW, EXACT

__all__ = ["attempts_of", "in_units", "score", "scored_rows"]


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
        crystal_arrays([crystal for crystal, _, _, _ in facts]),
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


def in_units(expected: Expectation, oracles: Sequence[Oracle], i: int) -> dict[str, Any]:
    """One crystal's expectation in the oracles' units, as the ledger keeps it."""
    sign = [1.0 if oracle.higher_is_better else -1.0 for oracle in oracles]
    return {
        "mean": [s * float(x) for s, x in zip(sign, expected.mean[i], strict=True)],
        "std": [float(x) for x in expected.std[i]],
        "noise": [float(x) for x in expected.noise[i]],
    }
