"""The split gradient against automatic differentiation of the whole."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.envs.hypergrid import HypergridSpec, hypergrid
from mfal.gflownet.gradient import RowWeights, evaluate_rows, policy_gradient
from mfal.gflownet.policy import PolicyConfig, make_policy
from mfal.gflownet.rollout import draw_noise, rollout
from mfal.gflownet.trajectories import Exploration, Plan, aligned
from tests.gflownet.toys import hybrid


@pytest.mark.parametrize(
    ("make", "backward", "dtype"),
    [
        (lambda: hypergrid(HypergridSpec(3, 4)), "learned", "float32"),
        (hybrid, "uniform", "float32"),
        pytest.param(hybrid, "learned", "float32", marks=pytest.mark.slow),
        (hybrid, "learned", "bfloat16"),
    ],
)
def test_equals_automatic_differentiation(make, backward, dtype):
    env = make()
    config = PolicyConfig(hidden=(16, 24, 8), components=3, backward=backward, dtype=dtype)
    policy = make_policy(env, config, flow=True)
    params = _rough_params(env, policy)
    noise = draw_noise(jax.random.key(2), env, 33)
    drawn = jax.jit(lambda p: rollout(env, policy, p, noise, exploration=Exploration(0.2)))(params)
    keys = jax.random.split(jax.random.key(3), 3)
    weights = RowWeights(*(jax.random.normal(key, drawn.acting.shape) for key in keys))
    masked = RowWeights(
        weights.log_pf * drawn.acting,
        weights.log_pb * drawn.visited,
        weights.log_flow * (drawn.evaluated if backward == "learned" else drawn.acting),
    )

    def whole(params):
        log_pf, log_pb, log_flow = evaluate_rows(policy, params, drawn.rows)
        return sum(jnp.sum(w * x) for w, x in zip(masked, (log_pf, log_pb, log_flow), strict=True))

    expected = jax.jit(jax.grad(whole))(params)
    found = jax.jit(lambda p: policy_gradient(policy, p, drawn, weights))(params)
    # In bfloat16 the two round at different places.
    tolerance = 2e-5 if dtype == "float32" else 0.05
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance * float(jnp.abs(b).max() + 1e-3))


@pytest.mark.slow
def test_the_rollout_tells_the_log_probabilities_of_the_policy():
    env = hybrid()
    policy = make_policy(env, PolicyConfig(hidden=(16, 16), backward="learned"), flow=True)
    params = _rough_params(env, policy)
    noise = draw_noise(jax.random.key(0), env, 20, dither=True)
    explore = Exploration(0.3, 2.0, 1.0)
    drawn = rollout(env, policy, params, noise, exploration=explore)
    log_pf, log_pb, log_flow = evaluate_rows(policy, params, drawn.rows)
    # The toy's Jacobian is constant: see toys.py.
    from tests.gflownet.toys import LOG_JACOBIAN, VALUE_INDEX

    carries = drawn.rows.index == VALUE_INDEX
    expected = jnp.where(drawn.acting, log_pf - LOG_JACOBIAN * carries, 0.0)
    np.testing.assert_allclose(drawn.log_pf, expected, atol=1e-5)
    led = drawn.evaluated & (jnp.arange(drawn.visited.shape[0])[:, None] > 0)
    np.testing.assert_allclose(drawn.log_pb, jnp.where(led, log_pb, 0.0), atol=1e-5)
    np.testing.assert_allclose(
        drawn.log_flow, jnp.where(led | drawn.acting, log_flow, 0.0), atol=1e-5
    )
    # Only on ends is the network not run: they have one parent here.
    assert (drawn.evaluated == drawn.acting).all()
    assert (drawn.visited.sum(0) == drawn.length + 1).all()


@pytest.mark.slow
def test_ends_with_several_parents_are_rows_of_the_learned_backward_policy():
    grid, policy, params = _grid_without_stop()
    drawn = rollout(grid, policy, params, draw_noise(jax.random.key(0), grid, 50))
    _, log_pb, _ = evaluate_rows(policy, params, drawn.rows)
    several = jnp.sum(jax.vmap(grid.parent_mask)(drawn.final), axis=-1) > 1
    assert 0 < several.sum() < 50
    at_end = (drawn.visited & ~drawn.acting)[3]
    assert at_end.all()
    np.testing.assert_array_equal(drawn.evaluated[3], several)
    np.testing.assert_allclose(drawn.log_pb[3], jnp.where(several, log_pb[3], 0.0), atol=1e-5)
    assert (drawn.log_pb[3] < 0)[several].all()


@pytest.mark.parametrize(
    ("make", "backward"),
    [
        (lambda: hypergrid(HypergridSpec(3, 4)), "learned"),
        pytest.param(hybrid, "uniform", marks=pytest.mark.slow),
    ],
)
def test_a_batch_that_narrows_is_the_same_batch(make, backward):
    env = make()
    config = PolicyConfig(hidden=(16, 24), backward=backward)
    policy = make_policy(env, config, flow=True)
    params = _rough_params(env, policy)
    noise = draw_noise(jax.random.key(2), env, 48, dither=True)
    index = jnp.full((env.max_steps, 48), env.num_actions - 1, jnp.int32)
    follow = (jnp.arange(48) % 5 == 0) & (backward == "learned")
    plan = Plan(follow, index, jnp.zeros(index.shape))

    @partial(jax.jit, static_argnums=0)
    def learn(widths):
        drawn = rollout(
            env,
            policy,
            params,
            noise,
            exploration=Exploration(0.3, 2.0, 1.0),
            plan=plan,
            widths=widths,
        )
        # Different for each row of each trajectory, so that none can stand for another.
        keys = jax.random.split(jax.random.key(3), 3)
        weights = RowWeights(*(jax.random.normal(key, drawn.acting.shape) for key in keys))
        return drawn, policy_gradient(policy, params, drawn, weights)

    (whole, expected), (narrowed, found) = learn((48,)), learn((48, 30, 12))
    assert whole.column is None
    moved = narrowed.column != jnp.arange(48)
    assert (moved & narrowed.acting).any()
    for name in ("acting", "evaluated", "visited", "length"):
        np.testing.assert_array_equal(getattr(narrowed, name), getattr(whole, name))
    for name in ("log_pf", "log_pb", "log_flow"):
        np.testing.assert_allclose(getattr(narrowed, name), getattr(whole, name), atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, narrowed.final, whole.final)
    chosen = jnp.where(narrowed.acting, aligned(narrowed.rows.index, narrowed.column), 0)
    np.testing.assert_array_equal(chosen, jnp.where(whole.acting, whole.rows.index, 0))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.abs(b).max() + 1e-3))


def _grid_without_stop():
    """A grid whose trajectories end after three moves, at corners with up to three parents."""
    grid = hypergrid(HypergridSpec(3, 4))

    def ended(state):
        return jnp.sum(state.position) >= 3

    env = grid._replace(
        action_mask=lambda s: grid.action_mask(s).at[3].set(False) & ~ended(s),
        is_terminal=ended,
        max_steps=3,
        step=lambda s, a: jax.tree.map(
            lambda old, new: jnp.where(ended(s), old, new), s, grid.step(s, a)
        ),
    )
    policy = make_policy(env, PolicyConfig(hidden=(16, 24), backward="learned"), flow=True)
    return env, policy, _rough_params(env, policy)


def _rough_params(env, policy):
    """Parameters far from the smooth start, so that no gradient is small by accident."""
    init = jax.jit(lambda key: policy.init(key, env.features(env.initial_state()))["params"])
    params = init(jax.random.key(0))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    rough = [x + 0.3 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, rough)
