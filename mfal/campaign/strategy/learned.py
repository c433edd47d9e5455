"""The strategy that learns: a proxy over all fidelities and a GFlowNet that samples candidates.

Initial data are known crystals at every fidelity. Each round fits the proxy to all answers, trains
the sampler on information about the best target-fidelity value per cost, weighed by the chance that
a query is answered at all, and draws candidates. A share of the round goes to the target oracle,
for the expected improvement times that chance (`mfal.campaign.strategy.promising`). The rest goes
to the cheap oracle whose answer about a crystal tells most about its value at the target fidelity
for the money, for the most promising candidates: the target is asked about those that have passed
it first (`mfal.campaign.strategy.paired`). Where no cheap oracle is the better buy, the rest goes
to the batch of greatest joint information per cost. The last round asks the target oracle only. The
guard (`mfal.campaign.strategy.trust`) sees to it that cheap answers steer a round only while they
don't make the predictions of the target worse. A requirement on stability
(`mfal.campaign.strategy.stability`) weighs the sampler's reward and says what may be asked. With
a pool, candidates are those of it that are worth most by the same measures
(`mfal.campaign.pool.shortlist`), beside the sampler's or, where nothing is generated, instead. The
search to compare with draws crystals at random and asks the target oracle about each.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mfal.campaign.config import CampaignConfig
from mfal.campaign.ledger.budget import Account, affordable
from mfal.campaign.ledger.crystals import crystal_arrays, known_record, record_of
from mfal.campaign.ledger.prices import price
from mfal.campaign.ledger.records import CrystalRecord, Proposal
from mfal.campaign.pool import Pool, shortlist
from mfal.campaign.problem import Problem
from mfal.campaign.strategy import fitting
from mfal.campaign.strategy import learner as learning
from mfal.campaign.strategy import trust as trusting
from mfal.campaign.strategy.candidates import CandidatePool, make_candidate_pool
from mfal.campaign.strategy.limited import choose_within
from mfal.campaign.strategy.observations import attempts_of, in_units, score, scored_rows
from mfal.campaign.strategy.paired import own_answers, with_own_answers
from mfal.campaign.strategy.selection import Selection, select
from mfal.campaign.strategy.stability import Judged, make_stability, window_oracle
from mfal.campaign.strategy.types import Decision, Round, Strategy
from mfal.durations import show_duration
from mfal.errors import MfalError
from mfal.oracles.types import Oracle

__all__ = ["Learned", "learned_strategy"]

_INITIAL_SHARE = 0.5
"""Of the budget, the most that initial data may take."""
_BASELINE_BUCKET = 64
"""Random draws per dispatch."""
_BASELINE_STREAM = 1 << 20
"""Added to a round's number, so that the random search draws from another stream."""
_WINDOW_STREAM = 1 << 21
"""Of the draws from which the sampler learns what meets a requirement on stability."""
_WINDOW_DRAWS = 192
_SPACE = 256
"""Crystals that stand for all that may be proposed."""
_ATTEMPTS = 20
"""Random draws of a bucket before restrictions are taken to allow too little."""


def learned_strategy(
    problem: Problem, config: CampaignConfig, pool: Pool | None = None
) -> Strategy:
    """The strategy for a problem; compiles when it is first asked.

    With a pool, candidates come from it: from it alone where the problem has no environment.
    """
    thinker = Learned(problem, config, pool)
    return Strategy(thinker.initial, thinker.propose, thinker.baseline, thinker.conclude)


