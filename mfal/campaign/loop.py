"""The campaign: initial data, rounds of proposals and answers, and a last word.

Everything that a round decides is a function of the configuration and of what was in the ledger
when the round was opened: answers, open queries, and what `mfal tell` brought. The ledger keeps
that place, so a process killed before the decision decides again and the same; one killed after it
asks what is still open.
"""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfal.campaign.config import NONE, CampaignConfig, by_oracle
from mfal.campaign.events import Event, Notify, silent
from mfal.campaign.finalists import ask_finalists
from mfal.campaign.folder import (
    BASELINE,
    CAMPAIGN,
    HANDOFF,
    LEDGER_NAME,
    open_campaign,
    read_campaign,
    stored_config,
)
from mfal.campaign.ledger.book import Answer, Basis, Ledger
from mfal.campaign.ledger.budget import Account, account_of, limits_of
from mfal.campaign.ledger.records import Outcome, Query
from mfal.campaign.motion import simulate_finalists
from mfal.campaign.pool import prepare_pool
from mfal.campaign.progress import best_crystals, describe_answer, describe_questions, progress_of
from mfal.campaign.strategy.lessons import lessons
from mfal.campaign.strategy.types import Decision, Round, Strategy
from mfal.campaign.workers.clusters import environment_of, open_executor
from mfal.campaign.workers.device import DeviceQueue, open_device
from mfal.campaign.workers.dispatch import Dispatcher
from mfal.campaign.workers.isolation import QueryLimits
from mfal.errors import MfalError
from mfal.oracles.loading import load_oracles
from mfal.oracles.types import Oracle

if TYPE_CHECKING:
    from mfal.campaign.problem import Problem

__all__ = ["rank_again", "run_campaign"]

_LEADERS = 16
"""Best proposals that are looked at for the target: limits of detection may be among them."""


def run_campaign(
    folder: Path,
    config: CampaignConfig,
    *,
    notify: Notify = silent,
    executor: Executor | None = None,
    strategy: Strategy | None = None,
    baseline: Strategy | None = None,
    pool: Any = None,
) -> bool:
    """Start a campaign in a folder, or go on with the one that is there, to its end.

    Args:
      folder: made where it is missing.
      config: must agree with the one in the folder, save in how queries run.
      notify: called with every event.
      executor: runs the queries; the one that the configuration names if left out. It is not shut
        down.
      strategy: decides what to ask; the one that the configuration names if left out.
      baseline: decides for the search beside it; where a strategy is given and this is not, none
        runs.
      pool: candidates from a program, where the configuration's pool names "given": a
        `MaterialTable`, a pandas data frame with a column of structures, or structures. It is read
        when the campaign begins.

    Returns:
      Whether the campaign has come to its end; False where its time ran out before.

    Raises:
      MfalError: for what the user can mend; the ledger keeps all that was paid for.
    """
    oracles = load_oracles(config.oracles, config.hide)
    limits_of(by_oracle("limits", config.limits), oracles)
    limits_of(by_oracle("execution.timeouts", config.execution.timeouts), oracles)
    if config.known:
        from mfal.data.novelty import known_crystals

        known_crystals(config.known)  # a table that can't be read must not fail every query
    # First what may fail: a name that leads nowhere must not leave a begun campaign behind.
    problem = _problem(config) if strategy is None else None
    if config.pool and not (folder / LEDGER_NAME).exists():

        def read(text: str) -> None:
            notify(Event("read", 0, config.rounds, text))

        facts = prepare_pool(folder, config, pool, read)
        notify(Event("pool", 0, config.rounds, facts.sentence()))
    if problem is None:
        assert strategy is not None
        made = strategy, baseline
    else:
        made = _strategies(folder, config, problem, baseline)
    with (
        nullcontext(executor) if executor is not None else open_executor(config) as runner,
        open_device(config) as device,
        open_campaign(folder, config, oracles) as ledger,
    ):
        return _Campaign(ledger, config, oracles, *made, runner, notify, device).run()


