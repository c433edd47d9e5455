import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from mfal.gflownet.distributions import (
    BoundedMixture,
    MaskedCategorical,
    Mixture,
    TruncatedLogistic,
    mask_logits,
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
    density = jax.jit(lambda x: jnp.exp(BoundedMixture(MIXTURE).log_prob(x)))
    total, _ = integrate.quad(
        lambda x: float(density(np.float32(x))), 0, 1, points=[0.1], limit=200
    )
    assert total == pytest.approx(1, abs=1e-4)
    reference = distrax.MixtureSameFamily(
        distrax.Categorical(logits=MIXTURE.log_weight),
        TruncatedLogistic(MIXTURE.loc, MIXTURE.scale),
    )
    x = jnp.linspace(0.01, 0.99, 50)
    found = BoundedMixture(MIXTURE).log_prob(x)
    np.testing.assert_allclose(found, reference.log_prob(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("how", ["invert", "sample"])
def test_sampler_and_density_are_the_same_distribution(how):
    count = 20_000
    if how == "invert":
        uniform = jax.random.uniform(jax.random.key(0), (2, count))
        many = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, 3)), MIXTURE)
        values = jax.jit(lambda mixture: BoundedMixture(mixture).invert(*uniform))(many)
    else:
        sample = BoundedMixture(MIXTURE).sample
        values = jax.jit(lambda key: sample(seed=key, sample_shape=(count,)))(jax.random.key(0))
    grid = np.linspace(0, 1, 2001)
    density = np.exp(BoundedMixture(MIXTURE).log_prob(jnp.array(grid)))
    cdf = integrate.cumulative_trapezoid(density, grid, initial=0)
    result = stats.kstest(np.asarray(values), lambda x: np.interp(x, grid, cdf / cdf[-1]))
    assert result.pvalue > 1e-3


def test_gradients_stay_finite_at_the_edges():
    @jax.jit
    @jax.value_and_grad
    def gradient(raw, x):
        return jnp.sum(BoundedMixture(value_mixture(raw)).log_prob(x))

    raw = jnp.array([[[0.0, 40.0], [-30.0, 30.0], [-40.0, 60.0]]])
    for x in (0.0, 1e-6, 0.5, 1.0):
        value, grad = gradient(raw, jnp.array([x], jnp.float32))
        assert np.isfinite(value)
        assert np.all(np.isfinite(grad))


@jax.jit
def draw(logits, mask, uniform):
    return MaskedCategorical(logits, mask).invert(uniform)


@given(seed=st.integers(0, 2**31 - 1), size=st.sampled_from([1, 2, 5, 33, 64, 316]))
@settings(max_examples=12, deadline=None)
def test_only_legal_indices_are_drawn(seed, size):
    rng = np.random.default_rng(seed)
    logits = jnp.array(rng.normal(size=(16, size)) * 20, jnp.float32)
    mask = rng.random((16, size)) < 0.3
    mask[np.arange(16), rng.integers(size, size=16)] = True
    uniform = rng.choice([0.0, 0.5, 1 - 2**-24, rng.random()], size=16).astype(np.float32)
    index = np.asarray(draw(logits, mask, uniform))
    assert mask[np.arange(16), index].all()


def test_indices_follow_the_masked_softmax():
    logits = jnp.array(np.random.default_rng(0).normal(size=50) * 2, jnp.float32)
    mask = jnp.arange(50) % 3 != 1
    uniform = (jnp.arange(40_000) + 0.5) / 40_000
    many = MaskedCategorical(
        jnp.broadcast_to(logits, (40_000, 50)), mask[None] & (uniform >= 0)[:, None]
    )
    counts = np.bincount(np.asarray(many.invert(uniform)), minlength=50) / 40_000
    one = MaskedCategorical(logits, mask)
    np.testing.assert_allclose(counts, one.probs, atol=1e-4)
    drawn = one.sample(seed=jax.random.key(0), sample_shape=(40_000,))
    np.testing.assert_allclose(np.bincount(drawn, minlength=50) / 40_000, one.probs, atol=0.01)
    reference = distrax.Categorical(logits=jnp.where(mask, logits, -jnp.inf))
    np.testing.assert_allclose(one.probs, reference.probs, atol=1e-7)
    legal = jnp.flatnonzero(mask)
    np.testing.assert_allclose(one.log_prob(legal), reference.log_prob(legal), atol=1e-5)
    assert one.mode() == reference.mode()
    probs = np.asarray(reference.probs)[np.asarray(legal)]
    assert one.entropy() == pytest.approx(-(probs * np.log(probs)).sum(), abs=1e-5)


@pytest.mark.parametrize("legal", [0, 1])
def test_masks_give_no_nan_with_one_legal_action_or_none(legal):
    mask = jnp.arange(4) < legal

    def log_prob(logits):
        return jax.nn.log_softmax(mask_logits(logits, mask))[0]

    value, grad = jax.value_and_grad(log_prob)(jnp.array([3.0, -50.0, 80.0, 0.0]))
    assert np.isfinite(value)
    np.testing.assert_array_equal(grad, 0.0)
