"""How words of the command line become lists and numbers."""

import argparse
import math
from collections.abc import Callable
from typing import Any

__all__ = ["Words", "at_least"]


class Words(argparse.Action):
    """Takes several words, each of which may be several with commas between them, as a list."""

    def __call__(
        self, parser: Any, namespace: argparse.Namespace, values: Any, option: Any = None
    ) -> None:
        """See `argparse`."""
        words = [word.strip() for text in values for word in text.split(",")]
        setattr(namespace, self.dest, [word for word in words if word])


def at_least(kind: type, least: float, *, above: bool = False) -> Callable[[str], Any]:
    """A reader of numbers that refuses what is below a limit, or at it with `above`."""

    def read(text: str) -> Any:
        number = kind(text)
        if not math.isfinite(number) or number < least or (above and number == least):
            what = "above" if above else "of at least"
            raise argparse.ArgumentTypeError(f"{text}; give a number {what} {least:g}")
        return number

    read.__name__ = kind.__name__  # for argparse's own message
    return read
