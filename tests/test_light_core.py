"""The learning parts work where no structure library, compiler or plotting library is installed."""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = str(ROOT / "tests" / "light_core.py")


def test_nothing_else_is_loaded() -> None:
    """Every module of the rooms and the packages' own examples, with all else hidden."""
    done = subprocess.run(
        [sys.executable, SCRIPT, "--pretend", "--quick"], capture_output=True, text=True
    )
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
    core = ("jax", "numpy", "flax", "optax", "distrax", "chex")
    constraints = str(ROOT / "constraints.txt")
    for words in (["-c", constraints, *core], ["--no-deps", str(copy)]):
        subprocess.run([*pip, *words], check=True)
    subprocess.run([python, SCRIPT], check=True, cwd=tmp_path)
