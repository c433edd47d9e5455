"""One task in a process of its own, inside whatever worker an executor has.

Dask's and Parsl's workers, threads and plain process pools can't stop a task, and a task that
crashes takes its worker along. So the worker hands the task on to a `WorkerPool` of one process,
which keeps time and memory and survives it.
"""

import threading
from typing import NamedTuple

from mfal.campaign.ledger.records import Outcome
from mfal.campaign.workers.executors import WorkerPool
from mfal.campaign.workers.tasks import Task, evaluate

__all__ = ["ONE_THREAD", "QueryLimits", "guarded"]

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
"""Environment of a process that runs tasks: answers must not depend on how many cores it finds."""


class QueryLimits(NamedTuple):
    """What a query may take."""

    timeout: float
    """Seconds."""
    retries: int
    """Repetitions after a crash, a stop, or the loss of a worker."""
    memory: float
    """GiB of resident memory."""


def guarded(task: Task, limits: QueryLimits) -> Outcome:
    """The task's answer, computed in another process.

    Raises:
      TaskFailure: where that process crashed or had to be stopped, each time it was tried.
    """
    held = getattr(_own, "held", None)
    if held is None or held.limits[1:] != limits[1:]:
        held = _own.held = _Held(limits)
    outcome: Outcome = held.pool.submit_with_timeout(limits.timeout, evaluate, task).result()
    return outcome


_own = threading.local()
"""Each of the executor's threads has its own process, which serves many tasks."""


class _Held:
    """A pool that ends with the thread which holds it."""

    def __init__(self, limits: QueryLimits) -> None:
        self.limits = limits
        self.pool = WorkerPool(
            1, retries=limits.retries, memory=limits.memory, environment=ONE_THREAD
        )

    def __del__(self) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)
