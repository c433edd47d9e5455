"""Functions that the executor tests send to workers."""

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np

__all__ = [
    "append",
    "crash",
    "flaky",
    "hoard",
    "num_threads",
    "process",
    "raise_error",
    "sleep",
    "spawn_and_sleep",
    "square",
]


def square(x: int) -> int:
    return x * x


def append(path: str, text: str) -> None:
    with Path(path).open("a") as file:
        file.write(text)


def process() -> int:
    print("noise on standard output must not confuse the pipe")
    return os.getpid()


def sleep(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def flaky(marker: str) -> str:
    """Die at the first call, answer at the second."""
    path = Path(marker)
    if not path.exists():
        path.touch()
        os._exit(3)
    return "second time"


def hoard(gib: float) -> float:
    held = np.ones(int(gib * 2**27))
    time.sleep(30)
    return float(held[0])


def raise_error() -> None:
    raise ValueError("bad input")


def num_threads() -> int:
    import numba

    return int(numba.config.NUMBA_NUM_THREADS)


def spawn_and_sleep(marker: str) -> None:
    """Start a process, say which, and hang."""
    Path(marker).write_text(str(subprocess.Popen(["sleep", "600"]).pid))
    time.sleep(600)
