from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.envs.hypergrid import HypergridReward, HypergridSpec, hypergrid, hypergrid_log_reward
from mfal.errors import MfalError
from mfal.gflownet.exact import enumerate_states, exact_metrics
from mfal.gflownet.policy import PolicyConfig
from mfal.gflownet.replay import ReplayConfig
from mfal.gflownet.temperature import TemperatureConfig
from mfal.gflownet.train import TrainConfig, make_trainer

SPEC = HypergridSpec(dimensions=2, side=6)
ENV, REWARD = hypergrid(SPEC), hypergrid_log_reward(SPEC)
graph = cache(lambda: enumerate_states(ENV))
SMALL = PolicyConfig(hidden=(32, 32))


def train(config: TrainConfig, steps: int = 1000, seed: int = 0):
    trainer = make_trainer(ENV, REWARD, config)
    state, metrics = trainer.run(trainer.init(jax.random.key(seed)), HypergridReward(), steps)
    measure = exact_metrics(graph(), trainer.policy, REWARD)
    return trainer, state, metrics, measure


@pytest.mark.parametrize(
    ("loss", "backward"),
    [
        ("tb", "uniform"),
        ("tb", "learned"),
        ("vargrad", "uniform"),
        ("db", "learned"),
        ("subtb", "uniform"),
        ("subtb", "learned"),
        ("tb bfloat16", "learned"),
    ],
)
def test_training_reaches_the_exact_distribution(loss, backward):
    loss, dtype = (*loss.split(), "float32")[:2]
    policy = PolicyConfig(hidden=(32, 32), backward=backward, dtype=dtype)
    config = TrainConfig(batch_size=32, loss=loss, policy=policy, learning_rate=3e-3)
    _, state, metrics, measure = train(config)
    exact = measure(state.params["policy"], HypergridReward(), metrics.log_z[-1])
    assert exact.total_variation < 0.02
    assert exact.jensen_shannon < 1e-3
    assert abs(exact.log_z_error) < 0.03


@pytest.mark.parametrize("loss", ["db", "subtb"])
def test_forward_looking_training_reaches_the_exact_distribution(loss):
    config = TrainConfig(batch_size=32, loss=loss, policy=SMALL, learning_rate=3e-3)
    trainer = make_trainer(ENV, REWARD, config, intermediate=REWARD)
    state, metrics = trainer.run(trainer.init(jax.random.key(0)), HypergridReward(), 1000)
    measure = exact_metrics(graph(), trainer.policy, REWARD)
    exact = measure(state.params["policy"], HypergridReward(), metrics.log_z[-1])
    assert exact.total_variation < 0.02
    assert abs(exact.log_z_error) < 0.03
    with pytest.raises(MfalError, match="forward-looking"):
        make_trainer(ENV, REWARD, TrainConfig(loss="tb"), intermediate=REWARD)


def test_new_reward_parameters_do_not_recompile():
    trainer, state, _, _ = train(TrainConfig(batch_size=8, policy=SMALL), steps=60)
    with jax.log_compiles(), pytest.raises(AssertionError):
        # log_compiles only proves itself on something new.
        _assert_no_compilation(lambda: jax.jit(lambda x: x * 7.25)(jnp.ones(3)))
    _assert_no_compilation(
        lambda: trainer.run(state, HypergridReward(jnp.float32(0.1), 0.2, 0.3), 60)
    )


def _assert_no_compilation(run):
    import logging

    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger = logging.getLogger("jax._src.interpreters.pxla")
    logger.addHandler(handler)
    try:
        with jax.log_compiles():
            run()
    finally:
        logger.removeHandler(handler)
    compiled = [r.getMessage() for r in records if "Compiling" in r.getMessage()]
    assert not [text for text in compiled if "dispatch" in text or "lambda" in text], compiled


@pytest.mark.slow
def test_samples_follow_the_trained_policy():
    trainer, state, _, _ = train(TrainConfig(batch_size=32, policy=SMALL))
    samples = trainer.sample(state, HypergridReward(), jax.random.key(1), 8192)
    counts = np.zeros((6, 6))
    np.add.at(counts, tuple(np.asarray(samples.states.position).T), 1 / 8192)
    corners = np.stack(np.meshgrid(range(6), range(6), indexing="ij"), -1).reshape(-1, 2)
    states = jax.vmap(lambda p: ENV.initial_state()._replace(position=p))(jnp.array(corners))
    target = np.exp(jax.vmap(REWARD, (None, 0))(HypergridReward(), states)).reshape(6, 6)
    assert 0.5 * np.abs(counts - target / target.sum()).sum() < 0.04
    # Importance weights of a trained policy average to Z.
    log_weight = samples.log_reward + samples.log_pb - samples.log_pf
    estimate = jax.nn.logsumexp(log_weight) - np.log(8192)
    assert estimate == pytest.approx(np.log(target.sum()), abs=0.02)


def test_same_seed_gives_the_same_bits():
    config = TrainConfig(batch_size=16, policy=SMALL, replay=ReplayConfig(capacity=64))
    first = train(config, steps=70)[1]
    second = train(config, steps=70)[1]
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(_bits(a), _bits(b)), first, second)


def test_dispatch_length_does_not_matter():
    states = []
    for length in (7, 50):
        config = TrainConfig(batch_size=8, policy=SMALL, steps_per_dispatch=length)
        _, state, metrics, _ = train(config, steps=30)
        assert metrics.loss.shape == (30,)
        states.append(state)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(_bits(a), _bits(b)), *states)


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": "tbb"},
        {"batch_size": 0},
        {"data_share": 1.5},
        {"data_share": 0.9, "replay": ReplayConfig(share=0.5)},
        {"loss": "vargrad", "temperature": TemperatureConfig()},
    ],
)
def test_wrong_options_are_refused_in_one_line(wrong):
    with pytest.raises(MfalError) as caught:
        make_trainer(ENV, REWARD, TrainConfig(**wrong))
    assert "\n" not in str(caught.value)


def _bits(leaf):
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)
