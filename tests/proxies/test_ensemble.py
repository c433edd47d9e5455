import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.proxies import ABOVE, BELOW, EnsembleConfig, make_dataset, make_ensemble


def identity(x):
    return x


CONFIG = EnsembleConfig(num_fidelities=2, members=8, widths=(32, 32), steps=400, batch_size=64)
ENSEMBLE = make_ensemble(CONFIG, identity, 2)
pytestmark = pytest.mark.usefixtures("optimised")
PREDICT = jax.jit(jax.vmap(ENSEMBLE.predict, in_axes=(None, 0)))


def low(x):
    return np.sin(3 * x[:, 0]) + 0.5 * x[:, 1]


def fitted(x, fidelity, value, seed=0, **kwargs):
    data = make_dataset(x.astype(np.float32), fidelity, value, capacity=256, **kwargs)
    return ENSEMBLE.fit(ENSEMBLE.init(jax.random.key(seed)), data, jax.random.key(seed + 1))


def predicted(state, x):
    return jax.tree.map(np.asarray, PREDICT(state, jnp.asarray(x, jnp.float32)))


@pytest.fixture(scope="module")
def negative():
    """Plenty of a cheap fidelity, of which the target is the negative; the scales differ."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (130, 2))
    cheap, target = x[:110], x[90:]
    value = np.concatenate([low(cheap), 40 - 10 * low(target)])
    fidelity = np.repeat([0, 1], [len(cheap), len(target)])
    noise = np.where(fidelity == 0, 0.1, 1.0) * rng.normal(size=len(value))
    return fitted(np.concatenate([cheap, target]), fidelity, value + noise)


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
    """Another function at the cheap fidelity worsens the target's predictions, and the score."""
    rng = np.random.default_rng(12)
    x = rng.uniform(-1, 1, (150, 2))
    fidelity, at = np.repeat([0, 1], [150, 24]), np.r_[np.arange(150), np.arange(24)]
    target = low(x) + 0.02 * rng.normal(size=150)
    loss, harm = {}, {}
    for name, cheap in (("good", -2 * low(x)), ("bad", 2 * np.sin(7 * x[:, 1] + 4 * x[:, 0]))):
        value = np.concatenate([cheap, target[:24]])
        data = make_dataset(x[at].astype(np.float32), fidelity, value, capacity=256)
        alone = data._replace(valid=data.valid & (data.fidelity == 1))
        start, key = ENSEMBLE.init(jax.random.key(0)), jax.random.key(1)
        both, own = (ENSEMBLE.fit(start, d, key) for d in (data, alone))
        loss[name] = float(own.reliability.score[1] - both.reliability.score[1])
        errors = [np.abs(predicted(s, x[24:]).members.mean(1)[:, 1] - target[24:]).mean()
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


def test_class_labels_alone_teach_which_side_of_the_threshold():
    """ "Fast" at a threshold is a lower limit, "not fast" an upper one; no number is ever seen."""
    rng = np.random.default_rng(13)
    x = rng.uniform(-1, 1, (160, 2))
    threshold, truth = -4.0, -4 + 3 * x[:, 0] + x[:, 1]
    fast = truth > threshold
    state = fitted(
        x[:100], np.ones(100, int), np.full(100, threshold),
        censoring=np.where(fast[:100], ABOVE, BELOW),
    )  # fmt: skip
    mean = predicted(state, x[100:]).members.mean(1)[:, 1]
    assert np.mean((mean > threshold) == fast[100:]) > 0.9
    assert np.corrcoef(mean, truth[100:])[0, 1] > 0.85


def test_noise_is_learnt_for_each_fidelity_and_place():
    rng = np.random.default_rng(14)
    x = rng.uniform(-1, 1, (220, 2))
    fidelity = np.arange(220) % 2
    loud = np.where(fidelity == 1, np.where(x[:, 0] > 0, 0.6, 0.15), 0.05)
    state = fitted(x, fidelity, low(x) + loud * rng.normal(size=220))
    noise = predicted(state, np.array([[-0.5, 0.0], [0.5, 0.0]])).noise
    assert (noise[:, 0] < 0.5 * noise[1, 1]).all()
    assert noise[1, 1] > 1.7 * noise[0, 1]
    np.testing.assert_allclose(noise[1, 1], 0.6, rtol=0.5)


def test_whole_families_held_out_widen_the_intervals_to_cover_new_families():
    """Twelve near-copies of each of twenty crystals, whose value is the family's own."""
    rng = np.random.default_rng(15)
    place, own = rng.uniform(-1, 1, (60, 2)), 2 * rng.normal(size=60)
    family = np.arange(720) // 12
    x = place[family] + 0.02 * rng.normal(size=(720, 2))
    value = own[family] + 0.1 * rng.normal(size=720)
    known, new = slice(0, 240), slice(240, 720)
    covered = []
    for group in (None, family[known]):
        state = fitted(x[known], np.ones(240, int), value[known], group=group)
        found = predicted(state, x[new])
        std = np.sqrt(found.members.var(1, ddof=1) + found.noise**2)[:, 1]
        half = float(state.reliability.interval[1]) * std
        covered.append(np.mean(np.abs(found.members.mean(1)[:, 1] - value[new]) <= half))
    assert covered[0] < 0.75
    assert covered[1] > 0.8


def test_features_are_standardised_by_what_the_state_holds():
    x = np.random.default_rng(16).uniform(-1, 1, (60, 2))
    one = fitted(x, np.ones(60, int), low(x))
    other = fitted(100 * x + 7, np.ones(60, int), low(x))
    np.testing.assert_allclose(other.feature_mean, 100 * x.mean(0) + 7, rtol=1e-4)
    np.testing.assert_allclose(other.feature_scale, 100 * x.std(0), rtol=1e-3)
    np.testing.assert_allclose(
        predicted(other, 100 * x + 7).members[:, :, 1], predicted(one, x).members[:, :, 1], atol=0.1
    )


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
