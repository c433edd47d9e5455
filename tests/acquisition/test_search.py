"""The search of a cube: budget, designs, recommendation, and what the guard makes of it."""

from dataclasses import replace

import numpy as np
import pytest

from mfal.acquisition.problems import dial
from mfal.acquisition.queries import Asked, ask, cost_of, design, folded
from mfal.acquisition.search import SearchConfig, _hedge, search

PROBLEM = dial(0.0)
SMALL = SearchConfig(batch=4, rounds=4, uniform=48, local=16, climbers=4, steps=15)


@pytest.fixture(
    scope="module",
    params=[False, pytest.param(True, marks=pytest.mark.slow)],
    ids=["top alone", "guarded"],
)
def config(request):
    """The joint search compiles two models: it is left to the slow tests."""
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
    # The last query asks the top about the recommendation.
    assert turns[-1].asked.fidelity[-1] == 1
    np.testing.assert_array_equal(turns[-1].asked.x[-1], turns[-2].best)


def test_the_same_seed_asks_the_same(config, turns):
    again = search(PROBLEM, replace(config, rounds=2), 7.0, 3.0, seed=3)
    for one, other in zip(turns[:2], again[:2], strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.asked, other.asked, strict=True))


def test_designs_cost_what_they_may_and_are_nested():
    rng = np.random.default_rng(0)
    asked = design(PROBLEM, rng, 4.0, [0, 1])
    assert np.bincount(asked.fidelity).tolist() == [20, 2]
    cheap, top = (asked.x[asked.fidelity == m] for m in (0, 1))
    np.testing.assert_array_equal(cheap[:2], top)
    assert np.bincount(design(PROBLEM, rng, 4.0, [1]).fidelity).tolist() == [0, 4]
    cheap = PROBLEM._replace(costs=(0.1,))
    assert cost_of(cheap, design(cheap, rng, 2.0, [0])) == pytest.approx(2.0)


def test_a_hedged_batch_is_half_the_tops_own_and_pays_for_cheap_queries_only():
    points = np.arange(8.0).reshape(4, 2) / 10
    safe = (points[:2], np.array([1, 1]), 0.5)
    joint = (points, np.array([1, 0, 0, 0]), 0.7)
    x, fidelity, _ = _hedge(PROBLEM, SMALL, safe, joint, 10.0)
    assert fidelity.tolist() == [1, 1, 0, 0]
    np.testing.assert_array_equal(x, points[[0, 1, 1, 2]])
    assert _hedge(PROBLEM, SMALL, safe, joint, 2.1)[1].tolist() == [1, 1, 0]


def test_folding_keeps_points_inside_and_off_the_faces():
    x = np.array([-0.1, 0.0, 0.4, 1.0, 1.3])
    np.testing.assert_allclose(folded(x), [0.1, 0.0, 0.4, 1.0, 0.7])


def test_answers_are_appended():
    first = ask(PROBLEM, None, np.array([[0.1, 0.2]]), np.array([1]))
    both = ask(PROBLEM, first, np.array([[0.3, 0.4]]), np.array([0]))
    assert isinstance(both, Asked)
    assert both.fidelity.tolist() == [1, 0]
    assert both.value[1] == PROBLEM.evaluate(np.array([[0.3, 0.4]]), 0)[0]
