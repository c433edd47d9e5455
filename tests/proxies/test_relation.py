"""What is learnt from rows that members have not seen, where there are hardly any."""

import jax
import jax.numpy as jnp
import numpy as np

from mfal.proxies.dataset import make_dataset
from mfal.proxies.relation import Prediction, measure_reliability, posterior

MEASURE = jax.jit(measure_reliability)


def test_rows_that_every_member_saw_say_nothing_even_where_all_values_are_equal():
    """A fidelity that always answers the same is standardised to zeros."""
    crystal = np.arange(8, dtype=np.float32)[:, None]
    data = make_dataset(crystal, np.arange(8) % 2, np.where(np.arange(8) % 2, 1.0, 0.0), capacity=8)
    target = jnp.where(data.fidelity == 1, 0.5, 0.0)
    means = jnp.broadcast_to(jnp.array([-0.5, 0.0, 0.5])[:, None, None], (3, 8, 2))
    kept = jnp.ones((3, 8), bool)
    found = MEASURE(means, jnp.ones_like(means), kept, target, data, jnp.ones(2))
    assert all(np.isfinite(leaf).all() for leaf in found)
    np.testing.assert_array_equal(found.pairs, 0.0)
    np.testing.assert_allclose(jnp.diagonal(found.correlation), 1.0, rtol=1e-6)


def learnt(slope, seed, rows=60):
    """Reliability from surprises: the target's is `slope` times the cheap one's, and chance."""
    rng = np.random.default_rng(seed)
    cheap, chance = rng.normal(size=(2, rows))
    crystal = np.tile(np.arange(rows, dtype=np.float32), 2)[:, None]
    data = make_dataset(crystal, np.repeat([0, 1], rows), np.zeros(2 * rows), capacity=2 * rows)
    target = np.concatenate([cheap, slope * cheap + np.sqrt(1 - slope**2) * chance])
    # Members that know nothing, each of which has left out every row.
    means = jnp.asarray(0.1 * rng.normal(size=(8, 2 * rows, 2)))
    kept = jnp.zeros((8, 2 * rows), bool)
    return MEASURE(means, jnp.ones_like(means), kept, target, data, jnp.ones(2))


def test_correlation_of_the_fidelities_is_that_of_their_surprises_and_may_be_none_or_negative():
    for slope in (0.8, -0.8):
        found = [learnt(slope, seed).correlation[0, 1] for seed in range(5)]
        np.testing.assert_allclose(np.mean(found), slope, atol=0.12)
    useless = np.array([learnt(0.0, seed).correlation[0, 1] for seed in range(20)])
    # A plain sample correlation of 60 pairs would be zero in none of them.
    assert (np.abs(useless) < 1e-6).sum() >= 8
    assert np.mean(useless**2) < 1.5 / 60


def test_belief_carries_the_learnt_correlation():
    found = learnt(-0.8, 0)
    members = np.random.default_rng(1).normal(size=(8, 2)) * np.sqrt(found.variance)
    belief = posterior(Prediction(jnp.asarray(members), jnp.ones(2)), found)
    std = np.sqrt(np.diagonal(belief.covariance))
    np.testing.assert_allclose(std, members.std(0, ddof=1), rtol=1e-5)
    weak = min(1.0, std[0] / std[1] * np.sqrt(found.variance[1] / found.variance[0]))
    expected = weak * found.correlation[0, 1] * std[0] * std[1]
    np.testing.assert_allclose(belief.covariance[0, 1], expected, rtol=1e-4)
    assert belief.covariance[0, 1] < 0
    unrelated = found._replace(correlation=jnp.eye(2))
    assert posterior(Prediction(jnp.asarray(members), jnp.ones(2)), unrelated).covariance[0, 1] == 0
