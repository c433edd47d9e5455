"""Who decides what to ask."""

from typing import TYPE_CHECKING

from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.campaign.strategy.belief import Belief
    from mfal.campaign.strategy.informed import make_strategy
    from mfal.campaign.strategy.named import named_strategy
    from mfal.campaign.strategy.types import Decision, Round, Strategy

__all__ = [
    "Belief",
    "Decision",
    "Round",
    "Strategy",
    "make_strategy",
    "named_strategy",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "belief": "Belief",
        "informed": "make_strategy",
        "named": "named_strategy",
        "types": "Decision Round Strategy",
    },
)
