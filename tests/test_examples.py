"""Each example runs, ends where it should, and is short enough to be read at once."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PEERS = ("gfnx_environment", "crystals_in_gfnx")
LIMITS = {
    "own_environment": lambda variation: variation < 0.05,
    "own_acquisition": lambda best, held, _: held > best - 0.1,
    "gfnx_environment": lambda variation: variation < 0.05,
    "crystals_in_gfnx": lambda first, last: last < first / 3,
}


def test_examples_are_all_here_and_short():
    found = {
        path.stem: path.read_text() for path in (ROOT / "experiments" / "examples").glob("*.py")
    }
    assert set(found) == set(LIMITS)
    for text in found.values():
        lines = [line for line in text.splitlines() if line.strip()]
        assert len(lines) <= 40


@pytest.mark.slow
@pytest.mark.parametrize("name", LIMITS)
def test_an_example_ends_where_it_should(name):
    if name in PEERS:
        pytest.importorskip("gfnx")
    words = [sys.executable, str(ROOT / "experiments" / "examples" / f"{name}.py")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    numbers = [float(word) for word in re.findall(r"-?\d+\.\d+", done.stdout)]
    assert LIMITS[name](*numbers)
