import jax
import numpy as np
import pytest

from mfal.envs.hypergrid import HypergridReward, HypergridSpec, hypergrid, hypergrid_log_reward
from mfal.errors import MfalError
from mfal.gflownet.checkpoint import restore, save
from mfal.gflownet.config import TrainConfig
from mfal.gflownet.policy import PolicyConfig
from mfal.gflownet.replay import ReplayConfig
from mfal.gflownet.train import make_trainer

SPEC = HypergridSpec(dimensions=2, side=4)


def make(hidden=(16, 16)):
    config = TrainConfig(
        batch_size=8, policy=PolicyConfig(hidden=hidden), replay=ReplayConfig(capacity=32)
    )
    return make_trainer(hypergrid(SPEC), hypergrid_log_reward(SPEC), config)


def test_a_resumed_run_is_bit_identical_to_an_unbroken_one(tmp_path):
    trainer, reward = make(), HypergridReward()
    state, _ = trainer.run(trainer.init(jax.random.key(0)), reward, 30)
    save(tmp_path / "at30", state)
    with pytest.raises(MfalError, match="exists"):
        save(tmp_path / "at30", state)
    unbroken, metrics = trainer.run(state, reward, 30)
    restored = restore(tmp_path / "at30", trainer.init(jax.random.key(7)))
    resumed, again = trainer.run(restored, reward, 30)
    np.testing.assert_array_equal(metrics.loss, again.loss)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(_bits(a), _bits(b)), unbroken, resumed)
    with pytest.raises(MfalError, match="fit this trainer"):
        restore(tmp_path / "at30", make(hidden=(16, 8)).init(jax.random.key(0)))


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(MfalError, match="nowhere"):
        restore(tmp_path / "nowhere", make().init(jax.random.key(0)))
    with pytest.raises(MfalError, match="no readable checkpoint"):
        restore(tmp_path, make().init(jax.random.key(0)))


def _bits(leaf):
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)
