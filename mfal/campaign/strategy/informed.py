"""The strategy that learns: believe, sample by what asking is worth, choose.

Initial data are known crystals at every fidelity. Each round fits the belief to all answers, draws
candidates with their fidelities by what asking them is worth, and chooses the batch that is worth
most per CPU second among them and among crystals that have answered more cheaply before. The last
round asks the target alone, since nothing could follow. There is no criterion beside the worth
(`mfal.acquisition.utility`), and each of the four parts can be another.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.acquisition import Pick, Question, Terms, choose_batch, improvement_rate
from mfal.acquisition.chances import chance_of
from mfal.acquisition.feasibility import FLOOR, chance_of_feasibility
from mfal.acquisition.formulas import FormulaScores, make_formula_scores, score_of_formula
from mfal.campaign.config import CampaignConfig, ProxyConfig
from mfal.campaign.ledger.crystals import crystal_arrays
from mfal.campaign.ledger.prices import FIT_COST
from mfal.campaign.ledger.records import CrystalRecord
from mfal.campaign.problem import Problem
from mfal.campaign.standing import counted_as
from mfal.campaign.strategy.belief import Belief, Fitted, make_belief, pad
from mfal.campaign.strategy.experience import fit_answers, fit_stability, past_experience
from mfal.campaign.strategy.observations import (
    ScoredRows,
    in_units,
    own_scores,
    scored_rows,
)
from mfal.campaign.strategy.questions import (
    Asker,
    asked_before,
    initial_data,
    uniform_records,
)
from mfal.campaign.strategy.sampler import ANY, MakeSampler, all_sources, gflownet_sampler
from mfal.campaign.strategy.stability import Judged, make_stability, window_oracle
from mfal.campaign.strategy.types import Decision, Round, Strategy
from mfal.campaign.strategy.words import describe_evidence, describe_worth
from mfal.crystals.types import Crystal
from mfal.proxies.dataset import EXACT

__all__ = ["Aim", "make_strategy"]

_BEST = 10
"""The proposals that a campaign is about, each of another formula where crystals are generated:
asking is worth what it improves on the tenth best."""
_SPACE = 256
"""Crystals drawn uniformly, which stand for the space where a requirement's share is learnt."""
_SPACE_STREAM = 1 << 21
"""Of their draw; the same in every round, so that their stability is looked up once."""


class Aim(NamedTuple):
    """All that the worth of a question depends on in one round; a pytree."""

    belief: Any
    terms: Terms
    answer: Any
    """What is learned of the chance of an answer."""
    stability: Any
    """The same of meeting the requirement and being new; None where stability doesn't count."""
    formulas: FormulaScores
    """Best answers of the generated formulas that count."""


class _Pool(NamedTuple):
    """Candidates, N of them."""

    records: list[CrystalRecord]
    available: np.ndarray
    """[N, M] bool"""
    pending: list[tuple[int, int]]
    judged: Judged | None


