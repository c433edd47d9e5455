"""The information bound against exact and sampled truncated Gaussians."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from experiments.benchmarks.cube.information import information_about_maximum, truncation


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
