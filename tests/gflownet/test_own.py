"""Loss, network, optimiser and conditions of one's own, and the loop of one's own."""

from functools import cache

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mfal.envs.hypergrid import HypergridReward, HypergridSpec, hypergrid, hypergrid_log_reward
from mfal.errors import MfalError
from mfal.gflownet import (
    Conditions,
    Loss,
    Network,
    Outputs,
    PolicyConfig,
    TrainConfig,
    make_trainer,
)
from mfal.gflownet.exact import enumerate_states, exact_metrics
from mfal.gflownet.gradient import autodiff_gradient, loss_and_weights, policy_gradient
from mfal.gflownet.losses import Balance, make_loss
from mfal.gflownet.policy import make_policy
from mfal.gflownet.rollout import draw_noise, rollout
from tests.gflownet.toys import hybrid
from tests.gflownet.toys import log_reward as hybrid_reward

SPEC = HypergridSpec(dimensions=2, side=4)
ENV, REWARD, PARAMS = hypergrid(SPEC), hypergrid_log_reward(SPEC), HypergridReward()
graph = cache(lambda: enumerate_states(ENV))
SMALL = PolicyConfig(hidden=(16, 16))
NETWORK = nn.Sequential([nn.Dense(32), nn.tanh, nn.Dense(ENV.num_actions)])


def distance(trainer, state, log_z=0.0, **kwargs):
    measure = exact_metrics(graph(), trainer.policy, REWARD)
    return float(measure(state.params["policy"], PARAMS, log_z, **kwargs).total_variation)


def test_own_network_and_optimiser_reach_the_exact_distribution():
    optimiser = optax.adamw(optax.cosine_decay_schedule(1e-2, 600), weight_decay=1e-5)
    trainer = make_trainer(
        ENV,
        REWARD,
        TrainConfig(batch_size=32),
        network=NETWORK,
        optimiser=optimiser,
        reward_params=PARAMS,
    )
    state, _ = trainer.run(trainer.init(jax.random.key(0)), PARAMS, 600, bar=False)
    assert distance(trainer, state) < 0.03


def own_balance(b: Balance) -> jax.Array:
    return (b.log_z + b.log_pf.sum(0) - b.log_pb.sum(0) - b.log_reward) ** 2


@pytest.mark.slow
def test_a_loss_of_ones_own_is_the_named_one_where_it_says_the_same():
    config = TrainConfig(batch_size=16, policy=SMALL, log_z_from_batch=False, steps_per_dispatch=20)
    ends = []
    for loss in (None, own_balance, Loss(own_balance, name="mine")):
        trainer = make_trainer(ENV, REWARD, config, loss=loss)
        state, _ = trainer.run(trainer.init(jax.random.key(0)), PARAMS, 20, bar=False)
        ends.append(state.params)
    jax.tree.map(lambda *x: np.testing.assert_allclose(x[0], x[1], atol=1e-5), *ends[:2])
    jax.tree.map(np.testing.assert_array_equal, *ends[1:])


def test_a_loss_may_read_the_final_states():
    def only_stopped_low(b: Balance) -> jax.Array:
        low = jnp.sum(b.final.position, axis=-1) <= 2
        return jnp.where(low, own_balance(b), 0.0)

    trainer = make_trainer(ENV, REWARD, TrainConfig(batch_size=8, policy=SMALL), loss=own_balance)
    other = make_trainer(ENV, REWARD, trainer.config, loss=only_stopped_low)
    losses = [
        float(t.run(t.init(jax.random.key(0)), PARAMS, 1, bar=False)[1].loss[0])
        for t in (trainer, other)
    ]
    assert 0 < losses[1] < losses[0]


def balance_of(drawn, rewards, log_z) -> Balance:
    return Balance(drawn.log_pf, drawn.log_pb, drawn.log_flow, log_z, rewards, None, drawn.length)


@pytest.mark.parametrize(
    ("env", "loss"),
    [
        pytest.param(ENV, "db", id="hypergrid db"),
        pytest.param(hybrid(), "tb", id="hybrid tb", marks=pytest.mark.slow),
    ],
)
def test_three_ways_to_one_gradient(env, loss):
    """By hand, by automatic differentiation of rows, and in reverse through the scanned rollout."""
    config = PolicyConfig(hidden=(12, 8), components=3, backward="learned")
    policy = make_policy(env, config, flow=True)
    params = policy.init(jax.random.key(0), env.features(env.initial_state()))["params"]
    noise, own = draw_noise(jax.random.key(2), env, 16), make_loss(loss)
    log_z = jnp.full((16,), 1.5)

    def rewards(drawn):
        if env is ENV:
            return jax.vmap(REWARD, (None, 0))(PARAMS, drawn.final)
        return jax.vmap(hybrid_reward, (None, 0))(jnp.float32(1), drawn.final)

    @jax.jit
    def split(params):
        found = []
        for keep, gradient in (("all", policy_gradient), ("inputs", autodiff_gradient)):
            drawn = rollout(env, policy, params, noise, keep=keep)
            balance = balance_of(drawn, rewards(drawn), log_z)
            _, weights, _ = loss_and_weights(own.per_trajectory, balance, 16)
            found.append(gradient(policy, params, drawn, weights))
        return found

    @jax.jit
    @jax.grad
    def reverse(params):
        drawn = rollout(env, policy, params, noise, scan=True)
        balance = balance_of(drawn, jax.lax.stop_gradient(rewards(drawn)), log_z)
        return own.per_trajectory(balance).mean()

    by_hand, by_rows = split(params)
    whole = reverse(params)
    assert any(float(jnp.abs(leaf).max()) > 1e-3 for leaf in jax.tree.leaves(whole))
    for found in (by_hand, by_rows):
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(whole), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.abs(b).max() + 1e-3))


