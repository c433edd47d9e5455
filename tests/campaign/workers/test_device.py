"""Candidates relaxed together by the one process that has the device."""

import threading
from concurrent.futures import Executor, Future

import pytest
from rock_salt import TASK

from mfal.campaign.config import CampaignConfig, ExecutionConfig
from mfal.campaign.workers.device import DeviceQueue, evaluated_by_parts, open_device
from mfal.campaign.workers.executors import TaskFailure, WorkerPool
from mfal.campaign.workers.isolation import ONE_THREAD
from mfal.campaign.workers.tasks import evaluate
from mfal.errors import MfalError


def test_what_ends_a_batch_takes_no_other_crystal_along():
    """The batch fails, then each is tried alone, and one of them fails again."""
    asked, gathered = [], threading.Event()

    def submit(tasks, function, crystals):
        asked.append(list(crystals))
        future = Future()
        if len(asked) == 1:
            gathered.wait(timeout=10)
        if "bad" in crystals:
            future.set_exception(TaskFailure("killed"))
        else:
            future.set_result([(crystal, 1.0) for crystal in crystals])
        return future

    queue = DeviceQueue(submit)
    futures = {name: queue.relax(name) for name in ("a", "bad", "b", "c")}
    gathered.set()
    assert futures["a"].result(timeout=10) == ("a", 1.0)
    assert futures["b"].result(timeout=10) == ("b", 1.0)
    with pytest.raises(TaskFailure, match="killed"):
        futures["bad"].result(timeout=10)
    assert max(map(len, asked)) > 1
    assert ["bad"] in asked
    queue.close()


def test_a_task_goes_out_in_the_parts_that_it_wants():
    """Its crystal relaxed, and its oracle's work done beforehand, each in one batch."""
    done = []

    def submit(tasks, function, items):
        done.append((function.__name__, len(items)))
        future = Future()
        future.set_result(function(items))
        return future

    def worker(function, *arguments, first=False):
        done.append((function.__name__, 1))
        future = Future()
        future.set_result(function(*arguments))
        return future

    queue = DeviceQueue(submit)
    outcome = evaluated_by_parts(TASK, worker, queue).result(timeout=300)
    assert [name for name, _ in done] == ["arrange", "relax_together", "settle", "evaluate"]
    assert outcome.status == "ok"
    prepared = TASK._replace(references=("toy_oracles:prepared",), found=outcome.detail)
    done.clear()
    again = evaluated_by_parts(prepared, worker, queue, unrelaxed=False).result(timeout=60)
    assert [name for name, _ in done] == ["prepare_together", "evaluate"]
    assert again.value == pytest.approx(outcome.value)
    assert again.detail["provenance"]["method"] == "toy, prepared"
    done.clear()
    whole = evaluated_by_parts(prepared._replace(found=None), worker, queue).result(timeout=300)
    assert [name for name, _ in done][-3:] == ["settle", "prepare_together", "evaluate"]
    assert whole.value == pytest.approx(outcome.value)
    assert whole.seconds > again.seconds
    queue.close()


def test_what_has_not_begun_can_be_called_back():
    class Never(Executor):
        def submit(self, fn, /, *args, **kwargs):
            return Future()

    queue = DeviceQueue(lambda tasks, function, crystals: Future())
    waiting = evaluated_by_parts(TASK, Never().submit, queue)
    assert waiting.cancel()
    assert waiting.cancelled()
    running = evaluated_by_parts(TASK, Never().submit, queue)
    running.first.set_running_or_notify_cancel()
    assert not running.cancel()
    queue.close()


@pytest.mark.slow
def test_dynamics_are_simulated_in_the_devices_process(tmp_path, monkeypatch):
    """And the worker that is asked then only reads them, with the answer of one that simulates."""
    oracle = "Li_1000fs"
    task = TASK._replace(
        references=(f"mfal.oracles.dynamics.short:{oracle}",),
        oracle=oracle,
        found=evaluate(TASK).detail,
    )
    config = CampaignConfig(execution=ExecutionConfig(device="cpu"))
    monkeypatch.setenv("MFAL_CACHE", str(tmp_path / "together"))
    with open_device(config) as given, WorkerPool(1, environment=ONE_THREAD) as pool:

        def submit(function, *arguments, first=False):
            return pool.submit(function, *arguments)

        found = evaluated_by_parts(task, submit, given(), unrelaxed=False).result(timeout=600)
    monkeypatch.setenv("MFAL_CACHE", str(tmp_path / "alone"))
    with WorkerPool(1, environment=ONE_THREAD) as pool:
        alone = pool.submit(evaluate, task).result(timeout=600)
    assert found.status == alone.status == "ok"
    assert found.value == alone.value
    simulated = [each.detail["provenance"]["simulated"] for each in (found, alone)]
    assert simulated[0] == simulated[1]
    assert found.detail["oracle_seconds"] < alone.detail["oracle_seconds"] / 2
    assert found.seconds > 2 * found.detail["oracle_seconds"]


@pytest.mark.parametrize("device", ["auto", "none", "workers"])
def test_without_an_accelerator_workers_relax_by_themselves(device):
    with open_device(CampaignConfig(execution=ExecutionConfig(device=device))) as given:
        assert given() is None


def test_a_device_that_is_not_there_is_named():
    config = CampaignConfig(execution=ExecutionConfig(device="cuda", retries=0))
    with open_device(config) as given, pytest.raises(MfalError, match="device cuda") as caught:
        given()
    assert "cpu, cuda" in caught.value.remedy
    with pytest.raises(MfalError, match=r"execution.device 'GPU 0'"):
        CampaignConfig(execution=ExecutionConfig(device="GPU 0"))


def backend() -> str:
    import jax

    return str(jax.default_backend())


@pytest.mark.slow
def test_workers_see_no_accelerator(monkeypatch):
    """Whatever this process was told to use."""
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    with WorkerPool(1, environment=ONE_THREAD) as pool:
        assert pool.submit(backend).result() == "cpu"


def test_urgent_work_is_begun_first(tmp_path):
    import workloads

    order = tmp_path / "order"
    with WorkerPool(1) as pool:
        pool.submit(workloads.sleep, 0.3)
        later = [pool.submit(workloads.append, str(order), name) for name in "ab"]
        first = pool.submit_first(30.0, workloads.append, str(order), "c")
        for future in (*later, first):
            future.result(timeout=30)
    assert order.read_text() == "cab"
