"""What a page says takes ten lines takes ten lines, and does what it should."""

import re
from pathlib import Path
from typing import Any

import jax
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

DOCS = Path(__file__).parents[1] / "docs"


def first_block(page: str, section: str) -> str:
    """The first program of a section."""
    text = (DOCS / page).read_text(encoding="utf-8").split(f"\n## {section}\n")[1]
    found = re.search(r"```python\n(.*?)```", text.split("\n## ")[0], re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("page", "section"),
    [
        ("extend.md", "An oracle"),
        ("data.md", "Your own data"),
        ("extend.md", "A proxy"),
        ("extend.md", "An environment"),
    ],
)
def test_ten_lines_bring_an_oracle_data_a_proxy_and_an_environment(page: str, section: str) -> None:
    block = first_block(page, section)
    assert len([line for line in block.splitlines() if line.strip()]) <= 10, block
    assert ";" not in block
    assert "fmt:" not in block


def test_the_proxy_learns() -> None:
    """Å^3 per atom of known crystals, judged on those left out, beside their spread."""
    names: dict[str, Any] = {}
    exec(first_block("extend.md", "A proxy"), names)
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
    exec(first_block("extend.md", "An environment"), names)
    env = names["env"]
    assert isinstance(env, Environment)
    assert broken_laws(env, jax.random.key(0)) == []

    def log_reward(liking: jax.Array, counts: jax.Array) -> jax.Array:
        return counts @ liking

    config = TrainConfig(batch_size=32, policy=PolicyConfig(hidden=(32, 32)))
    trainer, liking = make_trainer(env, log_reward, config), jax.numpy.array([0.0, 0.5, 1.0])
    state, _ = trainer.run(trainer.init(jax.random.key(0)), liking, 300, bar=False)
    measure = exact_metrics(enumerate_states(env), trainer.policy, log_reward)
    found = measure(state.params["policy"], liking, trainer.log_z(state.params))
    assert found.total_variation < 0.1
