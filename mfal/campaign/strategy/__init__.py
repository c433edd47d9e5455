"""Who decides what to ask."""

from typing import TYPE_CHECKING

from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.campaign.strategy.learned import learned_strategy
    from mfal.campaign.strategy.types import Decision, Round, Strategy

__all__ = [
    "Decision",
    "Round",
    "Strategy",
    "learned_strategy",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "learned": "learned_strategy",
        "types": "Decision Round Strategy",
    },
)
