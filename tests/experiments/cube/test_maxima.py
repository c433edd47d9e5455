import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks.cube.maxima import gumbel_maxima


def test_gumbel_samples_follow_the_maximum_of_independent_gaussians():
    rng = np.random.default_rng(0)
    mean, std = rng.normal(size=50), rng.uniform(0.2, 1.0, 50)
    truth = (mean + std * rng.normal(size=(20_000, 50))).max(1)
    got = np.asarray(
        gumbel_maxima(jax.random.key(0), jnp.asarray(mean), jnp.asarray(std), 20_000, -1e9)
    )
    np.testing.assert_allclose(
        np.quantile(got, [0.1, 0.25, 0.5, 0.75, 0.9]),
        np.quantile(truth, [0.1, 0.25, 0.5, 0.75, 0.9]),
        atol=0.1,
    )


def test_no_sample_lies_below_what_is_known_to_exist():
    got = gumbel_maxima(jax.random.key(1), jnp.zeros(10), jnp.full(10, 0.5), 200, 1.2)
    assert got.min() == pytest.approx(1.2)
    assert got.max() > 1.2


def test_rows_left_out_and_certain_rows_do_not_count():
    mean = jnp.array([0.0, 3.0, -jnp.inf])
    got = gumbel_maxima(jax.random.key(2), mean, jnp.array([0.1, 0.0, 0.0]), 50, -jnp.inf)
    np.testing.assert_allclose(got, 3.0, atol=1e-3)
