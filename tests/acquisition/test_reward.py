from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mfal.acquisition import (
    acquisition_params,
    bounded_log_reward,
    default_reward,
    information_gain_per_cost,
    make_log_reward,
)
from mfal.proxies import (
    EnsembleConfig,
    GPConfig,
    make_dataset,
    make_ensemble,
    make_gaussian_process,
)


def identity(x):
    return x


ENSEMBLE = make_ensemble(EnsembleConfig(2, members=5, widths=(16,), steps=100), identity, 1)
SET_UP = jax.jit(partial(acquisition_params, ENSEMBLE.posterior))
COSTS = jnp.array([0.1, 1.0])


def fitted(seed):
    x = np.random.default_rng(seed).uniform(-1, 1, (30, 1)).astype(np.float32)
    value = np.concatenate([x[:, 0], 2 * x[:20, 0]])
    data = make_dataset(np.concatenate([x, x[:20]]), np.repeat([0, 1], [30, 20]), value)
    state = ENSEMBLE.fit(ENSEMBLE.init(jax.random.key(seed)), data, jax.random.key(seed))
    return state, jnp.asarray(x)


def test_reward_is_positive_bounded_and_monotone():
    params = default_reward(0.5, exponent=3.0)
    values = jnp.array([jnp.nan, -1.0, 0.0, 1e-9, 0.1, 0.5, 4.9, 5.0, 1e9, jnp.inf])
    got = np.asarray(bounded_log_reward(params, values))
    assert np.isfinite(got).all()
    assert (np.diff(got) >= 0).all()
    assert got[0] == got[1] == got[2] == pytest.approx(3 * np.log(0.01))
    assert got[5] == pytest.approx(3 * np.log(1.01))
    assert got[-1] == got[-2] == pytest.approx(3 * np.log(10.01))


def test_reward_of_a_state_is_its_gain_per_cost():
    state, x = fitted(0)
    params = SET_UP(state, x, COSTS, 1.5, jax.random.key(1))
    log_reward = jax.jit(make_log_reward(ENSEMBLE.posterior, lambda s: s[0], lambda s: s[1]))
    belief = jax.jit(ENSEMBLE.posterior)(state, x[3])
    gains = jax.jit(information_gain_per_cost)(
        params.information._replace(noise=belief.noise), belief.mean, belief.covariance
    )
    for m in (0, 1):
        expected = bounded_log_reward(params.reward, gains[m])
        assert log_reward(params, (x[3], jnp.int32(m))) == pytest.approx(float(expected), rel=1e-5)


def test_an_exact_process_takes_the_place_of_the_ensemble():
    """Its beliefs, computed in double precision, go through what is compiled in single."""
    process = make_gaussian_process(GPConfig(2, steps=20), identity, 1)
    x = np.random.default_rng(0).uniform(-1, 1, (30, 1)).astype(np.float32)
    value = np.concatenate([np.sin(3 * x[:, 0]), -np.sin(3 * x[:5, 0])])
    data = make_dataset(np.concatenate([x, x[:5]]), np.repeat([0, 1], [30, 5]), value)
    state = process.fit(data)
    set_up = jax.jit(partial(acquisition_params, process.posterior))
    params = set_up(state, jnp.asarray(x), COSTS, 0.9, jax.random.key(1))
    log_reward = make_log_reward(process.posterior, lambda s: s[0], lambda s: s[1])
    batched = jax.jit(jax.vmap(log_reward, in_axes=(None, (0, None))))
    found = batched(params, (jnp.asarray(x), jnp.int32(0)))
    maxima = np.asarray(params.information.maxima, float)
    for row, got in zip(x[:4], found, strict=False):
        mean, covariance = (
            np.asarray(a) for a in process.joint(state, np.stack([row, row]), np.array([0, 1]))
        )
        noise = np.exp(np.asarray(state.params.log_noise)) * np.asarray(state.value_scale)
        gamma = (maxima - mean[1]) / np.sqrt(covariance[1, 1])
        ratio = stats.norm.pdf(gamma) / stats.norm.cdf(gamma)
        answer = (covariance[0, 0] + noise[0] ** 2) * covariance[1, 1]
        lost = covariance[0, 1] ** 2 / answer * ratio * (gamma + ratio)
        gain = np.mean(-0.5 * np.log1p(-lost)) / 0.1
        assert float(got) == pytest.approx(
            float(bounded_log_reward(params.reward, jnp.asarray(gain))), abs=2e-3
        )


def test_new_proxies_do_not_recompile():
    log_reward = make_log_reward(ENSEMBLE.posterior, lambda s: s[0], lambda s: s[1])
    batched = jax.jit(jax.vmap(log_reward, in_axes=(None, 0)))
    results = []
    for seed in (0, 1):
        state, x = fitted(seed)
        params = SET_UP(state, x, COSTS, 1.5, jax.random.key(1))
        results.append(batched(params, (jnp.linspace(-1, 1, 7)[:, None], jnp.ones(7, jnp.int32))))
    assert batched._cache_size() == 1
    assert not np.allclose(*results)


def test_scale_puts_a_high_quantile_of_the_pool_at_one():
    state, x = fitted(2)
    params = SET_UP(state, x, COSTS, 1.5, jax.random.key(1))
    log_reward = jax.jit(make_log_reward(ENSEMBLE.posterior, lambda s: s[0], lambda s: s[1]))
    rewards = [max(float(log_reward(params, (row, jnp.int32(m)))) for m in (0, 1)) for row in x]
    assert 0 < np.sum(np.array(rewards) > 2 * np.log(1.01) + 1e-6) <= 3


def test_what_a_constraint_leaves_out_counts_for_nothing():
    state, x = fitted(3)
    allowed = np.arange(len(x)) % 3 != 0
    key = jax.random.key(1)
    whole = SET_UP(state, x, COSTS, -9.0, key, allowed=allowed)
    part = SET_UP(state, x[allowed], COSTS, -9.0, key)
    np.testing.assert_allclose(whole.information.maxima, part.information.maxima, rtol=1e-4)
    np.testing.assert_allclose(whole.reward.scale, part.reward.scale, rtol=1e-3)
    everything = SET_UP(state, x, COSTS, -9.0, key)
    assert everything.information.maxima.mean() > part.information.maxima.mean()
