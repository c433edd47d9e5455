"""A hard budget: what is spent, what is reserved, what may still be asked."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mfal.campaign.ledger.book import Tally
from mfal.errors import MfalError
from mfal.oracles.types import Oracle

__all__ = ["Account", "account_of", "affordable", "limits_of"]

_ROUNDING = 1e-9
"""Relative slack for sums of costs such as 0.1, which binary fractions don't hold."""


class Account(NamedTuple):
    """The state of one budget, in nominal CPU seconds."""

    budget: float
    spent: float
    """Of the queries that were answered or failed, and of what was computed to decide."""
    reserved: float
    """Cost of the queries that were proposed and have not ended."""

    @property
    def free(self) -> float:
        """What new queries may cost, never negative."""
        return max(0.0, self.budget - self.spent - self.reserved)


def account_of(
    tallies: Sequence[Tally], name: str, budget: float, *, fidelity: int | None = None
) -> Account:
    """The state of the account `name` after the tallies of a ledger, or of one fidelity's part.

    Abandoned queries cost nothing: their reservation is released.
    """
    cost = dict.fromkeys(("proposed", "observed", "failed", "abandoned", "decided"), 0.0)
    for tally in tallies:
        if tally.account == name and fidelity in (None, tally.fidelity):
            cost[tally.kind] += tally.cost
    ended = cost["observed"] + cost["failed"]
    reserved = cost["proposed"] - ended - cost["abandoned"]
    # Sums of the same costs in another order differ in their last digits.
    spent = ended + cost["decided"]
    return Account(budget, spent, reserved if reserved > _ROUNDING * cost["proposed"] else 0.0)


def limits_of(limits: Mapping[str, float], oracles: Sequence[Oracle]) -> tuple[float, ...]:
    """The limit of each fidelity in CPU seconds, infinite where none is set.

    Raises:
      MfalError: for a name that no oracle has.
    """
    names = [oracle.name for oracle in oracles]
    for name in limits:
        if name not in names:
            raise MfalError(
                f"limit for {name}, which is no oracle here", f"known: {', '.join(names)}"
            )
    return tuple(limits.get(name, math.inf) for name in names)


def affordable(account: Account, costs: Sequence[float]) -> int:
    """How many of these queries, taken in order, fit into what is free.

    >>> affordable(Account(budget=1.0, spent=0.4, reserved=0.3), [0.1, 0.1, 0.1, 0.1])
    3
    """
    total = 0.0
    for number, cost in enumerate(costs):
        total += cost
        if total > account.free + _ROUNDING * account.budget:
            return number
    return len(costs)