def make_strategy(
    problem: Problem,
    config: CampaignConfig,
    *,
    belief: Belief | None = None,
    utility: Callable[[Terms, Question], jax.Array] = improvement_rate,
    sampler: MakeSampler = gflownet_sampler,
    choose: Callable[..., list[Pick]] = choose_batch,
) -> Strategy:
    """The strategy for a problem, of four parts; compiles when it is first asked.

    Args:
      problem: what is searched.
      config: of the campaign.
      belief: what is believed of crystals; by the configured proxy if left out.
      utility: (what a round measures by, what is believed of a crystal) to what asking it is worth
        at each fidelity, [M], per CPU second; traceable.
      sampler: makes what draws candidates.
      choose: picks a batch, with the arguments of `mfal.acquisition.choose_batch`.
    """
    asker = Asker(problem, config)
    levels = len(problem.oracles)
    believer = belief or make_belief(config.proxy, levels)
    stability = make_stability(
        config.stability, problem.oracles, relax=config.relax, hide=config.hide
    )
    window = window_oracle(problem.oracles) if stability else None
    key = jax.random.key(config.seed)

    def share_of(params: Any, crystal: Crystal) -> jax.Array:
        if stability is not None and stability.of_window:
            return chance_of_feasibility(params, crystal.composition)
        return chance_of(params, crystal)

    def worth(aim: Aim, crystal: Crystal) -> jax.Array:
        mean, covariance = believer.about(aim.belief, crystal)
        deviation = jnp.sqrt(jnp.maximum(jnp.diagonal(covariance), 1e-18))
        stable = jnp.ones(())
        if stability is not None:
            stable = _floored(share_of(aim.stability, crystal))
        question = Question(
            mean[-1],
            deviation[-1],
            jnp.abs(covariance[-1]) / deviation,
            _floored(chance_of(aim.answer, crystal)),
            stable,
            jnp.zeros((), bool),
            rival_of(aim.formulas, crystal),
        )
        return utility(aim.terms, question)

    source = all_sources(sampler, config.space)(problem, config.sampler, worth)
    chances = jax.jit(jax.vmap(chance_of, in_axes=(None, 0)))
    rates = jax.jit(jax.vmap(utility, in_axes=(None, 0)))
    rivals = jax.jit(jax.vmap(rival_of, in_axes=(None, 0)))
    thinking = source.cost + fitting_cost(config.proxy, levels)

    def initial(round_: Round) -> Decision:
        return initial_data(asker, round_, thinking=thinking)

    def propose(round_: Round) -> Decision:
        budget = round_.allowance - thinking
        if budget < min(asker.cost(m) for m in range(levels)):
            return Decision([], {"skipped": "the allowance buys no question beside its choice"})
        key_fit, key_draw = jax.random.split(jax.random.fold_in(key, round_.number))
        rows = scored_rows(round_, problem.oracles, config.proxy.capacity)
        round_.report_progress("fit", f"fitting the proxy to {len(rows.score)} answers", 0, 0)
        fitted = believer.fit(rows, key_fit)
        round_.report_progress("fit", describe_evidence(fitted), 0, 0)
        aim = aim_of(round_, rows, fitted)
        draws = source.draw(aim, key_draw, round_)
        round_.report_progress("choose", "choosing a batch among the candidates", 0, 0)
        # Where the target alone is open, the fidelity is no choice.
        alone = np.sum(aim.terms.open) == 1
        fidelity = np.full_like(draws.fidelity, ANY) if alone else draws.fidelity
        pool = gather(round_, draws.records, fidelity)
        answered, value = own_scores(rows, pool.records, levels)
        joint = believer.joint(fitted, pool.records, answered, value)
        found = np.asarray(answered.any(axis=1))
        crystals = jax.tree.map(pad, crystal_arrays(pool.records))
        number = len(pool.records)
        rival = np.asarray(rivals(aim.formulas, crystals))[:number] if number else np.zeros(0)
        # A pool's candidates count each.
        own = np.array([record.pool_name is not None for record in pool.records], bool)
        rival = np.where(own, -np.inf, rival)
        names = np.array([counted_as(record) for record in pool.records])
        chance = np.asarray(chances(aim.answer, crystals))[:number] if number else np.zeros(0)
        # Where a question about the crystal was answered its atoms have been found.
        chance = np.where(found, 1.0, chance)
        stable = pool.judged.label if pool.judged else np.ones(number, np.float32)
        if stability is not None and not stability.of_window and number:
            assert pool.judged is not None
            # Before a crystal is relaxed, what the sampler's reward expects of it.
            expected = np.asarray(chances(aim.stability, crystals))[:number]
            stable = np.where(pool.judged.feasible == 0, expected, stable)

        def worths(std: np.ndarray, shift: np.ndarray, chosen: list[tuple[int, int]]) -> np.ndarray:
            asked = [i for i, m in chosen if m == levels - 1]
            expected, none = rivals_asked(asked, names, joint.mean[:, -1], chance * stable)
            # One question finds a crystal's atoms for the others.
            there = found.copy()
            there[[i for i, _ in chosen]] = True
            without = rated(std, shift, there, rival)
            if (none == 1.0).all():
                return without
            left, best = none[:, None], np.maximum(rival, expected)
            return left * without + (1.0 - left) * rated(std, shift, there, best)

        def rated(
            std: np.ndarray, shift: np.ndarray, there: np.ndarray, rival: np.ndarray
        ) -> np.ndarray:
            columns = (joint.mean[:, -1], std, shift, chance, stable)
            leaves: list[Any] = [pad(np.asarray(each, np.float32)) for each in columns]
            leaves += [pad(there), pad(rival)]
            question = Question(*leaves)
            return np.asarray(rates(aim.terms, question), float)[:number]

        def costs_of(known: np.ndarray) -> np.ndarray:
            return np.array(
                [
                    [asker.cost(m, record, found=bool(there)) for m in range(levels)]
                    for record, there in zip(pool.records, known, strict=True)
                ]
            ).reshape(number, levels)

        picks = choose(
            joint,
            worths,
            costs_of(found),
            budget,
            available=pool.available,
            costs_later=costs_of(np.ones(number, bool)),
            limits=np.array(round_.allowances),
            pending=pool.pending,
        )
        parents = asked_before(round_).parents
        std = np.sqrt(np.einsum("nml,nml->nm", joint.root, joint.root))
        asking = [i for i, _ in pool.pending] + [i for i, _, _ in picks]
        first = len(pool.pending)
        proposals = [
            asker.proposal(
                pool.records[i],
                m,
                {
                    **in_units(joint.mean[i], std[i], problem.oracles),
                    "worth": each,
                    "chance": float(chance[i]),
                    "stable": float(stable[i]),
                    **({"stability": pool.judged.plain(i)} if pool.judged else {}),
                },
                parents.get(pool.records[i].hash, ()),
                found=bool(found[i]) or i in asking[: first + place],
            )
            for place, (i, m, each) in enumerate(picks)
        ]
        best = [
            max((p.worth for p in picks if p.fidelity == m), default=0.0) for m in range(levels)
        ]
        detail = {
            "rows": len(rows.score),
            **fitted.detail,
            "evidence": fitted.evidence._asdict(),
            "to_improve_on": float(aim.terms.best),
            "worth": best,
            "candidates": {"drawn": len(draws.records), "asked_before": int(found.sum())},
            "fidelities": describe_worth(fitted, problem.oracles, best),
            **({"feasible": pool.judged.counts} if pool.judged else {}),
            **draws.detail,
        }
        return Decision(proposals, detail, thinking)

    def aim_of(round_: Round, rows: ScoredRows, fitted: Fitted) -> Aim:
        """What the round's questions are worth by."""
        space = uniform_records(problem, jax.random.fold_in(key, _SPACE_STREAM), _SPACE)
        past = past_experience(problem, config)
        answer = fit_answers(past, round_, space)
        stable, meets = None, np.ones(len(rows.score), bool)
        if stability is not None:
            round_.report_progress("windows", "finding which crystals are stable", 0, 0)
            stable = fit_stability(past, stability, round_, space)
            found = stability.judge(rows.records, round_.answers)
            meets = (found.label > 0) & ~found.known
        last = round_.number >= round_.rounds
        best, formulas = to_improve_on(rows, levels - 1, meets)
        costs = jnp.array([asker.cost(m) for m in range(levels)], jnp.float32)
        terms = Terms(
            best=jnp.float32(best),
            costs=costs,
            costs_later=jnp.array([asker.cost(m, found=True) for m in range(levels)], jnp.float32),
            # Relaxed atoms come with any answer, and their hull distance with them.
            tells_stability=(jnp.arange(levels) == (-1 if window is None else window))
            | (stability is not None and config.relax and not stability.of_window),
            open=(jnp.arange(levels) == levels - 1) | (not last),
        )
        return Aim(fitted.state, terms, answer, stable, formulas)

    def gather(round_: Round, drawn: Sequence[CrystalRecord], fidelity: np.ndarray) -> _Pool:
        """New draws at their fidelity, crystals that have answered at any other."""
        before = asked_before(round_)
        open_ = [query.crystal for query in round_.pending]
        crystals = {r.hash: r for r in (*drawn, *before.seen.values(), *open_)}
        crystals = {name: r for name, r in crystals.items() if name not in before.vain}
        place = {name: i for i, name in enumerate(crystals)}
        available = np.zeros((len(place), levels), bool)
        for i, record in enumerate(drawn):
            if record.hash in place:
                level = slice(None) if fidelity[i] == ANY else int(fidelity[i])
                available[place[record.hash], level] = True
        for name in before.seen:
            available[place[name]] = True
        for name, m in before.pairs | round_.asked(set(place)):
            if name in place:
                # Where the target has been asked, cheaper answers tell nothing more.
                available[place[name], slice(None) if m == levels - 1 else m] = False
        records = list(crystals.values())
        judged = stability.judge(records, round_.answers) if stability else None
        if judged is not None:
            available &= ~judged.known[:, None]  # recognised as a known compound
        pending = [
            (place[q.crystal.hash], q.fidelity) for q in round_.pending if q.crystal.hash in place
        ]
        return _Pool(records, available, pending, judged)

    def conclude(round_: Round) -> dict[str, Any]:
        round_.report_progress("final", "fitting the proxy to all answers for the ranking", 0, 0)
        rows = scored_rows(round_, problem.oracles, config.proxy.capacity)
        fitted = believer.fit(rows, jax.random.fold_in(key, round_.number))
        records = list(
            {
                answer.query.crystal.hash: answer.query.crystal
                for answer in round_.answers
                if answer.query.crystal.proposed
            }.values()
        )
        joint = believer.joint(fitted, records, *own_scores(rows, records, levels))
        std = np.sqrt(np.einsum("nml,nml->nm", joint.root, joint.root))
        judged = stability.judge(records, round_.answers) if stability else None
        return {
            "stability": {r.hash: judged.plain(i) for i, r in enumerate(records)} if judged else {},
            "predictions": {
                record.hash: in_units(joint.mean[i], std[i], problem.oracles)
                for i, record in enumerate(records)
            },
            "fidelities": [*describe_worth(fitted, problem.oracles), describe_evidence(fitted)],
            "correlation": fitted.detail["correlation"],
            "evidence": fitted.evidence._asdict(),
        }

    return Strategy(initial, propose, conclude)


