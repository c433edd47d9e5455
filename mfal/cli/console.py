"""Where the commands print, and what becomes of characters that the place can't show."""

import codecs
import contextlib
import io
import sys
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["allow_any_locale", "make_console"]

_FILE_WIDTH = 120
"""Columns of the output where it goes to a file or a pipe, which have no width of their own."""
_PLAIN = {
    **{"±": "+-", "·": "*", "×": "x", "–": "-", "−": "-", "—": "-", "…": "...", "≤": "<="},
    "≥": ">=",
    **{"°": "deg", "µ": "u", "Ω": "Ohm", "σ": "sigma", "→": "->", "“": '"', "”": '"', "’": "'"},
    **{"⁻": "-", "α": "alpha", "β": "beta", "γ": "gamma", "│": "|", "─": "-", "━": "-", "•": "*"},
}


def make_console(*, stderr: bool = False) -> "Console":
    """A console as wide as the terminal, or wide enough for a table elsewhere."""
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False)
    if console.is_terminal:
        return console
    return Console(stderr=stderr, highlight=False, width=_FILE_WIDTH)


def allow_any_locale() -> None:
    """Let standard output and standard error write what their encoding lacks in plain letters."""
    codecs.register_error("mfal", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(ValueError, OSError):  # closed
                stream.reconfigure(errors="mfal")


def _plain(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that an encoding lacks: "1 ± 2 Å" becomes "1 +- 2 A"."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    plain = "".join(_PLAIN.get(each) or _letters(each) or "?" for each in found)
    return plain, error.end


def _letters(character: str) -> str:
    """A letter without its accents, a digit without its height, if it is one."""
    return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode("ascii")
