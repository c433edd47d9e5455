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


@pytest.mark.parametrize("block", PYTHON_BLOCKS, ids=range(len(PYTHON_BLOCKS)))
def test_python_blocks_run(block: str) -> None:
    names: dict[str, object] = {"__name__": "readme"}
    exec(compile(block, "README.md", "exec"), names)
    if "states" in names:
        from mfal.envs.types import Environment

        environment = names["env"]
        assert isinstance(environment, Environment)
        import jax

        assert bool(jax.vmap(environment.is_terminal)(names["states"]).all())
