import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.proxies import BELOW, EnsembleConfig, make_dataset, make_ensemble


def identity(x):
    return x


CONFIG = EnsembleConfig(num_fidelities=2, members=8, widths=(32, 32), steps=400, batch_size=64)
ENSEMBLE = make_ensemble(CONFIG, identity, 2)


def low(x):
    return np.sin(3 * x[:, 0]) + 0.5 * x[:, 1]


def fitted(x, fidelity, value, seed=0, **kwargs):
    data = make_dataset(x.astype(np.float32), fidelity, value, capacity=256, **kwargs)
    return ENSEMBLE.fit(ENSEMBLE.init(jax.random.key(seed)), data, jax.random.key(seed + 1))


def predicted(state, x):
    prediction = jax.vmap(ENSEMBLE.predict, in_axes=(None, 0))(state, jnp.asarray(x, jnp.float32))
    return jax.tree.map(np.asarray, prediction)


@pytest.fixture(scope="module")
def negative():
    """Plenty of a cheap fidelity, of which the top is the negative; the scales differ."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (130, 2))
    cheap, top = x[:110], x[90:]
    value = np.concatenate([low(cheap), 40 - 10 * low(top)])
    fidelity = np.repeat([0, 1], [len(cheap), len(top)])
    noise = np.where(fidelity == 0, 0.1, 1.0) * rng.normal(size=len(value))
    return fitted(np.concatenate([cheap, top]), fidelity, value + noise)


def test_predicts_held_out_values_of_both_fidelities(negative):
    x = np.random.default_rng(1).uniform(-1, 1, (200, 2))
    means = predicted(negative, x).members.mean(1)
    for k, truth in enumerate([low(x), 40 - 10 * low(x)]):
        assert np.mean((means[:, k] - truth) ** 2) < 0.12 * np.var(truth)


def test_learns_a_negative_relation(negative):
    assert negative.reliability.correlation[0, 1] < -0.2
    assert negative.reliability.pairs[0, 1] >= 10


def test_cheap_data_help_where_there_are_no_top_data():
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, (150, 2))
    few = x[:12]
    test = rng.uniform(-1, 1, (300, 2))
    truth = -low(test)
    alone = fitted(few, np.ones(12, int), -low(few))
    fidelity = np.repeat([0, 1], [150, 12])
    both = fitted(np.concatenate([x, few]), fidelity, np.concatenate([low(x), -low(few)]))
    error = [
        np.mean((predicted(s, test).members.mean(1)[:, 1] - truth) ** 2) for s in (alone, both)
    ]
    assert error[1] < 0.75 * error[0]


def test_a_useless_fidelity_is_given_no_correlation():
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, (80, 2))
    value = np.concatenate([rng.normal(size=80), low(x) + 0.1 * rng.normal(size=80)])
    state = fitted(np.tile(x, (2, 1)), np.repeat([0, 1], 80), value)
    assert abs(state.reliability.correlation[0, 1]) < 0.25


def test_held_out_answers_find_out_a_cheap_oracle_that_misleads():
    """Another function at the cheap fidelity worsens the top's predictions; the score says so."""
    rng = np.random.default_rng(12)
    x = rng.uniform(-1, 1, (150, 2))
    fidelity, at = np.repeat([0, 1], [150, 24]), np.r_[np.arange(150), np.arange(24)]
    top = low(x) + 0.02 * rng.normal(size=150)
    loss, harm = {}, {}
    for name, cheap in (("good", -2 * low(x)), ("bad", 2 * np.sin(7 * x[:, 1] + 4 * x[:, 0]))):
        value = np.concatenate([cheap, top[:24]])
        data = make_dataset(x[at].astype(np.float32), fidelity, value, capacity=256)
        alone = data._replace(valid=data.valid & (data.fidelity == 1))
        start, key = ENSEMBLE.init(jax.random.key(0)), jax.random.key(1)
        both, own = (ENSEMBLE.fit(start, d, key) for d in (data, alone))
        loss[name] = float(own.reliability.score[1] - both.reliability.score[1])
        errors = [np.abs(predicted(s, x[24:]).members.mean(1)[:, 1] - top[24:]).mean()
                  for s in (both, own)]  # fmt: skip
        harm[name] = errors[0] / errors[1]
    assert harm["good"] < 1 < harm["bad"]
    assert loss["good"] < 0 < 0.2 < loss["bad"]


