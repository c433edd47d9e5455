"""Molecular dynamics of the finalists within an allowance, charged to nobody.

A run that shows ten hops of a good conductor takes minutes, more than a default campaign has for
all its finalists together. So what a whole run takes is reckoned for each, and told; simulated is
as much as the time allowed (`execution.dynamics`) buys on the workers, the better ones first, by
nominal prices, so that lengths don't depend on how busy a machine is. More time later goes on where
less had ended.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from mfal.campaign.config import CampaignConfig
from mfal.campaign.finalists import best_new
from mfal.campaign.folder import CAMPAIGN, MOTION
from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.crystals import structure_of
from mfal.campaign.ledger.records import Outcome, Proposal, Query
from mfal.errors import MfalError
from mfal.oracles.types import Oracle

if TYPE_CHECKING:
    from mfal.campaign.workers.dispatch import Dispatcher
    from mfal.oracles.dynamics.price import RunPrice

__all__ = ["LEAST", "simulate_finalists"]

LEAST = 2.0
"""ps; what measures less says nothing, and isn't begun."""
_LOOK = 2.0
"""Seconds between looks at how far the runs are."""


class _Finalist(NamedTuple):
    query: Query
    """By which its atoms were found."""
    price: "RunPrice | None"
    """Of its whole run; None where it can't be simulated."""
    note: str
    """Why not."""
    done: float
    """ps that have been measured."""
    length: float
    """ps that are to be."""
    seconds: float = 0.0
    """CPU seconds that this takes."""

    @property
    def whole(self) -> bool:
        """Whether nothing is left to simulate."""
        return self.price is not None and self.length > self.price.length - 0.1


def simulate_finalists(
    ledger: Ledger,
    dispatcher: "Dispatcher",
    config: CampaignConfig,
    target: Oracle,
    *,
    report_progress: Callable[[str, int, int], None],
    deadline: float | None = None,
) -> bool:
    """Simulate the finalists for as long as the allowance buys, and note what it would take.

    Args:
      ledger: of a campaign whose ranking is written.
      dispatcher: sends the questions out.
      config: of the campaign.
      target: whose answers rank candidates.
      report_progress: takes (sentence, steps done, steps in all).
      deadline: on the monotonic clock, after which nothing more goes out.

    Returns:
      Whether all have ended; the same call goes on with those that have not.
    """
    execution = config.execution
    seconds, workers = execution.dynamics, execution.workers
    last = max(round_ for round_, _ in ledger.rounds(CAMPAIGN))
    rounds = ledger.rounds(MOTION)
    told = rounds[-1][1] if rounds else {}
    if (told.get("last"), told.get("terms")) != (last, [seconds, workers]):
        finalists = _shared_out(_finalists(ledger, config, target), seconds, workers)
        proposals = _proposals(finalists, config)
        detail = {"last": last, "terms": [seconds, workers], "finalists": _plain(finalists)}
        ledger.propose(MOTION, len(rounds) + 1, proposals, detail)
    pending = ledger.pending(MOTION)
    if not pending:
        return True
    report_progress(f"simulating {len(pending)} of the best", 0, len(pending))
    runs = _Runs(ledger, config, pending)

    def ended(query: Query, outcome: Outcome) -> None:
        runs.end(query, outcome)
        report_progress(*runs.told())

    dispatcher.submit(pending)
    while dispatcher.pending(MOTION) and (deadline is None or time.monotonic() < deadline):
        dispatcher.poll(ended)
        if dispatcher.pending(MOTION):
            time.sleep(_LOOK)
            report_progress(*runs.told())
    dispatcher.gather(ended, account=MOTION, deadline=deadline)
    return not ledger.pending(MOTION)


