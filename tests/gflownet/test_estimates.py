from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.envs.hypergrid import HypergridReward, HypergridSpec, hypergrid, hypergrid_log_reward
from mfal.gflownet.config import TrainConfig
from mfal.gflownet.estimates import (
    correlation,
    evidence_bounds,
    log_prob,
    measure_diversity,
    measure_quality,
    top_k,
)
from mfal.gflownet.exact import compare, enumerate_states, exact_metrics, terminal_distribution
from mfal.gflownet.policy import PolicyConfig
from mfal.gflownet.temperature import TemperatureConfig
from mfal.gflownet.train import make_trainer

SPEC = HypergridSpec(dimensions=2, side=4)
ENV, REWARD = hypergrid(SPEC), hypergrid_log_reward(SPEC)


@cache
def enumerated():
    """The graph, the numbers of its terminal states, these states, and their log rewards."""
    graph = enumerate_states(ENV)
    terminal = np.flatnonzero(np.asarray(graph.terminal))
    states = jax.tree.map(lambda leaf: leaf[terminal], graph.states)
    return graph, terminal, states, jax.vmap(REWARD, (None, 0))(HypergridReward(), states)


@pytest.fixture(scope="module")
def untrained():
    config = TrainConfig(batch_size=16, policy=PolicyConfig(hidden=(16,), backward="learned"))
    trainer = make_trainer(ENV, REWARD, config)
    state = trainer.init(jax.random.key(0))
    rough = jax.tree.map(lambda x: 2.5 * x, state.params["policy"])
    return trainer, state._replace(params={**state.params, "policy": rough})


def test_enumeration_finds_every_state_once():
    graph, terminal, states, _ = enumerated()
    assert len(terminal) == 16
    assert graph.terminal.shape == (32,)
    corners = {tuple(p) for p in np.asarray(states.position)}
    assert len(corners) == 16


def test_dynamic_programming_equals_sampling(untrained):
    trainer, state = untrained
    graph, terminal, states, _ = enumerated()
    exact = np.asarray(terminal_distribution(graph, trainer.policy, state.params["policy"]))
    assert exact.sum() == pytest.approx(1, abs=1e-5)
    drawn = trainer.sample(state, HypergridReward(), jax.random.key(3), 20_000)
    counts = np.zeros((4, 4))
    np.add.at(counts, tuple(np.asarray(drawn.states.position).T), 1 / 20_000)
    found = counts[tuple(np.asarray(states.position).T)]
    np.testing.assert_allclose(found, exact[terminal], atol=0.015)


def test_importance_estimates_converge_on_the_exact_probability(untrained):
    trainer, state = untrained
    graph, terminal, states, _ = enumerated()
    exact = terminal_distribution(graph, trainer.policy, state.params["policy"])[terminal]
    found = log_prob(trainer, 400)(state.params, states, jax.random.key(1))
    np.testing.assert_allclose(found.value, np.log(exact), atol=0.2)
    assert (found.lower <= np.log(exact) + 0.05).all()
    assert (found.effective_size >= 1 - 1e-4).all()
    assert (found.effective_size <= 400.1).all()


@pytest.mark.slow
def test_evidence_bounds_enclose_log_z(untrained):
    trainer, state = untrained
    key_target, key_sample, key_back = jax.random.split(jax.random.key(2), 3)
    _, _, states, rewards = enumerated()
    place = jax.random.categorical(key_target, rewards, shape=(512,))
    held_out = jax.tree.map(lambda leaf: leaf[place], states)
    samples = trainer.sample(state, HypergridReward(), key_sample, 512)
    probability = log_prob(trainer, 4)(state.params, held_out, key_back)
    lower, upper = evidence_bounds(samples, probability, rewards[place])
    log_z = jax.nn.logsumexp(rewards)
    assert lower < log_z < upper
    measure = measure_quality(trainer, REWARD, num_samples=512, num_trajectories=4)
    quality = measure(state, HypergridReward(), held_out, key_sample)
    assert quality.log_z_lower < quality.log_z_estimate
    assert 0 < quality.effective_share < 1


def test_distances_between_known_distributions():
    rewards = jnp.log(jnp.array([1.0, 3.0, 0.0, 4.0]))
    same = compare(jnp.array([0.125, 0.375, 0.0, 0.5]), rewards, jnp.float32(np.log(8)))
    assert same.total_variation == pytest.approx(0, abs=1e-6)
    assert same.jensen_shannon == pytest.approx(0, abs=1e-6)
    assert same.log_z_error == pytest.approx(0, abs=1e-6)
    apart = compare(jnp.array([0.0, 0.0, 1.0, 0.0]), rewards, jnp.float32(0))
    assert apart.total_variation == pytest.approx(1, abs=1e-6)
    assert apart.jensen_shannon == pytest.approx(np.log(2), abs=1e-6)


def test_diversity_counts_modes_by_hand(untrained):
    trainer, state = untrained
    drawn = trainer.sample(state, HypergridReward(), jax.random.key(3), 64)
    best = top_k(drawn, 4)
    assert (np.diff(best.log_reward) <= 0).all()
    corners = jnp.array([[0, 0], [0, 1], [3, 3], [2, 0]])
    best = best._replace(
        states=best.states._replace(position=corners),
        log_reward=jnp.array([2.0, 1.5, 1.0, -3.0]),
    )

    def distance(a, b):
        return jnp.abs(a.position - b.position).sum().astype(jnp.float32)

    found = measure_diversity(best, distance, threshold=0.0, radius=1.0)
    assert int(found.modes) == 2  # (0, 1) is near (0, 0), (2, 0) is too poor
    assert found.distance == pytest.approx((1 + 6 + 2 + 5 + 3 + 4) / 6)
    assert found.mean_log_reward == pytest.approx(1.5 / 4)


def test_correlation_against_numpy():
    x, y = np.random.default_rng(0).normal(size=(2, 30))
    expected = np.corrcoef(x, x + y)[0, 1]
    assert correlation(jnp.array(x), jnp.array(x + y)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_one_policy_serves_all_temperatures():
    """Trained conditional on beta, it samples R^beta exactly for each beta within the range."""
    config = TrainConfig(
        batch_size=64,
        policy=PolicyConfig(hidden=(64, 64)),
        learning_rate=3e-3,
        temperature=TemperatureConfig(0.5, 2.0),
    )
    trainer = make_trainer(ENV, REWARD, config)
    state, _ = trainer.run(trainer.init(jax.random.key(0)), HypergridReward(), 2000)
    for beta in (0.5, 1.0, 2.0):
        measure = exact_metrics(
            enumerated()[0], trainer.policy, lambda p, s, b=beta: b * REWARD(p, s)
        )
        condition = jnp.log(jnp.array([beta])) / np.log(2)
        exact = measure(
            state.params["policy"],
            HypergridReward(),
            trainer.log_z(state.params, beta),
            condition,
        )
        assert exact.total_variation < 0.06
        assert abs(exact.log_z_error) < 0.1
