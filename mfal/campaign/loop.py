"""The campaign: initial data, rounds of fit, train, sample and query, and a last word.

Everything that a round decides is a function of the configuration and of the answers in the
ledger, read in the order of decisions. A round's proposals enter the ledger in one transaction:
a process killed before it computes the round again, one killed after it asks what is still open.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mfal.campaign.budget import account_of, affordable
from mfal.campaign.config import CampaignConfig
from mfal.campaign.dispatch import Dispatcher
from mfal.campaign.events import Best, Event, Notify, Progress, silent
from mfal.campaign.executors import WorkerPool
from mfal.campaign.folder import CAMPAIGN, RANDOM, open_campaign
from mfal.campaign.ledger import Answer, Ledger
from mfal.campaign.problem import Problem, crystal_arrays, make_problem, record_of
from mfal.campaign.records import CrystalRecord, Outcome, Proposal, Query
from mfal.errors import MfalError

__all__ = ["make_pool", "query_costs", "run_campaign"]


def run_campaign(
    folder: Path,
    config: CampaignConfig,
    *,
    notify: Notify = silent,
    executor: Executor | None = None,
    problem: Problem | None = None,
) -> None:
    """Start a campaign in a folder, or go on with the one that is there, to its end.

    Args:
      folder: made where it is missing.
      config: must agree with the one in the folder, save in how queries run.
      notify: called with every event.
      executor: runs the queries; a pool of worker processes if left out. It is not shut down.
      problem: what the campaign is about; made from the configuration if left out.

    Raises:
      MfalError: for what the user can mend; the ledger keeps all that was paid for.
    """
    problem = problem or make_problem(config)
    with open_campaign(folder, config, problem.oracles) as ledger:
        if executor is not None:
            _Campaign(ledger, config, problem, executor, notify).run()
            return
        pool = make_pool(config)
        try:
            _Campaign(ledger, config, problem, pool, notify).run()
        finally:
            pool.shutdown(cancel_futures=True)


def make_pool(config: CampaignConfig) -> WorkerPool:
    """Worker processes with one thread each, so that answers don't depend on their number."""
    one_thread = {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    }
    execution = config.execution
    return WorkerPool(
        execution.workers,
        timeout=execution.timeout,
        retries=execution.retries,
        memory=execution.memory,
        environment=one_thread,
    )


def query_costs(config: CampaignConfig, problem: Problem) -> list[float]:
    """Cost units of one query of a proposed crystal at each fidelity.

    Its atoms are not known, so the oracle is asked about several arrangements.
    """
    return [oracle.cost * config.realisations for oracle in problem.oracles]


