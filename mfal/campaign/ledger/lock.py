"""One writer per campaign folder."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from mfal.errors import MfalError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = ["exclusive"]


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a folder against a second writer; the lock dies with the process that holds it.

    Raises:
      MfalError: where another process holds it, the folder can't be written, or the system has no
        POSIX locks.
    """
    if fcntl is None:
        raise MfalError(
            f"{folder}: this system has no POSIX file locks to keep a second writer out",
            "run campaigns on Linux or macOS; on Windows, inside WSL",
        )
    path = folder / ".lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise MfalError(
            f"{folder}: {error.strerror}", "make the folder writable, or give another"
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 200).decode("utf-8", "replace").strip()
            raise MfalError(
                f"{folder}: in use by {holder or 'another process'}",
                "wait for it to end, or give another folder with --out",
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        os.close(descriptor)
