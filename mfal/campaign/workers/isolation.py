"""One task in a process of its own, inside whatever worker an executor has.

Dask's and Parsl's workers, threads and plain process pools can't stop a task, and a task that
crashes takes its worker along. So the worker hands the task on to a `WorkerPool` of one process,
which keeps time and memory and survives it.
"""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from mfal.campaign.workers.executors import WorkerPool
from mfal.campaign.workers.tasks import Task, evaluate

__all__ = ["ONE_THREAD", "SEEING", "QueryLimits", "guarded"]

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",  # several processes can't share an accelerator
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
"""Environment of a process that runs tasks: answers must not depend on how many cores it finds.

It is set before the process begins, which is a new interpreter: JAX reads it once and cannot be
forked (github.com/jax-ml/jax/issues/18852).
"""
SEEING = {
    **{name: value for name, value in ONE_THREAD.items() if name != "JAX_PLATFORMS"},
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}
"""The same for one that may use what JAX finds, and takes memory there as it needs it."""


class QueryLimits(NamedTuple):
    """What a query may take."""

    timeout: float
    """Seconds."""
    retries: int
    """Repetitions after a crash, a stop, or the loss of a worker."""
    memory: float
    """GiB of resident memory."""
    environment: dict[str, str] = ONE_THREAD
    """Of the process."""


def guarded(
    task: Task, limits: QueryLimits, function: Callable[..., Any] = evaluate, *more: Any
) -> Any:
    """The answer of a task, or of one of its parts, computed in another process.

    Raises:
      TaskFailure: where that process crashed or had to be stopped, each time it was tried.
    """
    held = getattr(_own, "held", None)
    if held is None or held.limits[1:] != limits[1:]:
        held = _own.held = _Held(limits)
    return held.pool.submit_with_timeout(limits.timeout, function, task, *more).result()


_own = threading.local()
"""Each of the executor's threads has its own process, which serves many tasks."""


class _Held:
    """A pool that ends with the thread which holds it."""

    def __init__(self, limits: QueryLimits) -> None:
        self.limits = limits
        self.pool = WorkerPool(
            1, retries=limits.retries, memory=limits.memory, environment=limits.environment
        )

    def __del__(self) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)
