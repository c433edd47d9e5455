"""The split gradient against automatic differentiation of the whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.envs.hypergrid import HypergridSpec, hypergrid
from mfal.gflownet.gradient import RowWeights, evaluate_rows, policy_gradient
from mfal.gflownet.policy import PolicyConfig, make_policy
from mfal.gflownet.rollout import Exploration, draw_noise, rollout
from tests.gflownet.toys import hybrid


@pytest.mark.parametrize(
    ("make", "backward", "dtype"),
    [
        (lambda: hypergrid(HypergridSpec(3, 4)), "learned", "float32"),
        (hybrid, "uniform", "float32"),
        (hybrid, "learned", "float32"),
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
        weights.log_flow * (drawn.visited if backward == "learned" else drawn.acting),
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
    led = drawn.visited & (jnp.arange(drawn.visited.shape[0])[:, None] > 0)
    np.testing.assert_allclose(drawn.log_pb, jnp.where(led, log_pb, 0.0), atol=1e-5)
    np.testing.assert_allclose(drawn.log_flow, jnp.where(drawn.visited, log_flow, 0.0), atol=1e-5)


def _rough_params(env, policy):
    """Parameters far from the smooth start, so that no gradient is small by accident."""
    params = policy.init(jax.random.key(0), env.features(env.initial_state()))["params"]
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    rough = [x + 0.3 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, rough)
