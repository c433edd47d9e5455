"""The information bound against exact and sampled truncated Gaussians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from mfal.acquisition import (
    InformationParams,
    answer_correlation,
    information_about_maximum,
    information_gain_per_cost,
    truncation,
)


@pytest.mark.parametrize("gamma", [-15.0, -6.1, -5.9, -3.0, -1.0, 0.0, 0.7, 2.0, 5.0])
def test_truncation_is_the_variance_lost(gamma):
    assert truncation(gamma) == pytest.approx(1 - stats.truncnorm(-np.inf, gamma).var(), abs=1e-4)


def test_truncation_runs_from_one_to_zero_and_stays_finite():
    values = np.asarray(truncation(jnp.array([-1e9, -30.0, -20.0, 0.0, 8.0, 1e9])))
    assert np.isfinite(values).all()
    assert (np.diff(values) <= 1e-3).all()
    assert values[0] > 0.99
    assert values[3] == pytest.approx(2 / np.pi, rel=1e-5)
    assert values[-1] < 1e-6


def exact_information(gamma, rho):
    """I(y; [f <= gamma]) for a standard bivariate Gaussian: entropy of y less that of y cut off."""

    def density(y):
        tail = stats.norm.cdf((gamma - rho * y) / np.sqrt(1 - rho**2)) / stats.norm.cdf(gamma)
        return stats.norm.pdf(y) * tail

    def integrand(y):
        p = density(y)
        return -p * np.log(p) if p > 0 else 0.0

    return stats.norm.entropy() - integrate.quad(integrand, -9, 9, limit=200)[0]


@pytest.mark.parametrize("gamma", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("rho", [0.2, -0.5, 0.8, 0.97])
def test_is_a_tight_lower_bound_of_the_exact_information(gamma, rho):
    bound = float(information_about_maximum(jnp.array([gamma]), 0.0, 1.0, jnp.array(rho)))
    exact = exact_information(gamma, rho)
    # Not exact: the truncated answer is not Gaussian, and Gaussian entropy is the largest.
    assert bound <= exact + 1e-5
    assert bound > (0.55 if abs(rho) > 0.9 else 0.8) * exact


def test_equals_the_closed_form_of_sampled_moments():
    """-1/2 log of the variance that is left in the answer, by sampling (f, y) given f <= f*."""
    rng = np.random.default_rng(0)
    mean, std, rho, maximum = 1.0, 2.0, 0.7, 2.5
    f = rng.normal(size=1_000_000)
    y = rho * f + np.sqrt(1 - rho**2) * rng.normal(size=f.size)
    left = np.var(y[mean + std * f <= maximum])
    got = information_about_maximum(jnp.array([maximum]), mean, std, jnp.array(rho))
    assert float(got) == pytest.approx(-0.5 * np.log(left), rel=0.01)


def test_averages_over_the_samples_of_the_maximum():
    maxima = jnp.array([0.5, 1.5, 4.0])
    each = [information_about_maximum(m[None], 0.3, 0.9, jnp.array(0.6)) for m in maxima]
    assert information_about_maximum(maxima, 0.3, 0.9, jnp.array(0.6)) == pytest.approx(
        float(np.mean(each)), rel=1e-5
    )


def test_correlation_of_the_answers():
    covariance = jnp.array([[4.0, -1.5], [-1.5, 1.0]])
    got = answer_correlation(covariance, jnp.array([3.0, 0.5]))
    np.testing.assert_allclose(got, [-1.5 / np.sqrt(13.0), 1 / np.sqrt(1.25)], rtol=1e-6)


COVARIANCE = jnp.array([[1.0, 0.0, 0.2], [0.0, 1.0, -0.9], [0.2, -0.9, 1.0]])
PARAMS = InformationParams(jnp.array([1.0, 2.0]), jnp.full(3, 0.1), jnp.array([0.01, 0.1, 1.0]))


def test_a_fidelity_without_correlation_has_no_value_at_any_price():
    gains = information_gain_per_cost(PARAMS, jnp.zeros(3), COVARIANCE.at[0, 2].set(0.0))
    assert gains[0] == 0
    assert gains[1] > gains[2] > 0


def test_sign_of_the_correlation_does_not_matter_and_cost_divides():
    gains = information_gain_per_cost(PARAMS, jnp.zeros(3), COVARIANCE)
    flipped = COVARIANCE.at[1, 2].set(0.9).at[2, 1].set(0.9)
    np.testing.assert_allclose(
        information_gain_per_cost(PARAMS, jnp.zeros(3), flipped), gains, rtol=1e-6
    )
    dearer = information_gain_per_cost(
        PARAMS._replace(costs=2 * PARAMS.costs), jnp.zeros(3), COVARIANCE
    )
    np.testing.assert_allclose(dearer, gains / 2, rtol=1e-6)


def test_hopeless_and_perfectly_known_crystals_are_finite():
    for mean, scale in ((-1e4, 1.0), (1e4, 1.0), (0.0, 0.0), (0.0, 1e-20), (0.0, 1e12)):
        gains = information_gain_per_cost(PARAMS, jnp.full(3, mean), COVARIANCE * scale)
        assert np.isfinite(gains).all()
        assert (gains >= 0).all()
        assert (gains * PARAMS.costs < 5).all()


def test_maxima_are_parameters_not_constants():
    compiled = jax.jit(information_gain_per_cost)
    first = compiled(PARAMS, jnp.zeros(3), COVARIANCE)
    second = compiled(PARAMS._replace(maxima=jnp.array([3.0, 4.0])), jnp.zeros(3), COVARIANCE)
    assert compiled._cache_size() == 1
    assert (second < first).all()
