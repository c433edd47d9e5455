"""Random search: what it draws, and the density that it draws with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.campaign.config import SpaceConfig
from mfal.campaign.problem import make_spec
from mfal.envs.crystal import crystal_environment, to_crystal
from mfal.envs.random import log_density, pick_legal, random_rollout, sample_uniformly
from mfal.envs.types import Action

SPACE = SpaceConfig(
    elements=("Li", "O", "F"), max_elements=3, max_atoms=16, groups=(62, 166, 221, 225)
)


@pytest.fixture(scope="module")
def environment():
    made = crystal_environment(make_spec(SPACE))
    compiled = {name: jax.jit(getattr(made, name)) for name in ("action_mask", "step")}
    return made._replace(log_jacobian=jax.jit(made.log_jacobian), **compiled)


@pytest.fixture(scope="module")
def states(environment):
    return jax.jit(lambda key: sample_uniformly(environment, key, 256))(jax.random.key(0))


@pytest.fixture(scope="module")
def density(environment):
    return jax.jit(lambda state: log_density(environment, state))


@pytest.mark.parametrize("legal", [[0], [5], [0, 3, 4], [1, 2, 3, 5], [0, 1, 2, 3, 4, 5]])
def test_places_share_the_legal_actions_equally(legal):
    """A fine grid of places falls on each legal action alike, in order, and on no other."""
    mask = jnp.zeros(6, bool).at[jnp.array(legal)].set(True)
    places = (jnp.arange(6000, dtype=jnp.float32) + 0.5) / 6000
    picked = np.asarray(jax.vmap(pick_legal, (None, 0))(mask, places))
    assert np.bincount(picked, minlength=6)[legal].tolist() == [6000 // len(legal)] * len(legal)
    assert np.all(np.diff(picked) >= 0)


def test_the_last_place_and_no_legal_action():
    below_one = jnp.nextafter(jnp.float32(1), jnp.float32(0))
    for count in (1, 3, 49, 324):
        assert int(pick_legal(jnp.ones(count, bool), below_one)) == count - 1
    assert int(pick_legal(jnp.zeros(4, bool), jnp.float32(0.7))) == 0


def test_a_roll_out_ends_in_the_draws_of_the_same_key(environment, states):
    walk = jax.jit(lambda key: random_rollout(environment, key, 256))(jax.random.key(0))
    for path, end in zip(jax.tree.leaves(walk.states), jax.tree.leaves(states), strict=True):
        assert (np.asarray(path[-1]) == np.asarray(end)).all()
    assert walk.live.shape == walk.actions.index.shape == (environment.max_steps, 256)
    assert bool(walk.live[0].all())


def test_every_draw_ends_and_is_neutral(environment, states):
    assert bool(jnp.all(jax.vmap(environment.is_terminal)(states)))
    crystals = jax.vmap(lambda state: to_crystal(make_spec(SPACE), state))(states)
    counts = np.asarray(crystals.composition)
    charge = counts[:, 2] - 2 * counts[:, 7] - counts[:, 8]
    assert np.abs(charge).max() < 1e-3
    assert (counts[:, 2] > 0).all()
    assert len(set(np.asarray(crystals.space_group_number).tolist())) > 1


def test_density_is_the_product_along_the_trajectory(environment, density):
    """Forward, step by step, against the function, which walks back from the end."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        state, total = environment.initial_state(), 0.0
        while not bool(environment.is_terminal(state)):
            legal = np.flatnonzero(np.asarray(environment.action_mask(state)))
            action = Action(jnp.int32(rng.choice(legal)), jnp.float32(rng.uniform()))
            total -= np.log(len(legal)) + float(environment.log_jacobian(state, action))
            state = environment.step(state, action)
        assert float(density(state)) == pytest.approx(total, abs=1e-3)


def test_more_free_lattice_parameters_mean_a_thinner_density(states, density):
    """A cubic cell has one length to draw, an orthorhombic one three."""
    found = np.asarray(jax.vmap(density)(states))
    group = np.asarray(states.group) + 1
    assert found[group == 225].mean() > found[group == 62].mean() + 2.0