def rank_again(folder: Path, *, notify: Notify = silent, strategy: Strategy | None = None) -> bool:
    """Fit a finished campaign's proxy again if answers have been told since, and write its ranking.

    Returns:
      Whether there was anything new.

    Raises:
      MfalError: where there is no campaign, or another process writes to it.
    """
    with read_campaign(folder) as ledger:
        config, new = stored_config(ledger), _news(ledger)
    if not new:
        return False
    oracles = load_oracles(config.oracles, config.hide)
    if strategy is None:
        config_alone = replace(config, baseline=NONE)
        strategy, _ = _strategies(folder, config_alone, _problem(config), None)
    with open_campaign(folder, config, oracles) as ledger, ThreadPoolExecutor(1) as unused:
        _Campaign(ledger, config, oracles, strategy, None, unused, notify).conclude(
            "answers were told"
        )
    return True


def _news(ledger: Ledger) -> bool:
    """Whether a finished campaign has been told what bears on its last ranking."""
    rounds = ledger.rounds(CAMPAIGN)
    if not rounds or not rounds[-1][1].get("final"):
        return False
    unit = ledger.meta("oracles")[-1]["unit"]
    basis = ledger.basis(CAMPAIGN, rounds[-1][0])
    before = lessons(ledger.answers(HANDOFF, basis=basis), unit) if basis else {}
    return lessons(ledger.answers(HANDOFF), unit) != before


def _problem(config: CampaignConfig) -> "Problem":
    from mfal.campaign.problem import make_problem

    generate = config.generate or not config.pool
    return make_problem(config.space, config.oracles, generate=generate, hide=config.hide)


def _strategies(
    folder: Path, config: CampaignConfig, problem: "Problem", baseline: Strategy | None
) -> tuple[Strategy, Strategy | None]:
    """Who decides, and who decides for the search beside it, by the configuration's names."""
    from mfal.campaign.pool import open_pool
    from mfal.campaign.strategy.named import named_strategy

    if config.pool:
        problem = problem._replace(pool=open_pool(folder))
    if baseline is None and config.baseline != NONE:
        baseline = named_strategy(config.baseline, problem, config)
    return named_strategy(config.strategy, problem, config), baseline


