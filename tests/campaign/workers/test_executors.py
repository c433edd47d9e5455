"""Worker processes: one task's fault is its own, and nothing outlives the parent."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import wait
from pathlib import Path

import pytest
import workloads

from mfal.campaign.workers.executors import TaskFailure, WorkerPool


@pytest.fixture
def pool():
    with WorkerPool(2, timeout=30.0, retries=0, memory=2.0) as opened:
        yield opened


def gone(process: int) -> bool:
    """Whether a process has ended (a zombie that nobody has waited for counts as ended)."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return True
    return state == "Z"


def wait_until(condition, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_results_belong_to_their_tasks(pool):
    futures = [pool.submit(workloads.square, n) for n in range(20)]
    assert [future.result() for future in futures] == [n * n for n in range(20)]


def test_workers_are_other_processes_and_are_used_again(pool):
    seen = {pool.submit(workloads.process).result() for _ in range(6)}
    assert os.getpid() not in seen
    assert len(seen) <= 2


def test_an_exception_comes_back_as_itself(pool):
    with pytest.raises(ValueError, match="bad input"):
        pool.submit(workloads.raise_error).result()


def test_a_crash_takes_nothing_else_along(pool):
    slow = pool.submit(workloads.sleep, 1.0)
    crash = pool.submit(workloads.crash)
    after = [pool.submit(workloads.square, n) for n in range(4)]
    with pytest.raises(TaskFailure, match="SIGSEGV"):
        crash.result()
    assert slow.result() > 0
    assert [future.result() for future in after] == [0, 1, 4, 9]


def test_a_task_that_takes_too_long_is_stopped_for_good(pool):
    running = pool.submit(workloads.process).result()
    hung = [pool.submit_with_timeout(0.3, workloads.sleep, 600.0) for _ in range(2)]
    for future in hung:
        with pytest.raises(TaskFailure, match=r"stopped after 0\.3 s"):
            future.result(timeout=20)
    assert gone(running)
    assert pool.submit(workloads.square, 3).result() == 9


def test_what_a_stopped_task_had_started_is_stopped_as_well(pool, tmp_path):
    marker = tmp_path / "process"
    future = pool.submit_with_timeout(2.0, workloads.spawn_and_sleep, str(marker))
    with pytest.raises(TaskFailure, match="stopped after 2 s"):
        future.result(timeout=20)
    assert wait_until(lambda: gone(int(marker.read_text())))


def test_long_calls_and_answers_come_through_whole(pool):
    long = b"".join(bytes([n % 251]) * 1000 for n in range(3000))
    assert pool.submit(bytes.upper, long).result() == long.upper()


def test_no_descriptor_is_left_open():
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    with WorkerPool(1, retries=1) as pool:
        pool.submit(workloads.square, 1).result()
        before = descriptors()
        for _ in range(2):
            with pytest.raises(TaskFailure):
                pool.submit(workloads.crash).result()
        pool.submit(workloads.square, 1).result()
        assert descriptors() == before
    assert descriptors() < before


def test_ctrl_c_reaches_the_parent_alone():
    with WorkerPool(1, retries=0) as pool:
        worker = pool.submit(workloads.process).result()
        running = pool.submit(workloads.sleep, 0.5)
        assert wait_until(running.running)
        os.kill(worker, signal.SIGINT)
        assert running.result() == worker
        assert os.getpgid(worker) != os.getpgrp()  # the terminal tells the parent's group


def test_a_script_without_a_main_guard_sets_the_environment_before_any_import(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys
            sys.path.insert(0, {str(Path(__file__).parents[1])!r})
            import numba, workloads
            from mfal.campaign.workers.executors import WorkerPool
            with WorkerPool(1, environment={{"NUMBA_NUM_THREADS": "1"}}) as pool:
                print(pool.submit(workloads.num_threads).result())
            """
        )
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "1\n"


def test_a_task_that_hoards_memory_is_stopped():
    with (
        WorkerPool(1, retries=0, memory=0.3) as pool,
        pytest.raises(TaskFailure, match=r"GiB of memory \(limit 0\.3 GiB\)"),
    ):
        pool.submit(workloads.hoard, 0.5).result(timeout=25)


def test_a_task_is_tried_again_after_a_crash(tmp_path):
    with WorkerPool(1, retries=1) as pool:
        future = pool.submit(workloads.flaky, str(tmp_path / "marker"))
        assert future.result() == "second time"
    with WorkerPool(1, retries=1) as pool, pytest.raises(TaskFailure, match="tried 2 times"):
        pool.submit(workloads.crash).result()


def test_shutdown_can_drop_what_waits_and_what_runs():
    pool = WorkerPool(1)
    running = pool.submit(workloads.sleep, 600.0)
    waiting = pool.submit(workloads.square, 2)
    assert wait_until(running.running)
    start = time.monotonic()
    pool.shutdown(cancel_futures=True)
    assert time.monotonic() - start < 30
    assert waiting.cancelled()
    with pytest.raises(TaskFailure, match="pool was stopped"):
        running.result()
    with pytest.raises(RuntimeError):
        pool.submit(workloads.square, 1)


def test_shutdown_lets_queued_tasks_end():
    with WorkerPool(1) as pool:
        futures = [pool.submit(workloads.square, n) for n in range(5)]
    assert not wait(futures, timeout=0).not_done


def test_no_worker_outlives_a_killed_parent(tmp_path):
    script = textwrap.dedent(
        f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        import workloads
        from mfal.campaign.workers.executors import WorkerPool
        pool = WorkerPool(1)
        print(pool.submit(workloads.process).result(), flush=True)
        pool.submit(workloads.sleep, 600.0)
        time.sleep(600)
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    assert not gone(worker)
    parent.kill()
    parent.communicate()
    assert wait_until(lambda: gone(worker))