def to_improve_on(rows: ScoredRows, target: int, meets: np.ndarray) -> tuple[float, FormulaScores]:
    """The tenth best score among proposals at the target fidelity that may meet the requirement.

    Of a generated formula the best crystal alone counts. Before there are twenty it is the median,
    so that the few first ones, whatever they are, don't set it; before there is any, the median of
    the known crystals'. An upper limit has shown nothing that is to be improved on.

    Returns:
      That score, and the best of each generated formula.
    """
    at_target = (rows.fidelity == target) & (rows.censoring >= EXACT)
    counting = at_target & rows.proposed & meets
    best: dict[str, tuple[float, CrystalRecord]] = {}
    for i in np.flatnonzero(counting):
        record, score = rows.records[i], float(rows.score[i])
        name = counted_as(record)
        if name not in best or score > best[name][0]:
            best[name] = score, record
    generated = [each for each in best.values() if each[1].pool_name is None]
    cells = crystal_arrays([record for _, record in generated]).composition
    # One row of padding at least, so that the shape is the same before there is an answer.
    table = make_formula_scores(
        pad(np.pad(cells, ((0, 1), (0, 0))), edge=False),
        pad(np.array([*(score for score, _ in generated), 0.0]), edge=False),
    )
    if scores := sorted((score for score, _ in best.values()), reverse=True):
        return scores[min(_BEST, (len(scores) + 1) // 2) - 1], table
    return float(np.median(rows.score[at_target] if at_target.any() else rows.score)), table


def rivals_asked(
    asked: Sequence[int], names: np.ndarray, mean: np.ndarray, chance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What a batch's own questions make of the other crystals of their formulas.

    Args:
      asked: crystals about which the target is to be asked.
      names: [N], what each crystal counts as.
      mean: [N], expected score at the target fidelity.
      chance: [N], that the answer comes and counts.

    Returns:
      [N], the best of the others' expected scores, minus infinity where none is asked; and [N], the
      chance that none of them comes and counts.
    """
    expected, none = np.full(len(names), -np.inf), np.ones(len(names))
    for i in asked:
        alike = (names == names[i]) & (np.arange(len(names)) != i)
        expected[alike] = np.maximum(expected[alike], mean[i])
        none[alike] *= 1.0 - chance[i]
    return expected, none


def rival_of(formulas: FormulaScores, crystal: Crystal) -> jax.Array:
    """The best score of a crystal's formula, []; minus infinity where none has answered."""
    return score_of_formula(formulas, crystal.composition)


def fitting_cost(proxy: ProxyConfig, levels: int) -> float:
    """Nominal CPU seconds of fitting the belief."""
    default = ProxyConfig()
    size = proxy.steps * proxy.members / (default.steps * default.members)
    return FIT_COST * size * (1 if levels == 1 else 2)


def _floored(chance: jax.Array) -> jax.Array:
    """The chance, so that none vanishes and the regressions' errors can be found out."""
    return FLOOR + (1.0 - FLOOR) * chance