def test_spread_grows_away_from_the_data(negative):
    inside = np.random.default_rng(4).uniform(-0.8, 0.8, (100, 2))
    outside = np.array([[3.0, 3.0], [-3.0, 3.0], [3.0, -3.0], [-3.0, -3.0]])
    spread = [predicted(negative, x).members.std(1)[:, 1].mean() for x in (inside, outside)]
    assert spread[1] > 2 * spread[0]


def test_an_upper_limit_pushes_the_prediction_down():
    rng = np.random.default_rng(5)
    x = rng.uniform(-1, 1, (60, 2))
    truth = 4 * x[:, 0]
    hidden = truth < -1
    value = np.where(hidden, -1.0, truth)
    test = np.column_stack([np.full(20, -0.9), np.linspace(-1, 1, 20)])
    naive = predicted(fitted(x, np.ones(60, int), value), test)
    tobit = predicted(
        fitted(x, np.ones(60, int), value, censoring=np.where(hidden, BELOW, 0)), test
    )
    assert naive.members.mean(1)[:, 1].mean() > -1.5
    assert tobit.members.mean(1)[:, 1].mean() < -1.9


def test_same_keys_same_bits_and_other_keys_other_bits(negative):
    x = np.random.default_rng(6).uniform(-1, 1, (30, 2))
    one, same = (fitted(x, np.ones(30, int), low(x), seed=3) for _ in range(2))
    other = fitted(x, np.ones(30, int), low(x), seed=4)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.array_equal(a, b)), one, same))
    assert predicted(one, x).members.std() != predicted(other, x).members.std()


def test_growing_data_do_not_recompile_the_fit():
    rng = np.random.default_rng(7)
    x = rng.uniform(-1, 1, (100, 2))
    fitted(x[:10], np.ones(10, int), low(x[:10]))
    before = ENSEMBLE.fit._cache_size()
    fitted(x, np.zeros(100, int), low(x))
    assert ENSEMBLE.fit._cache_size() == before


def test_padding_is_never_seen():
    x = np.random.default_rng(8).uniform(-1, 1, (20, 2))
    data = make_dataset(x.astype(np.float32), np.ones(20, int), low(x), capacity=256)
    poisoned = data._replace(
        value=jnp.where(data.valid, data.value, 1e6),
        fidelity=jnp.where(data.valid, data.fidelity, 0),
        crystal=jnp.where(data.valid[:, None], data.crystal, 77.0),
        censoring=jnp.where(data.valid, data.censoring, 1),
    )
    start = ENSEMBLE.init(jax.random.key(0))
    states = [ENSEMBLE.fit(start, d, jax.random.key(1)) for d in (data, poisoned)]
    np.testing.assert_allclose(*(predicted(s, x).members for s in states), atol=1e-4)


@pytest.mark.parametrize("rows", [0, 1])
def test_hardly_any_data_still_give_finite_predictions_with_spread(rows):
    x = np.zeros((rows, 2))
    state = fitted(x, np.zeros(rows, int), np.ones(rows))
    prediction = predicted(state, np.random.default_rng(9).normal(size=(10, 2)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state, prediction)))
    assert (prediction.members.std(1) > 0.05).all()


def test_values_in_other_units_give_the_same_answers_in_those_units():
    x = np.random.default_rng(10).uniform(-1, 1, (40, 2))
    one = predicted(fitted(x, np.ones(40, int), low(x)), x)
    other = predicted(fitted(x, np.ones(40, int), 1e3 * low(x) - 5e3), x)
    np.testing.assert_allclose(other.members[:, :, 1], 1e3 * one.members[:, :, 1] - 5e3, atol=40)
    np.testing.assert_allclose(other.noise[:, 1], 1e3 * one.noise[:, 1], rtol=0.1)
