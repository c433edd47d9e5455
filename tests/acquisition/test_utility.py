"""What asking is worth, against plans on a dense grid; expected improvement in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp
from scipy import stats

from mfal.acquisition import (
    Question,
    Terms,
    expected_improvement,
    improvement_rate,
    log_expected_improvement,
)

RATE = jax.jit(improvement_rate)


def rate(*arguments):
    return np.asarray(RATE(*arguments), float)


def terms(costs, later=None, best=0.0, tells=None, open_=None):
    levels = len(costs)
    return Terms(
        jnp.float32(best),
        jnp.array(costs, jnp.float32),
        jnp.array(costs if later is None else later, jnp.float32),
        jnp.zeros(levels, bool) if tells is None else jnp.array(tells),
        jnp.ones(levels, bool) if open_ is None else jnp.array(open_),
    )


def question(mean, std, shift, chance=1.0, stable=1.0, found=False, rival=-np.inf):
    numbers = [jnp.asarray(each, jnp.float32) for each in (mean, std, shift, chance, stable)]
    return Question(*numbers, jnp.asarray(found), jnp.float32(rival))


def test_expected_improvement_by_sampling():
    draws = np.random.default_rng(0).normal(0.2, 1.5, 400_000)
    expected = np.maximum(draws - 1.0, 0).mean()
    assert expected_improvement(0.2, 1.5, 1.0) == pytest.approx(expected, rel=5e-3)
    assert expected_improvement(2.0, 0.0, 1.5) == pytest.approx(0.5)


@pytest.mark.parametrize("z", [-30.0, -9.9, -3.0, -1.0, 0.0, 2.5])
def test_log_expected_improvement_against_high_precision(z):
    with mp.workdps(60):
        z_ = mp.mpf(z)
        exact = mp.log(z_ * mp.ncdf(z_) + mp.npdf(z_))
    assert log_expected_improvement(z, 1.0, 0.0) == pytest.approx(float(exact), abs=2e-3)


def best_plan(mean, std, shift, chance, costs, best):
    """The best threshold plan's rate, on a dense grid: ask cheaply, go on if good enough."""
    z, step = np.linspace(8.0, -8.0, 40_001, retstep=True)
    left = np.sqrt(std**2 - shift**2)
    u = (mean + shift * z - best) / left
    gains = left * (u * stats.norm.cdf(u) + stats.norm.pdf(u))
    gain = chance * np.cumsum(stats.norm.pdf(z) * gains) * abs(step)
    cost = costs[0] + chance * costs[1] * stats.norm.sf(z)
    return (gain / cost).max()


@pytest.mark.parametrize("mean", [-3.0, -1.0, 0.5])
@pytest.mark.parametrize("rho", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("chance", [1.0, 0.4])
def test_a_cheap_question_is_worth_the_best_plan_that_begins_with_it(mean, rho, chance):
    costs = (1.0, 100.0)
    found = rate(terms(costs), question(mean, 1.0, [rho, 1.0], chance))
    assert found[0] == pytest.approx(best_plan(mean, 1.0, rho, chance, costs, 0.0), rel=0.02)
    ei = float(expected_improvement(mean, 1.0, 0.0))
    assert found[1] == pytest.approx(chance * ei / 100.0, rel=1e-5)


def test_what_tells_nothing_is_worth_less_than_the_target_and_what_sorts_well_far_more():
    nothing = rate(terms((1.0, 100.0)), question(-2.0, 1.0, [0.0, 1.0]))
    assert nothing[0] == pytest.approx(nothing[1] / 1.01, rel=1e-4)
    sorts = rate(terms((1.0, 100.0)), question(-2.0, 1.0, [0.9, 1.0]))
    assert sorts[0] > 4 * sorts[1]
    # A third of the price and a middling correlation gain nothing.
    near = rate(terms((33.0, 100.0)), question(-0.5, 1.0, [0.5, 1.0]))
    assert near[0] < near[1]


def test_where_crystals_fail_a_cheap_question_saves_the_dear_one():
    found = rate(terms((1.0, 100.0)), question(0.0, 1.0, [0.0, 1.0], chance=0.1))
    assert found[0] == pytest.approx(found[1] * 100 / (1 + 0.1 * 100), rel=1e-4)


def test_an_answer_that_tells_stability_saves_the_target_where_it_is_not_met():
    costs, asked = (1.0, 100.0), question(0.0, 1.0, [0.0, 1.0], stable=0.1)
    blind = rate(terms(costs), asked)
    told = rate(terms(costs, tells=[True, False]), asked)
    assert told[0] == pytest.approx(blind[1] * 100 / (1 + 0.1 * 100), rel=1e-4)
    assert told[0] > 5 * blind[0]


def test_atoms_are_paid_once_and_nothing_is_open_that_cannot_be_followed():
    costs, later = (21.0, 22.0), (1.0, 2.0)
    new = rate(terms(costs, later), question(0.0, 1.0, [0.0, 1.0]))
    old = rate(terms(costs, later), question(0.0, 1.0, [0.0, 1.0], found=True))
    assert old[1] == pytest.approx(11 * new[1], rel=1e-5)
    assert new[0] == pytest.approx(new[1] * 22 / 23, rel=1e-4)  # 21 for atoms and answer, then 2
    last = rate(terms(costs, open_=[False, True]), question(0.0, 1.0, [0.9, 1.0]))
    assert last[0] == 0
    assert last[1] > 0


@pytest.mark.parametrize("rival", [-2.0, -1.0, 0.5])
def test_a_polymorph_improves_on_the_best_of_its_formula_or_on_the_tenth(rival):
    """The mean of the two best formulas, before and after a third crystal's answer, by sampling."""
    others = [3.0, -1.0]  # so that the second best has -1, or the rival's formula is among them
    draws = np.random.default_rng(1).normal(-0.5, 1.0, 200_000)
    before = sum(sorted([*others, rival])[-2:])
    own = np.maximum(draws, rival)
    after = np.sort(np.stack([np.full_like(own, 3.0), np.full_like(own, -1.0), own]), axis=0)
    gain = (after[-2:].sum(0) - before).mean()
    second = sorted([*others, rival])[-2]
    asked = question(-0.5, 1.0, [0.7, 1.0], rival=rival)
    found = rate(terms((1.0, 10.0), best=second), asked)
    assert found[1] == pytest.approx(gain / 10.0, rel=0.01)
    alone = question(-0.5, 1.0, [0.7, 1.0])
    assert found == pytest.approx(rate(terms((1.0, 10.0), best=max(second, rival)), alone))


@settings(deadline=None, max_examples=60)
@given(
    st.floats(-50, 50), st.floats(0, 30), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1),
    st.floats(0.01, 1e6), st.floats(0.01, 1e6),
)  # fmt: skip
def test_it_is_finite_and_never_negative(mean, std, rho, chance, stable, cheap, dear):
    found = rate(terms((cheap, dear)), question(mean, std, [rho * std, std], chance, stable))
    assert np.isfinite(found).all()
    assert (np.asarray(found) >= 0).all()
