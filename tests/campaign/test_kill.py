"""SIGKILL at every write and at any instant: the resumed campaign ends like the unbroken one."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def folder(tmp_path):
    """In memory where the system has such a place: SIGKILL loses no page that was written."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)


def harness(*arguments: str) -> dict:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)])}
    done = subprocess.run(
        [sys.executable, str(HERE / "kill_harness.py"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_killed_before_every_write(folder):
    result = harness("statements", str(folder))
    assert result["wrong"] == []
    assert result["killed"] > 100  # every statement of some 30 transactions
    assert result["answers"] > 10


@pytest.mark.parametrize("number", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_at_random_instants(folder, number):
    result = harness("instants", str(folder), str(number))
    assert result["wrong"] == []
    assert result["killed"] == number
