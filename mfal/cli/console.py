"""Where the commands print."""

from rich.console import Console

__all__ = ["make_console"]

_FILE_WIDTH = 120
"""Columns of the output where it goes to a file or a pipe, which have no width of their own."""


def make_console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal, or wide enough for a table elsewhere."""
    console = Console(stderr=stderr, highlight=False)
    if console.is_terminal:
        return console
    return Console(stderr=stderr, highlight=False, width=_FILE_WIDTH)
