"""The search of a cube: budget, designs, recommendation, and what the guard makes of it."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.benchmarks.cube.problems import dial
from experiments.benchmarks.cube.proposals import CandidateConfig
from experiments.benchmarks.cube.queries import Asked, ask, cost_of, design, folded
from experiments.benchmarks.cube.search import SearchConfig, judge, plan, search
from experiments.benchmarks.cube.surrogate import fit

PROBLEM = dial(0.0)
SMALL = SearchConfig(batch=4, rounds=4, candidates=CandidateConfig(48, 16, 4), steps=15)


@pytest.fixture(
    scope="module",
    params=[pytest.param(joint, marks=pytest.mark.slow) for joint in (False, True)],
    ids=["target alone", "guarded"],
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
def fits():
    """Of all answers and of the target's, to a design of 20 cheap and 6 target queries."""
    asked = design(PROBLEM, np.random.default_rng(1), 8.0, [0, 1])
    return asked, *(fit(PROBLEM, asked, joint=joint, steps=15) for joint in (True, False))


def test_as_long_as_nothing_is_proven_the_target_alone_is_asked_in_half_batches(fits):
    asked, _, own = fits

    def planned(left):
        return plan(PROBLEM, SMALL, own, asked, left, np.random.default_rng(2))

    assert planned(10.0).fidelity.tolist() == [1, 1]
    assert planned(1.5).fidelity.tolist() == [1]
    assert not len(planned(0.9).x)


@pytest.mark.slow
def test_a_fidelity_that_never_proves_itself_costs_its_part_of_the_design_and_no_more(fits):
    never = search(PROBLEM, replace(SMALL, margin=100.0), 7.0, 3.0, seed=3)
    first, last = never[0].asked, never[-1].asked
    assert not any(turn.followed for turn in never)
    assert (last.fidelity[len(first.fidelity) :] == 1).all()
    assert np.bincount(first.fidelity).tolist() == [10, 2]
    assert cost_of(PROBLEM, last) == pytest.approx(7.0)


@pytest.mark.slow
def test_a_proven_one_chooses_the_batch_but_for_its_first_query_and_the_last(fits):
    asked, joint, _ = fits
    rng = np.random.default_rng(2)
    batch = plan(PROBLEM, SMALL, joint, asked, 10.0, rng)
    assert batch.fidelity[0] == 1
    assert len(batch.fidelity) == 4
    assert (batch.fidelity == 0).sum() >= 1
    assert plan(PROBLEM, SMALL, joint, asked, 2.0, rng).fidelity.tolist() == [1, 1]


@pytest.mark.slow
def test_trust_has_to_be_won_by_a_margin_and_is_kept_without(fits):
    asked, joint, own = fits
    words = [judge(PROBLEM, SMALL, asked, joint, own, trusted=t) for t in (False, True)]
    assert all(word.proven for word in words)
    hard = replace(SMALL, margin=100.0)
    words = [judge(PROBLEM, hard, asked, joint, own, trusted=t) for t in (False, True)]
    assert [bool(word.follow) for word in words] == [False, True]


def test_folding_keeps_points_inside_and_off_the_faces():
    x = np.array([-0.1, 0.0, 0.4, 1.0, 1.3])
    np.testing.assert_allclose(folded(x), [0.1, 0.0, 0.4, 1.0, 0.7])


def test_answers_are_appended():
    first = ask(PROBLEM, None, np.array([[0.1, 0.2]]), np.array([1]))
    both = ask(PROBLEM, first, np.array([[0.3, 0.4]]), np.array([0]))
    assert isinstance(both, Asked)
    assert both.fidelity.tolist() == [1, 0]
    assert both.value[1] == PROBLEM.evaluate(np.array([[0.3, 0.4]]), 0)[0]
