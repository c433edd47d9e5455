"""Numbers for JSON, which knows neither infinities nor NaN."""

import math

__all__ = ["finite_or_none", "number_or_text"]


def number_or_text(value: float) -> float | str | None:
    """The number; an infinity as text, and None for NaN.

    >>> number_or_text(1.5), number_or_text(float("-inf")), number_or_text(float("nan"))
    (1.5, '-inf', None)
    """
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)


def finite_or_none(value: float) -> float | None:
    """The number, or None where it isn't finite.

    >>> finite_or_none(1.5), finite_or_none(float("inf"))
    (1.5, None)
    """
    return value if math.isfinite(value) else None
