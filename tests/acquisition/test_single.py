import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mfal.acquisition.information import information_about_maximum
from mfal.acquisition.single import (
    expected_improvement,
    knowledge_gradient,
    log_expected_improvement,
    max_value_entropy,
    positive,
    thompson,
    upper_confidence_bound,
)


def test_expected_improvement_by_sampling():
    draws = np.random.default_rng(0).normal(0.2, 1.5, 2_000_000)
    expected = np.maximum(draws - 1.0, 0).mean()
    assert expected_improvement(0.2, 1.5, 1.0) == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize("z", [3.0, 0.0, -0.99, -1.01, -5.0, -9.9, -10.1, -40.0])
def test_log_expected_improvement_against_high_precision(z):
    # phi(z) + z Phi(z) by the integral of Phi, in logarithms: log int_-inf^z Phi.
    grid = np.linspace(z - 40 / max(1, -z), z, 400_001)
    log_phi = stats.norm.logcdf(grid)
    peak = log_phi.max()
    expected = peak + np.log(np.trapezoid(np.exp(log_phi - peak), grid))
    if z > -1:  # the grid leaves the far tail out, which is nothing here
        expected = np.log(z * stats.norm.cdf(z) + stats.norm.pdf(z))
    assert log_expected_improvement(2 * z, 2.0, 0.0) == pytest.approx(
        expected + np.log(2), rel=2e-3, abs=2e-3
    )


def test_log_expected_improvement_has_a_finite_gradient_everywhere():
    slope = jax.vmap(jax.grad(lambda m: log_expected_improvement(m, 1.0, 0.0)))
    values = np.asarray(slope(jnp.array([-1e3, -60.0, -10.0, -1.0, 0.0, 5.0])))
    assert np.isfinite(values).all()
    assert (values > 0).all()


def test_bounds_and_draws():
    assert upper_confidence_bound(1.0, 2.0, 1.5) == 4.0
    members = jnp.arange(12.0).reshape(4, 3)
    draws = {tuple(thompson(jax.random.key(i), members).tolist()) for i in range(40)}
    assert draws == {tuple(members[:, e].tolist()) for e in range(3)}
    assert positive(jnp.array([-1.0, 1.0, 2.0, 99.0]), 0.0, 2.0).tolist() == [0, 0.5, 1, 2]


@pytest.mark.parametrize("gamma", [-2.0, 0.0, 1.5])
def test_max_value_entropy_is_the_entropy_lost_by_truncation(gamma):
    lost = stats.norm.entropy() - stats.truncnorm(-20.0, gamma).entropy()
    entropy = jax.jit(max_value_entropy)
    got = entropy(jnp.zeros(1), jnp.ones(1), jnp.array([gamma]))[0]
    assert got == pytest.approx(float(lost), abs=1e-4)
    noisy = entropy(jnp.zeros(1), jnp.ones(1), jnp.array([gamma]), noise=0.5)[0]
    assert 0 < noisy < got


def test_knowledge_gradient_by_sampling_and_at_its_limits():
    rng = np.random.default_rng(1)
    mean = rng.normal(size=8)
    root = rng.normal(size=(8, 8))
    covariance = root @ root.T
    noise = 0.3
    variance = np.diagonal(covariance) + noise
    gradient = jax.jit(knowledge_gradient)
    got = gradient(jnp.asarray(mean), jnp.asarray(covariance), jnp.asarray(variance))
    z = rng.normal(size=(400_000, 1))
    for j in (0, 3, 7):
        best = (mean + covariance[:, j] / np.sqrt(variance[j]) * z).max(1).mean()
        assert got[j] == pytest.approx(best - mean.max(), rel=0.02, abs=2e-3)
    nothing = gradient(jnp.asarray(mean), jnp.zeros((8, 2)), jnp.ones(2))
    np.testing.assert_allclose(nothing, 0.0, atol=1e-6)


MAXIMA = jnp.array([1.0, 2.5])
POOL = jnp.array([[0.5, 0.1, -0.2], [0.1, 0.9, 0.3], [-0.2, 0.3, 1.4]])


@pytest.mark.parametrize(
    "value",
    [
        lambda mean, std: upper_confidence_bound(mean, std, 1.5),
        lambda mean, std: expected_improvement(mean, std, 0.4),
        lambda mean, std: log_expected_improvement(mean, std, 0.4),
        lambda mean, std: max_value_entropy(mean, std, MAXIMA),
        lambda mean, std: max_value_entropy(mean, std, MAXIMA, 0.2 * std),
        lambda mean, std: information_about_maximum(MAXIMA, mean, std, jnp.array([-0.7, 0.1])),
        lambda mean, std: knowledge_gradient(mean * jnp.arange(3), std * POOL, std * jnp.ones(3)),
        lambda mean, std: thompson(jax.random.key(3), mean + std * POOL),
    ],
    ids=["UCB", "EI", "log EI", "MES", "noisy MES", "multi-fidelity MES", "KG", "Thompson"],
)
def test_compiled_and_batched_values_are_those_one_by_one_and_finite_at_the_limits(value):
    mean = jnp.array([-3.0, 0.0, 0.4, 2.0, 50.0, -50.0, 0.4])
    std = jnp.array([0.3, 1.0, 2.0, 0.5, 1e-6, 0.0, 0.0])
    many, one = jax.jit(jax.vmap(value))(mean, std), jax.jit(value)
    assert jnp.isfinite(many).all()
    for found, m, s in zip(many, mean, std, strict=True):
        np.testing.assert_allclose(found, one(m, s), rtol=2e-5, atol=1e-6)


def test_what_is_known_exactly_improves_by_its_lead_and_teaches_nothing():
    mean, nothing = jnp.array([3.0, 0.5]), jnp.zeros(2)
    gain = jax.jit(expected_improvement)(mean, nothing, 1.0)
    np.testing.assert_allclose(gain, [2.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(jax.jit(max_value_entropy)(nothing, nothing, MAXIMA), 0.0)
