"""The campaign: initial data, rounds of proposals and answers, and a last word.

Everything that a round decides is a function of the configuration and of the answers in the
ledger, read in the order of decisions. A round's proposals enter the ledger in one transaction:
a process killed before it decides again, one killed after it asks what is still open.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from mfal.campaign.budget import Account, account_of
from mfal.campaign.config import CampaignConfig
from mfal.campaign.dispatch import Dispatcher
from mfal.campaign.events import Best, Event, Notify, Progress, silent
from mfal.campaign.executors import WorkerPool
from mfal.campaign.folder import CAMPAIGN, RANDOM, open_campaign
from mfal.campaign.ledger import Ledger
from mfal.campaign.records import Outcome, Query
from mfal.campaign.strategy import Decision, Round, Strategy
from mfal.campaign.tasks import load_oracles
from mfal.errors import MfalError
from mfal.oracles.types import Oracle

__all__ = ["make_pool", "run_campaign"]


def run_campaign(
    folder: Path,
    config: CampaignConfig,
    *,
    notify: Notify = silent,
    executor: Executor | None = None,
    strategy: Strategy | None = None,
) -> None:
    """Start a campaign in a folder, or go on with the one that is there, to its end.

    Args:
      folder: made where it is missing.
      config: must agree with the one in the folder, save in how queries run.
      notify: called with every event.
      executor: runs the queries; a pool of worker processes if left out. It is not shut down.
      strategy: decides what to ask; the learning one if left out.

    Raises:
      MfalError: for what the user can mend; the ledger keeps all that was paid for.
    """
    oracles = load_oracles(config.oracles)
    if strategy is None:
        strategy = _learned(config)
    with open_campaign(folder, config, oracles) as ledger:
        if executor is not None:
            _Campaign(ledger, config, oracles, strategy, executor, notify).run()
            return
        pool = make_pool(config)
        try:
            _Campaign(ledger, config, oracles, strategy, pool, notify).run()
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


def _learned(config: CampaignConfig) -> Strategy:
    from mfal.campaign.learned import learned_strategy
    from mfal.campaign.problem import make_problem

    return learned_strategy(make_problem(config.space, config.oracles), config)


class _Campaign:
    """One run over a ledger; keeps no state of its own but what is under way."""

    def __init__(
        self,
        ledger: Ledger,
        config: CampaignConfig,
        oracles: Sequence[Oracle],
        strategy: Strategy,
        executor: Executor,
        notify: Notify,
    ) -> None:
        self.ledger = ledger
        self.config = config
        self.oracles = oracles
        self.strategy = strategy
        self.notify = notify
        self.dispatcher = Dispatcher(ledger, executor, config.oracles)

    def run(self) -> None:
        rounds = self.config.rounds
        written = {account: self.written(account) for account in (CAMPAIGN, RANDOM)}
        if written[CAMPAIGN]:
            self.tell("start", 0, f"going on after {max(written[CAMPAIGN])} written rounds")
        if 0 not in written[CAMPAIGN]:
            self.decide(CAMPAIGN, 0, self.strategy.initial)
        self.answer("initial", 0)
        for number in range(1, rounds + 1):
            if self.config.baseline:
                if number not in written[RANDOM]:
                    self.decide(RANDOM, number, self.strategy.baseline)
                # Off they go: the workers have nothing else to do while the sampler trains.
                self.dispatcher.submit(self.ledger.pending(RANDOM))
            if number not in written[CAMPAIGN]:
                self.decide(CAMPAIGN, number, self.strategy.propose)
            self.answer("query", number)
        if rounds + 1 not in written[CAMPAIGN]:
            detail = self.strategy.conclude(self.round(CAMPAIGN, rounds + 1))
            self.ledger.propose(CAMPAIGN, rounds + 1, [], {**detail, "final": True})
        self.tell("done", rounds, "all rounds are done")

    def written(self, account: str) -> set[int]:
        return {number for number, _ in self.ledger.rounds(account)}

    def decide(self, account: str, number: int, decider: Any) -> None:
        """Write a round's decision, checked against the budget."""
        round_ = self.round(account, number)
        decision: Decision = decider(round_)
        cost = sum(proposal.cost for proposal in decision.proposals)
        free = self.account(account).free
        if cost > free * (1 + 1e-9) + 1e-9:
            raise MfalError(
                f"round {number} would cost {cost:g} of {free:g} free cost units",
                "the strategy must keep within its allowance",
            )
        self.ledger.propose(account, number, decision.proposals, decision.detail)

    def round(self, account: str, number: int) -> Round:
        """What a decision may rest on; an equal share of what is left is its allowance."""
        rounds = self.config.rounds
        left = 1 if number == 0 else max(rounds - number + 1, 1)
        capacity = self.config.proxy.capacity
        return Round(
            number=number,
            rounds=rounds,
            answers=self.ledger.answers(account, limit=capacity) if account == CAMPAIGN else [],
            allowance=self.account(account).free / left,
            asked=lambda crystals: self.ledger.asked(account, crystals),
            tell=lambda stage, text, done, total: self.tell(stage, number, text, done, total),
        )

    def account(self, name: str) -> Account:
        """The state of a budget.

        Both searches start from the same initial data, and both pay for it.
        """
        budget = self.config.budget
        if name == RANDOM:
            budget -= self.ledger.cost_of_round(CAMPAIGN, 0)
        return account_of(self.ledger.tallies(), name, budget)

    def answer(self, stage: str, number: int) -> None:
        """Ask whatever is open and wait for all that is under way."""
        pending = self.ledger.pending(CAMPAIGN)
        if not pending and not self.dispatcher.pending:
            return
        self.dispatcher.submit(pending)
        total, done = self.dispatcher.pending, 0
        self.tell(stage, number, self.mix(pending, total), 0, total)

        def told(query: Query, outcome: Outcome) -> None:
            nonlocal done
            done += 1
            self.tell(stage, number, self.sentence(query, outcome), done, total)

        self.dispatcher.gather(told)

    def mix(self, queries: Sequence[Query], total: int) -> str:
        """How many queries go to which oracle."""
        counts = [sum(q.fidelity == o.fidelity for q in queries) for o in self.oracles]
        parts = [f"{n} {o.name}" for n, o in zip(counts, self.oracles, strict=True) if n]
        text = f"asking {len(queries)} questions: {', '.join(parts)}"
        others = total - len(queries)
        return f"{text}; and {others} for the random search" if others else text

    def sentence(self, query: Query, outcome: Outcome) -> str:
        """What an oracle has said."""
        oracle = self.oracles[query.fidelity]
        whose = "random search: " if query.account == RANDOM else ""
        subject = f"{whose}{query.crystal.formula} (no. {query.crystal.space_group}), {oracle.name}"
        if outcome.value is None:
            return f"{subject} {outcome.status}"
        spread = "" if outcome.spread is None else f" ± {outcome.spread:.2g}"
        return f"{subject}: {outcome.value:.3g}{spread} {oracle.unit}"

    def tell(self, stage: str, number: int, text: str, done: int = 0, total: int = 0) -> None:
        rounds = self.config.rounds
        self.notify(Event(stage, min(number, rounds), rounds, text, done, total, self.progress()))

    def progress(self) -> Progress:
        tallies = self.ledger.tallies()
        ended = [t for t in tallies if t.account == CAMPAIGN and t.kind in ("observed", "failed")]
        return Progress(
            account=account_of(tallies, CAMPAIGN, self.config.budget),
            answered=tuple(
                sum(t.number for t in ended if t.fidelity == oracle.fidelity)
                for oracle in self.oracles
            ),
            oracles=tuple(oracle.name for oracle in self.oracles),
            failed=sum(t.number for t in ended if t.kind == "failed"),
            best=self.best(),
        )

    def best(self) -> Best | None:
        """The best proposal, or the best known crystal while there is none."""
        top = self.oracles[-1]
        for proposed in (True, False):
            found = self.ledger.best(
                CAMPAIGN, top.fidelity, number=1, largest=top.higher_is_better, proposed=proposed
            )
            if found and found[0].value is not None:
                crystal = found[0].query.crystal
                return Best(
                    crystal.formula, crystal.space_group, found[0].value, top.unit, not proposed
                )
        return None
