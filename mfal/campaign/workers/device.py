"""One process that owns a device and computes there what many tasks are waiting for.

Workers find each candidate's arrangements by bond valence, on the CPU; these queue here to be
relaxed, and so do tasks whose oracle has simulations done beforehand (`Oracle.beforehand`). The
process takes all of a kind that wait, computes them in batches, and the next ones gather meanwhile.
What comes of a crystal does not depend on its company (`lowest_arrangements`, `simulate_cells`), so
neither does a campaign's course on how fast its workers are.
"""

import contextlib
import functools
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple

from mfal.campaign.config import NO_DEVICE, WORKERS, CampaignConfig, ExecutionConfig
from mfal.campaign.ledger.records import Outcome
from mfal.campaign.workers.executors import WorkerPool
from mfal.campaign.workers.isolation import ONE_THREAD, SEEING
from mfal.campaign.workers.tasks import (
    Arranged,
    Task,
    arrange,
    evaluate,
    has_preparation,
    prepare_together,
    relax_together,
    settle,
)
from mfal.errors import MfalError

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from mfal.oracles.stability.arrangements import LowestFound

__all__ = ["DeviceQueue", "Submit", "evaluated_by_parts", "open_device"]

Submit = Callable[..., "Future[Any]"]
"""Sends a function and its arguments to a worker; `first` before all that wait."""


class _Waiting(NamedTuple):
    future: "Future[Any]"
    together: Callable[[list[Any]], list[Any]]
    item: Any


