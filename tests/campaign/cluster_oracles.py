"""A slow oracle that says where it runs, so that a test can end that worker, and executors."""

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from pymatgen.core import Structure

from mfal.oracles.types import Observation, Oracle

__all__ = ["MARKERS", "make_processes", "make_threads", "slow_volume"]

MARKERS = "MFAL_TEST_MARKERS"
"""Environment variable with the folder that gets a file for each start of a task."""


def _volume(structures: list[Structure]) -> list[Observation]:
    folder = Path(os.environ[MARKERS])
    (folder / f"{time.time_ns()}-{os.getppid()}").touch()
    time.sleep(0.2)
    return [Observation(structure.volume, None, "ok", 0.0, {}) for structure in structures]


def slow_volume() -> Oracle:
    """Volume of the cell, after a while."""
    return Oracle("slow volume", "1", 0, 1.0, "cubic angstrom", True, (0.0, 1e4), _volume)


def make_threads() -> ThreadPoolExecutor:
    """What `--executor cluster_oracles:make_threads` finds."""
    return ThreadPoolExecutor(2)


def make_processes() -> ProcessPoolExecutor:
    """What `--executor cluster_oracles:make_processes` finds."""
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
