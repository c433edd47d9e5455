"""The process that does one task at a time: `python -m mfal.campaign.workers.process FD`.

It ends when its parent does, even in the middle of a task.
"""

import ctypes
import os
import pickle
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer calls until the other side closes the connection."""
    _die_with_parent()
    # The parent handles Ctrl-C: it decides which tasks may still end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection: Any = Connection(int(sys.argv[1]))
    while True:
        try:
            message = connection.recv_bytes()
        except (EOFError, ConnectionResetError):
            return
        connection.send_bytes(_answer(message))


def _answer(message: bytes) -> bytes:
    try:
        function, args, kwargs = pickle.loads(message)
        return pickle.dumps((True, function(*args, **kwargs)))
    except Exception as error:
        return _pack_error(error)


def _pack_error(error: Exception) -> bytes:
    try:
        packed = pickle.dumps((False, error))
        pickle.loads(packed)  # some exceptions go in and don't come out
        return packed
    except Exception:
        return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))


def _die_with_parent() -> None:
    """Ask Linux for a SIGKILL when the parent ends; elsewhere the closed connection must do."""
    if not sys.platform.startswith("linux"):
        return
    parent: Any = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    main()
