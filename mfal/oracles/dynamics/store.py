"""Simulations kept on disk while they run, so that a killed one goes on where it was.

A folder holds what one crystal by one protocol has come to:

    start.json                    the cells that are simulated, and how they were found
    0-1000K/state.npz             the state after the last whole segment of cell 0 at 1000 K
    0-1000K/frames-000000700.npz  the moments of the segment that ended with step 700

Each file appears whole or not at all, the moments before the state that they lead to. A run that is
asked to be longer than it was goes on as well: its length is no part of what the folder is named
by.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mfal.cache import cache_folder, writable_cache_folder

__all__ = [
    "dynamics_folder",
    "kept_folder",
    "locked",
    "read_frames",
    "read_json",
    "run_folder",
    "steps_done",
    "write_frames",
    "write_json",
    "write_whole",
]


def dynamics_folder(key: Any) -> Path:
    """The folder of what a key names, a value of JSON; it need not exist.

    Raises:
      MfalError: when the cache folder can't be written to.
    """
    text = json.dumps(key, sort_keys=True)
    name = hashlib.sha256(text.encode()).hexdigest()[:32]
    return writable_cache_folder() / "dynamics" / name


def kept_folder(name: str) -> Path:
    """The folder by the name that a record gives as `kept`; it need not be there any more."""
    return cache_folder() / "dynamics" / name


def run_folder(folder: Path, cell: int, temperature: float) -> Path:
    """The folder of one run."""
    return folder / f"{cell}-{temperature:g}K"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes a folder and keeps it from other processes, which wait; a killed one lets go of it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as file:
        try:
            import fcntl
        except ImportError:  # not a system with such locks: two processes then do the same work
            yield
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file unlocks it


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file under another name, then put it in its place."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    os.close(handle)
    try:
        write(Path(name))
        with open(name, "rb") as file:
            os.fsync(file.fileno())
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a value of JSON whole; floats come back as they were."""
    write_whole(path, lambda part: _write_text(part, json.dumps(value)))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """What `write_json` wrote; None where nothing is."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def frames_path(folder: Path, step: int) -> Path:
    """The moments of the segment that ended with a step."""
    return folder / f"frames-{step:09d}.npz"


def read_frames(folder: Path, steps: Sequence[int]) -> dict[str, np.ndarray] | None:
    """The moments of segments by the steps that they ended with, one after the other.

    None where one is missing or unreadable.
    """
    parts: list[dict[str, np.ndarray]] = []
    for step in steps:
        try:
            with np.load(frames_path(folder, step), allow_pickle=False) as file:
                parts.append({name: file[name] for name in file.files})
        except (OSError, ValueError, EOFError):
            return None
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def steps_done(folder: Path) -> int:
    """Steps of a run that are kept; 0 where there is none."""
    try:
        with np.load(folder / "state.npz", allow_pickle=False) as file:
            return int(file["step"])
    except (OSError, ValueError, EOFError, KeyError):
        return 0


def write_frames(folder: Path, step: int, fields: dict[str, np.ndarray]) -> None:
    """Write the moments of a segment."""
    write_whole(frames_path(folder, step), lambda part: _save(part, fields))


def _save(path: Path, fields: dict[str, np.ndarray]) -> None:
    arrays: dict[str, Any] = dict(fields)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)
