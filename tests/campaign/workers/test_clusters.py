"""Executors of other makers: plain ones, and real local clusters that lose a worker midway."""

import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cluster_oracles
import pytest
import toy_campaign
from pymatgen.core import Lattice, Structure

from mfal.campaign.config import CampaignConfig, ExecutionConfig
from mfal.campaign.folder import read_campaign
from mfal.campaign.ledger.crystals import known_record
from mfal.campaign.ledger.records import Proposal
from mfal.campaign.loop import run_campaign
from mfal.campaign.strategy.types import Decision
from mfal.campaign.workers.clusters import open_executor
from mfal.campaign.workers.executors import TaskFailure
from mfal.errors import MfalError

HERE = Path(__file__).parents[1]
LENGTHS = (3.9, 4.0, 4.1, 4.2)


@pytest.fixture
def markers(tmp_path, monkeypatch):
    """Where tasks say that they run; whoever starts from here on can import their oracle."""
    folder = tmp_path / "markers"
    folder.mkdir()
    monkeypatch.setenv(cluster_oracles.MARKERS, str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *filter(None, sys.path)]))
    programs = [str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(programs))
    return folder


def config(executor: str, **execution) -> CampaignConfig:
    return CampaignConfig(
        rounds=1,
        baseline="none",
        oracles=("cluster_oracles:slow_volume",),
        execution=ExecutionConfig(executor=executor, **{"retries": 2, **execution}),
    )


def salts(round_) -> Decision:
    """Rock salts of known edges, each asked for its volume."""
    sites = [[0, 0, 0], [0.5, 0.5, 0.5]]
    return Decision(
        [
            Proposal(
                known_record(
                    Structure.from_spacegroup("Fm-3m", Lattice.cubic(edge), ["Li", "F"], sites),
                    str(edge),
                ),
                *(0, "slow volume", "1", 1.0, 1, {}),
            )
            for edge in LENGTHS
        ],
        {},
    )


def volumes(folder, settings, executor=None) -> list[float | None]:
    strategy = toy_campaign.strategy(lambda round_: Decision([], {}))._replace(initial=salts)
    run_campaign(folder, settings, strategy=strategy, executor=executor)
    with read_campaign(folder) as ledger:
        return [answer.value for answer in ledger.answers("campaign")]


EXPECTED = pytest.approx([edge**3 for edge in LENGTHS])


def kill_first_worker(markers) -> threading.Thread:
    """A thread that ends the worker behind the second task that starts, in the middle of it."""

    def work():
        end = time.monotonic() + 60
        while time.monotonic() < end:
            found = sorted(path.name for path in markers.iterdir())
            if len(found) > 1:
                os.kill(int(found[1].rpartition("-")[2]), signal.SIGKILL)
                return
            time.sleep(0.01)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def started(markers) -> list[str]:
    return [path.name for path in markers.iterdir()]


def test_an_executor_made_by_a_function_of_the_users(markers, tmp_path):
    assert volumes(tmp_path / "a", config("cluster_oracles:make_threads")) == EXPECTED
    assert len(started(markers)) == len(LENGTHS)


def test_a_broken_process_pool_is_named_and_the_next_start_goes_on(markers, tmp_path):
    """The standard pool doesn't survive the loss of a worker; what was answered does."""
    killer = kill_first_worker(markers)
    with pytest.raises(MfalError, match="executor takes no more queries") as caught:
        volumes(tmp_path / "a", config("cluster_oracles:make_processes"))
    killer.join()
    assert "not been charged" in caught.value.remedy
    with read_campaign(tmp_path / "a") as ledger:
        assert {answer.kind for answer in ledger.answers("campaign")} <= {"observed"}
    with ThreadPoolExecutor(2) as executor:
        assert volumes(tmp_path / "a", config("local"), executor) == EXPECTED


def test_a_time_limit_holds_inside_any_executor(markers, tmp_path):
    settings = config("local", retries=0, timeouts=("slow volume=0.05",))
    with ThreadPoolExecutor(1) as executor:
        found = volumes(tmp_path / "a", settings, executor)
    assert found == [None] * len(LENGTHS)
    with read_campaign(tmp_path / "a") as ledger:
        statuses = {answer.detail["status"] for answer in ledger.answers("campaign")}
    assert statuses == {"failed: stopped after 0.05 s"}


def test_dask_loses_a_worker_midway(markers, tmp_path):
    distributed = pytest.importorskip("distributed", reason="needs the extra: mfal[dask]")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address.replace("tcp://", "dask://")
        killer = kill_first_worker(markers)
        assert volumes(tmp_path / "a", config(address)) == EXPECTED
        killer.join()
    assert len(started(markers)) > len(LENGTHS)  # what ran on the lost worker ran again


PARSL = """
from parsl import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

config = Config(
    run_dir={run_dir!r},
    executors=[
        HighThroughputExecutor(
            label="local",
            address="127.0.0.1",
            max_workers_per_node=2,
            heartbeat_period=1,
            heartbeat_threshold=5,
            encrypted=False,
            provider=LocalProvider(init_blocks=1, max_blocks=1),
        )
    ],
)
"""


def test_parsl_loses_a_worker_midway(markers, tmp_path):
    pytest.importorskip("parsl", reason="needs the extra: mfal[parsl]")
    path = tmp_path / "machine.py"
    path.write_text(PARSL.format(run_dir=str(tmp_path / "runinfo")))
    killer = kill_first_worker(markers)
    assert volumes(tmp_path / "a", config(f"parsl:{path}")) == EXPECTED
    killer.join()
    assert len(started(markers)) > len(LENGTHS)
    with read_campaign(tmp_path / "a") as ledger:
        again = ledger.all("SELECT detail FROM event WHERE detail LIKE '%attempt%'")
    assert again  # the ledger knows that it went out twice


@pytest.mark.parametrize(
    ("executor", "named"),
    [
        ("dask://127.0.0.1:1", "no Dask scheduler answers"),
        ("dask://", "write dask://HOST"),
        ("dask://host:port", "write dask://HOST"),
        ("parsl:none.py", "no such file"),
        ("parsl:{empty}", "sets no `config`"),
        ("parsl:{broken}", "ZeroDivisionError"),
        ("toy_oracles:three", "tuple is no concurrent.futures.Executor"),
        ("no.such:thing", "no.such"),
        ("nonsense", "module:function"),
    ],
)
def test_an_executor_that_cannot_be_had_is_named(executor, named, tmp_path):
    if executor.startswith("dask"):
        pytest.importorskip("distributed", reason="needs the extra: mfal[dask]")
    if executor.startswith("parsl"):
        pytest.importorskip("parsl", reason="needs the extra: mfal[parsl]")
    empty, broken = tmp_path / "empty.py", tmp_path / "broken.py"
    empty.write_text("")
    broken.write_text("1 / 0")
    name = executor.format(empty=empty, broken=broken)
    with pytest.raises(MfalError) as caught, open_executor(config(name), patience=1.0):
        pass
    assert named in str(caught.value)
    assert caught.value.remedy


def test_a_missing_extra_is_named_with_its_installation(monkeypatch):
    for module, name in (("distributed", "dask://host"), ("parsl", "parsl:file.py")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(MfalError, match="not installed") as caught, open_executor(config(name)):
            pass
        assert "pip install" in caught.value.remedy


def test_task_failures_survive_pickling():
    import pickle

    assert str(pickle.loads(pickle.dumps(TaskFailure("stopped after 3 s")))) == "stopped after 3 s"
