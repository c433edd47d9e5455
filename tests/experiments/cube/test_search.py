"""The search of a cube by a campaign's rule: budget, designs, beliefs, batches."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks.cube.beliefs import Beliefs, believe, target_of
from experiments.benchmarks.cube.candidates import CandidateConfig, Candidates, climb
from experiments.benchmarks.cube.problems import dial
from experiments.benchmarks.cube.queries import Asked, ask, cost_of, design, folded
from experiments.benchmarks.cube.search import SearchConfig, joint_belief, plan, search

PROBLEM = dial(0.0)
SMALL = SearchConfig(batch=4, rounds=4, candidates=CandidateConfig(48, 16, 8, 4), steps=15)


@pytest.fixture(
    scope="module",
    params=[pytest.param(joint, marks=pytest.mark.slow) for joint in (False, True)],
    ids=["target alone", "all fidelities"],
)
def config(request):
    """Searches compile models of their own: they are left to the slow tests."""
    return replace(SMALL, joint=request.param)


@pytest.fixture(scope="module")
def turns(config):
    return search(PROBLEM, config, 7.0, 3.0, seed=3)


def test_the_budget_holds_and_the_curve_is_what_was_asked(turns):
    assert [turn.cost for turn in turns] == sorted(turn.cost for turn in turns)
    for turn in turns:
        assert turn.cost == pytest.approx(cost_of(PROBLEM, turn.asked))
        value = [PROBLEM.evaluate(x[None], m)[0] for x, m in zip(*turn.asked[:2], strict=True)]
        np.testing.assert_array_equal(turn.asked.value, value)
        assert ((turn.best >= 0) & (turn.best <= 1)).all()
    assert turns[-1].cost <= 7.0 + 1e-9
    # The last query asks the target about the recommendation.
    assert turns[-1].asked.fidelity[-1] == 1
    np.testing.assert_array_equal(turns[-1].asked.x[-1], turns[-2].best)


def test_the_same_seed_asks_the_same(config, turns):
    again = search(PROBLEM, replace(config, rounds=2), 7.0, 3.0, seed=3)
    for one, other in zip(turns[:2], again[:2], strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.asked, other.asked, strict=True))
        np.testing.assert_array_equal(one.best, other.best)


def test_designs_cost_what_they_may_and_are_nested():
    rng = np.random.default_rng(0)
    asked = design(PROBLEM, rng, 4.0, [0, 1])
    assert np.bincount(asked.fidelity).tolist() == [10, 3]
    cheap, target = (asked.x[asked.fidelity == m] for m in (0, 1))
    np.testing.assert_array_equal(cheap[:3], target)
    assert np.bincount(design(PROBLEM, rng, 4.0, [1]).fidelity).tolist() == [0, 4]
    cheap = PROBLEM._replace(costs=(0.1,))
    assert cost_of(cheap, design(cheap, rng, 2.0, [0])) == pytest.approx(2.0)


@pytest.fixture(scope="module")
def fitted():
    """Beliefs after a design of 20 cheap and 6 target queries."""
    asked = design(PROBLEM, np.random.default_rng(1), 8.0, [0, 1])
    return asked, believe(PROBLEM, asked, joint=True, distrust=True, steps=15)


def weighted(beliefs: Beliefs, weight: float) -> Beliefs:
    return beliefs._replace(states=beliefs.states._replace(weight=weight))


def test_a_fidelity_that_is_as_good_as_the_target_is_believed(fitted):
    assert fitted[1].states.weight > 0.9


def test_the_belief_is_one_process_or_the_other_at_the_ends(fitted):
    _, beliefs = fitted
    x = np.random.default_rng(2).uniform(size=(5, 2))
    processes, states = beliefs.processes, beliefs.states
    for weight, process, state in (
        (1.0, processes.coupled, states.coupled),
        (0.0, processes.single, states.single),
    ):
        target = np.full(5, process.config.num_fidelities - 1, np.int32)
        mean, covariance = process.joint(state, x, target)
        found = target_of(weighted(beliefs, weight), x)
        np.testing.assert_allclose(found[0], mean, rtol=1e-9)
        np.testing.assert_allclose(found[1] ** 2, np.diagonal(covariance), rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_what_is_not_believed_is_not_asked(fitted):
    asked, beliefs = fitted

    def planned(weight, left):
        rng = np.random.default_rng(2)
        return plan(PROBLEM, SMALL, weighted(beliefs, weight), asked, left, rng)

    assert planned(0.0, 3.0).fidelity.tolist() == [1, 1, 1]
    trusting = planned(1.0, 3.0)
    assert 0 in trusting.fidelity
    assert sum(PROBLEM.costs[m] for m in trusting.fidelity) <= 3.0 + 1e-9
    assert len(planned(1.0, 30.0).x) == 4
    assert not len(planned(1.0, 0.05).x)


@pytest.mark.slow
def test_what_remains_at_the_end_goes_to_the_target(fitted):
    asked, beliefs = fitted
    batch = plan(PROBLEM, SMALL, beliefs, asked, 2.0, np.random.default_rng(2))
    assert batch.fidelity.tolist() == [1, 1]


def test_a_campaigns_form_of_the_belief_keeps_its_covariances():
    rng = np.random.default_rng(4)
    factor = rng.normal(size=(6, 3, 3))
    covariance = factor @ factor.transpose(0, 2, 1)
    points = rng.normal(size=(6, 6))
    correlation = 0.9 * np.corrcoef(points)
    pool = Candidates(points, np.ones((6, 3), bool), points[:, :3], covariance, correlation)
    belief = joint_belief(pool)
    np.testing.assert_allclose(belief.root @ belief.root.transpose(0, 2, 1), covariance)
    np.testing.assert_allclose(belief.loading @ belief.loading.T, correlation, atol=1e-12)


def test_climbing_ends_on_the_summit_and_inside_the_cube():
    start = jnp.array([[0.2, 0.9], [0.8, 0.1]])
    lengths = jnp.geomspace(0.2, 1e-3, 40)
    inside = climb(lambda x: -jnp.sum((x - jnp.array([0.6, 0.3])) ** 2), start, lengths)
    np.testing.assert_allclose(inside, [[0.6, 0.3]] * 2, atol=5e-3)
    beyond = climb(lambda x: x[0], start, lengths)
    np.testing.assert_allclose(beyond[:, 0], 1.0)


def test_a_step_that_loses_is_not_taken():
    start = jnp.array([[0.5, 0.5]])
    found = climb(lambda x: -jnp.sum(jnp.abs(x - 0.5)), start, jnp.array([0.1, 0.05]))
    np.testing.assert_array_equal(found, start)


def test_folding_keeps_points_inside_and_off_the_faces():
    x = np.array([-0.1, 0.0, 0.4, 1.0, 1.3])
    np.testing.assert_allclose(folded(x), [0.1, 0.0, 0.4, 1.0, 0.7])


def test_answers_are_appended():
    first = ask(PROBLEM, None, np.array([[0.1, 0.2]]), np.array([1]))
    both = ask(PROBLEM, first, np.array([[0.3, 0.4]]), np.array([0]))
    assert isinstance(both, Asked)
    np.testing.assert_allclose(both.value, [first.value[0], PROBLEM.evaluate(both.x[1:], 0)[0]])
    assert jax.tree.leaves(both)[1].tolist() == [1, 0]
