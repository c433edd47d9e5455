import jax
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import multivariate_normal

from mfal.proxies.dataset import make_dataset
from mfal.proxies.gaussian_process import GPConfig, make_gaussian_process


def identity(x):
    return x


JOINT = make_gaussian_process(GPConfig(2, steps=80), identity, 2)
ALONE = make_gaussian_process(GPConfig(1, steps=80), identity, 2)


def truth(x):
    return np.sin(6 * x[:, 0]) + x[:, 1] ** 2


def fitted(factor, low=60, target=10, seed=0):
    x = np.random.default_rng(seed).uniform(0, 1, (low, 2)).astype(np.float32)
    value = np.concatenate([truth(x), 3 + factor * truth(x[:target])])
    fidelity = np.repeat([0, 1], [low, target])
    data = make_dataset(np.concatenate([x, x[:target]]), fidelity, value, capacity=128)
    return JOINT.fit(data), data


def numpy_covariance(state, x, m, z, k):
    """The module's prior written out again."""
    p = jax.tree.map(np.asarray, state.params)

    def matern(r):
        return (1 + 5**0.5 * r + 5 / 3 * r**2) * np.exp(-(5**0.5) * r)

    first, second = np.exp(p.log_length)
    shared = matern(cdist(x / first, z / first)) * np.outer(p.loading[m], p.loading[k])
    own = matern(cdist(x / second, z / second)) * np.outer(
        np.exp(p.log_own)[m], np.exp(p.log_own)[k]
    )
    return shared + own * (m[:, None] == k[None, :])


def test_conditioning_is_the_textbook_formula():
    state, data = fitted(-2.0)
    rows = np.flatnonzero(data.valid)
    mean, scale = np.asarray(state.feature_mean), np.asarray(state.feature_scale)
    x = (np.asarray(data.crystal, float)[rows] - mean) / scale
    m = np.asarray(data.fidelity)[rows]
    value_mean, value_scale = np.asarray(state.value_mean), np.asarray(state.value_scale)
    y = (np.asarray(data.value, float)[rows] - value_mean[m]) / value_scale[m]
    noise = np.exp(2 * np.asarray(state.params.log_noise))[m] + 1e-6
    new = np.random.default_rng(1).uniform(0, 1, (7, 2))
    z, k = (new - mean) / scale, np.array([0, 1, 1, 0, 1, 0, 1])
    prior = numpy_covariance(state, x, m, x, m) + np.diag(noise)
    cross = numpy_covariance(state, x, m, z, k)
    expected = value_mean[k] + value_scale[k] * (cross.T @ np.linalg.solve(prior, y))
    covariance = numpy_covariance(state, z, k, z, k) - cross.T @ np.linalg.solve(prior, cross)
    got, between = JOINT.joint(state, new, k)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    np.testing.assert_allclose(JOINT.mean(state, new, k), expected, atol=1e-6)
    np.testing.assert_allclose(
        between, covariance * np.outer(value_scale[k], value_scale[k]), atol=1e-6
    )


def test_leave_one_out_is_what_is_predicted_without_the_row():
    state, data = fitted(-2.0)
    mean, std = (np.asarray(a) for a in JOINT.leave_one_out(state))
    rows = np.flatnonzero(data.valid)
    for left in (3, 64):
        keep = rows[rows != left]
        x, m = np.asarray(state.inputs), np.asarray(state.fidelity)
        noise = np.exp(2 * np.asarray(state.params.log_noise))[m] + 1e-6
        prior = numpy_covariance(state, x[keep], m[keep], x[keep], m[keep]) + np.diag(noise[keep])
        cross = numpy_covariance(state, x[keep], m[keep], x[[left]], m[[left]])[:, 0]
        own = numpy_covariance(state, x[[left]], m[[left]], x[[left]], m[[left]])[0, 0]
        solved = np.linalg.solve(prior, cross)
        scale, centre = (np.asarray(a)[m[left]] for a in (state.value_scale, state.value_mean))
        expected = centre + scale * (solved @ np.asarray(state.target)[keep])
        assert mean[left] == pytest.approx(expected, abs=1e-5)
        variance = own - solved @ cross + noise[left]
        assert std[left] == pytest.approx(scale * np.sqrt(variance), rel=1e-4)


