"""What is compiled lowers for CPU, CUDA and TPU, calls no host, and strays into no float64."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from mfal.acquisition import Question, Terms, improvement_rate, log_expected_improvement
from mfal.acquisition.feasibility import fit_logistic
from mfal.data import load_embedded
from mfal.envs import (
    CrystalSpec,
    HypergridReward,
    HypergridSpec,
    crystal_environment,
    hypergrid,
    hypergrid_log_reward,
    to_crystal,
    with_fidelity,
)
from mfal.envs.laws import random_rollout
from mfal.gflownet import PolicyConfig, ReplayConfig, TrainConfig, log_prob, make_trainer
from mfal.oracles.bond_valence.framework import framework_of
from mfal.oracles.bond_valence.site_energy import pair_sums, site_energies
from mfal.potentials import nve, relax_crystals, run_dynamics, start_dynamics
from mfal.potentials.dynamics import advance
from mfal.potentials.integrators import IntegratorSettings
from mfal.proxies import EnsembleConfig, GPConfig, make_dataset, make_ensemble
from mfal.proxies import make_gaussian_process as make_process
from mfal.proxies.coupling import couple
from tests.potentials.analytic import argon, lennard_jones

PLATFORMS = ("cpu", "cuda", "tpu")
SPEC = CrystalSpec(elements=("Li", "O"), max_atoms=6)


def lowered(function, *arguments) -> str:
    """The program for all three platforms as text; keys go in as the numbers they are."""
    return str(export.export(jax.jit(function), platforms=PLATFORMS)(*arguments).mlir_module())


def assert_portable(function, *arguments) -> None:
    text = lowered(function, *arguments)
    assert not re.search(r"callback|outfeed|infeed", text)
    assert not re.search(r"tensor<(\w+x)*f64>", text)


def key_data(number: int = 0) -> jax.Array:
    return jax.random.key_data(jax.random.key(number))


@functools.cache
def crystals():
    return jax.tree.map(lambda leaf: leaf[:24], load_embedded().crystals())


@functools.cache
def data():
    rng = np.random.default_rng(0)
    return make_dataset(crystals(), rng.integers(0, 2, 24), rng.normal(size=24))


def test_environment():
    env = with_fidelity(crystal_environment(SPEC), 2)

    def walk(key):
        states = random_rollout(env, jax.random.wrap_key_data(key), 4).states
        last = jax.tree.map(lambda leaf: leaf[-1], states)
        made = jax.vmap(lambda state: to_crystal(SPEC, state.inner))(last)
        undone = jax.vmap(env.parent_mask)(last)
        return made, undone, jax.vmap(env.features)(last)

    assert_portable(walk, key_data())


@pytest.mark.parametrize("loss", ["tb", "subtb"])
def test_trainer(loss):
    spec = HypergridSpec(2, 3)
    config = TrainConfig(
        batch_size=8,
        loss=loss,
        policy=PolicyConfig(hidden=(8,), backward="learned"),
        replay=ReplayConfig(capacity=16),
    )
    trainer = make_trainer(hypergrid(spec), hypergrid_log_reward(spec), config)

    def whole(key):
        keys = jax.random.split(jax.random.wrap_key_data(key), 3)
        state, metrics = trainer.run(trainer.init(keys[0]), HypergridReward(), 5, bar=False)
        samples = trainer.sample(state, HypergridReward(), keys[1], 4)
        found = log_prob(trainer, 2)(state.params, samples.states, keys[2])
        return metrics, samples, found

    assert_portable(whole, key_data())


def test_trainer_on_crystals():
    env = with_fidelity(crystal_environment(SPEC), 2)

    def reward(scale, state):
        return scale * to_crystal(SPEC, state.inner).composition[2]

    config = TrainConfig(batch_size=8, policy=PolicyConfig(hidden=(8,)))
    trainer = make_trainer(env, reward, config)

    def whole(key):
        keys = jax.random.split(jax.random.wrap_key_data(key))
        state, _ = trainer.run(trainer.init(keys[0]), jnp.float32(1), 2, bar=False)
        return trainer.sample(state, jnp.float32(1), keys[1], 4)

    assert_portable(whole, key_data())


def test_ensemble_and_what_asking_is_worth_by_it():
    model = make_ensemble(EnsembleConfig(num_fidelities=2, members=4, steps=3))

    def choose(key, data):
        keys = jax.random.split(jax.random.wrap_key_data(key), 2)
        state = model.fit(model.init(keys[0]), data, keys[1])
        costs = jnp.array([0.1, 1.0])
        terms = Terms(jnp.zeros(()), costs, costs, jnp.zeros(2, bool), jnp.ones(2, bool))

        def worth(crystal):
            belief = model.posterior(state, crystal)
            std = jnp.sqrt(jnp.diagonal(belief.covariance))
            shift = jnp.abs(belief.covariance[-1]) / std
            one = jnp.ones(())
            asked = Question(belief.mean[-1], std[-1], shift, one, one, jnp.zeros((), bool))
            return improvement_rate(terms, asked)

        return couple(state.held, data), jax.vmap(worth)(data.crystal)

    assert_portable(choose, key_data(), data())


def test_gaussian_process_fits_within_an_outer_jit():
    process = make_process(GPConfig(num_fidelities=2, steps=3))
    text = lowered(lambda data: process.fit(data).log_density, data())
    assert "f64" in text
    assert not re.search(r"callback", text)


def test_acquisitions():
    mean, std = jnp.linspace(-1, 1, 8), jnp.full(8, 0.5)

    def several(mean, std):
        weights = fit_logistic(jnp.stack([mean, std], 1), (mean > 0) * 1.0, std > 0, jnp.ones(2))
        return log_expected_improvement(mean, std, 0.0), weights

    assert_portable(several, mean, std)


def test_bond_valence_kernel():
    points, rounds = jnp.zeros((3, 8, 16)), jnp.int32(1)
    assert_portable(
        pair_sums, points, jnp.ones((2, 4, 6, 8)), jnp.ones((2, 4, 5, 8)), rounds, rounds
    )


ARGON = lennard_jones(0.0103, 3.4, 8.0)
INTEGRATOR = nve(2.0)


def moving(seed=0):
    crystal = argon(2)
    masses, key = np.full(len(crystal[2]), 39.9), jax.random.key(seed)
    return start_dynamics(ARGON, [crystal], [masses], INTEGRATOR, key, temperature=40.0)


def test_dynamics():
    state = moving()
    settings = IntegratorSettings(*(jnp.full(1, x, jnp.float32) for x in INTEGRATOR.settings))
    program = functools.partial(advance, ARGON.energy, INTEGRATOR.methods)
    assert_portable(program, ARGON.params, settings, state, jnp.int32(5), jnp.int32(1))


@pytest.fixture
def traces():
    """What has been traced since, one entry a program."""
    found = []

    def listen(name, *_, **__):
        if name == "/jax/core/compile/jaxpr_trace_duration":
            found.append(name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    jax.monitoring.unregister_event_duration_listener(listen)


def train(seed, **options):
    spec = HypergridSpec(2, 3)
    config = TrainConfig(batch_size=4, policy=PolicyConfig(hidden=(8,)), steps_per_dispatch=2)
    trainer = make_trainer(hypergrid(spec), hypergrid_log_reward(spec), config)
    reward = HypergridReward()
    state, _ = trainer.run(trainer.init(jax.random.key(seed)), reward, 2, bar=False)
    trainer.sample(state, reward, jax.random.key(seed), 4, **options)


def fit(seed, **_):
    model = make_ensemble(EnsembleConfig(num_fidelities=2, members=2, steps=2))
    model.fit(model.init(jax.random.key(seed)), data(), jax.random.key(seed))


def move(seed, **_):
    run_dynamics(ARGON, INTEGRATOR, moving(seed), 2)


def relax(seed, **_):
    places, cell, species = argon(2)
    relax_crystals(ARGON, [(places + 0.01 * seed * np.sin(places), cell, species)])


def map_oxide(seed, **_):
    oxide = load_embedded().ids.index("mp-dielectric-4595")  # Li2O
    framework = framework_of(load_embedded().structure(oxide))
    site_energies(framework, np.full((4, 3), 0.1 * seed))


SLOW = [pytest.param(one, marks=pytest.mark.slow) for one in (fit, relax)]


@pytest.mark.parametrize("work", [train, move, map_oxide, *SLOW])
def test_a_second_call_with_equal_shapes_traces_nothing(work, traces):
    work(1)
    work(2)  # eager operations on the way are traced once, too
    before = len(traces)
    work(3, beta=1.0)
    assert len(traces) == before
