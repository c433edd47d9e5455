"""Queries out, answers in: the only place where executors and the ledger meet."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait

from mfal.campaign.executors import TaskFailure
from mfal.campaign.ledger import Ledger
from mfal.campaign.records import Outcome, Query
from mfal.campaign.tasks import evaluate, task_of
from mfal.errors import MfalError

__all__ = ["Dispatcher"]

_TROUBLE = 8
"""So many tasks in a row that failed outside their oracle: the machine is to blame."""


class Dispatcher:
    """Queries under way, and the writing of their ends.

    Futures run elsewhere; the ledger is written by the caller's thread alone.

    Args:
      ledger: where ends are written.
      executor: who runs the queries.
      references: the oracles, as module:function.
    """

    def __init__(self, ledger: Ledger, executor: Executor, references: tuple[str, ...]) -> None:
        self._ledger = ledger
        self._executor = executor
        self._references = references
        self._running: dict[Future[Outcome], Query] = {}
        self._held: list[tuple[Query, Outcome]] = []

    @property
    def pending(self) -> int:
        """Queries out and not yet written."""
        return len(self._running)

    def submit(self, queries: Sequence[Query]) -> None:
        """Send queries out; those already under way are left alone."""
        out = {query.id for query in self._running.values()}
        for query in queries:
            if query.id not in out:
                self._ledger.submitted(query)
                task = task_of(query, self._references)
                self._running[self._executor.submit(evaluate, task)] = query

    def gather(self, told: Callable[[Query, Outcome], None]) -> None:
        """Wait for everything that is out; write each end as it comes, then call `told`.

        A task that failed outside its oracle (a crash, a stop) is written once another has come
        through, or nothing more is out: many in a row are the machine's fault, and cost nothing.

        Raises:
          MfalError: when too many tasks fail in a row outside their oracle.
        """
        while self._running:
            done, _ = wait(self._running, return_when=FIRST_COMPLETED)
            # Where several are done at once, the order of decision is the order of writing.
            for future in sorted(done, key=lambda future: self._running[future].id):
                query = self._running.pop(future)
                error = future.exception()
                if error is None:
                    self._write([*self._held, (query, future.result())], told)
                    self._held = []
                else:
                    self._hold(query, error)
        self._write(self._held, told)
        self._held = []

    def _write(
        self, ends: list[tuple[Query, Outcome]], told: Callable[[Query, Outcome], None]
    ) -> None:
        for query, outcome in ends:
            self._ledger.conclude(query, outcome)
            told(query, outcome)

    def _hold(self, query: Query, error: BaseException) -> None:
        kind = "" if isinstance(error, (TaskFailure, MfalError)) else f"{type(error).__name__}: "
        self._held.append((query, Outcome(None, None, f"failed: {kind}{error}", 0.0, {})))
        if len(self._held) >= _TROUBLE:
            raise MfalError(
                f"{len(self._held)} queries in a row failed outside their oracle, the last:"
                f" {kind}{error}",
                "mend the cause (memory, time limit, installation) and run the same command again;"
                " they have not been charged",
            )
