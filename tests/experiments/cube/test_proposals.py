"""Greedy improvement and climbing, against closed forms."""

import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.cube.joint import JointBelief
from experiments.benchmarks.cube.proposals import best_climbed, improving
from mfal.acquisition import log_expected_improvement

MEAN = np.array([0.0, 0.3, 0.3, 0.1, 0.9])
STD = np.array([1.0, 0.5, 0.5, 0.2, 2.0])
AT_TOP = jnp.array([True, True, True, True, False])


def belief(correlation):
    covariance = correlation * np.outer(STD, STD)
    return JointBelief(*map(jnp.asarray, (MEAN, STD**2, covariance, covariance)))


def test_independent_points_are_taken_by_improvement_on_the_best_answer_expected():
    got = improving(belief(np.eye(5)), AT_TOP, 0.2, 3, 3)
    order, best = [], 0.2
    for _ in range(3):
        score = np.array(log_expected_improvement(jnp.asarray(MEAN), jnp.asarray(STD), best))
        score[[4, *order]] = -np.inf
        order.append(int(score.argmax()))
        best = max(best, MEAN[order[-1]])
    assert got.tolist() == order
    assert improving(belief(np.eye(5)), AT_TOP, 0.2, 3, 1).tolist() == [order[0], -1, -1]


def test_a_point_that_an_earlier_query_answers_is_not_asked():
    twins = np.eye(5)
    twins[0, 1] = twins[1, 0] = 0.999
    assert improving(belief(np.eye(5)), AT_TOP, 0.2, 2, 2).tolist() == [0, 1]
    assert improving(belief(twins), AT_TOP, 0.2, 2, 2).tolist() == [0, 2]


def test_climbing_ends_on_the_summit_and_inside_the_cube():
    pool = jnp.asarray(np.random.default_rng(0).uniform(size=(40, 2)))
    summit = jnp.array([0.4, 0.7])
    found = best_climbed(lambda x: -jnp.sum((x - summit) ** 2), pool, 3)
    assert np.abs(np.asarray(found) - np.asarray(summit)).max() < 0.02
    edge = best_climbed(lambda x: jnp.sum(x), pool, 3)
    assert float(edge.max()) <= 1.0
