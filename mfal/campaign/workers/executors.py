"""Where queries run: by default in worker processes that can be stopped one by one.

`WorkerPool` is a `concurrent.futures.Executor`. Each of its workers is a process of its own that
does one task at a time; a task that crashes, hangs or hoards memory takes down its process and
nothing else, and the worker starts afresh. Any other executor can stand in its place.

Why this is no pool of a library: the one that comes nearest, pebble 5.2, has no limit on memory (a
watcher has to reach into its private parts), no repetitions, and no word for a task that has begun.
Its workers come from `multiprocessing`, which imports the caller's main module first: a script
without a `__main__` guard breaks the pool, and what that script imports (numba, JAX) has read its
environment before a variable can be set, so that answers depend on how many cores there are. What a
stopped task had started goes on running. A pool with our limits on top of pebble keeps the threads
and as much code as it saves; its first task took 1.6 times as long (.82 s against .51 s, medians of
four alternating runs on two busy cores), further ones 1.8 times (.7 ms against .4 ms).
"""

import contextlib
import itertools
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from multiprocessing import Pipe
from typing import Any, NamedTuple, Self

import psutil

__all__ = ["TaskFailure", "WorkerPool"]

_POLL = 0.05
"""Seconds between looks at a running task's memory."""
_BACK_OFF = 0.5
"""Seconds before the first repetition of a task; doubled for each further one."""


class TaskFailure(Exception):
    """A task whose process was stopped or died; the message says why."""


class _Job(NamedTuple):
    future: "Future[Any]"
    payload: bytes
    timeout: float


class WorkerPool(Executor):
    """Persistent worker processes, each killable and restarted after a fault.

    Args:
      workers: number of processes; each starts when it gets its first task.
      timeout: seconds that a task may take, unless `submit_with_timeout` says otherwise.
      retries: repetitions after a crash, a stop or a breach of memory.
      memory: GiB of resident memory that a worker may hold.
      environment: variables set in the workers beside the inherited ones.
    """

    def __init__(
        self,
        workers: int = 2,
        *,
        timeout: float = 120.0,
        retries: int = 1,
        memory: float = 4.0,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._timeout = timeout
        self._retries = retries
        self._memory = memory
        self._environment = environment or {}
        # Urgent ones first, then in their order; None, which ends a worker, comes last.
        self._jobs: queue.PriorityQueue[tuple[int, int, _Job | None]] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._serve, name=f"mfal worker {i}", daemon=True)
            for i in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Queue a call of an importable function; see `concurrent.futures.Executor`."""
        return self.submit_with_timeout(self._timeout, fn, *args, **kwargs)

    def submit_with_timeout(
        self, timeout: float, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> "Future[Any]":
        """The same with a time limit of its own, in seconds."""
        return self._queue(1, timeout, fn, args, kwargs)

    def submit_first(
        self, timeout: float, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> "Future[Any]":
        """The same, to be begun before all that is not urgent: the last part of some work."""
        return self._queue(0, timeout, fn, args, kwargs)

    def _queue(
        self,
        rank: int,
        timeout: float,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> "Future[Any]":
        if self._stopping.is_set():
            raise RuntimeError("the pool has been shut down")
        future: Future[Any] = Future()
        job = _Job(future, pickle.dumps((fn, args, kwargs)), timeout)
        self._jobs.put((rank, next(self._numbers), job))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let queued tasks end (or cancel them, and stop those that run), then stop the workers."""
        if cancel_futures:
            self._stopping.set()
            with contextlib.suppress(queue.Empty):
                while True:
                    _, _, job = self._jobs.get_nowait()
                    if job is not None:
                        job.future.cancel()
        for _ in self._threads:
            self._jobs.put((2, next(self._numbers), None))
        if wait:
            for thread in self._threads:
                thread.join()
        self._stopping.set()

    def _serve(self) -> None:
        worker: _Worker | None = None
        try:
            while (job := self._jobs.get()[2]) is not None:
                if not job.future.set_running_or_notify_cancel():
                    continue
                worker = self._perform(job, worker)
        finally:
            if worker is not None:
                worker.stop()

    def _perform(self, job: _Job, worker: "_Worker | None") -> "_Worker | None":
        """Run one job to its end, with repetitions; returns the worker if it still lives."""
        reason = ""
        for attempt in range(self._retries + 1):
            if attempt and self._stopping.wait(_BACK_OFF * 2 ** (attempt - 1)):
                break
            try:
                if worker is None or not worker.alive:
                    worker = _Worker(self._environment)
                fine, result = worker.call(job, self._memory, self._stopping)
            except TaskFailure as failure:
                reason = str(failure)
                if worker is not None:
                    worker.stop()
                worker = None
                if self._stopping.is_set():
                    break
                continue
            if fine:
                job.future.set_result(result)
            else:
                job.future.set_exception(result)
            return worker
        tried = f" (tried {attempt + 1} times)" if attempt else ""
        job.future.set_exception(TaskFailure(f"{reason or 'the pool was stopped'}{tried}"))
        return worker


class _Worker:
    """One process, reached over a connection of its own; its standard output stays free."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._connection, theirs = Pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mfal.campaign.workers.process", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=os.environ | environment | {"PYTHONPATH": os.pathsep.join(_search_path())},
                start_new_session=True,
            )
        except OSError as error:
            self._connection.close()
            raise TaskFailure(f"no worker process could be started: {error}") from None
        finally:
            theirs.close()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def call(self, job: _Job, memory: float, stopping: threading.Event) -> tuple[bool, Any]:
        """Send a job and wait for (True, result) or (False, exception)."""
        try:
            self._connection.send_bytes(job.payload)
        except OSError:
            raise TaskFailure(self._cause_of_death()) from None
        end = time.monotonic() + job.timeout
        while not self._connection.poll(_POLL):
            if stopping.is_set():
                raise TaskFailure("the pool was stopped")
            if time.monotonic() > end:
                raise TaskFailure(f"stopped after {job.timeout:g} s")
            held = _resident_gib(self._process.pid)
            if held > memory:
                raise TaskFailure(f"stopped at {held:.1f} GiB of memory (limit {memory:g} GiB)")
        try:
            message = self._connection.recv_bytes()
        except (EOFError, OSError):
            raise TaskFailure(self._cause_of_death()) from None
        fine, result = pickle.loads(message)
        return fine, result

    def stop(self) -> None:
        """End the process and whatever it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._connection.close()

    def _cause_of_death(self) -> str:
        try:
            code = self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            return "the worker process closed its connection"
        if code < 0:
            return f"the worker process was killed by {signal.Signals(-code).name}"
        return f"the worker process ended with exit code {code}"


def _search_path() -> list[str]:
    return [path or os.getcwd() for path in sys.path]


def _resident_gib(process: int) -> float:
    """Resident memory of a process, 0 once it has ended."""
    try:
        return float(psutil.Process(process).memory_info().rss) / 2**30
    except psutil.Error:
        return 0.0
