"""What the README tells people to run, run."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.S)


def test_the_two_commands_stand_alone() -> None:
    commands = re.findall(r"```bash\n(.*?)```", README, flags=re.S)
    assert "pip install -e . && mfal discover\n" in commands
    assert "pip install -e '.[test]' && pytest\n" in commands


@pytest.mark.parametrize("block", PYTHON_BLOCKS, ids=range(len(PYTHON_BLOCKS)))
def test_python_blocks_run(block: str) -> None:
    names: dict[str, object] = {"__name__": "readme"}
    exec(compile(block, "README.md", "exec"), names)
    if "gradient" in names:
        slopes = jax.tree.leaves(names["gradient"])
        assert all(bool(jnp.isfinite(slope).all()) for slope in slopes)
        assert all(bool((slope != 0).any()) for slope in slopes)
