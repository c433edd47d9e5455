"""Scoring many sources on all cores: results as they come, and none lost when it is stopped."""

import multiprocessing
import os
import signal
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from multiprocessing.queues import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from mfal.cli.score_sources import Source, structures_of
from mfal.errors import MfalError, MfalWarning
from mfal.oracles.progress import listening, report_progress

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from mfal.oracles.types import Oracle

__all__ = ["Job", "oracles_of", "process_count", "results", "score_source"]

FEW = 6
"""Sources up to which one process does: starting others takes as long as scoring some."""

_LOOK = 0.5
"""Seconds between looks at what the processes tell."""

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",  # several processes can't share an accelerator
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
"""Environment of one process of several: each has its core."""


class Job(NamedTuple):
    """What every source is asked."""

    oracles: tuple[str, ...]
    """As module:function."""
    ion: str
    """Symbol of the mobile ion, for the oracles that come with mfal."""
    decorations: int
    """Ordered frameworks drawn from a partly occupied one, for the same."""
    files: str | None = None
    """Folder for what oracles show as files; None for no files."""
    stability: bool = False
    """Whether structures are also relaxed and placed on the hull."""
    phases: str | None = None
    """File of competing phases for that."""


def process_count(sources: int, wanted: int | None = None) -> int:
    """How many processes score so many sources."""
    if wanted is not None:
        return max(1, min(wanted, sources))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return 1 if sources <= FEW else max(1, min(int(cores or 1), sources))


def results(
    sources: Sequence[Source], job: Job, processes: int
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The index of each source and its results, one for each structure in it, as they come."""
    if processes == 1:
        for index, source in enumerate(sources):
            yield index, score_source(source, job)
        return
    left = iter(range(len(sources)))
    again: list[int] = []
    while True:
        told: SimpleQueue[tuple[Any, ...]] = multiprocessing.get_context("spawn").SimpleQueue()
        pool = _pool(processes, told)
        try:
            yield from _drain(pool, told, sources, job, left, processes, again)
        finally:
            _stop(pool)
        if not again:
            return
        # A process died, and which of the sources did it is not known: each gets one of its own.
        for index in again:
            single = _pool(1)
            try:
                yield index, single.submit(score_source, sources[index], job).result()
            except BrokenProcessPool:
                error = f"{sources[index].name}: the process that scored it died; check its size"
                yield index, [{"file": sources[index].name, "error": error}]
            finally:
                _stop(single)
        again = []


def _drain(
    pool: ProcessPoolExecutor,
    told: "SimpleQueue[tuple[Any, ...]]",
    sources: Sequence[Source],
    job: Job,
    left: Iterator[int],
    processes: int,
    again: list[int],
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Results until nothing is left or a process dies; what it was at goes to `again`."""
    running: dict[Future[list[dict[str, Any]]], int] = {}
    while True:
        while len(running) < processes and (index := next(left, None)) is not None:
            running[pool.submit(_score_there, sources[index], job)] = index
        if not running:
            return
        ended = wait(running, timeout=_LOOK, return_when=FIRST_COMPLETED).done
        while not told.empty():
            report_progress(*told.get())
        for future in ended:
            index = running.pop(future)
            if isinstance(future.exception(), BrokenProcessPool):
                again += [index, *running.values()]
                return
            yield index, future.result()


def _pool(
    processes: int, told: "SimpleQueue[tuple[Any, ...]] | None" = None
) -> ProcessPoolExecutor:
    environment = dict(os.environ)
    os.environ.update(ONE_THREAD)  # what is spawned inherits it
    try:
        pool = ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(told,),
        )
        for _ in range(processes):
            pool.submit(int)  # starts its process now
        return pool
    finally:
        os.environ.clear()
        os.environ.update(environment)


_told: "SimpleQueue[tuple[Any, ...]] | None" = None
"""In a process of several: where it tells how far long oracles are."""


def _begin(told: "SimpleQueue[tuple[Any, ...]] | None") -> None:
    """Ctrl-C goes to all processes of a terminal; the parent alone decides what becomes of it."""
    global _told
    _told = told
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore", MfalWarning)  # the parent has said it


def _score_there(source: Source, job: Job) -> list[dict[str, Any]]:
    """`score_source` in a process that tells the parent how far it is."""
    told = _told
    if told is None:
        return score_source(source, job)
    with listening(lambda *step: told.put(step)):
        return score_source(source, job)


def _stop(pool: ProcessPoolExecutor) -> None:
    """End a pool at once, what it is at included."""
    pool.shutdown(wait=False, cancel_futures=True)
    for process in multiprocessing.active_children():
        process.terminate()


@lru_cache(maxsize=4)
def oracles_of(job: Job) -> "tuple[Oracle, ...]":
    """The oracles of a job.

    Raises:
      MfalError: for an ion that the oracles aren't made for, or a reference that leads nowhere.
    """
    hull = (_hull_oracle(job.phases),) if job.stability or job.phases else ()
    return _asked(job) + hull


def _asked(job: Job) -> "tuple[Oracle, ...]":
    from mfal.oracles.loading import load_oracles
    from mfal.oracles.scoring import SCORING, scoring_oracles

    if job.oracles == (SCORING,):
        return scoring_oracles(job.ion, job.decorations)
    if job.ion != "Li":
        raise MfalError(
            f"--ion {job.ion} with oracles of your own", "let the function return oracles for it"
        )
    return load_oracles(job.oracles)


def _hull_oracle(path: str | None) -> "Oracle":
    from mfal.oracles.ladder import hull_oracle

    if path is None:
        return hull_oracle()
    from mfal.oracles.stability.phases import fingerprint, read_phases

    phases = read_phases(path)
    return hull_oracle(phases=phases, version=f"1-{fingerprint(phases)}")


def _known_as(structure: "Structure") -> str:
    """Formula and id of the known crystal that a structure is; empty where it is new."""
    from mfal.data.novelty import known_crystals

    if not structure.is_ordered:
        return ""
    try:
        return known_crystals().name_of(structure)
    except MfalError:  # without symmetry it is no crystal; its oracles say so
        return ""


def score_source(source: Source, job: Job) -> list[dict[str, Any]]:
    """One result for each structure of a source; what can't be read has an "error" instead."""
    from mfal.oracles.scoring import score_structure

    oracles = oracles_of(job)

    def scored(structure: "Structure", name: str) -> dict[str, Any]:
        found = score_structure(structure, oracles, job.files, name)
        if job.stability or job.phases:
            found["known_as"] = _known_as(structure)
        return found

    return [
        {"file": one.name, "error": str(one.problem)}
        if one.structure is None
        else {"file": one.name} | scored(one.structure, one.name)
        for one in structures_of(source)
    ]