class Learned:
    """The strategy's four functions. Holds what is compiled, and no other state."""

    def __init__(self, problem: Problem, config: CampaignConfig, pool: Pool | None = None) -> None:
        self.problem = problem
        self.pool = pool
        self.config = config
        self.key = jax.random.key(config.seed)
        self.target = len(problem.oracles) - 1
        # Where a crystal's atoms are not known, several arrangements are looked at.
        certain = problem.environment is None and pool is not None and pool.has_all_atoms
        structures = 1 if certain else config.realisations
        self.costs = tuple(
            price(oracle, structures, atoms_known=certain, relax=config.relax)
            for oracle in problem.oracles
        )
        self.stability = make_stability(config.stability, problem.oracles, relax=config.relax)
        self.window = window_oracle(problem.oracles) if self.stability else None
        self.learner = learning.make_learner(
            problem,
            config.proxy,
            config.sampler,
            config.batch,
            self.costs,
            constrained=self.stability is not None,
        )

    def initial(self, round_: Round) -> Decision:
        """Known crystals, or candidates of the pool, at every fidelity, drawn at random.

        Known ones are those most akin to the space.
        """
        records = self.starters()
        share = _INITIAL_SHARE * round_.allowance
        shares = [_INITIAL_SHARE * allowance for allowance in round_.allowances]
        # All fidelities or none: pairs of answers teach what the fidelities have to do with each
        # other.
        oracles = self.problem.oracles
        each = [sum(self.price(record, oracle) for oracle in oracles) for record in records]
        number = affordable(Account(share, 0.0, 0.0), each)
        if not records:
            raise MfalError(
                "nothing to begin with: no candidate's atoms can be told", "give another pool"
            )
        if not number:
            least = each[0] / _INITIAL_SHARE
            raise MfalError(
                f"budget {round_.allowance:g} buys no initial data",
                f"give at least {show_duration(least)}",
            )
        for oracle, part in zip(oracles, shares, strict=True):
            prices = [self.price(record, oracle) for record in records[:number]]
            fits = affordable(Account(part, 0.0, 0.0), prices)
            if not fits:
                raise MfalError(
                    f"the limit of {oracle.name} buys no initial data",
                    f"give it at least {show_duration(prices[0] / _INITIAL_SHARE)}",
                )
            number = min(number, fits)
        proposals = [
            self.proposal(record, fidelity, {})
            for record in records[:number]
            for fidelity in range(self.target + 1)
        ]
        return Decision(proposals, {"known": number})

    def starters(self) -> list[CrystalRecord]:
        """What the campaign begins with, in the order in which it is taken."""
        if self.pool is not None:
            return self.pool.draw(self.rng(0), self.config.initial)
        known = self.problem.known()[: 2 * self.config.initial]
        order = np.asarray(jax.random.permutation(jax.random.fold_in(self.key, 0), len(known)))
        chosen = [known[i] for i in order[: self.config.initial]]
        return [known_record(structure, name) for name, structure in chosen]

    def propose(self, round_: Round) -> Decision:
        """Fit, train, sample, choose."""
        key_fit, key_train = jax.random.split(jax.random.fold_in(self.key, round_.number))
        rows = self.rows(round_)
        round_.report_progress("fit", f"fitting the proxy to {len(rows.score)} answers", 0, 0)
        trust = self.constrained(round_, self.trust(rows, attempts_of(round_), key_fit))
        belief = trust.belief
        records, levels, how = self.candidates(round_, belief, key_train)
        round_.report_progress("choose", "choosing a batch among the candidates", 0, 0)
        pool = make_candidate_pool(round_, records, levels, self.target, self.stability)
        expected = learning.believe(self.learner, belief, crystal_arrays(pool.records))
        own = own_answers(round_.answers, self.problem.oracles)
        if trust.follow:
            expected = with_own_answers(expected, pool.records, own)
        best, windows, screened, informative, verdict = self.selection(
            round_, rows, trust, pool, expected, own.related
        )
        judged = trusting.record(trust, verdict)
        if judged["on"]:
            round_.report_progress("guard", judged["text"], 0, 0)
        picked: list[tuple[int, int, float | None]] = [
            (i, self.target, None) for i in best.tolist()
        ]
        picked += [(i, fidelity, None) for i, fidelity in windows]
        picked += [(i, int(pool.fidelity[i]), None) for i in screened.tolist()]
        picked += [
            (i, int(pool.fidelity[i]), float(gain))
            for i, gain in zip(informative.indices, informative.gains, strict=True)
        ]
        proposals = [
            self.proposal(
                pool.records[i],
                fidelity,
                {
                    **self.predicted(expected, i),
                    "gain": gain,
                    **_stability(pool.judged, i),
                },
                pool.parents.get(pool.records[i].hash, ()),
            )
            for i, fidelity, gain in picked
        ]
        detail = {
            "rows": len(rows.score),
            "proxy_loss": float(belief.proxy.loss),
            "correlation": np.asarray(trust.joint.proxy.reliability.correlation).tolist(),
            "interval": np.asarray(belief.proxy.reliability.interval).tolist(),
            **how,
            "candidates": pool.counts,
            "most_promising": len(best),
            "screened": len(screened),
            "informative": len(informative.indices),
            **({"windows": len(windows), "feasible": pool.judged.counts} if pool.judged else {}),
            "guard": judged,
            "fidelities": fitting.describe_fidelities(self.learner, trust.joint),
        }
        return Decision(proposals, detail)

    def baseline(self, round_: Round) -> Decision:
        """Uniform draws at the target fidelity."""
        allowance = min(round_.allowance, round_.allowances[self.target])
        number = int(allowance / self.costs[self.target] + 1e-6)
        if not number:
            return Decision([], {})
        records = self.random(_BASELINE_STREAM + round_.number, number, "random")
        return Decision([self.proposal(each, self.target, {}) for each in records], {})

    def conclude(self, round_: Round) -> dict[str, Any]:
        """Fit once more and say what the proxy expects of every proposed crystal."""
        round_.report_progress("final", "fitting the proxy to all answers for the ranking", 0, 0)
        key = jax.random.fold_in(self.key, round_.number)
        trust = self.trust(self.rows(round_), attempts_of(round_), key)
        crystals = {
            answer.query.crystal.hash: answer.query.crystal
            for answer in round_.answers
            if answer.query.crystal.proposed
        }
        arrays = crystal_arrays(list(crystals.values()))
        expected = learning.believe(self.learner, trust.belief, arrays)
        if trust.follow:
            own = own_answers(round_.answers, self.problem.oracles)
            expected = with_own_answers(expected, list(crystals.values()), own)
        judged = trusting.record(trust, None)
        worth = fitting.describe_fidelities(self.learner, trust.joint)
        found = None
        if self.stability:
            found = self.stability.judge(list(crystals.values()), round_.answers)
        return {
            "stability": {
                name: each
                for i, name in enumerate(crystals)
                for each in _stability(found, i).values()
            },
            "predictions": {name: self.predicted(expected, i) for i, name in enumerate(crystals)},
            "fidelities": worth + ([judged["text"]] if judged["on"] else []),
            "correlation": np.asarray(trust.joint.proxy.reliability.correlation).tolist(),
            "guard": judged,
        }

    def rows(self, round_: Round) -> learning.ScoredRows:
        """Observations as scores, as many as a fit can hold."""
        return scored_rows(round_, self.problem.oracles, self.config.proxy.capacity)

    def trust(
        self, rows: learning.ScoredRows, attempts: learning.Attempts, key: jax.Array
    ) -> trusting.Trust:
        """The fit to all answers and, under the guard, the one to the target oracle's alone."""
        joint = fitting.fit_belief(self.learner, rows, attempts, self.space, key)
        own = None
        if self.config.guard and self.target and (rows.fidelity == self.target).any():
            own = fitting.fit_belief(
                self.learner, rows, attempts, self.space, key, target_only=True
            )
        return trusting.weigh_fits(joint, own, self.target)

    def selection(
        self,
        round_: Round,
        rows: learning.ScoredRows,
        trust: trusting.Trust,
        pool: CandidatePool,
        expected: learning.Expectation,
        related: np.ndarray,
    ) -> Selection:
        """What to ask, by `mfal.campaign.strategy.selection` and the compiled parts."""
        crystals = crystal_arrays(pool.records)
        # Where a query about the crystal was answered its atoms have been found.
        chance = np.where(
            pool.answered.any(axis=1), 1.0, learning.chances(self.learner, trust.belief, crystals)
        )

        def inform(
            belief: learning.Belief,
            available: np.ndarray,
            waiting: np.ndarray,
            budget: float,
            limits: Sequence[float],
        ) -> learning.Choice:
            def choose(available: np.ndarray, waiting: np.ndarray, left: float) -> learning.Choice:
                return learning.choose(
                    self.learner, belief, crystals, pool.fidelity, available, waiting, left, chance
                )

            return choose_within(
                choose,
                pool.fidelity,
                available,
                waiting,
                budget,
                limits,
                costs=self.learner.costs,
                size=self.learner.size,
            )

        share = (1.0 - self.config.exploit) * round_.allowance
        return select(
            round_,
            rows,
            trust,
            pool,
            expected,
            chance=chance,
            believe=lambda belief: learning.believe(self.learner, belief, crystals),
            inform=inform,
            costs=self.costs,
            exploit=self.config.exploit,
            batch=self.config.batch,
            screen=trusting.screening(trust, self.costs, share, related),
            window=self.window,
            stability=self.stability,
        )

    def candidates(
        self, round_: Round, belief: learning.Belief, key: jax.Array
    ) -> tuple[list[CrystalRecord], np.ndarray, dict[str, Any]]:
        """What a round may choose among: records, the fidelity for each, and how it was found."""
        records: list[CrystalRecord] = []
        levels: list[int] = []
        how: dict[str, Any] = {}
        if self.problem.environment is not None:
            draws = self.train(round_, belief, key)
            allowed = self.allowed(draws.crystal)
            records = self.records(draws.states, draws.crystal, "sampled")
            records = [record for record, fits in zip(records, allowed, strict=True) if fits]
            levels = draws.fidelity[allowed].tolist()
            how["sampler_loss"] = float(np.mean(np.asarray(draws.metrics.loss)[-20:]))
            how["log_z"] = float(np.asarray(draws.metrics.log_z)[-1])
        if self.pool is not None:
            text = f"looking through {len(self.pool)} candidates of the pool"
            round_.report_progress("choose", text, 0, 0)
            found = shortlist(
                self.pool,
                lambda crystals: self.learner.merit(
                    belief.params, jnp.float32(belief.best), crystals
                ),
                self.config.sampler.samples,
                round_.asked,
                self.target,
            )
            records += [record for record, _ in found]
            levels += [fidelity for _, fidelity in found]
        return records, np.array(levels, np.int32), how

    def allowed(self, crystals: Any) -> np.ndarray:
        """Which crystals meet the user's restrictions, [N] bool."""
        return np.asarray(jax.vmap(self.problem.allowed)(crystals))

    def space(self, key: jax.Array) -> Any:
        """Crystals drawn from all that may be proposed, always as many."""
        drawn = []
        if self.problem.environment is not None:
            assert self.learner.uniform is not None
            number = _SPACE if self.pool is None else _SPACE // 2
            drawn.append(self.learner.crystals(self.learner.uniform(key, number)))
        if self.pool is not None:
            number = _SPACE - (len(drawn[0].space_group_number) if drawn else 0)
            rows = jax.random.randint(key, (number,), 0, len(self.pool))
            drawn.append(self.pool.crystals(np.asarray(rows)))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *drawn)

    def random(self, stream: int, number: int, source: str) -> list[CrystalRecord]:
        """Records drawn at random from all that may be proposed; half from a pool beside a sampler.

        Args:
          stream: of random numbers.
          number: at most so many.
          source: of generated ones.
        """
        from_pool = 0
        if self.pool is not None:
            from_pool = number if self.problem.environment is None else number // 2
        records = self.pool.draw(self.rng(stream), from_pool) if self.pool else []
        key, left = jax.random.fold_in(self.key, stream), number - from_pool
        for attempt in range(_ATTEMPTS if left else 0):
            assert self.learner.uniform is not None
            # Drawn by the full bucket, so that shapes repeat from round to round.
            size = -(-left // _BASELINE_BUCKET) * _BASELINE_BUCKET
            states = self.learner.uniform(
                jax.random.fold_in(key, attempt) if attempt else key, size
            )
            crystals = self.learner.crystals(states)
            allowed = self.allowed(crystals)
            found = self.records(states, crystals, source)
            records += [each for each, fits in zip(found, allowed, strict=True) if fits]
            if len(records) >= number:
                break
        return records[:number]

    def rng(self, stream: int) -> np.random.Generator:
        """Random numbers of one purpose."""
        return np.random.default_rng([self.config.seed, stream])

    def structures(self, crystal: CrystalRecord) -> int:
        """Arrangements of atoms to be asked about."""
        return self.config.realisations if crystal.structure is None else 1

    def price(self, crystal: CrystalRecord, oracle: Oracle, *, found: bool = False) -> float:
        """CPU seconds of asking an oracle about a crystal.

        Relaxed atoms that have been found for an earlier question needn't be found again.
        """
        relax = self.config.relax
        known = crystal.structure is not None or (relax and found)
        return price(oracle, self.structures(crystal), atoms_known=known, relax=relax)

    def train(self, round_: Round, belief: learning.Belief, key: jax.Array) -> learning.Draws:
        """Train the sampler, telling how far it is."""
        steps = self.config.sampler.steps
        round_.report_progress("train", "training the sampler", 0, steps)

        def trained(done: int, metrics: Any) -> None:
            loss = float(np.mean(np.asarray(metrics.loss)))
            round_.report_progress("train", f"training the sampler, loss {loss:.3g}", done, steps)

        return learning.train_and_sample(self.learner, belief, key, trained)

    def constrained(self, round_: Round, trust: trusting.Trust) -> trusting.Trust:
        """Ask for the best that meets the requirement on stability, where there is one."""
        if self.stability is None:
            return trust
        round_.report_progress("windows", "finding stability windows", 0, 0)
        # The same draws in every round, so that their windows are found once.
        records = self.random(_WINDOW_STREAM, _WINDOW_DRAWS, "sampled")
        drawn = len(records)
        records += [answer.query.crystal for answer in round_.answers]
        judged = self.stability.judge(records, round_.answers)
        label, told = judged.label, None
        if not self.stability.of_window:
            # Formulas tell nothing of hull distances; what is known to exist is near the hull.
            there = np.array([not record.proposed for record in records])
            label = np.where(there, np.float32(1.0), label)
            told = there | (judged.feasible != 0)
        seen = [
            score(self.problem.oracles[self.target], answer.value)
            for answer, worth in zip(round_.answers, label[drawn:], strict=True)
            if answer.query.fidelity == self.target and answer.value is not None and worth > 0
        ]
        key = jax.random.fold_in(self.key, _WINDOW_STREAM + round_.number)
        crystals, best = crystal_arrays(records), max(seen, default=-np.inf)

        def under(belief: learning.Belief) -> learning.Belief:
            return fitting.constrain(self.learner, belief, crystals, label, best, key, told)

        single = under(trust.single) if trust.single else None
        return trust._replace(joint=under(trust.joint), single=single)

    def predicted(self, expected: learning.Expectation, i: int) -> dict[str, Any]:
        """One crystal's expectation in the oracles' units."""
        return in_units(expected, self.problem.oracles, i)

    def records(self, states: Any, crystals: Any, source: str) -> list[CrystalRecord]:
        """Terminal states with a leading axis to records."""
        states = jax.tree.map(np.asarray, states)
        crystals = jax.tree.map(np.asarray, crystals)

        def one(i: int) -> CrystalRecord:
            state, crystal = jax.tree.map(lambda leaf: leaf[i], (states, crystals))
            return record_of(crystal, self.problem.oxidation_states(state), source)

        return [one(i) for i in range(len(crystals.space_group_number))]

    def proposal(
        self,
        crystal: CrystalRecord,
        fidelity: int,
        predicted: dict[str, Any],
        parents: tuple[int, ...] = (),
    ) -> Proposal:
        """A query whose cost is known before it is asked."""
        oracle, structures = self.problem.oracles[fidelity], self.structures(crystal)
        return Proposal(
            crystal,
            fidelity,
            oracle.name,
            oracle.version,
            self.price(crystal, oracle, found=bool(parents)),
            structures,
            predicted,
            parents,
        )


def _stability(judged: Judged | None, i: int) -> dict[str, Any]:
    """What the ledger keeps of one candidate's stability."""
    return {"stability": judged.plain(i)} if judged else {}
