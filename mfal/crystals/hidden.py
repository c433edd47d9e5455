"""Compounds that a search is to know nothing of, so that it can be seen whether it finds them.

    is_hidden("Li6PS5Cl", ("Li6PS5Cl",))     # True, and so it is for Li24P4S20Cl4

They are named by formulas: all structures of a formula are hidden, ordered or not. Whoever looks a
compound up in a table for a campaign asks here first; the formulas are handed on as arguments.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from mfal.crystals.formulas import formula_amounts
from mfal.errors import MfalError

__all__ = ["is_hidden", "touches_hidden"]

_TOLERANCE = 0.005
"""Of each atomic fraction: occupancies are published with two or three digits."""


def is_hidden(compound: str | Mapping[str, float], hide: Sequence[str]) -> bool:
    """Whether a compound has one of the hidden formulas, to within .005 of each atomic fraction.

    Args:
      compound: a formula, or the amounts of its elements; what is no formula is not hidden.
      hide: formulas.

    Raises:
      MfalError: where one of `hide` is no formula.

    >>> is_hidden("LiTi2(PO4)3", ["Li6PS5Cl", "LiTi2P3O12"]), is_hidden({"Li": 2, "O": 1}, ["LiO"])
    (True, False)
    """
    if not hide:
        return False
    own = _fractions_of(compound)
    return any(own.keys() == other.keys() and _near(own, other) for other in map(_fractions, hide))


def touches_hidden(compound: str | Mapping[str, float], hide: Sequence[str]) -> bool:
    """Whether a compound holds all elements of a hidden formula.

    Its distance from a hull that holds the hidden compound says something of that.

    >>> touches_hidden("Li5YBr2Cl6", ["Li3YCl6"]), touches_hidden("LiCl", ["Li3YCl6"])
    (True, False)
    """
    if not hide:
        return False
    own = _fractions_of(compound)
    return any(other.keys() <= own.keys() for other in map(_fractions, hide))


def _near(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    return all(abs(one[symbol] - share) < _TOLERANCE for symbol, share in other.items())


def _fractions_of(compound: str | Mapping[str, float]) -> Mapping[str, float]:
    """Atomic fractions of a compound; none of what is no formula."""
    if not isinstance(compound, str):
        return _normed(compound)
    try:
        return _fractions(compound)
    except MfalError:
        return {}


@lru_cache(maxsize=4096)
def _fractions(formula: str) -> Mapping[str, float]:
    return _normed(formula_amounts(formula))


def _normed(amounts: Mapping[str, float]) -> Mapping[str, float]:
    total = sum(amounts.values())
    return {symbol: amount / total for symbol, amount in amounts.items() if amount > 0}
