import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from mfal.proxies.calibration import (
    conformal_factor,
    coverage,
    crps_gaussian,
    sharpness,
)


@pytest.mark.parametrize(("value", "mean", "std"), [(0.3, 0.0, 1.0), (-4.0, 1.0, 0.5)])
def test_crps_of_a_gaussian_is_the_integral(value, mean, std):
    def square(x):
        return (stats.norm.cdf(x, mean, std) - (x >= value)) ** 2

    parts = [integrate.quad(square, *sorted(ends))[0] for ends in ((-20, value), (value, 20))]
    assert crps_gaussian(value, mean, std) == pytest.approx(sum(parts), rel=1e-4)


def test_coverage_of_a_calibrated_and_of_a_narrow_forecast():
    value = jnp.asarray(np.random.default_rng(1).normal(2.0, 3.0, 50_000))
    assert coverage(value, 2.0, 3.0, 0.9) == pytest.approx(0.9, abs=0.01)
    assert coverage(value, 2.0, 1.5, 0.9) == pytest.approx(
        2 * stats.norm.cdf(0.5 * stats.norm.ppf(0.95)) - 1, abs=0.01
    )


def test_sharpness_is_the_mean_distance_between_the_quantiles():
    std = np.array([0.5, 1.0, 3.0])
    ends = stats.norm.ppf(np.array([[0.1], [0.9]]), 2.0, std)
    assert sharpness(jnp.asarray(std), 0.8) == pytest.approx(np.mean(ends[1] - ends[0]), rel=1e-5)


def test_conformal_factor_covers_heavy_tails_on_new_draws():
    rng = np.random.default_rng(2)
    covered = []
    for _ in range(200):
        held = jnp.asarray(np.pad(rng.standard_t(2, 39), (0, 25)))
        factor = conformal_factor(held, jnp.arange(64) < 39, 0.9)
        covered.append(np.mean(np.abs(rng.standard_t(2, 200)) <= float(factor)))
    # 36 of 40 exchangeable places: exactly 0.9 in expectation.
    assert np.mean(covered) == pytest.approx(0.9, abs=0.012)


def test_few_rows_fall_back_to_the_gaussian_or_the_largest_surprise():
    surprise, none = jnp.array([0.5, 4.0, 9.0]), jnp.zeros(3, bool)
    assert conformal_factor(surprise, none, 0.9) == pytest.approx(1.6449, abs=1e-3)
    assert conformal_factor(surprise, none.at[0].set(True), 0.9) == pytest.approx(1.6449, abs=1e-3)
    assert conformal_factor(surprise, none.at[1].set(True), 0.9) == 4.0
