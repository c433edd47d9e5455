"""The one error that a user may see, the one warning, and how they are worded.

Every failure that a user can cause or mend is raised as `MfalError`. Its message is one line that
names the input and the remedy; the command line prints it without a traceback and exits with 2.
"""

import warnings

__all__ = ["MfalError", "MfalWarning", "warn"]

_LONGEST = 2000
"""Characters of a message."""


class MfalError(Exception):
    """A failure that the user can mend.

    What it quotes may come from anywhere, so characters that a terminal would obey are shown by
    their codes, and very long texts are cut.

    Args:
      what: what went wrong, naming the input ("a.cif: no Li in Na3PO4").
      remedy: what to do about it ("give a structure that contains lithium").
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        self.what = what
        self.remedy = remedy
        shown = _harmless(what)
        super().__init__(f"{shown}; {_harmless(remedy)}" if remedy else shown)

    def __reduce__(self) -> tuple[type["MfalError"], tuple[str, str]]:
        # Exception's own pickling would pass the joined message back as `what`.
        return (type(self), (self.what, self.remedy))


class MfalWarning(UserWarning):
    """Something that was left out or assumed, while the rest goes on; the command line shows it."""


def warn(text: str) -> None:
    """Tell of something that was left out or assumed, worded as an `MfalError` is."""
    warnings.warn(_harmless(text), MfalWarning, stacklevel=3)


def _harmless(text: str) -> str:
    r"""One line without control characters.

    >>> _harmless("a\x1b[31m b\nc")
    'a\\x1b[31m b c'
    """
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    line = " ".join(text.split("\n"))
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
