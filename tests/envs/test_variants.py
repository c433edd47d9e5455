"""Environments are the same compiled or not, are traced once, and refuse a batch axis inside."""

import chex
import jax
import jax.numpy as jnp
import pytest

from mfal.envs import Action, HypergridSpec, hypergrid, with_fidelity
from mfal.gflownet import PolicyConfig, draw_noise, make_policy, rollout
from mfal.proxies.marginal import log_marginal

ENV = with_fidelity(hypergrid(HypergridSpec(dimensions=2, side=3)), 2)


class Steps(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True, with_device=True, without_device=True)
    def test_a_step_and_its_inverse(self):
        step, undo = self.variant(ENV.step), self.variant(ENV.undo)
        state = ENV.initial_state()
        for index in (0, 1, 2, 4):
            action = Action(jnp.int32(index), jnp.float32(0))
            after = step(state, action)
            chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
            chex.assert_trees_all_equal(undo(after, action), state)
            state = after
        assert bool(ENV.is_terminal(state))


def test_a_walk_is_traced_once_for_all_keys():
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def walk(state, index):
        return ENV.step(state, Action(index, jnp.float32(0)))

    state = ENV.initial_state()
    for index in (0, 1, 0, 2):
        state = walk(state, jnp.int32(index))


def test_a_batch_axis_inside_is_refused():
    many = Action(jnp.zeros((4,), jnp.int32), jnp.zeros((4,)))
    with pytest.raises(AssertionError):
        ENV.step(ENV.initial_state(), many)
    with pytest.raises(AssertionError):
        log_marginal(jnp.eye(3), jnp.zeros(4))
    policy = make_policy(ENV, PolicyConfig(hidden=(4,)))
    params = policy.init(jax.random.key(0), ENV.features(ENV.initial_state()))["params"]
    noise = draw_noise(jax.random.key(1), ENV, 4)
    short = noise._replace(uniform=noise.uniform[:-1])
    with pytest.raises(AssertionError):
        rollout(ENV, policy, params, short)
