"""What a campaign has asked and been told, kept so that nothing is lost or paid for twice."""

from typing import TYPE_CHECKING

from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.campaign.ledger.book import Ledger
    from mfal.campaign.ledger.budget import Account, account_of
    from mfal.campaign.ledger.records import CrystalRecord, Outcome, Proposal, Query

__all__ = [
    "Account",
    "CrystalRecord",
    "Ledger",
    "Outcome",
    "Proposal",
    "Query",
    "account_of",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "book": "Ledger",
        "budget": "Account account_of",
        "records": "CrystalRecord Outcome Proposal Query",
    },
)
