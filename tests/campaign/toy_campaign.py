"""A campaign without learning or physics: all bookkeeping, nothing to wait for.

It needs neither JAX nor pymatgen, so a process that runs it starts at once and may be forked.
"""

import hashlib
import math
import os
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from mfal.campaign.config import CampaignConfig
from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.records import CrystalRecord, Outcome, Proposal, crystal_hash
from mfal.campaign.strategy.types import Decision, Round, Strategy
from mfal.oracles.types import Oracle

__all__ = ["CONFIG", "VERSION", "InstantExecutor", "beside", "digest", "oracles", "strategy"]

VERSION = "MFAL_TEST_ORACLE_VERSION"
"""Environment variable with the version that the oracles have."""
LATTICE = (3.0, 3.0, 3.0, 90.0, 90.0, 90.0)


def oracles() -> tuple[Oracle, ...]:
    """Two fidelities that are never asked themselves: the executor answers for them."""
    version = os.environ.get(VERSION, "1")
    return (
        Oracle("cheap", version, 0, 0.25, "share", True, (-1.0, 1.0), lambda s: []),
        Oracle("dear", version, 1, 1.0, "share", True, (-1.0, 1.0), lambda s: []),
    )


CONFIG = CampaignConfig(budget=16.0, rounds=3, oracles=("toy_campaign:oracles",))


def crystal(number: int, known: bool = False) -> CrystalRecord:
    composition = {"Li": number + 1, "O": 1}
    return CrystalRecord(
        crystal_hash(composition, 1, LATTICE),
        f"Li{number + 1}O",
        composition,
        1,
        LATTICE,
        {"Li": 1.0, "O": -2.0},
        "known:toy" if known else "sampled",
        "{}" if known else None,
    )


def proposal(number: int, fidelity: int, known: bool = False) -> Proposal:
    oracle = oracles()[fidelity]
    predicted: dict[str, Any] = {} if known else {"mean": [0.0, 0.0], "std": [1.0, 1.0]}
    return Proposal(
        crystal(number, known), fidelity, oracle.name, oracle.version, oracle.cost, 1, predicted
    )


def _decide(round_: Round, first: int, known: bool = False) -> Decision:
    """Numbers that depend on every answer so far, as a learner's proposals would."""
    state = hash_of([(a.query.id, a.kind, a.value) for a in round_.answers])
    proposals: list[Proposal] = []
    for step in range(6):
        new = proposal(first + 10 * step + state % 10, step % 2, known)
        if sum(each.cost for each in (*proposals, new)) <= round_.allowance:
            proposals.append(new)
    return Decision(proposals, {"state": state})


def strategy(propose: Callable[[Round], Decision] | None = None) -> Strategy:
    """Proposals that are a function of the answers."""
    return Strategy(
        initial=lambda r: Decision([proposal(n, n % 2, known=True) for n in range(4)], {}),
        propose=propose or (lambda r: _decide(r, 100 * r.number)),
        conclude=lambda r: {"predictions": {}, "answers": len(r.answers)},
    )


def beside(propose: Callable[[Round], Decision] | None = None) -> Strategy:
    """A search to compare with."""
    return strategy(propose or (lambda r: Decision([proposal(5000 + r.number, 1)], {})))


class InstantExecutor(Executor):
    """Answers each task by a number made of its crystal's name; one in seven fails."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        task = args[0]
        number = hash_of([task.crystal.hash, task.oracle])
        if number % 7 == 0:
            future.set_result(Outcome(None, None, "failed: seven", 0.0, {}))
        else:
            value = math.sin(number)
            future.set_result(Outcome(value, abs(value) / 3, "ok", 0.0, {"answers": [value]}))
        return future


def hash_of(parts: Any) -> int:
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:8], 16)


def digest(folder: Path) -> list[Any]:
    """All that a campaign decided and learned, without times and without repeated submissions."""
    with Ledger(folder / "ledger.sqlite", readonly=True) as ledger:
        found: list[Any] = []
        for account in ("campaign", "baseline"):
            found.append(ledger.rounds(account))
            # Ids aside: rounds of the two accounts are written one after the other.
            found.append(
                [a._replace(query=a.query._replace(id=0)) for a in ledger.answers(account)]
            )
            found.append([q.crystal.hash for q in ledger.pending(account)])
        found.append(ledger.tallies())
    return found