def _finalists(ledger: Ledger, config: CampaignConfig, target: Oracle) -> list[_Finalist]:
    """What a whole run of each finalist takes, unless the campaign's own oracles are dynamics."""
    if not config.relax or any(each["name"] == "dynamics" for each in ledger.meta("oracles") or []):
        return []
    from mfal.oracles.dynamics.short import length_of, run_of_length

    done: dict[str, float] = {}
    for answer in ledger.answers(MOTION):
        if answer.value is not None:
            length, crystal = length_of(answer.query.oracle), answer.query.crystal.hash
            done[crystal] = max(length, done.get(crystal, 0.0))
    found = []
    for answer in best_new(ledger, config, target):
        price, note = None, ""
        try:
            price = run_of_length(structure_of(answer.detail["arrangement"]), config.ion).price
        except MfalError as error:
            note = str(error)
        before = done.get(answer.query.crystal.hash, 0.0)
        found.append(_Finalist(answer.query, price, note, before, before))
    return found


def _shared_out(finalists: list[_Finalist], seconds: float, workers: int) -> list[_Finalist]:
    """The finalists with their lengths: in turn each takes what it can of the freest worker."""
    free, shared = [seconds] * workers, []
    for one in finalists:
        k = max(range(workers), key=lambda i: free[i])
        if one.price is not None and not one.whole:
            length = one.price.bought(free[k], one.done)
            if length >= min(one.price.length, max(LEAST, one.done + LEAST / 2)):
                took = min(free[k], one.price.seconds(one.done))
                free[k] -= took
                one = one._replace(length=length, seconds=took)
        shared.append(one)
    return shared


def _proposals(finalists: list[_Finalist], config: CampaignConfig) -> list[Proposal]:
    proposals = []
    for one in (one for one in finalists if one.seconds):
        from mfal.oracles.dynamics.short import short_dynamics

        oracle, query = short_dynamics(config.ion, one.length), one.query
        proposals.append(
            Proposal(
                query.crystal,
                0,
                oracle.name,
                oracle.version,
                one.seconds,
                query.structures,
                {},
                (query.id,),
            )
        )
    return proposals


def _plain(finalists: list[_Finalist]) -> dict[str, dict[str, Any]]:
    """For the ledger, by crystal: ps of a whole run and of this, CPU seconds left for the whole."""
    return {
        one.query.crystal.hash: {"note": one.note}
        if one.price is None
        else {
            "length_ps": one.price.length,
            "simulated_ps": one.length,
            "seconds_left": 0.0 if one.whole else round(one.price.seconds(one.length), 1),
        }
        for one in finalists
    }


class _Runs:
    """How far the runs are, by what their workers keep on this machine."""

    def __init__(self, ledger: Ledger, config: CampaignConfig, pending: list[Query]) -> None:
        from mfal.oracles.dynamics.short import length_of, run_of_length

        self._names = {q.id: f"{q.crystal.formula} (no. {q.crystal.space_group})" for q in pending}
        self._ended: dict[int, str] = {}
        self._runs = {}
        for query in pending:
            atoms = structure_of((ledger.found_atoms(query.crystal.hash) or {})["arrangement"])
            self._runs[query.id] = run_of_length(atoms, config.ion, length_of(query.oracle))

    def end(self, query: Query, outcome: Outcome) -> None:
        """Take note of an end."""
        from mfal.oracles.dynamics.shown import run_words

        said = outcome.status
        if outcome.value is not None:
            runs = outcome.detail.get("provenance", {}).get("simulated", [])
            said = "; ".join(run_words(run) for run in runs)
        self._ended[query.id] = f"{self._names[query.id]}: {said}"

    def told(self) -> tuple[str, int, int]:
        """A sentence on the latest end and on what is under way; steps done, steps in all."""
        from mfal.oracles.dynamics.store import steps_done

        done, total, parts = 0, 0, list(self._ended.values())[-1:]
        for number, (price, folder) in self._runs.items():
            here = price.total
            if number not in self._ended:
                here = min(steps_done(folder), price.total)
                took, whole = (1e-3 * price.timestep * n for n in (here, price.total))
                parts.append(f"{self._names[number]} {took:.1f} of {whole:.1f} ps")
            done, total = done + here, total + price.total
        return "; ".join(parts), done, total
