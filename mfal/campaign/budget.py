"""A hard budget: what is spent, what is reserved, what may still be asked."""

from collections.abc import Sequence
from typing import NamedTuple

from mfal.campaign.ledger import Tally

__all__ = ["Account", "account_of", "affordable"]

_ROUNDING = 1e-9
"""Relative slack for sums of costs such as 0.1, which binary fractions don't hold."""


class Account(NamedTuple):
    """The state of one budget, in cost units."""

    budget: float
    spent: float
    """Cost of the queries that were answered or failed."""
    reserved: float
    """Cost of the queries that were proposed and have not ended."""

    @property
    def free(self) -> float:
        """What new queries may cost, never negative."""
        return max(0.0, self.budget - self.spent - self.reserved)


def account_of(tallies: Sequence[Tally], name: str, budget: float) -> Account:
    """The state of the account `name` after the tallies of a ledger.

    Abandoned queries cost nothing: their reservation is released.
    """
    cost = dict.fromkeys(("proposed", "observed", "failed", "abandoned"), 0.0)
    for tally in tallies:
        if tally.account == name:
            cost[tally.kind] += tally.cost
    spent = cost["observed"] + cost["failed"]
    reserved = cost["proposed"] - spent - cost["abandoned"]
    # Sums of the same costs in another order differ in their last digits.
    return Account(budget, spent, reserved if reserved > _ROUNDING * cost["proposed"] else 0.0)


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
