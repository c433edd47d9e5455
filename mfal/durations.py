"""Amounts of computing as people write them: "20m", "2h", "3d", or a number of seconds."""

import math
import re

from mfal.errors import MfalError

__all__ = ["parse_duration", "show_duration"]

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+)\s*([smhd]?)", re.IGNORECASE)


def parse_duration(option: str, value: str | float) -> float:
    """Seconds.

    Args:
      option: what is given, for the error.
      value: a positive number of seconds, or text of numbers with s, m, h or d behind them.

    Raises:
      MfalError: where it is no positive, finite amount of time.

    >>> parse_duration("budget", "20m"), parse_duration("budget", "1h30m"), parse_duration("b", 90)
    (1200.0, 5400.0, 90.0)
    """
    if isinstance(value, str):
        text = value.strip()
        parts = _PART.findall(text)
        sound = parts and _PART.sub("", text).strip() == ""
        # A bare number is seconds, and stands alone.
        sound = sound and (len(parts) == 1 or all(unit for _, unit in parts))
        seconds = sum(float(n) * _SECONDS[u.lower()] for n, u in parts) if sound else math.nan
    else:
        seconds = float(value)
    if not 0 < seconds < math.inf:
        raise MfalError(
            f"{option} {value if isinstance(value, str) else f'{value:g}'}",
            "give a positive amount of time as 90, 20m, 2h or 3d",
        )
    return seconds


def show_duration(seconds: float) -> str:
    """The same in words that are read at a glance, two digits or three.

    >>> [show_duration(x) for x in (0.0312, 42.0, 1200.0, 5400.0, 345600.0)]
    ['0.031 s', '42 s', '20 min', '1.5 h', '4 d']
    """
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size or (seconds >= size and unit != "min"):
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.3g} s"
