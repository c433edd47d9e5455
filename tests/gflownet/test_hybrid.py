"""Discrete and continuous actions together, against numerical integration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.gflownet.config import TrainConfig
from mfal.gflownet.estimates import correlation, log_prob
from mfal.gflownet.policy import PolicyConfig
from mfal.gflownet.train import make_trainer
from tests.gflownet.toys import ARMS, SCALE, ToyState, hybrid, log_reward, physical

GRID = (np.arange(400) + 0.5) / 400


def reward_mass(scale):
    """Mass of each arm, by the midpoint rule over physical numbers."""
    x = physical(jnp.array(GRID))
    bump = np.exp(scale * -((x - 4.0) ** 2) / 0.5).mean() * SCALE
    ridge = -((x[:, None] - x[None]) ** 2) / 0.8 - 0.3 * x[:, None]
    return np.array([bump, np.exp(scale * ridge).mean() * SCALE**2, 1.5**scale])


@pytest.fixture(scope="module")
def trained():
    env = hybrid()
    policy = PolicyConfig(hidden=(64, 64), components=5, backward="none")
    config = TrainConfig(batch_size=128, policy=policy, learning_rate=3e-3)
    trainer = make_trainer(env, log_reward, config)
    state, metrics = trainer.run(trainer.init(jax.random.key(0)), 1.0, 1500)
    return trainer, state, metrics


def test_log_z_and_arms_match_the_integral(trained):
    trainer, state, metrics = trained
    mass = reward_mass(1.0)
    assert np.mean(metrics.log_z[-100:]) == pytest.approx(np.log(mass.sum()), abs=0.05)
    samples = trainer.sample(state, 1.0, jax.random.key(1), 8192)
    share = np.bincount(np.asarray(samples.states.arm), minlength=ARMS) / 8192
    np.testing.assert_allclose(share, mass / mass.sum(), atol=0.03)
    weights = samples.log_reward - samples.log_pf
    estimate = jax.nn.logsumexp(weights) - np.log(8192)
    assert estimate == pytest.approx(np.log(mass.sum()), abs=0.03)


def test_log_p_is_the_density_over_physical_numbers(trained):
    trainer, state, _ = trained
    arm = jnp.zeros(400, jnp.int32)
    values = jnp.stack([jnp.array(GRID, jnp.float32), jnp.zeros(400)], axis=1)
    states = ToyState(arm, jnp.ones(400, jnp.int32), values, jnp.ones(400, bool))
    found = log_prob(trainer, 1)(state.params, states, jax.random.key(0))
    mass = reward_mass(1.0)
    # Sum over the grid of density times cell width is the probability of the arm.
    total = np.exp(np.asarray(found.value)).sum() * SCALE / 400
    assert total == pytest.approx(mass[0] / mass.sum(), abs=0.03)
    rewards = jax.vmap(log_reward, (None, 0))(1.0, states)
    likely = rewards > -4
    error = (found.value - rewards + np.log(mass.sum()))[likely]
    assert np.abs(error).mean() < 0.2
    assert correlation(found.value[likely], rewards[likely]) > 0.97