class _Campaign:
    """One run over a ledger; holds what is compiled, and no other state."""

    def __init__(
        self,
        ledger: Ledger,
        config: CampaignConfig,
        problem: Problem,
        executor: Executor,
        notify: Notify,
    ) -> None:
        self.ledger = ledger
        self.config = config
        self.problem = problem
        self.notify = notify
        self.dispatcher = Dispatcher(ledger, executor, config.oracles)
        self.key = jax.random.key(config.seed)
        self.costs = query_costs(config, problem)
        self.top = len(problem.oracles) - 1
        self._learner: Any = None

    def run(self) -> None:
        done = {number for number, _ in self.ledger.rounds(CAMPAIGN)}
        if done:
            self.tell("start", 0, f"going on with a campaign of {len(done)} written rounds")
        if 0 not in done:
            self.propose_initial()
        self.answer(CAMPAIGN, "initial", 0)
        for number in range(1, self.config.rounds + 1):
            if self.config.baseline:
                self.propose_random(number)
            if number not in done:
                self.propose_round(number)
            self.answer(CAMPAIGN, "query", number)
            if self.config.baseline:
                self.answer(RANDOM, "baseline", number)
        if self.config.rounds + 1 not in done:
            self.conclude()
        self.tell("done", self.config.rounds, "the budget is spent")

    # Initial data ------------------------------------------------------------------------------

    def propose_initial(self) -> None:
        """Known crystals at every fidelity, in an order drawn from the seed."""
        known = self.problem.known()
        order = np.asarray(jax.random.permutation(jax.random.fold_in(self.key, 0), len(known)))
        proposals: list[Proposal] = []
        for index in order[: self.config.initial]:
            # One structure each: the atoms are known. A crystal is asked at all fidelities or not.
            asked = [self.proposal(known[index], m, 1, {}) for m in range(self.top + 1)]
            costs = [each.cost for each in (*proposals, *asked)]
            if affordable(account_of([], CAMPAIGN, self.config.budget / 2), costs) < len(costs):
                break
            proposals += asked
        if not proposals:
            least = 2 * sum(oracle.cost for oracle in self.problem.oracles)
            raise MfalError(
                f"budget {self.config.budget:g} buys no initial data",
                f"give at least {least:g} cost units",
            )
        self.ledger.propose(CAMPAIGN, 0, proposals, {"known": len(proposals) // (self.top + 1)})

    # Rounds ------------------------------------------------------------------------------------

    def allowance(self, account: str, number: int) -> float:
        """What a round may spend: an equal share of what is left for it and those after it."""
        left = self.config.rounds - number + 1
        return self.account(account).free / left

    def propose_round(self, number: int) -> None:
        from mfal.campaign import learner as learning

        learner = self.learner
        key_fit, key_train = jax.random.split(jax.random.fold_in(self.key, number))
        rows = self.rows()
        self.tell("fit", number, f"fitting the proxy to {len(rows.score)} answers")
        belief = learning.fit(learner, rows, key_fit)
        steps = self.config.sampler.steps
        self.tell("train", number, "training the sampler", 0, steps)

        def trained(done: int, metrics: Any) -> None:
            loss = float(np.mean(np.asarray(metrics.loss)))
            self.tell("train", number, f"training the sampler, loss {loss:.3g}", done, steps)

        draws = learning.train_and_sample(learner, belief, key_train, trained)
        self.tell("choose", number, "choosing a batch among the candidates")
        last = number == self.config.rounds
        pool, fidelity, sources = self.pool(draws, last)
        allowance = self.allowance(CAMPAIGN, number)
        crystals = crystal_arrays(pool)
        mean, std = learning.believe(learner, belief, crystals)
        if last:
            picked = self.best_by_proxy(mean[:, -1], allowance)
            gains = np.zeros(len(picked))
        else:
            chosen = learning.choose(learner, belief, crystals, fidelity, allowance)
            picked, gains = chosen.indices, chosen.gains
        proposals = [
            self.proposal(
                pool[i],
                int(fidelity[i]),
                self.config.realisations,
                {**self.predicted(mean[i], std[i]), "gain": float(gain)},
            )
            for i, gain in zip(picked, gains, strict=True)
        ]
        detail = {
            "rows": len(rows.score),
            "proxy_loss": float(belief.proxy.loss),
            "correlation": np.asarray(belief.proxy.reliability.correlation).tolist(),
            "sampler_loss": float(np.mean(np.asarray(draws.metrics.loss)[-20:])),
            "log_z": float(np.asarray(draws.metrics.log_z)[-1]),
            "unique_candidates": len(pool),
            "sources": sources,
            "exploit": last,
        }
        self.ledger.propose(CAMPAIGN, number, proposals, detail)

    def pool(
        self, draws: Any, last: bool
    ) -> tuple[list[CrystalRecord], np.ndarray, dict[str, int]]:
        """What may be asked: new draws, and crystals of earlier rounds at fidelities not asked."""
        levels = range(self.top + 1)
        fresh: dict[tuple[str, int], CrystalRecord] = {}
        for i in range(len(draws.fidelity)):
            triple = jax.tree.map(lambda leaf, i=i: np.asarray(leaf)[i], draws.crystal)
            state = jax.tree.map(lambda leaf, i=i: leaf[i], draws.states)
            record = record_of(triple, self.problem.oxidation_states(state), "sampled")
            fidelity = self.top if last else int(draws.fidelity[i])
            fresh.setdefault((record.hash, fidelity), record)
        asked = self.ledger.asked(CAMPAIGN, {name for name, _ in fresh})
        candidates = {key: record for key, record in fresh.items() if key not in asked}
        new = len(candidates)
        for answer in self.answers(CAMPAIGN):
            crystal = answer.query.crystal
            if crystal.structure is None:
                asked |= self.ledger.asked(CAMPAIGN, [crystal.hash])
                for fidelity in (self.top,) if last else levels:
                    if (crystal.hash, fidelity) not in asked:
                        candidates.setdefault((crystal.hash, fidelity), crystal)
        fidelities = np.array([fidelity for _, fidelity in candidates], np.int32)
        counts = {"new": new, "asked before": len(candidates) - new}
        return list(candidates.values()), fidelities, counts

    def best_by_proxy(self, score: np.ndarray, allowance: float) -> np.ndarray:
        """The last round asks the top oracle about what the proxy holds to be best."""
        order = np.argsort(-score, kind="stable")[: self.config.batch]
        account = account_of([], CAMPAIGN, allowance)
        return order[: affordable(account, [self.costs[self.top]] * len(order))]

    # The random search -------------------------------------------------------------------------

    def propose_random(self, number: int) -> None:
        """Uniform draws at the top fidelity, and off they go while the sampler trains."""
        if number not in {n for n, _ in self.ledger.rounds(RANDOM)}:
            count = int(self.allowance(RANDOM, number) / self.costs[self.top] + 1e-6)
            key = jax.random.fold_in(self.key, 10_000 + number)
            states = self.learner.uniform(key, max(count, 1))
            triples = self.learner.crystals(states)
            proposals = []
            for i in range(count):
                triple = jax.tree.map(lambda leaf, i=i: np.asarray(leaf)[i], triples)
                state = jax.tree.map(lambda leaf, i=i: leaf[i], states)
                record = record_of(triple, self.problem.oxidation_states(state), "random")
                proposals.append(self.proposal(record, self.top, self.config.realisations, {}))
            self.ledger.propose(RANDOM, number, proposals, {})
        self.dispatcher.submit(self.ledger.pending(RANDOM))

    # The end -----------------------------------------------------------------------------------

    def conclude(self) -> None:
        """Fit once more to all answers and write down what the proxy thinks of every proposal."""
        from mfal.campaign import learner as learning

        number = self.config.rounds + 1
        self.tell("final", self.config.rounds, "fitting the proxy to all answers for the ranking")
        belief = learning.fit(self.learner, self.rows(), jax.random.fold_in(self.key, number))
        crystals = {
            answer.query.crystal.hash: answer.query.crystal
            for answer in self.answers(CAMPAIGN)
            if answer.query.crystal.structure is None
        }
        predictions = {}
        if crystals:
            arrays = crystal_arrays(list(crystals.values()))
            mean, std = learning.believe(self.learner, belief, arrays)
            predictions = {name: self.predicted(mean[i], std[i]) for i, name in enumerate(crystals)}
        detail = {
            "final": True,
            "predictions": predictions,
            "correlation": np.asarray(belief.proxy.reliability.correlation).tolist(),
        }
        self.ledger.propose(CAMPAIGN, number, [], detail)

    # Small parts -------------------------------------------------------------------------------

    @property
    def learner(self) -> Any:
        if self._learner is None:
            from mfal.campaign.learner import make_learner

            self._learner = make_learner(self.problem, self.config, self.costs)
        return self._learner

    def answers(self, account: str) -> list[Answer]:
        return self.ledger.answers(account, limit=self.config.proxy.capacity)

    def rows(self) -> Any:
        """The campaign's observations as scores, in the order of decisions."""
        from mfal.campaign.learner import Rows

        seen = [answer for answer in self.answers(CAMPAIGN) if answer.kind == "observed"]
        if not seen:
            reasons = {a.detail["status"] for a in self.answers(CAMPAIGN)}
            raise MfalError(
                f"no query of the initial data was answered ({next(iter(reasons), 'none')})",
                "check the oracles with `mfal score`",
            )
        crystals = crystal_arrays([answer.query.crystal for answer in seen])
        fidelity = np.array([answer.query.fidelity for answer in seen], np.int32)
        score = np.array([self.score(a.query.fidelity, a.value or 0.0) for a in seen], np.float32)
        return Rows(crystals, fidelity, score)

    def score(self, fidelity: int, value: float) -> float:
        oracle = self.problem.oracles[fidelity]
        clipped = float(np.clip(value, *oracle.bounds))
        return clipped if oracle.higher_is_better else -clipped

    def predicted(self, mean: np.ndarray, std: np.ndarray) -> dict[str, Any]:
        """Scores back in the oracles' units."""
        sign = [1.0 if oracle.higher_is_better else -1.0 for oracle in self.problem.oracles]
        return {
            "mean": [s * float(x) for s, x in zip(sign, mean, strict=True)],
            "std": [float(x) for x in std],
        }

    def proposal(
        self, crystal: CrystalRecord, fidelity: int, structures: int, predicted: dict[str, Any]
    ) -> Proposal:
        oracle = self.problem.oracles[fidelity]
        cost = oracle.cost * structures
        return Proposal(crystal, fidelity, oracle.name, oracle.version, cost, structures, predicted)

    def account(self, name: str) -> Any:
        budget = self.config.budget
        tallies = self.ledger.tallies()
        if name == RANDOM:  # both searches start from the same initial data, and both pay for it
            initial = self.ledger.connection.execute(
                "SELECT coalesce(sum(cost), 0) FROM query WHERE account = ? AND round = 0",
                (CAMPAIGN,),
            ).fetchone()[0]
            budget -= initial
        return account_of(tallies, name, budget)

    def answer(self, account: str, stage: str, number: int) -> None:
        """Ask whatever is open in an account and wait for all that is under way."""
        pending = self.ledger.pending(account)
        if not pending and not self.dispatcher.pending:
            return
        self.dispatcher.submit(pending)
        total, done = self.dispatcher.pending, 0
        self.tell(stage, number, _mix(pending, self.problem), 0, total)

        def told(query: Query, outcome: Outcome) -> None:
            nonlocal done
            done += 1
            self.tell(stage, number, _sentence(query, outcome, self.problem), done, total)

        self.dispatcher.gather(told)

    def tell(self, stage: str, number: int, text: str, done: int = 0, total: int = 0) -> None:
        self.notify(Event(stage, number, self.config.rounds, text, done, total, self.progress()))

    def progress(self) -> Progress:
        tallies = self.ledger.tallies()
        ended = [t for t in tallies if t.account == CAMPAIGN and t.kind in ("observed", "failed")]
        answered = tuple(
            sum(t.number for t in ended if t.fidelity == m) for m in range(self.top + 1)
        )
        return Progress(
            account=account_of(tallies, CAMPAIGN, self.config.budget),
            answered=answered,
            oracles=tuple(oracle.name for oracle in self.problem.oracles),
            failed=sum(t.number for t in ended if t.kind == "failed"),
            best=self.best(),
        )

    def best(self) -> Best | None:
        oracle = self.problem.oracles[self.top]
        found = self.ledger.best(
            CAMPAIGN, self.top, number=1, largest=oracle.higher_is_better, proposed=True
        ) or self.ledger.best(CAMPAIGN, self.top, number=1, largest=oracle.higher_is_better)
        if not found:
            return None
        crystal = found[0].query.crystal
        known = crystal.structure is not None
        value = found[0].value
        assert value is not None
        return Best(crystal.formula, crystal.space_group, value, oracle.unit, known)


def _mix(queries: Sequence[Query], problem: Problem) -> str:
    """How many queries go to which oracle."""
    counts = [sum(q.fidelity == o.fidelity for q in queries) for o in problem.oracles]
    parts = [f"{n} {o.name}" for n, o in zip(counts, problem.oracles, strict=True) if n]
    return f"asking {len(queries)} questions: {', '.join(parts)}"


def _sentence(query: Query, outcome: Outcome, problem: Problem) -> str:
    oracle = problem.oracles[query.fidelity]
    subject = f"{query.crystal.formula} (no. {query.crystal.space_group}), {oracle.name}"
    if outcome.value is None:
        return f"{subject} {outcome.status}"
    spread = "" if outcome.spread is None else f" ± {outcome.spread:.2g}"
    return f"{subject}: {outcome.value:.3g}{spread} {oracle.unit}"
