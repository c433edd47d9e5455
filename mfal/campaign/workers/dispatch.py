"""Queries out, answers in: the only place where executors and the ledger meet."""

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import Any, NamedTuple

from mfal.campaign.config import CampaignConfig
from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.records import CrystalRecord, Outcome, Query
from mfal.campaign.workers.device import DeviceQueue, evaluated_by_parts
from mfal.campaign.workers.executors import TaskFailure, WorkerPool
from mfal.campaign.workers.isolation import QueryLimits, guarded
from mfal.campaign.workers.tasks import evaluate, has_preparation, reference_of, task_of
from mfal.errors import MfalError

__all__ = ["Dispatcher", "OnEnd"]

_TROUBLE = 8
"""So many tasks in a row that failed outside their oracle: the machine is to blame."""
_BACK_OFF = 0.5
"""Seconds before the first repetition of a task; doubled for each further one."""

OnEnd = Callable[[Query, Outcome], None]


class _Again(NamedTuple):
    """A query that waits for its repetition."""

    due: float
    """On the monotonic clock, s."""
    query: Query
    attempt: int


class Dispatcher:
    """Queries under way, and the writing of their ends.

    Futures run elsewhere; the ledger is written by the caller's thread alone. A `WorkerPool`
    keeps limits and repeats tasks by itself. For any other executor each task runs in a process
    of its own beside the executor's worker (see `guarded`), and one that is lost with its worker
    goes out again after a pause. Of several queries about a crystal whose atoms have yet to be
    found and relaxed one goes out, and the others when it has an end. What a device can do for a
    query goes there (`evaluated_by_parts`).

    Args:
      ledger: where ends are written.
      executor: who runs the queries.
      config: of the campaign: its oracles, and what is done about atoms.
      limits: time, memory and repetitions of a query.
      device: gives the queue before the device; None where workers do all.
    """

    def __init__(
        self,
        ledger: Ledger,
        executor: Executor,
        config: CampaignConfig,
        limits: Callable[[Query], QueryLimits],
        device: Callable[[], DeviceQueue | None] = lambda: None,
    ) -> None:
        self._ledger = ledger
        self._executor = executor
        self._config = config
        self._limits = limits
        self._device = device
        self._running: dict[Future[Outcome], tuple[Query, int]] = {}
        self._again: list[_Again] = []
        self._behind: list[Query] = []  # another is finding their crystal's atoms
        self._held: list[tuple[Query, Outcome]] = []

    def pending(self, account: str | None = None) -> int:
        """Queries out and not yet answered, of one account or of all."""
        return sum(account in (None, query.account) for query in self._out())

    def submit(self, queries: Sequence[Query]) -> None:
        """Send queries out; those already under way are left alone."""
        out = {query.id for query in self._out()} | {query.id for query, _ in self._held}
        self._send_or_wait([query for query in queries if query.id not in out])

    def poll(self, on_end: OnEnd) -> None:
        """Write what has come; wait for nothing."""
        done, _ = wait(self._running, timeout=0)
        self._take(done, on_end)
        self._repeat()

    def gather(
        self,
        on_end: OnEnd,
        *,
        account: str | None = None,
        leave: int = 0,
        deadline: float | None = None,
    ) -> None:
        """Wait until no more than `leave` queries are out; write each end as it comes.

        A task that failed outside its oracle (a crash, a stop) is written once another has come
        through, or nothing more is out: many in a row are the machine's fault, and cost nothing.

        Args:
          on_end: called after each end is written.
          account: whose queries count; all if left out.
          leave: queries that may stay out.
          deadline: on the monotonic clock: from then on what hasn't started is called back, and
            stays open in the ledger, while what runs is waited for.

        Raises:
          MfalError: when too many tasks fail in a row outside their oracle.
        """
        while self.pending(account) > leave:
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                self._recall()
                deadline, leave = None, 0
            times = [again.due for again in self._again]
            times += [deadline] if deadline is not None else []
            timeout = max(min(times) - now, 0.0) if times else None
            if self._running:
                done, _ = wait(self._running, timeout=timeout, return_when=FIRST_COMPLETED)
                self._take(done, on_end)
            else:
                time.sleep(timeout or 0.0)
            self._repeat()
        if not self.pending():
            self._write(self._held, on_end)
            self._held = []

    def _out(self) -> Iterable[Query]:
        yield from (query for query, _ in self._running.values())
        yield from (again.query for again in self._again)
        yield from self._behind

    def _send_or_wait(self, queries: Iterable[Query]) -> None:
        finding = {query.crystal.hash for query, _ in self._running.values()}
        finding |= {again.query.crystal.hash for again in self._again}
        for query in queries:
            crystal = query.crystal
            if self._relaxes(query) and crystal.hash in finding and not self._found(crystal):
                self._behind.append(query)
            else:
                self._send(query, 1)
                finding.add(crystal.hash)

    def _relaxes(self, query: Query) -> bool:
        return self._config.relax and query.crystal.relaxable

    def _found(self, crystal: CrystalRecord) -> dict[str, Any] | None:
        """The detail of an answer that holds a crystal's relaxed atoms."""
        return self._ledger.found_atoms(crystal.hash)

    def _send(self, query: Query, attempt: int) -> None:
        self._ledger.submitted(query, {} if attempt == 1 else {"attempt": attempt})
        # The same atoms would be found again; this spares the time.
        found = self._found(query.crystal) if self._relaxes(query) else None
        other = reference_of(query.oracle)
        references = (other,) if other else self._config.oracles
        task = task_of(
            query,
            references,
            relax=self._config.relax,
            known=self._config.known,
            hide=self._config.hide,
            found=found,
        )
        limits, executor = self._limits(query), self._executor

        def submit(function: Callable[..., Any], *arguments: Any, first: bool = False) -> Future:
            if isinstance(executor, WorkerPool):
                send = executor.submit_first if first else executor.submit_with_timeout
                return send(limits.timeout, function, *arguments)
            part, *more = arguments
            return executor.submit(guarded, part, limits, function, *more)

        unrelaxed = self._relaxes(query) and found is None
        device = self._device() if unrelaxed or has_preparation(task) else None
        try:
            if device is None:
                future = submit(evaluate, task)
            else:
                future = evaluated_by_parts(task, submit, device, unrelaxed=unrelaxed)
        except RuntimeError as error:  # broken by the loss of a worker, or shut down
            raise MfalError(
                f"the executor takes no more queries: {error}",
                "run the same command again; what is open has not been charged",
            ) from error
        self._running[future] = (query, attempt)

    def _take(self, done: Iterable["Future[Outcome]"], on_end: OnEnd) -> None:
        # Where several are done at once, the order of decision is the order of writing.
        for future in sorted(done, key=lambda future: self._running[future][0].id):
            query, attempt = self._running[future]
            error = future.exception()
            if error is None:
                self._write([*self._held, (query, future.result())], on_end)
                self._held = []
            elif attempt <= self._repetitions(query) and not isinstance(error, TaskFailure):
                due = time.monotonic() + _BACK_OFF * 2 ** (attempt - 1)
                self._again.append(_Again(due, query, attempt + 1))
            else:
                self._hold(query, error)
            del self._running[future]
        if done and self._behind:
            waiting, self._behind = self._behind, []
            self._send_or_wait(waiting)

    def _repetitions(self, query: Query) -> int:
        """The pool and the guard repeat by themselves what they had to stop: a `TaskFailure`."""
        return 0 if isinstance(self._executor, WorkerPool) else self._limits(query).retries

    def _repeat(self) -> None:
        now = time.monotonic()
        due = [again for again in self._again if again.due <= now]
        self._again = [again for again in self._again if again.due > now]
        for again in due:
            self._send(again.query, again.attempt)

    def _recall(self) -> None:
        self._again, self._behind = [], []
        for future in list(self._running):
            with contextlib.suppress(NotImplementedError):  # Parsl can't
                if future.cancel():
                    del self._running[future]

    def _write(self, ends: list[tuple[Query, Outcome]], on_end: OnEnd) -> None:
        for query, outcome in ends:
            self._ledger.conclude(query, outcome)
            on_end(query, outcome)

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