def test_parts_of_a_batch_and_rematerialisation_change_nothing():
    def train(**options):
        config = TrainConfig(
            batch_size=24, policy=SMALL, loss="db", log_z_from_batch=False, **options
        )
        trainer = make_trainer(ENV, REWARD, config)
        return trainer.run(trainer.init(jax.random.key(0)), PARAMS, 10, bar=False)[0].params

    whole, parts = train(), train(micro_batches=3, rematerialise=True)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), whole, parts)


@pytest.mark.slow
def test_seeds_under_jit_and_vmap_and_samples_in_chunks():
    trainer = make_trainer(ENV, REWARD, TrainConfig(batch_size=8, policy=SMALL))

    @jax.jit
    @jax.vmap
    def seeds(key):
        return trainer.run(trainer.init(key), PARAMS, 5, bar=False)

    keys = jax.random.split(jax.random.key(0), 3)
    states, metrics = seeds(keys)
    alone, _ = trainer.run(trainer.init(keys[1]), PARAMS, 5, bar=False)
    assert metrics.loss.shape == (3, 5)
    second = jax.tree.map(lambda leaf: leaf[1], states.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), second, alone.params)
    samples = trainer.sample(alone, PARAMS, jax.random.key(1), 50, chunk=16)
    assert samples.log_reward.shape == (50,)
    expected = jax.vmap(REWARD, (None, 0))(PARAMS, samples.states)
    np.testing.assert_allclose(samples.log_reward, expected, atol=1e-6)
    assert len(np.unique(np.asarray(samples.log_pf))) > 10


@pytest.mark.slow
def test_one_policy_for_a_family_of_rewards_of_ones_own():
    def tilted(params, state, condition):
        return condition[0] * jnp.sum(state.position.astype(jnp.float32))

    conditions = Conditions(lambda key: jax.random.uniform(key, (1,), jnp.float32, -1.0, 1.0))
    config = TrainConfig(batch_size=64, policy=PolicyConfig(hidden=(32, 32)), learning_rate=5e-3)
    trainer = make_trainer(ENV, tilted, config, conditions=conditions)
    state, _ = trainer.run(trainer.init(jax.random.key(0)), (), 800, bar=False)
    for value in (-0.8, 0.6):
        condition = jnp.array([value])
        measure = exact_metrics(graph(), trainer.policy, lambda p, s, c=condition: tilted(p, s, c))
        log_z = trainer.log_z(state.params, condition=condition)
        found = measure(state.params["policy"], (), log_z, condition)
        assert found.total_variation < 0.08
        assert abs(found.log_z_error) < 0.15
    samples = trainer.sample(state, (), jax.random.key(1), 8, condition=[-0.8])
    assert (samples.log_reward <= 0).all()
    with pytest.raises(MfalError, match="condition None"):
        trainer.sample(state, (), jax.random.key(1), 8)
    with pytest.raises(MfalError, match="0 conditions for a policy that is told 1"):
        measure(state.params["policy"], (), 0.0)


@pytest.mark.parametrize(
    ("network", "config", "words"),
    [
        (lambda x: x, {}, "type function"),
        (nn.Dense(2), {}, r"shape \[2\] for logits, where \[3\]"),
        (nn.Dense(3), {"loss": "db"}, "nothing for log_flow"),
        (nn.Dense(3), {"policy": PolicyConfig(backward="learned")}, "nothing for backward"),
        (Network(lambda k, x: (), lambda p, x: Outputs(x[:3], log_flow=x[:1])), {}, "log_flow"),
    ],
)
def test_networks_that_give_something_else_are_refused(network, config, words):
    with pytest.raises(MfalError, match=words):
        make_trainer(ENV, REWARD, TrainConfig(**config), network=network)


def test_an_equal_trainer_traces_nothing():
    traced = []

    def reward(params, state):
        traced.append(state)
        return REWARD(params, state)

    config = TrainConfig(batch_size=8, policy=PolicyConfig(hidden=[8]), steps_per_dispatch=5)
    for count in range(2):
        trainer = make_trainer(hypergrid(SPEC), reward, config)
        state, _ = trainer.run(trainer.init(jax.random.key(count)), PARAMS, 5, bar=False)
        trainer.sample(state, PARAMS, jax.random.key(1), 4)
        trainer.sample(state, PARAMS, jax.random.key(1), 4, beta=1.0)
        trainer.sample(state, PARAMS, jax.random.key(1), 4, beta=jnp.float32(1.0))
        seen = len(traced)
        if count == 0:
            first = seen
    assert seen == first > 0
