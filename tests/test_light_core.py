"""The learning parts work where no structure library, compiler or plotting library is installed."""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = str(ROOT / "tests" / "light_core.py")


@pytest.mark.parametrize("rooms", [[], ["mfal.potentials"]], ids=["learning", "potentials"])
def test_nothing_else_is_loaded(rooms: list[str]) -> None:
    """Every module of the rooms and the packages' own examples, with all else hidden."""
    words = [sys.executable, SCRIPT, "--pretend", "--quick", *rooms]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "examples ran" in done.stdout


@pytest.mark.slow
def test_in_an_environment_that_holds_nothing_else(tmp_path: Path) -> None:
    """The environment is made by pip, and all examples of the pages are run in it."""
    copy = tmp_path / "mfal"  # building in place would leave files there
    for name in ("mfal", "pyproject.toml", "README.md", "LICENSE"):
        tree = ROOT / name
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(tree, target) if tree.is_dir() else shutil.copy(tree, target)
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    at = ["-c", str(ROOT / "constraints.txt")]
    for words in (
        [*pip, *at, "jax", "numpy"],
        [*pip, "--no-deps", str(copy)],
        [python, SCRIPT, "mfal.potentials"],
        [*pip, *at, "flax", "optax", "distrax", "chex"],
        [python, SCRIPT],
    ):
        subprocess.run(words, check=True, cwd=tmp_path)
