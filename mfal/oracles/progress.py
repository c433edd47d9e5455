"""How far a long oracle has come, told to whoever listens.

Oracles of seconds say nothing. One that takes minutes calls `report_progress` now and then; the
command line shows it, and nobody else need know.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeAlias

__all__ = ["Listener", "listening", "report_progress"]

Listener: TypeAlias = Callable[[str, int, int], None]
"""Gets what is being done, in words, and how many of how many steps are."""

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


def report_progress(what: str, done: int, total: int) -> None:
    """Tell the listener, if there is one."""
    listener = _LISTENER.get()
    if listener is not None:
        listener(what, done, total)


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Within, this listener is told."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)
