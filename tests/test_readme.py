"""What the README tells people to run, run."""

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from mfal.crystals.lattice import cell_volume
from mfal.data import load_embedded
from mfal.envs import Environment
from mfal.envs.laws import broken_laws
from mfal.gflownet import PolicyConfig, TrainConfig, make_trainer
from mfal.gflownet.exact import enumerate_states, exact_metrics
from mfal.proxies import make_dataset, make_own

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.S)
BRING_YOUR_OWN = README.split("## Bring your own")[1].split("\n## ")[0]


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


def blocks_to_bring() -> list[str]:
    return re.findall(r"```python\n(.*?)```", BRING_YOUR_OWN, flags=re.S)


def test_ten_lines_bring_an_oracle_data_a_proxy_and_an_environment() -> None:
    blocks = blocks_to_bring()
    assert re.findall(r"^\*\*(?:An? )?(\w+)\*\*", BRING_YOUR_OWN, flags=re.M) == [
        "oracle",
        "Data",
        "proxy",
        "environment",
    ]
    assert len(blocks) == 4
    for block in blocks:
        assert len([line for line in block.splitlines() if line.strip()]) <= 10, block
        assert ";" not in block
        assert "fmt:" not in block


def test_the_proxy_learns() -> None:
    """Å^3 per atom of known crystals, judged on those left out, beside their spread."""
    names: dict[str, Any] = {}
    exec(blocks_to_bring()[2], names)
    crystals = load_embedded().crystals()
    atoms = np.asarray(crystals.composition).sum(1)
    volume = np.asarray(jax.vmap(cell_volume)(crystals.lattice)) / atoms
    fidelity = np.arange(len(atoms)) % 3
    data = make_dataset(crystals, fidelity, volume)
    found = make_own(names["ridge"], 3).fit(data, jax.random.key(0)).reliability
    blind = norm.logpdf(volume, volume.mean(), volume.std()).mean()
    assert (np.asarray(found.score) > blind + 0.1).all()


def test_the_environment_keeps_the_laws_and_trains() -> None:
    names: dict[str, Any] = {}
    exec(blocks_to_bring()[3], names)
    env = names["env"]
    assert isinstance(env, Environment)
    assert broken_laws(env, jax.random.key(0)) == []

    def log_reward(liking: jax.Array, counts: jax.Array) -> jax.Array:
        return counts @ liking

    config = TrainConfig(batch_size=32, policy=PolicyConfig(hidden=(32, 32)))
    trainer, liking = make_trainer(env, log_reward, config), jnp.array([0.0, 0.5, 1.0])
    state, _ = trainer.run(trainer.init(jax.random.key(0)), liking, 300, bar=False)
    measure = exact_metrics(enumerate_states(env), trainer.policy, log_reward)
    found = measure(state.params["policy"], liking, trainer.log_z(state.params))
    assert found.total_variation < 0.1
