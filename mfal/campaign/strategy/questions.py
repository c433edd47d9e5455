"""Questions, whoever decides on them: what they cost, what is open, what a campaign begins with."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np

from mfal.campaign.config import CampaignConfig
from mfal.campaign.ledger.budget import Account, affordable
from mfal.campaign.ledger.crystals import known_record, record_of
from mfal.campaign.ledger.prices import price
from mfal.campaign.ledger.records import CrystalRecord, Proposal
from mfal.campaign.problem import Problem
from mfal.campaign.strategy.types import Decision, Round
from mfal.durations import show_duration
from mfal.envs.random import sample_uniformly
from mfal.errors import MfalError

__all__ = [
    "Asked",
    "Asker",
    "asked_before",
    "initial_data",
    "records_of",
    "uniform_records",
    "uniform_states",
]

_INITIAL_SHARE = 0.5
"""Of the budget, the most that known crystals may take: at least as much is left for proposals."""
_BUCKET = 64
"""Random draws are made by so many, so that shapes repeat from round to round."""
_ATTEMPTS = 20
"""Random draws of a bucket before restrictions are taken to allow too little."""


class Asker(NamedTuple):
    """Makes proposals for one problem, with their prices."""

    problem: Problem
    config: CampaignConfig

    @property
    def target(self) -> int:
        """The target fidelity."""
        return len(self.problem.oracles) - 1

    def cost(
        self, fidelity: int, crystal: CrystalRecord | None = None, *, found: bool = False
    ) -> float:
        """Nominal CPU seconds of a question.

        Args:
          fidelity: at which it is asked.
          crystal: about which; any candidate if left out.
          found: whether an earlier answer holds its atoms: relaxed ones needn't be found again.
        """
        known, relaxable = self._typical()
        if crystal is not None:
            known, relaxable = crystal.structure is not None, crystal.relaxable
        relax = self.config.relax and relaxable
        there = relax and found
        return price(
            self.problem.oracles[fidelity],
            1 if known or there else self.config.realisations,
            atoms_known=known or there,
            relax=relax and not there,
        )

    def _typical(self) -> tuple[bool, bool]:
        """Whether any candidate's atoms are known, and whether most may be relaxed."""
        pool = self.problem.pool
        if pool is None or self.problem.environment is not None or not pool.has_all_atoms:
            return False, True
        return True, pool.mostly_relaxable

    def proposal(
        self,
        crystal: CrystalRecord,
        fidelity: int,
        predicted: dict[str, Any] | None = None,
        parents: tuple[int, ...] = (),
        *,
        found: bool = False,
    ) -> Proposal:
        """A question whose cost is known before it is asked."""
        oracle = self.problem.oracles[fidelity]
        return Proposal(
            crystal,
            fidelity,
            oracle.name,
            oracle.version,
            self.cost(fidelity, crystal, found=found),
            # A proposed crystal's atoms are not known: several arrangements are looked at.
            1 if crystal.structure is not None else self.config.realisations,
            predicted or {},
            parents,
        )

    def within(
        self, wanted: Sequence[tuple[CrystalRecord, int]], round_: Round, *, found: bool = False
    ) -> list[Proposal]:
        """The first of the wanted questions that the round's allowances pay for.

        With `found`, all are about crystals that have answered before.
        """
        left, room = round_.allowance, list(round_.allowances)
        paid = []
        for crystal, fidelity in wanted:
            made = self.proposal(crystal, fidelity, found=found)
            if made.cost <= min(left, room[fidelity]) * (1 + 1e-9):
                left -= made.cost
                room[fidelity] -= made.cost
                paid.append(made)
        return paid


class Asked(NamedTuple):
    """What has become of the crystals that were asked about."""

    seen: dict[str, CrystalRecord]
    """Proposed crystals that have answered at some fidelity, by hash, in the order of asking."""
    vain: set[str]
    """Those that have only failed."""
    parents: dict[str, tuple[int, ...]]
    """Ids of all questions about each crystal."""
    pairs: set[tuple[str, int]]
    """(hash, fidelity) of all that was asked, open questions too."""


def asked_before(round_: Round) -> Asked:
    """Sorts a round's earlier questions by crystal."""
    proposed = [a for a in round_.answers if a.query.crystal.proposed]
    seen = {a.query.crystal.hash: a.query.crystal for a in proposed if a.kind == "observed"}
    vain = {a.query.crystal.hash for a in proposed if a.kind == "failed"} - set(seen)
    parents: dict[str, tuple[int, ...]] = {}
    queries = [answer.query for answer in round_.answers] + list(round_.pending)
    for query in queries:
        parents[query.crystal.hash] = (*parents.get(query.crystal.hash, ()), query.id)
    return Asked(seen, vain, parents, {(q.crystal.hash, q.fidelity) for q in queries})