class _Campaign:
    """One run over a ledger; keeps no state of its own but what is under way."""

    def __init__(
        self,
        ledger: Ledger,
        config: CampaignConfig,
        oracles: Sequence[Oracle],
        strategy: Strategy,
        baseline: Strategy | None,
        executor: Executor,
        notify: Notify,
        device: Callable[[], DeviceQueue | None] = lambda: None,
    ) -> None:
        self.ledger = ledger
        self.config = config
        self.oracles = oracles
        self.strategy = strategy
        self.baseline = baseline
        self.notify = notify
        self.limits = limits_of(by_oracle("limits", config.limits), oracles)
        self.dispatcher = Dispatcher(ledger, executor, config, self.limits_of_query, device)
        hours = config.execution.hours
        # A clock that nobody can set: the wall's may jump.
        self.deadline = None if hours is None else time.monotonic() + 3600 * hours

    def run(self) -> bool:
        try:
            return self.to_the_end()
        except KeyboardInterrupt:
            self.dispatcher.poll(lambda query, outcome: None)  # what has come is not lost
            raise

    def to_the_end(self) -> bool:
        rounds = self.config.rounds
        written = {account: self.written(account) for account in (CAMPAIGN, BASELINE)}
        if written[CAMPAIGN]:
            self.report_progress(
                "start", 0, f"going on after {max(written[CAMPAIGN])} written rounds"
            )
        if 0 not in written[CAMPAIGN]:
            self.decide(CAMPAIGN, 0, self.strategy.initial)
        self.answer("initial", 0)
        number, reason, stopped = 0, "all rounds are done", False
        for number in range(1, rounds + 1):
            if self.reached():
                reason = f"the target of {self.config.target:g} {self.oracles[-1].unit} is reached"
                break
            if stopped := self.late():
                break
            if self.baseline is not None:
                if number not in written[BASELINE]:
                    self.decide(BASELINE, number, self.baseline.propose)
                # Off they go: the workers have nothing else to do while the sampler trains.
                self.dispatcher.submit(self.ledger.pending(BASELINE))
            if number not in written[CAMPAIGN]:
                self.decide(CAMPAIGN, number, self.strategy.propose)
            if number + 1 not in written[CAMPAIGN]:
                self.answer("query", number, self.config.overlap if number < rounds else 0.0)
        self.answer("query", number)
        if stopped or self.ledger.pending(CAMPAIGN) or self.ledger.pending(BASELINE):
            self.report_progress("stopped", number, "the time is up; the same command goes on")
            return False
        if rounds + 1 not in written[CAMPAIGN]:
            self.conclude(reason)
        elif _news(self.ledger):
            self.conclude("answers were told")
        if not self.ask_finalists():
            self.report_progress("stopped", number, "the time is up; the same command goes on")
            return False
        self.report_progress("done", rounds, reason)
        return True

    def written(self, account: str) -> set[int]:
        return {number for number, _ in self.ledger.rounds(account)}

    def late(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    def reached(self) -> bool:
        """Whether a proposal has met the target."""
        target, oracle = self.config.target, self.oracles[-1]
        if target is None:
            return False
        sign, worse = (1.0, "below") if oracle.higher_is_better else (-1.0, "above")
        return any(
            sign * verdict.value >= sign * target and verdict.censoring != worse
            for _, verdict in best_crystals(self.ledger, self.config, oracle, _LEADERS)
        )

    def decide(self, account: str, number: int, decider: Callable[[Round], Decision]) -> None:
        """Write a round's decision, checked against the budget and the limits."""
        round_ = self.round(account, number)
        free = self.account(account).free
        start = time.process_time()
        if number and free < min(oracle.cost for oracle in self.oracles):
            decision = Decision([], {"skipped": "the budget is spent"})
        else:
            decision = decider(round_)
        seconds = time.process_time() - start
        costs = [0.0] * len(self.oracles)
        for proposal in decision.proposals:
            costs[proposal.fidelity] += proposal.cost
        whole = sum(costs) + decision.cost
        self.check(f"round {number}", whole, free, "the strategy must keep within its share")
        for oracle, cost, left in zip(self.oracles, costs, self.free(account), strict=True):
            what = f"round {number}, {oracle.name} alone,"
            self.check(what, cost, left, "the strategy must keep within the limits")
        self.ledger.propose(
            account,
            number,
            decision.proposals,
            decision.detail,
            cost=decision.cost,
            seconds=seconds,
        )

    def check(self, what: str, cost: float, free: float, remedy: str) -> None:
        if cost > free * (1 + 1e-9) + 1e-9:
            raise MfalError(f"{what} would cost {cost:g} of {free:g} free CPU s", remedy)

    def ask_finalists(self) -> bool:
        """Look closer at the best candidates; False where the time ran out before."""
        return all(
            ask(
                self.ledger,
                self.dispatcher,
                self.config,
                self.oracles[-1],
                report_progress=partial(self.report_progress, stage, self.config.rounds),
                deadline=self.deadline,
            )
            for stage, ask in (("finalists", ask_finalists), ("motion", simulate_finalists))
        )

    def conclude(self, reason: str) -> None:
        """Write a ranking: the campaign's last word until something new is told."""
        number = max(self.config.rounds, *self.written(CAMPAIGN), 0) + 1
        round_ = self.round(CAMPAIGN, number)
        told = len(lessons(round_.told, self.oracles[-1].unit))
        start = time.process_time()
        detail = self.strategy.conclude(round_)
        seconds = time.process_time() - start
        detail |= {"final": True, "reason": reason, "told": told}
        self.ledger.propose(CAMPAIGN, number, [], detail, seconds=seconds)

    def round(self, account: str, number: int) -> Round:
        """What a decision may rest on; an equal share of what is left is its allowance."""
        basis = self.ledger.open_round(account, number)
        left = 1 if number == 0 else max(self.config.rounds - number + 1, 1)
        capacity = self.config.proxy.capacity

        def report_progress(stage: str, text: str, done: int, total: int) -> None:
            # Workers don't stand still while this thread thinks: what they have said is kept.
            self.dispatcher.poll(lambda query, outcome: None)
            self.report_progress(stage, number, text, done, total)

        return Round(
            number=number,
            rounds=self.config.rounds,
            answers=self.answers(account, capacity, basis),
            pending=self.ledger.pending(account, basis=basis),
            told=self.ledger.answers(HANDOFF, limit=capacity, basis=basis),
            allowance=self.account(account).free / left,
            allowances=tuple(free / left for free in self.free(account)),
            asked=lambda crystals: self.ledger.asked(account, crystals),
            report_progress=report_progress,
        )

    def answers(self, account: str, number: int, basis: Basis) -> list[Answer]:
        """The latest of an account's; both searches begin with the same initial data."""
        own = self.ledger.answers(account, limit=number, basis=basis)
        if account == CAMPAIGN:
            return own
        first = self.ledger.answers(CAMPAIGN, basis=basis, number=0)
        return (first + own)[-number:]

    def account(self, name: str) -> Account:
        """The state of a budget.

        Both searches start from the same initial data, and both pay for it.
        """
        budget = self.config.budget
        if name == BASELINE:
            budget -= sum(self.ledger.costs_of_round(CAMPAIGN, 0).values())
        return account_of(self.ledger.tallies(), name, budget)

    def free(self, name: str) -> tuple[float, ...]:
        """What each fidelity may still take of a budget; infinite where nothing limits it."""
        paid = self.ledger.costs_of_round(CAMPAIGN, 0) if name == BASELINE else {}
        tallies = self.ledger.tallies()
        return tuple(
            account_of(tallies, name, limit - paid.get(m, 0.0), fidelity=m).free
            if math.isfinite(limit)
            else math.inf
            for m, limit in enumerate(self.limits)
        )

    def limits_of_query(self, query: Query) -> QueryLimits:
        """Time, memory and repetitions of a query."""
        execution = self.config.execution
        timeouts = by_oracle("execution.timeouts", execution.timeouts)
        timeout = timeouts.get(query.oracle, max(execution.timeout, 5 * query.cost))
        return QueryLimits(
            timeout, execution.retries, execution.memory, environment_of(self.config)
        )

    def answer(self, stage: str, number: int, share: float = 0.0) -> None:
        """Ask whatever is open and wait for the answers, or for all but a share of the round's.

        Without a share, the baseline's are waited for as well.
        """
        pending = self.ledger.pending(CAMPAIGN)
        if not self.late():
            self.dispatcher.submit(pending)
        account = CAMPAIGN if share else None
        total, done = self.dispatcher.pending(account), 0
        leave = int(share * sum(query.round == number for query in pending))
        if total <= leave:
            return
        text = describe_questions(pending, total, self.oracles)
        self.report_progress(stage, number, text, 0, total)

        def ended(query: Query, outcome: Outcome) -> None:
            nonlocal done
            done += account in (None, query.account)
            text = describe_answer(query, outcome, self.oracles, self.config.baseline)
            self.report_progress(stage, number, text, done, total)

        self.dispatcher.gather(ended, account=account, leave=leave, deadline=self.deadline)

    def report_progress(
        self, stage: str, number: int, text: str, done: int = 0, total: int = 0
    ) -> None:
        rounds = self.config.rounds
        progress = progress_of(self.ledger, self.config, self.oracles)
        self.notify(Event(stage, min(number, rounds), rounds, text, done, total, progress))
