import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from mfal.proxies.likelihood import log_likelihood


def test_three_kinds_against_scipy():
    value, mean, std = 1.3, 0.4, 0.7
    got = log_likelihood(jnp.full(3, value), jnp.array([-1, 0, 1]), mean, std)
    expected = [
        stats.norm.logcdf(value, mean, std),
        stats.norm.logpdf(value, mean, std),
        stats.norm.logsf(value, mean, std),
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_an_upper_limit_pulls_only_means_that_lie_above_it():
    slope = jax.grad(lambda mean: log_likelihood(-10.0, -1, mean, 1.0))
    assert abs(slope(-20.0)) < 1e-6
    assert slope(-8.0) < -1
    slope = jax.grad(lambda mean: log_likelihood(-4.0, 1, mean, 1.0))
    assert abs(slope(6.0)) < 1e-6
    assert slope(-6.0) > 1


def test_gradients_stay_finite_far_out():
    both = jax.grad(lambda m, s: log_likelihood(0.0, -1, m, s), argnums=(0, 1))
    for mean in (-1e3, -30.0, 30.0, 1e3):
        assert all(np.isfinite(g) for g in both(mean, 0.05))
