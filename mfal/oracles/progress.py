"""How far a long oracle has come, told to whoever listens.

Oracles of seconds say nothing. One that takes minutes calls `report_progress` now and then; the
command line shows it, and nobody else need know.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeAlias

__all__ = ["Listener", "listening", "report_progress"]

Listener: TypeAlias = Callable[[str, int, int, str], None]
"""Gets what is being done, in words, how many of how many steps are, and a note on them."""

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


def report_progress(what: str, done: int, total: int, note: str = "") -> None:
    """Tell the listener, if there is one.

    Args:
      what: the subject and the stage, as "Li3PS4: relaxing"; a listener tells subjects apart.
      done: steps done of the subject's whole work.
      total: steps in all.
      note: what stands beside the numbers, as "1.2 of 6.0 ps, 3 hops".
    """
    listener = _LISTENER.get()
    if listener is not None:
        listener(what, done, total, note)


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Within, this listener is told."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)
