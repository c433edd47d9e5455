"""Where a campaign stands, by its ledger, and what it tells of its questions and their answers."""

from collections.abc import Sequence

from mfal.campaign.config import CampaignConfig
from mfal.campaign.events import Best, Progress
from mfal.campaign.folder import BASELINE, CAMPAIGN
from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.budget import account_of
from mfal.campaign.ledger.records import CrystalRecord, Outcome, Query
from mfal.campaign.measured import Worth, best_proposals
from mfal.campaign.standing import counts, hull_limit
from mfal.oracles.types import Oracle

__all__ = ["best_crystals", "describe_answer", "describe_questions", "progress_of"]


def progress_of(ledger: Ledger, config: CampaignConfig, oracles: Sequence[Oracle]) -> Progress:
    """What is spent and answered, and the best so far."""
    tallies = ledger.tallies()
    ended = [t for t in tallies if t.account == CAMPAIGN and t.kind in ("observed", "failed")]
    return Progress(
        account=account_of(tallies, CAMPAIGN, config.budget),
        answered=tuple(
            sum(t.number for t in ended if t.fidelity == oracle.fidelity) for oracle in oracles
        ),
        oracles=tuple(oracle.name for oracle in oracles),
        failed=sum(t.number for t in ended if t.kind == "failed"),
        best=_best(ledger, config, oracles[-1]),
    )


def best_crystals(
    ledger: Ledger, config: CampaignConfig, target: Oracle, number: int, *, proposed: bool = True
) -> list[tuple[CrystalRecord, Worth]]:
    """The best crystals that count, of the campaign's proposals or of all that it knows."""
    limit = hull_limit(config)
    return best_proposals(
        ledger,
        {"unit": target.unit, "higher_is_better": target.higher_is_better},
        target.fidelity,
        number,
        proposed=proposed,
        counts=lambda answer: counts(answer, limit),
    )


def describe_questions(queries: Sequence[Query], total: int, oracles: Sequence[Oracle]) -> str:
    """How many queries go to which oracle; those of the total beyond them are the baseline's."""
    numbers = [sum(q.fidelity == oracle.fidelity for q in queries) for oracle in oracles]
    parts = [f"{n} {oracle.name}" for n, oracle in zip(numbers, oracles, strict=True) if n]
    text = f"asking {len(queries)} questions: {', '.join(parts)}"
    others = total - len(queries)
    return f"{text}; and {others} for the baseline" if others > 0 else text


def describe_answer(
    query: Query, outcome: Outcome, oracles: Sequence[Oracle], baseline: str
) -> str:
    """What an oracle has said."""
    oracle = oracles[query.fidelity]
    whose = f"{baseline}: " if query.account == BASELINE else ""
    subject = f"{whose}{query.crystal.formula} (no. {query.crystal.space_group}), {oracle.name}"
    if outcome.value is None:
        return f"{subject} {outcome.status}"
    spread = "" if outcome.spread is None else f" ± {outcome.spread:.2g}"
    return f"{subject}: {outcome.value:.3g}{spread} {oracle.unit}"


def _best(ledger: Ledger, config: CampaignConfig, target: Oracle) -> Best | None:
    """The best proposal, or the best known crystal while there is none."""
    for proposed in (True, False):
        for crystal, verdict in best_crystals(ledger, config, target, 1, proposed=proposed):
            name, group = crystal.formula, crystal.space_group
            return Best(name, group, verdict.value, target.unit, not proposed)
    return None
