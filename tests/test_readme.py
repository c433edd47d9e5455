"""What the README tells people to run, run."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.S)


def test_the_two_commands_stand_alone() -> None:
    commands = re.findall(r"```bash\n(.*?)```", README, flags=re.S)
    assert "pip install -e . && mfal discover\n" in commands
    assert "pip install -e '.[test]' && pytest\n" in commands


def test_it_is_read_in_a_few_minutes() -> None:
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("block", PYTHON_BLOCKS, ids=range(len(PYTHON_BLOCKS)))
def test_python_blocks_run(block: str) -> None:
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
