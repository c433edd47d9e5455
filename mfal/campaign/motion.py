"""Molecular dynamics of the finalists within an allowance, charged to nobody.

A run that shows ten hops of a good conductor takes minutes, more than a default campaign has for
all its finalists together. So what a whole run takes is reckoned for each, and told; simulated is
as much as the allowance (`execution.dynamics`) buys, by nominal prices, so that the length doesn't
depend on the machine. A larger allowance later goes on where a smaller one had ended.
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

    def bought(self, seconds: float) -> float:
        """Ps that an allowance measures; 0 where that is too little to be worth it."""
        if self.price is None:
            return 0.0
        length = self.price.bought(seconds)
        return length if length >= min(LEAST, self.price.length) else 0.0


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
    allowance = config.execution.dynamics or 0.0
    last = max(round_ for round_, _ in ledger.rounds(CAMPAIGN))
    rounds = ledger.rounds(MOTION)
    told = rounds[-1][1] if rounds else {}
    if (told.get("last"), told.get("allowance")) != (last, allowance):
        finalists = _finalists(ledger, config, target)
        proposals = _proposals(finalists, config, allowance)
        detail = {"last": last, "allowance": allowance, "finalists": _plain(finalists, allowance)}
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
    from mfal.oracles.dynamics.short import run_of_length

    found = []
    for answer in best_new(ledger, config, target):
        try:
            price = run_of_length(structure_of(answer.detail["arrangement"]), config.ion).price
            found.append(_Finalist(answer.query, price, ""))
        except MfalError as error:
            found.append(_Finalist(answer.query, None, str(error)))
    return found


def _proposals(
    finalists: list[_Finalist], config: CampaignConfig, allowance: float
) -> list[Proposal]:
    if not any(one.bought(allowance) for one in finalists):
        return []
    from mfal.oracles.dynamics.short import short_dynamics

    proposals = []
    for one in finalists:
        length = one.bought(allowance)
        if one.price is not None and length:
            oracle = short_dynamics(config.ion, length)
            proposals.append(
                Proposal(
                    one.query.crystal,
                    0,
                    oracle.name,
                    oracle.version,
                    min(allowance, one.price.seconds),
                    one.query.structures,
                    {},
                    (one.query.id,),
                )
            )
    return proposals


def _plain(finalists: list[_Finalist], allowance: float) -> dict[str, dict[str, Any]]:
    """For the ledger, by crystal: CPU seconds and ps of a whole run, ps that are simulated."""
    return {
        one.query.crystal.hash: {"note": one.note}
        if one.price is None
        else {
            "seconds": round(one.price.seconds, 1),
            "length_ps": one.price.length,
            "simulated_ps": one.bought(allowance),
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
