"""Last questions about the best candidates of a campaign, charged to nobody.

A crystal at rest within its space group may still be a saddle: the vibrations of the few best tell.
They cost more than all that has been asked about them before, so nothing else is asked.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mfal.campaign.config import CampaignConfig
from mfal.campaign.folder import CAMPAIGN, FINALISTS
from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.records import Outcome, Proposal, Query
from mfal.campaign.ledger.rows import Answer
from mfal.campaign.standing import counted_as, counts, hull_limit, repeated
from mfal.oracles.types import Oracle

if TYPE_CHECKING:
    from mfal.campaign.workers.dispatch import Dispatcher

__all__ = ["ask_finalists", "best_new"]

_LOOKED_AT = 64
"""Best answers among which finalists are sought."""


def ask_finalists(
    ledger: Ledger,
    dispatcher: "Dispatcher",
    config: CampaignConfig,
    target: Oracle,
    *,
    report_progress: Callable[[str, int, int], None],
    deadline: float | None = None,
) -> bool:
    """Ask for the vibrations of the best candidates that are new and whose atoms were relaxed.

    Args:
      ledger: of a campaign whose ranking is written.
      dispatcher: sends the questions out.
      config: of the campaign.
      target: whose answers rank candidates.
      report_progress: takes (sentence, questions done, questions in all).
      deadline: on the monotonic clock, after which nothing more goes out.

    Returns:
      Whether all have ended; the same call goes on with those that have not.
    """
    number = max(round_ for round_, _ in ledger.rounds(CAMPAIGN))
    if number not in {round_ for round_, _ in ledger.rounds(FINALISTS)}:
        proposals = _proposals(ledger, config, target) if config.relax else []
        if proposals:
            ledger.propose(FINALISTS, number, proposals, {})
    pending = ledger.pending(FINALISTS)
    if not pending:
        return True
    done = 0

    def ended(query: Query, outcome: Outcome) -> None:
        nonlocal done
        done += 1
        found = outcome.status if outcome.value is None else f"{outcome.value:g} imaginary modes"
        name = f"{query.crystal.formula} (no. {query.crystal.space_group})"
        report_progress(f"{name}: {found}", done, len(pending))

    report_progress(f"finding the vibrations of the {len(pending)} best", 0, len(pending))
    dispatcher.submit(pending)
    dispatcher.gather(ended, account=FINALISTS, deadline=deadline)
    return not ledger.pending(FINALISTS)


def _proposals(ledger: Ledger, config: CampaignConfig, target: Oracle) -> list[Proposal]:
    chosen = [answer.query for answer in best_new(ledger, config, target)]
    if not chosen:
        return []
    from mfal.oracles.stability.vibrations import vibrations_oracle

    oracle = vibrations_oracle()
    return [
        Proposal(
            query.crystal,
            target.fidelity + 1,
            oracle.name,
            oracle.version,
            oracle.cost,
            query.structures,
            {},
            (query.id,),
        )
        for query in chosen
    ]


def best_new(ledger: Ledger, config: CampaignConfig, target: Oracle) -> list[Answer]:
    """The target oracle's best answers about relaxed candidates that count: the finalists.

    Each formula that was generated comes once, and so does each crystal, however many candidates
    have relaxed to it. Of a long campaign the best answers alone are looked at, so that it takes no
    longer.
    """
    number, max_hull_distance = config.finalists, hull_limit(config)
    answers = ledger.best(
        CAMPAIGN,
        target.fidelity,
        number=_LOOKED_AT,
        largest=target.higher_is_better,
        proposed=True,
    )
    best: dict[str, Answer] = {}
    for answer in answers:
        if "arrangement" in answer.detail and counts(answer, max_hull_distance):
            best.setdefault(counted_as(answer.query.crystal), answer)
    found = list(best.values())
    if number > 1:
        again = repeated(
            (a.query.crystal.hash, a.query.crystal.formula, a.detail.get("arrangement"))
            for a in found
        )
        found = [answer for answer in found if answer.query.crystal.hash not in again]
    return found[:number]