def initial_data(asker: Asker, round_: Round, *, thinking: float = 0.0) -> Decision:
    """Known crystals, or candidates of the pool, at every fidelity, drawn at random.

    Known ones are those most akin to the space. All fidelities or none: pairs of answers teach what
    the fidelities have to do with each other.

    Args:
      asker: of the campaign.
      round_: the one before the first.
      thinking: nominal CPU seconds that a round's decision costs.

    Raises:
      MfalError: where the budget or a limit buys no initial data, or no answer of the target.
    """
    oracles, rounds = asker.problem.oracles, asker.config.rounds
    records = _starters(asker)
    if not records:
        raise MfalError(
            "nothing to begin with: no candidate's atoms can be told", "give another pool"
        )
    costs = [
        # The first question about a crystal finds its atoms for the others.
        [asker.cost(m, record, found=m > 0) for m in range(len(oracles))]
        for record in records
    ]
    each = [sum(own) for own in costs]
    dear, first = asker.cost(asker.target), each[0]
    least = max(first / _INITIAL_SHARE, first + dear + rounds * thinking)
    if round_.allowance < least * (1 - 1e-9):
        raise MfalError(
            f"budget {show_duration(round_.allowance)} buys no answer of {oracles[-1].name} about a"
            f" candidate: one costs {show_duration(dear)}, a crystal to begin with"
            f" {show_duration(first)}, deciding {show_duration(rounds * thinking)} in {rounds}"
            " rounds",
            f"give at least {show_duration(1.05 * least)}, or leave dear oracles out",
        )
    share = _INITIAL_SHARE * round_.allowance
    number = affordable(Account(share, 0.0, 0.0), each)
    for m, (oracle, allowance) in enumerate(zip(oracles, round_.allowances, strict=True)):
        part = _INITIAL_SHARE * allowance
        prices = [own[m] for own in costs[:number]]
        fits = affordable(Account(part, 0.0, 0.0), prices)
        if number and not fits:
            raise MfalError(
                f"the limit of {oracle.name} buys no initial data",
                f"give it at least {show_duration(prices[0] / _INITIAL_SHARE)}",
            )
        number = min(number, fits)
    proposals = [
        asker.proposal(record, fidelity, found=fidelity > 0)
        for record in records[:number]
        for fidelity in range(len(oracles))
    ]
    return Decision(proposals, {"known": number})


def _starters(asker: Asker) -> list[CrystalRecord]:
    """What a campaign begins with, in the order in which it is taken."""
    number, pool = asker.config.initial, asker.problem.pool
    if pool is not None:
        return pool.draw(np.random.default_rng([asker.config.seed, 0]), number)
    known = asker.problem.known()[: 2 * number]
    key = jax.random.fold_in(jax.random.key(asker.config.seed), 0)
    order = np.asarray(jax.random.permutation(key, len(known)))
    return [known_record(known[i][1], known[i][0]) for i in order[:number]]


def records_of(
    problem: Problem, states: Any, source: str
) -> tuple[np.ndarray, list[CrystalRecord]]:
    """Which terminal states [N] meet the user's restrictions, and the records of those that do."""
    crystals = jax.tree.map(np.asarray, _to_crystals(problem)(states))
    allowed = np.flatnonzero(np.asarray(_allowed(problem)(crystals)))
    states = jax.tree.map(np.asarray, states)

    def one(i: int) -> CrystalRecord:
        state, crystal = jax.tree.map(lambda leaf: leaf[i], (states, crystals))
        return record_of(crystal, problem.oxidation_states(state), source)

    return allowed, [one(i) for i in allowed.tolist()]


def uniform_records(
    problem: Problem, key: jax.Array, number: int, source: str = "random"
) -> list[CrystalRecord]:
    """So many crystals as a search without a model draws them; some may be equal.

    From a pool where there is one, beside what is generated in equal parts.

    Raises:
      MfalError: where restrictions allow next to nothing.
    """
    if number <= 0:
        return []
    records: list[CrystalRecord] = []
    if problem.pool is not None:
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
        share = number if problem.environment is None else number // 2
        records = problem.pool.draw(rng, share)
    for attempt in range(_ATTEMPTS if problem.environment is not None else 0):
        left = number - len(records)
        if left <= 0:
            break
        again = jax.random.fold_in(key, attempt) if attempt else key
        states = uniform_states(problem)(again, -(-left // _BUCKET) * _BUCKET)
        records += records_of(problem, states, source)[1]
    if not records:
        raise MfalError(
            "of the crystals that are drawn at random none meets the restrictions",
            "loosen space.must_contain, banned, anions or formula, or name the elements",
        )
    return records[:number]


@lru_cache(maxsize=8)
def uniform_states(problem: Problem) -> Any:
    """(key, number) to terminal states of the problem's environment, jitted."""
    environment = problem.environment
    assert environment is not None
    return jax.jit(lambda key, number: sample_uniformly(environment, key, number), static_argnums=1)


@lru_cache(maxsize=8)
def _to_crystals(problem: Problem) -> Any:
    return jax.jit(jax.vmap(problem.to_crystal))


@lru_cache(maxsize=8)
def _allowed(problem: Problem) -> Any:
    return jax.jit(jax.vmap(problem.allowed))
