"""Where a campaign stands, in a form for machines; takes no longer in a long ledger."""

from typing import Any

from mfal.campaign.folder import CAMPAIGN, stored_config
from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.budget import account_of
from mfal.campaign.measured import best_proposals
from mfal.campaign.standing import counts, hull_limit

__all__ = ["read_status"]

_BEST = 5
_CHARGED = ("observed", "failed", "decided")


def read_status(ledger: Ledger) -> dict[str, Any]:
    """Rounds, budget, numbers of queries by oracle, and the best proposals so far."""
    config = stored_config(ledger)
    oracles = ledger.meta("oracles")
    tallies = [tally for tally in ledger.tallies() if tally.account == CAMPAIGN]
    account = account_of(tallies, CAMPAIGN, config.budget)
    written = ledger.rounds(CAMPAIGN)
    rounds = [number for number, _ in written]
    queries = {}
    for fidelity, oracle in enumerate(oracles):
        number = {t.kind: t.number for t in tallies if t.fidelity == fidelity}
        ended = {kind: number.get(kind, 0) for kind in ("observed", "failed", "abandoned")}
        pending = number.get("proposed", 0) - sum(ended.values())
        queries[oracle["name"]] = {**ended, "pending": pending}
    open_queries = sum(kinds["pending"] for kinds in queries.values())
    latest = max(rounds, default=0)
    target = oracles[-1]
    limit = hull_limit(config)
    best = best_proposals(
        ledger, target, len(oracles) - 1, _BEST, counts=lambda answer: counts(answer, limit)
    )
    taken = ledger.measured(CAMPAIGN)
    computing = {
        name: {
            "cost": sum(t.cost for t in tallies if t.fidelity == m and t.kind in _CHARGED),
            "seconds": taken.get(m, 0.0),
        }
        for m, name in [*enumerate(oracle["name"] for oracle in oracles), (-1, "campaign")]
    }
    return {
        "state": "finished" if latest > config.rounds else f"{open_queries} queries open",
        "reason": written[-1][1].get("reason") if written else None,
        "round": min(latest, config.rounds),
        "rounds": config.rounds,
        "budget": {
            "total": config.budget,
            "spent": account.spent,
            "reserved": account.reserved,
            "free": account.free,
        },
        "computing": computing,
        "queries": queries,
        "best": [
            {
                "formula": crystal.formula,
                "space_group": crystal.space_group,
                "value": verdict.value,
                "spread": verdict.spread,
                "basis": verdict.basis,
                "censoring": verdict.censoring,
                "oracle": target["name"],
                "unit": target["unit"],
                "known": not crystal.proposed,
                "id": crystal.hash,
            }
            for crystal, verdict in best
        ],
    }
