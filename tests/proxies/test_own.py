"""A model of one's own: standard units, predictions judged on what was left out, faults named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.errors import MfalError
from mfal.proxies import (
    GPConfig,
    Posterior,
    Proxy,
    exact_process,
    make_dataset,
    make_gaussian_process,
    make_own,
)
from mfal.proxies.own import folds_of

LEVELS, WIDTH, ROWS = 2, 4, 60
SLOPE = np.array([1.0, -2.0, 0.5, 0.0])
NOISE = 0.3


def fit_lines(data, key):
    """Bayesian regression through a column of ones: prior precision 1, noise variance 0.09."""
    x = data.crystal * data.valid[:, None] / NOISE
    spread = jnp.linalg.inv(x.T @ x + jnp.eye(x.shape[1]))
    return spread @ x.T @ data.value / NOISE, spread


def lines(state, x):
    weights, spread = state
    covariance = x @ spread @ x * jnp.ones((LEVELS, LEVELS)) + 0.01 * jnp.eye(LEVELS)
    return Posterior(jnp.full(LEVELS, x @ weights), covariance, jnp.full(LEVELS, NOISE))


LINES = Proxy("lines", "1", fit_lines, lines, features=lambda x: x)


def data(scale=1.0, shift=0.0, noise=0.5, seed=0):
    """Half of the rows at each fidelity, each crystal at both; straight lines and noise."""
    rng = np.random.default_rng(seed)
    x = np.repeat(rng.normal(size=(ROWS // 2, WIDTH)), 2, axis=0).astype(np.float32)
    fidelity = np.arange(ROWS) % 2
    value = x @ SLOPE + noise * rng.normal(size=ROWS)
    return make_dataset(x, fidelity, scale * value + shift, capacity=64)


def test_beliefs_come_back_in_the_units_of_the_scores():
    own, x = make_own(LINES, LEVELS), jnp.array([0.3, -1.0, 0.2, 0.5])
    key = jax.random.key(0)
    plain = own.posterior(own.fit(data(), key), x)
    other = own.posterior(own.fit(data(scale=50.0, shift=-7.0), key), x)
    np.testing.assert_allclose(other.mean, 50 * plain.mean - 7, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(other.covariance, 2500 * plain.covariance, rtol=1e-3)
    np.testing.assert_allclose(other.noise, 50 * plain.noise, rtol=1e-3)
    # The truth lies within what is believed.
    assert abs(float(plain.mean[1]) - float(x @ SLOPE)) < 3 * float(plain.covariance[1, 1]) ** 0.5


def test_the_score_is_that_of_answers_left_out():
    """About the entropy of the noise for the right model; a memory of answers is found out."""
    key = jax.random.key(1)
    found = make_own(LINES, LEVELS).fit(data(), key).reliability
    entropy = 0.5 * np.log(2 * np.pi * np.e * 0.5**2)
    np.testing.assert_allclose(found.score, -entropy, atol=0.35)

    def memory(state, x):
        """The answer about the very crystal, else zero; sure of it either way."""
        near = jnp.sum((state.crystal - x) ** 2, axis=1) < 1e-6
        use = near & state.valid
        mean = jnp.sum(jnp.where(use, state.value, 0)) / jnp.maximum(use.sum(), 1)
        return Posterior(jnp.full(LEVELS, mean), 0.01 * jnp.eye(LEVELS), jnp.full(LEVELS, 0.1))

    rote = Proxy("memory", "1", lambda data, key: data, memory, features=lambda x: x)
    cheat = make_own(rote, LEVELS).fit(data(), key).reliability
    assert (cheat.score < found.score - 1).all()
    assert (cheat.interval > 2 * found.interval).all()


def test_what_is_held_out_has_not_seen_the_crystal():
    own = make_own(LINES, LEVELS)
    rows = data()
    state = own.fit(rows, jax.random.key(2))
    other = rows._replace(value=rows.value.at[0].add(100.0))
    moved = own.fit(other, jax.random.key(2))
    # Its own answer moves the crystal's fit, and what was predicted without it only by a scale.
    assert abs(float(moved.held.mean[0, 0] - state.held.mean[0, 0])) < 20
    assert state.held.std.shape == (len(rows.value), LEVELS)
    assert (np.asarray(state.held.std) > 0).all()


def test_one_key_leaves_the_same_crystals_out():
    own = make_own(LINES, LEVELS)
    states = [own.fit(data(), jax.random.key(seed)) for seed in (3, 3, 4)]
    same, again, other = (np.asarray(state.reliability.score) for state in states)
    np.testing.assert_array_equal(same, again)
    assert (same != other).all()


def test_a_fit_to_the_target_alone_leaves_out_the_same_crystals():
    whole = data()
    target = whole._replace(valid=whole.valid & (whole.fidelity == LEVELS - 1))
    folds = [folds_of(each, jax.random.key(6)) for each in (whole, target)]
    use = np.asarray(target.valid)
    np.testing.assert_array_equal(folds[0][use], folds[1][use])
    assert set(folds[1][use]) == {0, 1, 2, 3}


def test_one_crystal_is_too_few_to_leave_out():
    few = make_dataset(np.ones((2, WIDTH), np.float32), [0, 1], [1.0, 2.0], capacity=64)
    found = make_own(LINES, LEVELS).fit(few, jax.random.key(0)).reliability
    np.testing.assert_array_equal(found.score, 0)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"fit": lambda data, key: 1 / 0}, "fit raised ZeroDivisionError"),
        ({"posterior": lambda state, x: float(x[0])}, "posterior raised"),
        ({"posterior": lambda state, x: x}, "posterior returns .* of shapes"),
        (
            {"posterior": lambda state, x: Posterior(jnp.zeros(3), jnp.eye(3), jnp.ones(3))},
            r"\[\(3,\), \(3, 3\), \(3,\)\]; return a Posterior: mean \[2\]",
        ),
        (
            {"posterior": lambda state, x: lines(state, x)._replace(noise=jnp.zeros(2))},
            "a variance or noise is not positive",
        ),
    ],
)
def test_faults_of_a_model_are_named(changes, named):
    with pytest.raises(MfalError, match=f"proxy lines: .*{named}"):
        make_own(LINES._replace(**changes), LEVELS).fit(data(), jax.random.key(0))


def test_a_fit_may_be_made_by_any_library():
    def fit(data, key):
        use = np.asarray(data.valid)
        x = np.asarray(data.crystal, np.float64)[use] / NOISE
        spread = np.linalg.inv(x.T @ x + np.eye(x.shape[1]))
        return spread @ x.T @ np.asarray(data.value, np.float64)[use] / NOISE, spread

    key, x = jax.random.key(5), jnp.ones(WIDTH)
    by_numpy = make_own(LINES._replace(fit=fit), LEVELS)
    state = by_numpy.fit(data(), key)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.model)} == {jnp.dtype(jnp.float32)}
    own = make_own(LINES, LEVELS)
    expected = own.posterior(own.fit(data(), key), x)
    for found, right in zip(by_numpy.posterior(state, x), expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-3, atol=1e-5)


def test_the_exact_process_is_such_a_model():
    """It finds the lines and the noise, and says by itself how the fidelities are related."""
    own = make_own(exact_process(LEVELS, lambda x: x, WIDTH), LEVELS)
    state = own.fit(data(), jax.random.key(8))
    x = jnp.array([0.3, -1.0, 0.2, 0.5])
    belief = jax.jit(own.posterior)(state, x)
    assert {leaf.dtype for leaf in belief} == {jnp.dtype(jnp.float32)}
    assert abs(float(belief.mean[1]) - float(x @ SLOPE)) < 3 * float(belief.covariance[1, 1]) ** 0.5
    np.testing.assert_allclose(belief.noise, 0.5, rtol=0.4)
    scale = jnp.sqrt(jnp.diagonal(belief.covariance))
    assert belief.covariance[0, 1] / (scale[0] * scale[1]) > 0.5
    # No better than the noise allows; without the model the entropy is that of a spread of 2.4.
    entropy = 0.5 * np.log(2 * np.pi * np.e * 0.5**2)
    np.testing.assert_allclose(state.reliability.score, -entropy, atol=0.6)
    # Rounded to single precision for what traces it, it is the same belief to four digits.
    assert not any(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(state))
    config = GPConfig(LEVELS, smoothness=1.5, relevance=False, steps=40, noise=0.2)
    rows = data()
    wide = make_gaussian_process(config, lambda x: x, WIDTH)
    expected = wide.posterior(wide.fit(rows), x)
    np.testing.assert_allclose(belief.mean, expected.mean, atol=5e-3)
    np.testing.assert_allclose(belief.covariance, expected.covariance, rtol=5e-3)


def test_a_model_may_take_the_crystals_themselves():
    """Pytrees go through as they are: regression on twice "double", the closed form by NumPy."""
    rows = data()
    crystals = {"double": 2 * rows.crystal, "none": jnp.zeros(len(rows.value))}

    def fit(data, key):
        return fit_lines(data._replace(crystal=data.crystal["double"] / 2), key)

    def posterior(state, crystal):
        return lines(state, crystal["double"] / 2)

    raw = make_own(LINES._replace(fit=fit, posterior=posterior, features=None), LEVELS)
    state = raw.fit(rows._replace(crystal=crystals), jax.random.key(7))
    use, level = np.asarray(rows.valid), np.asarray(rows.fidelity)
    value = np.asarray(rows.value, np.float64)[use]
    scale = np.array([value[level[use] == m].std() for m in range(LEVELS)])
    mean = np.array([value[level[use] == m].mean() for m in range(LEVELS)])
    x = np.asarray(rows.crystal, np.float64)[use] / NOISE
    weights = np.linalg.solve(
        x.T @ x + np.eye(WIDTH), x.T @ ((value - mean[level[use]]) / scale[level[use]]) / NOISE
    )
    found = raw.posterior(state, {"double": jnp.full(WIDTH, 2.0), "none": jnp.zeros(())})
    np.testing.assert_allclose(found.mean, mean + scale * weights.sum(), rtol=1e-3, atol=1e-3)
