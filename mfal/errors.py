"""The one error that a user may see, and how it is worded.

Every failure that a user can cause or mend is raised as `MfalError`. Its message is one line that
names the input and the remedy; the command line prints it without a traceback and exits with 2.
"""

__all__ = ["MfalError"]


class MfalError(Exception):
    """A failure that the user can mend.

    Args:
      what: what went wrong, naming the input ("a.cif: no Li in Na3PO4").
      remedy: what to do about it ("give a structure that contains lithium").
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what}; {remedy}" if remedy else what)

    def __reduce__(self) -> tuple[type["MfalError"], tuple[str, str]]:
        # Exception's own pickling would pass the joined message back as `what`.
        return (type(self), (self.what, self.remedy))
