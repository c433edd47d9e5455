"""What a crystal's own cheap answer says of its value at the target fidelity."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import linregress

from mfal.campaign.strategy.learner import Expectation
from mfal.campaign.strategy.paired import fit_line, merge, own_answers, with_own_answers

ORACLES = [
    SimpleNamespace(bounds=(0.0, 5.0), higher_is_better=False),
    SimpleNamespace(bounds=(-20.0, 1.0), higher_is_better=True),
]


def answer(name, fidelity, value, *, known=False):
    crystal = SimpleNamespace(hash=name, structure="atoms" if known else None)
    query = SimpleNamespace(crystal=crystal, fidelity=fidelity)
    kind = "failed" if value is None else "observed"
    return SimpleNamespace(query=query, kind=kind, value=value)


def pairs(number, slope, *, known=False, seed=0, noise=0.3):
    """Answers to both oracles about crystals whose barrier sets the conductivity."""
    rng, name = np.random.default_rng(seed), "old" if known else "new"
    barrier = rng.uniform(0.1, 1.0, number)
    target = -1.0 - slope * barrier + noise * rng.normal(size=number)
    both = zip(barrier.tolist(), target.tolist(), strict=True)
    return [
        answer(f"{name} {i}", m, v, known=known) for i, both_of in enumerate(both)
        for m, v in enumerate(both_of)
    ]  # fmt: skip


def test_the_line_is_least_squares_held_down_by_two_pairs():
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, 40)  # nothing lies far below the median
    y = 3.0 * x + 0.3 * rng.uniform(-1, 1, 40)
    found, plain = fit_line(x, y), linregress(x, y)
    assert found.slope == pytest.approx(plain.slope * 40 / 42)
    assert found.intercept == pytest.approx(y.mean() - found.slope * x.mean())
    left = y - found.intercept - found.slope * x
    assert found.residual == pytest.approx(np.sqrt(left @ left / 38))
    assert fit_line(x[:5], y[:5]) is None
    assert fit_line(np.ones(9), y[:9]) is None


def test_how_bad_the_bad_are_does_not_tilt_the_line():
    rng = np.random.default_rng(2)
    x = rng.normal(size=30)
    y = 2.0 * x + 0.2 * rng.normal(size=30)
    y[np.argmin(x)] = -20.0
    assert fit_line(x, y).slope == pytest.approx(2.0, rel=0.25)


def test_two_predictions_count_their_common_prior_once():
    line = fit_line(np.linspace(-1, 1, 50), np.linspace(-1, 1, 50) * 2 + np.tile([0.5, -0.5], 25))
    # Who knows nothing leaves the line's word as it is ...
    told = line.intercept + line.slope * 0.8
    assert merge(line.mean, line.std, line, 0.8) == pytest.approx((told, line.residual))
    # ... and who knows all is not moved.
    assert merge(7.0, 1e-5, line, 0.8)[0] == pytest.approx(7.0, abs=1e-3)
    mean, std = merge(told, line.residual, line, 0.8)
    assert std < line.residual
    assert abs(mean - told) < abs(told - line.mean)


def test_a_crystals_own_answer_moves_its_expectation_and_no_others():
    answers = [*pairs(20, 6.0), answer("asked", 0, 0.2), answer("failed", 0, None)]
    names = ["asked", "failed", "new 0"]
    flat = Expectation(np.full((3, 2), -6.0), np.full((3, 2), 4.0), np.ones((3, 2)))
    own = own_answers(answers, ORACLES)
    found = with_own_answers(flat, [SimpleNamespace(hash=n) for n in names], own)
    assert found.mean[0, 1] == pytest.approx(-1.0 - 6.0 * 0.2, abs=0.5)
    assert found.std[0, 1] < 1.0
    np.testing.assert_array_equal(found.mean[1:], flat.mean[1:])
    np.testing.assert_array_equal(found.mean[:, 0], flat.mean[:, 0])
    assert own.related[0] > 0.9
    assert own.related[1] == 1.0


def test_proposed_crystals_overrule_known_ones_once_there_are_enough():
    """An oracle that is right on known crystals and says the contrary of the proposed."""
    known = pairs(24, 6.0, known=True)
    trusting = own_answers([*known, *pairs(5, -6.0, seed=3)], ORACLES)
    taught = own_answers([*known, *pairs(10, -6.0, seed=3)], ORACLES)
    assert trusting.lines[0].slope > 0  # scores: larger is better, so a low barrier is
    assert taught.lines[0].slope < 0


def test_an_oracle_that_says_nothing_is_not_related():
    answers = pairs(30, 0.0, noise=1.0)
    own = own_answers(answers, ORACLES)
    assert own.related[0] < 0.4
