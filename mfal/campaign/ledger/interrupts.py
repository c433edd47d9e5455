"""Ctrl-C, and the signal by which clusters end a job, at a time when they do no harm."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

__all__ = ["interruptible", "uninterrupted"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off SIGINT and SIGTERM to the end of the block; then what handles them does so.

    Only a main thread gets signals; in others this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    late: list[tuple[int, FrameType | None]] = []
    before: dict[int, Any] = {
        number: signal.signal(number, lambda caught, frame: late.append((caught, frame)))
        for number in _SIGNALS
        if callable(signal.getsignal(number))  # what Python doesn't handle is left as it is
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for caught, frame in late[:1]:
            before[caught](caught, frame)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM do in the block what Ctrl-C does: raise KeyboardInterrupt in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
