"""Strategies to compare with: random search, the funnel, and the target's own answers alone.

They run under the same protocol as ours, with the same initial data, prices, ledger and report.
"""

from typing import Any

import jax

from mfal.campaign.config import CampaignConfig
from mfal.campaign.ledger.records import CrystalRecord
from mfal.campaign.problem import Problem
from mfal.campaign.strategy.observations import score
from mfal.campaign.strategy.questions import (
    Asked,
    Asker,
    asked_before,
    initial_data,
    uniform_records,
)
from mfal.campaign.strategy.types import Decision, Round, Strategy

__all__ = ["affordable_at", "found_values", "funnel", "only_target", "random_search"]

_STREAM = 1 << 20
"""Added to a round's number, so that these searches draw from another stream than ours."""
_PASSING = 0.1
"""Share of the crystals at one fidelity that a funnel lets through to the next."""


def random_search(problem: Problem, config: CampaignConfig) -> Strategy:
    """Crystals drawn at random, each asked at the target fidelity."""
    asker = Asker(problem, config)
    key = jax.random.fold_in(jax.random.key(config.seed), _STREAM)

    def propose(round_: Round) -> Decision:
        number = affordable_at(asker, round_, asker.target)
        fresh = fresh_records(problem, round_, jax.random.fold_in(key, round_.number), number)
        return Decision(asker.within([(record, asker.target) for record in fresh], round_), {})

    return Strategy(lambda round_: initial_data(asker, round_), propose, found_values(asker))


def funnel(problem: Problem, config: CampaignConfig) -> Strategy:
    """Everything through the cheapest oracle, the best tenth to the next, and so on to the target.

    What people do who screen. Each round first passes on what the rounds before have let through,
    the dearest fidelities first, and draws as many new crystals as the rest pays for with what they
    will cost on their way. The last round draws none and asks the target about the best that are
    left.
    """
    asker, levels = Asker(problem, config), len(problem.oracles)
    key = jax.random.fold_in(jax.random.key(config.seed), _STREAM + 1)
    way = sum(asker.cost(m) * _PASSING**m for m in range(levels))

    def propose(round_: Round) -> Decision:
        before, last = asked_before(round_), round_.number >= round_.rounds
        heard = _heard(round_, problem, before)
        wanted: dict[tuple[str, int], tuple[CrystalRecord, int]] = {}
        for m in range(levels - 2, -1, -1):
            ranked = sorted(heard[m], key=lambda name: (-heard[m][name], name))
            passing = ranked if last else ranked[: round(_PASSING * len(ranked))]
            following = asker.target if last else m + 1
            for name in passing:
                if (name, following) not in before.pairs:
                    wanted.setdefault((name, following), (before.seen[name], following))
        proposals = asker.within(list(wanted.values()), round_, found=True)
        left = round_.allowance - sum(proposal.cost for proposal in proposals)
        number = 0 if last and levels > 1 else int(left / way)
        fresh = fresh_records(problem, round_, jax.random.fold_in(key, round_.number), number)
        rest = round_._replace(allowance=left)
        proposals += asker.within([(record, 0) for record in fresh], rest)
        return Decision(proposals, {"passed_on": len(wanted), "drawn": len(fresh)})

    return Strategy(lambda round_: initial_data(asker, round_), propose, found_values(asker))


def only_target(problem: Problem, strategy: Strategy) -> Strategy:
    """A strategy that was made for the target oracle alone, in a campaign with all oracles.

    Args:
      problem: with all oracles.
      strategy: made for `problem._replace(oracles=problem.oracles[-1:])`.
    """
    target = len(problem.oracles) - 1

    def alone(round_: Round) -> Round:
        answers = [
            a._replace(query=a.query._replace(fidelity=0))
            for a in round_.answers
            if a.query.fidelity == target
        ]
        pending = [q._replace(fidelity=0) for q in round_.pending if q.fidelity == target]

        def asked(names: Any) -> set[tuple[str, int]]:
            return {(name, 0) for name, m in round_.asked(names) if m == target}

        limits = round_.allowances[-1:]
        return round_._replace(answers=answers, pending=pending, asked=asked, allowances=limits)

    def restored(decision: Decision) -> Decision:
        proposals = [
            p._replace(fidelity=target, predicted=_spread(p.predicted, target))
            for p in decision.proposals
        ]
        return decision._replace(proposals=proposals, detail=_spread(decision.detail, target))

    def conclude(round_: Round) -> dict[str, Any]:
        found = strategy.conclude(alone(round_))
        predictions = found.get("predictions", {})
        found["predictions"] = {n: _spread(each, target) for n, each in predictions.items()}
        return _spread(found, target)

    return Strategy(
        lambda round_: restored(strategy.initial(alone(round_))),
        lambda round_: restored(strategy.propose(alone(round_))),
        conclude,
    )


def found_values(asker: Asker) -> Any:
    """The last word of a strategy that predicts nothing."""

    def conclude(round_: Round) -> dict[str, Any]:
        return {"predictions": {}, "fidelities": []}

    return conclude


def fresh_records(
    problem: Problem, round_: Round, key: jax.Array, number: int
) -> list[CrystalRecord]:
    """So many random crystals that have not been asked about; a small pool may hold fewer."""
    if problem.pool is None:
        return uniform_records(problem, key, number)
    drawn = uniform_records(problem, key, 4 * number)
    asked = {name for name, _ in round_.asked({record.hash for record in drawn})}
    return [record for record in drawn if record.hash not in asked][:number]


def affordable_at(asker: Asker, round_: Round, fidelity: int) -> int:
    """How many questions about proposed crystals a round pays for at one fidelity."""
    left = min(round_.allowance, round_.allowances[fidelity])
    return int(left / asker.cost(fidelity) * (1 + 1e-9))


def _heard(round_: Round, problem: Problem, before: Asked) -> list[dict[str, float]]:
    """Scores of proposed crystals at each fidelity, by hash."""
    found: list[dict[str, float]] = [{} for _ in problem.oracles]
    for answer in round_.answers:
        name, m = answer.query.crystal.hash, answer.query.fidelity
        if answer.value is not None and name in before.seen:
            found[m][name] = score(problem.oracles[m], answer.value)
    return found


def _spread(found: dict[str, Any], target: int) -> dict[str, Any]:
    """Figures of the target alone in the places of all fidelities; None for the others'."""
    kept = {name: each for name, each in found.items() if name != "correlation"}
    for name in ("mean", "std", "interval", "worth"):
        if isinstance(kept.get(name), list):
            kept[name] = [None] * target + kept[name]
    return kept
