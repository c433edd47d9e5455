"""Chemical formulas as people and databases write them."""

import re
from collections.abc import Iterator

from mfal.crystals.elements import SYMBOLS, atomic_number
from mfal.errors import MfalError

__all__ = ["formula_amounts"]

_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉[]{}", "0123456789()()")
_TOKEN = re.compile(r"(\d+\.?\d*|\.\d+)|([A-Z][a-z]?)|([()])|([*·•∙⋅])")


def formula_amounts(formula: str) -> dict[str, float]:
    """Amounts of the elements, in the formula's order.

    Brackets of three kinds may be nested; parts after a dot or an asterisk count as often as the
    number before them says; subscripts and decimal commas count as numbers. Deuterium and tritium
    are hydrogen. An ordinary full stop is a decimal point, never the dot of a hydrate.

    Raises:
      MfalError: when it is no formula.

    >>> formula_amounts("CuSO4·5H2O")
    {'Cu': 1.0, 'S': 1.0, 'O': 9.0, 'H': 10.0}
    >>> formula_amounts("Li3[Al(PO4)2]2*(H2O)")
    {'Li': 3.0, 'Al': 2.0, 'P': 4.0, 'O': 17.0, 'H': 2.0}
    """
    text = re.sub(r"(?<=\d),(?=\d)", ".", formula.translate(_SUBSCRIPTS))
    text = "".join(text.split())
    tokens = [match.group() for match in _TOKEN.finditer(text)]
    try:
        if not tokens or "".join(tokens) != text:
            raise ValueError
        stream = iter([*tokens, ""])
        amounts, last = _parts(stream, next(stream))
        if last or not any(amounts.values()):
            raise ValueError
    except (ValueError, StopIteration):
        raise MfalError(f"{formula!r} is no formula", "write it like Li3PS4 or LiCl·H2O") from None
    return amounts


def _parts(tokens: Iterator[str], token: str) -> tuple[dict[str, float], str]:
    """The sum of parts that dots separate, each perhaps after a number, and the token after it."""
    total: dict[str, float] = {}
    while True:
        times = 1.0
        if token and token[0] in ".0123456789":
            times, token = float(token), next(tokens)
        if not token or token in ")*·•∙⋅":
            raise ValueError  # nothing between two dots or brackets
        while token and token not in ")*·•∙⋅":
            unit, token = _unit(tokens, token)
            number = 1.0
            if token and token[0] in ".0123456789":
                number, token = float(token), next(tokens)
            for symbol, amount in unit.items():
                total[symbol] = total.get(symbol, 0.0) + amount * number * times
        if token in ("", ")"):
            return total, token
        token = next(tokens)


def _unit(tokens: Iterator[str], token: str) -> tuple[dict[str, float], str]:
    """An element or a bracket, and the token after it."""
    if token == "(":
        inner, closing = _parts(tokens, next(tokens))
        if closing != ")":
            raise ValueError
        return inner, next(tokens)
    try:
        symbol = SYMBOLS[atomic_number(token) - 1]
    except MfalError:
        raise ValueError from None
    return {symbol: 1.0}, next(tokens)
