"""The same-crystal term: conditioning in closed form, and what is learned from pairs of answers."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mfal.proxies import make_dataset
from mfal.proxies.coupling import condition, couple, crystals_of, log_density_of_target
from mfal.proxies.distrust import mix, weigh
from mfal.proxies.relation import Held


def answers(relation, number=60, seed=0):
    """Crystals with a cheap and a target answer of a given relation, and flat predictions."""
    rng = np.random.default_rng(seed)
    target = rng.normal(size=number)
    cheap = relation(target, rng)
    crystal = np.repeat(np.arange(number, dtype=np.float32), 2)[:, None]
    fidelity = np.tile([0, 1], number)
    data = make_dataset(crystal, fidelity, np.stack([cheap, target], 1).ravel(), capacity=128)
    shape = (len(data.value), 2)
    return data, Held(jnp.zeros(shape), jnp.ones(shape))


def weight_of(data, held):
    """The weight of the coupled belief where both predict alike but for the same-crystal term."""
    correlation, _ = couple(held, data)
    found = crystals_of(data, 2)
    mean, std = (np.asarray(leaf)[found.rows] for leaf in held)
    apart = np.eye(2) * std[:, None, :] ** 2
    covariance = np.asarray(correlation) * std[:, :, None] * std[:, None, :]
    return weigh(
        log_density_of_target(mean, covariance, found), log_density_of_target(mean, apart, found)
    )


def test_conditioning_is_exact_gaussian_algebra():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 3, 3))
    covariance, mean = root @ root.transpose(0, 2, 1), rng.normal(size=(4, 3))
    answered = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 1, 1]], bool)
    value = np.where(answered, rng.normal(size=(4, 3)), 0.0)
    after, left = condition(mean, covariance, answered, value)
    for i in range(4):
        a, b = np.flatnonzero(answered[i]), np.flatnonzero(~answered[i])
        inverse = np.linalg.inv(covariance[i][np.ix_(a, a)])
        gain = covariance[i][np.ix_(b, a)] @ inverse
        np.testing.assert_allclose(after[i, b], mean[i, b] + gain @ (value[i, a] - mean[i, a]))
        expected = covariance[i][np.ix_(b, b)] - gain @ covariance[i][np.ix_(a, b)]
        np.testing.assert_allclose(left[i][np.ix_(b, b)], expected, atol=1e-9)
        np.testing.assert_allclose(after[i, a], value[i, a])


def test_an_answer_counts_once():
    """Conditioning twice on the same answer is conditioning once."""
    mean, covariance = np.zeros((1, 2)), np.array([[[1.0, 0.8], [0.8, 1.0]]])
    answered, value = np.array([[True, False]]), np.array([[1.5, 0.0]])
    once = condition(mean, covariance, answered, value)
    twice = condition(*once, answered, value)
    np.testing.assert_allclose(once[0], twice[0])
    np.testing.assert_allclose(once[1], twice[1])
    assert once[0][0, 1] == pytest.approx(0.8 * 1.5)
    assert once[1][0, 1, 1] == pytest.approx(1 - 0.8**2)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_related_fidelity_is_believed_whatever_its_sign(sign):
    data, held = answers(lambda y, rng: sign * 0.8 * y + 0.6 * rng.normal(size=len(y)))
    correlation, pairs = couple(held, data)
    assert correlation[0, 1] == pytest.approx(sign * 0.8, abs=0.15)
    assert pairs[0, 1] == 60
    assert weight_of(data, held).weight > 0.99


def test_a_shuffled_fidelity_comes_out_unrelated():
    for seed in range(5):
        data, held = answers(lambda y, rng: rng.permutation(y), seed=seed)
        assert abs(couple(held, data)[0][0, 1]) < 0.35
    few, held = answers(lambda y, rng: rng.normal(size=len(y)), number=3)
    assert abs(couple(held, few)[0][0, 1]) < 0.75


def test_a_fidelity_that_is_right_on_some_and_contrary_on_others_loses_its_weight():
    """Trust that was earned on twenty known crystals is lost on forty others."""
    data, _ = answers(lambda y, rng: np.where(np.arange(len(y)) < 20, 1.0, -1.0) * y)
    mean = np.zeros((60, 2))
    found = crystals_of(data, 2)
    trusting = np.tile([[1.0, 0.9], [0.9, 1.0]], (60, 1, 1))
    apart = np.tile(np.eye(2), (60, 1, 1))
    evidence = weigh(
        log_density_of_target(mean, trusting, found), log_density_of_target(mean, apart, found)
    )
    assert evidence.weight < 1e-6
    assert evidence.coupled < evidence.single


def test_the_log_density_is_that_of_the_conditional():
    data, _ = answers(lambda y, rng: 0.5 * y + rng.normal(size=len(y)), number=4)
    found = crystals_of(data, 2)
    covariance = np.tile([[1.3, 0.5], [0.5, 1.1]], (4, 1, 1))
    got = log_density_of_target(np.full((4, 2), 0.2), covariance, found)
    mean = 0.2 + 0.5 / 1.3 * (found.value[:, 0] - 0.2)
    expected = stats.norm.logpdf(found.value[:, 1], mean, np.sqrt(1.1 - 0.25 / 1.3))
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_the_mixture_has_the_moments_of_sampled_answers():
    rng = np.random.default_rng(0)
    mean, covariance = np.array([0.3, 1.0]), np.array([[1.0, 0.6], [0.6, 0.8]])
    got_mean, got = mix(mean, covariance, -0.5, 0.4, 0.7)
    coupled = rng.multivariate_normal(mean, covariance, 700_000)
    other = np.stack([rng.normal(0.3, 1.0, 300_000), rng.normal(-0.5, 0.4, 300_000)], 1)
    draws = np.concatenate([coupled, other])
    np.testing.assert_allclose(got_mean, draws.mean(0), atol=5e-3)
    np.testing.assert_allclose(got, np.cov(draws.T), atol=6e-3)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_either_belief_alone_is_itself(weight):
    mean, covariance = np.array([0.3, 1.0]), np.array([[1.0, 0.6], [0.6, 0.8]])
    got_mean, got = mix(mean, covariance, -0.5, 0.4, weight)
    assert got_mean[1] == pytest.approx(1.0 if weight else -0.5)
    assert got[0, 1] == pytest.approx(0.6 * weight)
    assert got[1, 1] == pytest.approx(0.8 if weight else 0.16)


def test_without_any_answer_of_the_target_both_weigh_alike():
    assert weigh(np.zeros(0), np.zeros(0)).weight == 0.5
