"""Combining the oracles' scores without fooling oneself."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

FOLDER = Path(__file__).parents[2] / "experiments"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module("ranking")
    sys.path.remove(str(FOLDER))


def test_choosing_inside_the_folds_finds_nothing_in_noise(script):
    rng = np.random.default_rng(0)
    target, groups = rng.normal(size=120), np.arange(120)
    candidates = {str(k): rng.normal(size=(120, 3)) for k in range(8)}
    apparent, honest = [], []
    for seed in range(2):
        fold = script.folds(groups, seed)
        apparent.append(
            max(
                spearmanr(script.cross_validated(x, target, fold), target)[0]
                for x in candidates.values()
            )
        )
        predicted, chosen = script.nested(candidates, target, groups, seed)
        assert sum(chosen.values()) == script.FOLDS
        honest.append(spearmanr(predicted, target)[0])
    assert np.mean(honest) < 0.05
    assert np.mean(honest) < np.mean(apparent)  # the best of eight, on the rows it was chosen on


def test_choosing_inside_the_folds_keeps_what_is_there(script):
    rng = np.random.default_rng(1)
    features, groups = rng.normal(size=(120, 2)), np.arange(120) // 2
    target = features @ [1.0, -0.5] + 0.3 * rng.normal(size=120)
    candidates = {"noise": rng.normal(size=(120, 4)), "signal": features}
    predicted, chosen = script.nested(candidates, target, groups, 0)
    assert chosen == {"signal": script.FOLDS}
    assert spearmanr(predicted, target)[0] > 0.9


def test_materials_stay_in_one_fold(script):
    groups = np.random.default_rng(2).integers(0, 30, 200).astype(str)
    fold = script.folds(groups)
    assert all(len(set(fold[groups == name])) == 1 for name in set(groups))


def test_missing_scores_are_filled_from_the_training_rows(script):
    features = np.array([[0.0], [1.0], [2.0], [np.nan], [3.0], [np.nan]])
    target = np.array([0.0, 1.0, 2.0, 1.0, 3.0, 9.0])
    train = np.array([True, True, True, True, True, False])
    # The last row's own target must not matter.
    first = script.ridge(features, target, train)
    second = script.ridge(features, np.append(target[:-1], -9.0), train)
    np.testing.assert_array_equal(first, second)
    assert np.isfinite(first).all()
