import jax.numpy as jnp
import numpy as np
import pytest

from mfal.proxies.dataset import BELOW, make_dataset
from mfal.proxies.explained import describe_fidelity, explained_variance
from mfal.proxies.relation import unknown_reliability


def explained(low, target, censoring=None):
    x = np.arange(len(target), dtype=np.float32)[:, None]
    data = make_dataset(
        np.concatenate([x[: len(low)], x]),
        np.repeat([0, 1], [len(low), len(target)]),
        np.concatenate([low, target]),
        censoring,
    )
    reliability = unknown_reliability(2)._replace(correlation=jnp.array([[1, -0.5], [-0.5, 1]]))
    return explained_variance(data, reliability)


def test_share_of_a_noisy_relation_with_its_sign_and_interval():
    rng = np.random.default_rng(0)
    target = rng.normal(size=400)
    low = -3 * (target + 2 * rng.normal(size=400)) + 7
    first, last = explained(low, target)
    assert first.share == pytest.approx(0.2, abs=0.06)
    assert first.low < first.share < first.high
    assert first.sign == -1
    assert first.pairs == 400
    assert first.remaining == pytest.approx(0.25)
    assert last.share == pytest.approx(1, abs=1e-4)


def test_useless_fidelities_explain_nothing_on_average():
    rng = np.random.default_rng(1)
    results = [explained(*rng.normal(size=(2, 12)))[0] for _ in range(40)]
    # A plain R^2 would be 1/11 on average; the interval holds zero in nine of ten cases.
    assert np.median([r.share for r in results]) < 0.03
    assert np.mean([r.low == 0 for r in results]) > 0.75


def test_limits_and_unpaired_crystals_do_not_enter():
    censoring = np.where(np.arange(14) == 13, BELOW, 0)
    first = explained(np.arange(4.0), [0.0, 1, 2, 3, 50, 60, 70, 80, 90, -1e3], censoring)[0]
    assert first.pairs == 4
    assert first.share == pytest.approx(1, abs=1e-4)


def test_too_few_crystals_are_said_so():
    first = explained(np.arange(3.0), np.arange(3.0))[0]
    assert np.isnan(first.share)
    assert describe_fidelity("bvse", "experiment", first) == (
        "fidelity bvse: too few crystals in common with experiment (3)"
    )