def test_a_group_left_out_is_predicted_from_the_others():
    state, data = fitted(-2.0)
    rows = np.flatnonzero(data.valid)
    group = np.arange(len(np.asarray(data.valid))) // 4
    mean, std = JOINT.leave_groups_out(state, group)
    x, m = np.asarray(state.inputs), np.asarray(state.fidelity)
    noise = np.exp(2 * np.asarray(state.params.log_noise))[m] + 1e-6
    keep, left = rows[group[rows] != 15], rows[group[rows] == 15]
    prior = numpy_covariance(state, x[keep], m[keep], x[keep], m[keep]) + np.diag(noise[keep])
    cross = np.linalg.solve(prior, numpy_covariance(state, x[keep], m[keep], x[left], m[left]))
    scale, centre = (np.asarray(a)[m[left]] for a in (state.value_scale, state.value_mean))
    expected = centre + scale * (cross.T @ np.asarray(state.target)[keep])
    np.testing.assert_allclose(mean[left], expected, atol=1e-5)
    own = numpy_covariance(state, x[left], m[left], x[left], m[left])
    shared = numpy_covariance(state, x[left], m[left], x[keep], m[keep]) @ cross
    variance = np.diagonal(own - shared) + noise[left]
    np.testing.assert_allclose(std[left], scale * np.sqrt(variance), rtol=1e-4)
    alone = [np.asarray(a)[rows] for a in JOINT.leave_one_out(state)]
    single = JOINT.leave_groups_out(state, np.arange(len(group)))
    for one, other in zip(alone, single, strict=True):
        np.testing.assert_allclose(one, other[rows], rtol=1e-6)


def test_evidence_is_the_density_of_the_target_given_the_cheap():
    state, data = fitted(-2.0)
    rows = np.flatnonzero(data.valid)
    x, m = np.asarray(state.inputs)[rows], np.asarray(state.fidelity)[rows]
    noise = np.exp(2 * np.asarray(state.params.log_noise))[m] + 1e-6
    prior = numpy_covariance(state, x, m, x, m) + np.diag(noise)
    target, y = m == 1, np.asarray(state.target)[rows]
    cross = np.linalg.solve(prior[~target][:, ~target], prior[~target][:, target])
    given = multivariate_normal(
        cross.T @ y[~target], prior[target][:, target] - prior[target][:, ~target] @ cross
    )
    scale = np.asarray(state.value_scale)[1]
    expected = given.logpdf(y[target]) / target.sum() - np.log(scale)
    assert float(JOINT.evidence(state)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("factor", [1.5, -2.0])
def test_a_cheap_fidelity_of_either_sign_sharpens_the_target(factor):
    x = np.random.default_rng(2).uniform(0, 1, (200, 2))
    target = 3 + factor * truth(x)
    state, data = fitted(factor)
    both = np.asarray(JOINT.joint(state, x, np.ones(200, int))[0])
    rows = np.flatnonzero(np.asarray(data.valid) & (np.asarray(data.fidelity) == 1))
    alone_data = make_dataset(
        np.asarray(data.crystal)[rows], np.zeros(len(rows), int), np.asarray(data.value)[rows],
        capacity=128,
    )  # fmt: skip
    alone = np.asarray(ALONE.joint(ALONE.fit(alone_data), x, np.zeros(200, int))[0])
    assert np.sqrt(np.mean((both - target) ** 2)) < 0.4 * np.sqrt(np.mean((alone - target) ** 2))
    assert np.sign(JOINT.correlation(state)[0, 1]) == np.sign(factor)


def test_belief_at_one_input_is_the_joint_of_its_fidelities():
    state, _ = fitted(-2.0)
    x = np.array([0.3, 0.8])
    with jax.enable_x64(True):
        belief = JOINT.posterior(state, x)
    mean, covariance = JOINT.joint(state, np.stack([x, x]), np.array([0, 1]))
    np.testing.assert_allclose(belief.mean, mean, rtol=1e-9)
    np.testing.assert_allclose(belief.covariance, covariance, atol=1e-9)
    # Far more is known about the cheap fidelity, in the units of each.
    std = np.sqrt(np.diagonal(belief.covariance)) / np.asarray(state.value_scale)
    assert std[0] < std[1]
    assert belief.covariance.dtype == np.float64
    # In single precision around the call, it is the same belief rounded.
    for wide, narrow in zip(belief, JOINT.posterior(state, x), strict=True):
        assert narrow.dtype == np.float32
        np.testing.assert_array_equal(narrow, np.asarray(wide, np.float32))


def test_growing_data_compile_nothing(caplog):
    x = np.random.default_rng(5).uniform(0, 1, (60, 2)).astype(np.float32)

    def answer(rows):
        data = make_dataset(x[:rows], np.zeros(rows, int), truth(x[:rows]), capacity=64)
        ALONE.mean(ALONE.fit(data), x[:5], np.zeros(5, int))

    answer(10)
    with jax.log_compiles(True):
        answer(60)
        compiled = [r.getMessage() for r in caplog.records if "ompil" in r.getMessage()]
        assert not compiled
        jax.jit(lambda y: y + 60)(x).block_until_ready()
    assert any("ompil" in r.getMessage() for r in caplog.records)  # it would have been seen


def test_padding_is_never_seen():
    x = np.random.default_rng(3).uniform(0, 1, (12, 2)).astype(np.float32)
    new = np.random.default_rng(4).uniform(0, 1, (5, 2))
    answers = [
        ALONE.joint(
            ALONE.fit(make_dataset(x, np.zeros(12, int), truth(x), capacity=capacity)),
            new,
            np.zeros(5, int),
        )
        for capacity in (16, 64)
    ]
    for one, other in zip(*answers, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