class DeviceQueue:
    """What many tasks wait for, computed together.

    Where a batch ends without an answer (a crash, a stop), each of its items is tried alone, so
    that one takes no other along.

    Args:
      submit: sends a function, its arguments and how many tasks it serves to the one process that
        has the device.
    """

    def __init__(self, submit: Callable[[int, Callable[..., Any], Any], "Future[Any]"]) -> None:
        self._submit = submit
        self._waiting: queue.Queue[_Waiting | None] = queue.Queue()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="mfal device", daemon=True)
        self._thread.start()

    def relax(self, structures: "list[Structure]") -> "Future[tuple[LowestFound, float]]":
        """The lowest of one crystal's arrangements, and the seconds that fall to it."""
        return self._put(relax_together, structures)

    def prepare(self, task: Task) -> "Future[float]":
        """What the task's oracle has done beforehand, and the seconds that it took."""
        return self._put(prepare_together, task)

    def _put(self, together: Callable[[list[Any]], list[Any]], item: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        self._waiting.put(_Waiting(future, together, item))
        return future

    def close(self) -> None:
        """Take nothing more, and leave what waits."""
        self._closed = True
        self._waiting.put(None)

    def _serve(self) -> None:
        while (first := self._waiting.get()) is not None and not self._closed:
            together, more = [first], True
            while more:
                try:
                    one = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if more := one is not None:
                    together.append(one)
                else:
                    self._waiting.put(None)
            wanted = [one for one in together if one.future.set_running_or_notify_cancel()]
            for kind in dict.fromkeys(one.together for one in wanted):
                self._do([one for one in wanted if one.together is kind])

    def _do(self, together: list[_Waiting]) -> None:
        try:
            items = [one.item for one in together]
            answers = self._submit(len(together), together[0].together, items).result()
        except Exception as error:
            if len(together) == 1:
                together[0].future.set_exception(error)
                return
            for one in together:
                self._do([one])
            return
        for one, answer in zip(together, answers, strict=True):
            one.future.set_result(answer)


class _ByParts(Future[Outcome]):
    """A task's outcome; it can be called back until its first part begins."""

    first: "Future[Any]"

    def cancel(self) -> bool:
        return self.first.cancel() and super().cancel()


def evaluated_by_parts(
    task: Task, submit: Submit, device: DeviceQueue, *, unrelaxed: bool = True
) -> "Future[Outcome]":
    """A task's answer, of which some parts are the device's and the others a worker's.

    Args:
      task: one whose crystal has to be relaxed, or whose oracle has something done beforehand.
      submit: sends a part to a worker.
      device: where it is relaxed, and that is done.
      unrelaxed: whether its crystal has to be relaxed.
    """
    whole = _ByParts()

    def then(future: "Future[Any]", go_on: Callable[[Any], None]) -> None:
        """Go on with a part's result, in the thread where it ends."""

        def ended(future: "Future[Any]") -> None:
            if future.cancelled():  # and so is the whole, or its pool has been stopped
                return
            try:
                go_on(future.result())
            except Exception as error:
                whole.set_exception(error)

        future.add_done_callback(ended)

    def relax(arranged: Arranged | Outcome) -> None:
        if isinstance(arranged, Outcome):
            whole.set_result(arranged)
        else:
            then(device.relax(arranged.structures), functools.partial(place, arranged))

    def place(arranged: Arranged, answer: "tuple[LowestFound, float]") -> None:
        then(submit(settle, task, arranged, *answer, first=True), prepare)

    def prepare(settled: tuple[Task, float] | Outcome) -> None:
        if isinstance(settled, Outcome):
            whole.set_result(settled)
        elif has_preparation(task):
            known, spent = settled
            then(device.prepare(known), lambda seconds: ask(known, spent + seconds))
        else:
            ask(*settled)

    def ask(known: Task, spent: float) -> None:
        then(submit(evaluate, known, spent, first=True), whole.set_result)

    if unrelaxed:
        whole.first = submit(arrange, task)
        then(whole.first, relax)
    else:
        whole.first = device.prepare(task)
        then(whole.first, lambda seconds: ask(task, seconds))
    return whole


@contextlib.contextmanager
def open_device(config: CampaignConfig) -> Iterator[Callable[[], DeviceQueue | None]]:
    """The queue before the device that a configuration names, made when it is first asked for.

    None where workers relax by themselves: by the option, or by default where JAX computes on the
    CPU in this process.

    Raises:
      MfalError: from the function, where JAX has no such device.
    """
    with contextlib.ExitStack() as stack:

        @functools.cache
        def device() -> DeviceQueue | None:
            name = config.execution.device
            if name in (NO_DEVICE, WORKERS) or (name == "auto" and not _found()):
                return None
            chosen: dict[str, str] = {"auto": {}, "cpu": ONE_THREAD}.get(
                name, {"JAX_PLATFORMS": f"{name},cpu"}
            )
            pool = _Pool(config.execution, SEEING | chosen)
            stack.callback(pool.close)
            if name != "auto":
                pool.check(name)
            queued = DeviceQueue(pool.submit)
            stack.callback(queued.close)
            return queued

        yield device


def _found() -> bool:
    """Whether this process computes on a GPU, which several processes can use."""
    jax = sys.modules.get("jax")  # not imported for this: who decides without it has no device
    return jax is not None and bool(jax.default_backend() == "gpu")


class _Pool:
    """The one process."""

    def __init__(self, execution: ExecutionConfig, environment: dict[str, str]) -> None:
        self._timeout = execution.timeout
        self._workers = WorkerPool(
            1,
            retries=execution.retries,
            memory=execution.memory * max(execution.workers, 2),
            environment=environment,
        )

    def submit(self, tasks: int, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        return self._workers.submit_with_timeout(self._timeout * tasks, function, *arguments)

    def check(self, name: str) -> None:
        """Let the process say what it has.

        Raises:
          MfalError: where that is not what was asked for.
        """
        try:
            found = self.submit(1, _platform).result()
        except Exception as error:
            found = str(error).splitlines()[0]
        if (found == "cpu") != (name == "cpu") or " " in found:
            raise MfalError(
                f"device {name}: JAX has none here ({found})",
                "give auto, none, workers, or a platform that JAX finds: cpu, cuda, rocm, tpu",
            )

    def close(self) -> None:
        self._workers.shutdown(cancel_futures=True)


def _platform() -> str:
    import jax

    return str(jax.default_backend())
