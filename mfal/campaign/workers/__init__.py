"""Who answers the queries: processes, clusters, and what runs in them."""

from typing import TYPE_CHECKING

from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.campaign.workers.clusters import open_executor
    from mfal.campaign.workers.executors import TaskFailure, WorkerPool
    from mfal.campaign.workers.tasks import Task

__all__ = [
    "Task",
    "TaskFailure",
    "WorkerPool",
    "open_executor",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "clusters": "open_executor",
        "executors": "TaskFailure WorkerPool",
        "tasks": "Task",
    },
)
