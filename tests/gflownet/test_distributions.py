import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from mfal.gflownet.distributions import (
    Mixture,
    TruncatedLogistic,
    bounded_mixture,
    draw_index,
    draw_value,
    mask_logits,
    masked_categorical,
    mixture_log_prob,
    value_mixture,
)

MIXTURE = Mixture(
    jnp.log(jnp.array([0.5, 0.3, 0.2])), jnp.array([0.1, 0.6, 0.99]), jnp.array([0.02, 0.3, 5.0])
)


@pytest.mark.parametrize(("loc", "scale"), [(0.3, 0.05), (0.0, 0.01), (1.0, 0.4), (0.7, 10.0)])
def test_truncated_logistic_against_scipy(loc, scale):
    reference = stats.logistic(loc, scale)
    mass = reference.cdf(1) - reference.cdf(0)
    x = np.linspace(0.0, 1.0, 41)
    ours = TruncatedLogistic(jnp.float32(loc), jnp.float32(scale)).log_prob(jnp.array(x))
    np.testing.assert_allclose(ours, reference.logpdf(x) - np.log(mass), rtol=2e-4, atol=2e-3)
    assert TruncatedLogistic(jnp.float32(loc), jnp.float32(scale)).log_prob(1.5) == -jnp.inf


def test_mixture_integrates_to_one_and_equals_distrax():
    density = lambda x: float(jnp.exp(mixture_log_prob(MIXTURE, jnp.float32(x))))  # noqa: E731
    total, _ = integrate.quad(density, 0, 1, points=[0.1], limit=200)
    assert total == pytest.approx(1, abs=1e-4)
    x = jnp.linspace(0.01, 0.99, 50)
    np.testing.assert_allclose(
        mixture_log_prob(MIXTURE, x), bounded_mixture(MIXTURE).log_prob(x), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("how", ["noise", "distrax"])
def test_sampler_and_density_are_the_same_distribution(how):
    count = 20_000
    if how == "noise":
        uniform = jax.random.uniform(jax.random.key(0), (2, count))
        many = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, 3)), MIXTURE)
        values = draw_value(many, *uniform)
    else:
        values = bounded_mixture(MIXTURE).sample(seed=jax.random.key(0), sample_shape=(count,))
    grid = np.linspace(0, 1, 2001)
    density = np.exp(mixture_log_prob(MIXTURE, jnp.array(grid)))
    cdf = integrate.cumulative_trapezoid(density, grid, initial=0)
    result = stats.kstest(np.asarray(values), lambda x: np.interp(x, grid, cdf / cdf[-1]))
    assert result.pvalue > 1e-3


def test_gradients_stay_finite_at_the_edges():
    def total(raw, x):
        return jnp.sum(mixture_log_prob(value_mixture(raw), x))

    raw = jnp.array([[[0.0, 40.0], [-30.0, 30.0], [-40.0, 60.0]]])
    for x in (0.0, 1e-6, 0.5, 1.0):
        value, grad = jax.value_and_grad(total)(raw, jnp.array([x], jnp.float32))
        assert np.isfinite(value)
        assert np.all(np.isfinite(grad))


@given(seed=st.integers(0, 2**31 - 1), size=st.sampled_from([1, 2, 5, 33, 64, 316]))
@settings(max_examples=40, deadline=None)
def test_only_legal_indices_are_drawn(seed, size):
    rng = np.random.default_rng(seed)
    logits = jnp.array(rng.normal(size=(16, size)) * 20, jnp.float32)
    mask = rng.random((16, size)) < 0.3
    mask[np.arange(16), rng.integers(size, size=16)] = True
    uniform = rng.choice([0.0, 0.5, 1 - 2**-24, rng.random()], size=16).astype(np.float32)
    index = np.asarray(draw_index(logits, jnp.array(mask), jnp.array(uniform)))
    assert mask[np.arange(16), index].all()


def test_indices_follow_the_masked_softmax():
    logits = jnp.array(np.random.default_rng(0).normal(size=50) * 2, jnp.float32)
    mask = jnp.arange(50) % 3 != 1
    uniform = (jnp.arange(40_000) + 0.5) / 40_000
    index = draw_index(jnp.broadcast_to(logits, (40_000, 50)), mask[None] & True, uniform)
    counts = np.bincount(np.asarray(index), minlength=50) / 40_000
    expected = masked_categorical(logits, mask).probs
    np.testing.assert_allclose(counts, expected, atol=1e-4)
    reference = distrax.Categorical(logits=jnp.where(mask, logits, -jnp.inf))
    np.testing.assert_allclose(expected, reference.probs, atol=1e-7)


@pytest.mark.parametrize("legal", [0, 1])
def test_masks_give_no_nan_with_one_legal_action_or_none(legal):
    mask = jnp.arange(4) < legal

    def log_prob(logits):
        return jax.nn.log_softmax(mask_logits(logits, mask))[0]

    value, grad = jax.value_and_grad(log_prob)(jnp.array([3.0, -50.0, 80.0, 0.0]))
    assert np.isfinite(value)
    np.testing.assert_array_equal(grad, 0.0)
