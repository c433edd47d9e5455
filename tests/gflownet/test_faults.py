"""What would train wrongly in silence is refused in words, or learned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.envs.hypergrid import HypergridReward, HypergridSpec, hypergrid, hypergrid_log_reward
from mfal.errors import MfalError
from mfal.gflownet import PolicyConfig, TemperatureConfig, TrainConfig, make_trainer
from mfal.gflownet.exact import enumerate_states, exact_metrics

SPEC = HypergridSpec(dimensions=2, side=4)
ENV, REWARD, PARAMS = hypergrid(SPEC), hypergrid_log_reward(SPEC), HypergridReward()
SMALL = PolicyConfig(hidden=(16,))
CONFIG = TrainConfig(batch_size=16, policy=SMALL, steps_per_dispatch=10)


def run(env, reward, params=PARAMS, config=CONFIG, steps=10):
    trainer = make_trainer(env, reward, config)
    return trainer, *trainer.run(trainer.init(jax.random.key(0)), params, steps, bar=False)


def one_number_too_many(params, state):
    return REWARD(params, state)[None]


def test_a_reward_of_another_shape_is_refused():
    with pytest.raises(MfalError, match=r"log-reward of float32\[1\]"):
        make_trainer(ENV, one_number_too_many, CONFIG, reward_params=PARAMS)
    with pytest.raises(MfalError, match=r"log-reward of float32\[1\]"):
        run(ENV, one_number_too_many)
    with pytest.raises(MfalError, match="complex64"):
        run(ENV, lambda p, s: REWARD(p, s) + 0j)


def table_reward(table, state):
    return table[state.position[0], state.position[1]]


TABLE = jnp.where(jnp.asarray(np.random.default_rng(0).normal(size=(4, 4))) > 0, 0.0, -jnp.inf)


def test_zero_rewards_are_refused_by_default():
    with pytest.raises(MfalError, match=r"training step 1: \d+ of 16 .* reward is zero"):
        run(ENV, table_reward, TABLE)


@pytest.mark.parametrize(
    "loss", ["tb", "db", *(pytest.param(x, marks=pytest.mark.slow) for x in ("subtb", "vargrad"))]
)
def test_zero_rewards_are_learned_where_asked_for(loss):
    config = TrainConfig(
        batch_size=32,
        loss=loss,
        policy=PolicyConfig(hidden=(32, 32)),
        learning_rate=5e-3,
        zero_reward_gap=12.0,
    )
    trainer, state, metrics = run(ENV, table_reward, TABLE, config, steps=800)
    measure = exact_metrics(enumerate_states(ENV), trainer.policy, table_reward)
    exact = measure(state.params["policy"], TABLE, metrics.log_z[-1])
    assert exact.total_variation < 0.05
    assert abs(exact.log_z_error) < 0.1
    samples = trainer.sample(state, TABLE, jax.random.key(1), 2048)
    assert jnp.mean(jnp.isneginf(samples.log_reward)) < 0.01
    assert (metrics.dropped == 0).all()


def test_an_environment_that_breaks_its_laws_is_refused():
    def closed(state):
        return ENV.action_mask(state) & (jnp.sum(state.position) < 3)

    with pytest.raises(MfalError, match="no legal action before a terminal state"):
        run(ENV._replace(action_mask=closed), REWARD)
    with pytest.raises(MfalError, match="max_steps = 2"):
        run(ENV._replace(max_steps=2), REWARD)


@pytest.mark.slow
def test_numbers_that_float32_cannot_hold_are_reported():
    with pytest.raises(MfalError, match="none of 16 rewards is a number"):
        run(ENV, lambda p, s: jnp.nan * REWARD(p, s))
    with pytest.raises(MfalError, match="further apart than float32"):
        run(ENV, lambda p, s: 1e9 * REWARD(p, s))
    trainer = make_trainer(ENV, REWARD, CONFIG)
    state = trainer.init(jax.random.key(0))
    broken = jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan), state.params)
    with pytest.raises(MfalError, match=r"training step 1: loss nan with a gradient of norm"):
        trainer.run(state._replace(params=broken), PARAMS, 5, bar=False)


def test_a_reward_that_is_no_number_now_and_then_is_left_out():
    def sometimes(params, state):
        return jnp.where(state.position[0] == 3, jnp.nan, REWARD(params, state))

    _, _, metrics = run(ENV, sometimes)
    assert 0 < metrics.dropped.sum() < 160
    assert jnp.isfinite(metrics.loss).all()


def test_log_z_that_is_not_learned_and_missing_conditions_are_clear_errors():
    config = TrainConfig(batch_size=8, policy=SMALL, loss="vargrad")
    trainer = make_trainer(ENV, REWARD, config)
    with pytest.raises(MfalError, match="learns no log Z"):
        trainer.log_z(trainer.init(jax.random.key(0)).params)
    config = TrainConfig(batch_size=8, policy=SMALL, temperature=TemperatureConfig())
    trainer = make_trainer(ENV, REWARD, config)
    params = trainer.init(jax.random.key(0)).params
    measure = exact_metrics(enumerate_states(ENV), trainer.policy, REWARD)
    with pytest.raises(MfalError, match="0 conditions for a policy that is told 1"):
        measure(params["policy"], PARAMS, 0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"micro_batches": 3},
        {"micro_batches": 2, "loss": "vargrad"},
        {"zero_reward_gap": 0.0},
    ],
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(MfalError):
        TrainConfig(**{"batch_size": 16, **wrong})
