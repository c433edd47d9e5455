"""What a running campaign reports to whoever watches."""

from collections.abc import Callable
from typing import NamedTuple

from mfal.campaign.ledger.budget import Account

__all__ = ["Best", "Event", "Notify", "Progress", "silent"]


class Best(NamedTuple):
    """The best answer of the target oracle so far."""

    formula: str
    space_group: int
    value: float
    unit: str
    known: bool
    """Whether it is a known crystal and not a proposal of this campaign."""


class Progress(NamedTuple):
    """Where a campaign stands."""

    account: Account
    answered: tuple[int, ...]
    """Queries answered or failed at each fidelity."""
    oracles: tuple[str, ...]
    """Names of the fidelities."""
    failed: int
    best: Best | None
    """Of the campaign's own proposals, or of the known crystals before there are any."""


class Event(NamedTuple):
    """Something that has happened, or a step of a long stage that is done."""

    stage: str
    """"read", "pool", "start", "initial", "fit", "windows", "train", "choose", "query", "final",
    "finalists", "motion", "done" or "stopped"."""
    round: int
    rounds: int
    text: str
    """One sentence."""
    done: int = 0
    """Steps of the stage that are done."""
    total: int = 0
    """Steps of the stage, 0 where it has none."""
    progress: Progress | None = None


Notify = Callable[[Event], None]


def silent(event: Event) -> None:
    """Ignores the event."""
