"""Who decides what to ask: the side of a campaign that thinks, apart from the side that keeps book.

A strategy is a value of four functions. Each is a function of what it is given and of the
campaign's seed, so that a decision which was lost in a kill is made again and comes out the same.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from mfal.campaign.ledger.book import Answer
from mfal.campaign.ledger.records import Proposal, Query

__all__ = ["Decision", "Round", "Strategy"]


class Round(NamedTuple):
    """What a decision may rest on."""

    number: int
    """1 to `rounds`; 0 is the initial data, `rounds` + 1 the end."""
    rounds: int
    answers: Sequence[Answer]
    """The latest ended queries of the campaign, in the order of decisions."""
    pending: Sequence[Query]
    """The campaign's queries that are still open: they are as good as chosen."""
    told: Sequence[Answer]
    """Measurements and computations from elsewhere that have come back, in the order of asking."""
    allowance: float
    """CPU seconds that the round may take."""
    allowances: tuple[float, ...]
    """CPU seconds that each fidelity may take of them; infinite where nothing limits it."""
    asked: Callable[[Iterable[str]], set[tuple[str, int]]]
    """From hashes of crystals to the pairs (hash, fidelity) that have been asked."""
    report_progress: Callable[[str, str, int, int], None]
    """Takes (stage, sentence, steps done, steps in all) and shows them to whoever watches."""


class Decision(NamedTuple):
    """What to ask, and how that came about."""

    proposals: list[Proposal]
    """The queries in the order of preference; with `cost` they keep within the allowance."""
    detail: dict[str, Any]
    """What the ledger keeps of how the decision was made, as values for JSON."""
    cost: float = 0.0
    """Nominal CPU seconds of making it, which the allowance pays beside the queries."""


class Strategy(NamedTuple):
    """A way to run a campaign; the baselines are such ways too."""

    initial: Callable[[Round], Decision]
    """Decides which known crystals are asked about before any round."""
    propose: Callable[[Round], Decision]
    """Decides on a round's queries."""
    conclude: Callable[[Round], dict[str, Any]]
    """Says after the last round what is expected of each proposed crystal, as values for JSON."""
