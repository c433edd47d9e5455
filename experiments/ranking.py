"""How well scores rank materials, alone and combined by ridge regression.

Intervals redraw whole materials, and a regression is judged on materials that it was not fitted to.
Imported by `oracles_vs_experiment.py`.
"""

import math
import warnings
from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata, spearmanr

__all__ = [
    "FOLDS",
    "auc",
    "bootstrap",
    "cross_validated",
    "folds",
    "nested",
    "ridge",
    "with_curves",
]

BOOTSTRAPS = 500
FOLDS = 10


def auc(scores: np.ndarray, fast: np.ndarray) -> float:
    """Chance that a fast material scores higher than a slow one."""
    n, m = int(fast.sum()), int((~fast).sum())
    if n == 0 or m == 0:
        return math.nan
    return float((rankdata(scores)[fast].sum() - n * (n + 1) / 2) / (n * m))


def bootstrap(
    groups: np.ndarray, measure: Callable[[np.ndarray], float], seed: int = 0
) -> tuple[float, float, float]:
    """A measure on all rows and its 90 % interval, whole materials redrawn."""
    rng = np.random.default_rng(seed)
    names, number = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(number == k) for k in range(len(names))]
    values = []
    for _ in range(BOOTSTRAPS):
        rows = np.concatenate([members[k] for k in rng.integers(0, len(names), len(names))])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values.append(measure(rows))
    low, high = np.nanquantile(values, [0.05, 0.95])
    return measure(np.arange(len(groups))), float(low), float(high)


def folds(groups: np.ndarray, seed: int = 0) -> np.ndarray:
    """Fold of each row, materials kept together."""
    names, number = np.unique(groups, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(names)) % FOLDS)[number]


def cross_validated(features: np.ndarray, target: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Ridge regression's predictions for rows it was not fitted on."""
    predictions = np.empty(len(target))
    for k in np.unique(fold):
        predictions[fold == k] = ridge(features, target, fold != k)[fold == k]
    return predictions


def ridge(features: np.ndarray, target: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Predictions for all rows of a ridge regression fitted on some.

    Missing scores take the median of the training rows and add an indicator. The penalty is chosen
    by the closed-form leave-one-out error on the training rows.
    """
    middle = np.nanmedian(features[train], axis=0)
    missing = np.isnan(features)
    filled = np.where(missing, middle, features)
    indicators = missing[:, missing[train].any(axis=0)]
    inputs = np.concatenate([filled, indicators], axis=1)
    mean, std = inputs[train].mean(axis=0), inputs[train].std(axis=0) + 1e-9
    inputs = np.clip((inputs - mean) / std, -3, 3)
    centre = target[train].mean()
    u, s, vt = np.linalg.svd(inputs[train], full_matrices=False)
    projected = u.T @ (target[train] - centre)
    best = (np.inf, np.zeros(inputs.shape[1]))
    for penalty in np.logspace(-1, 4, 16):
        shrink = s**2 / (s**2 + penalty)
        leverage = (u**2) @ shrink
        residual = (target[train] - centre - u @ (shrink * projected)) / (1 - leverage)
        error = float((residual**2).mean())
        if error < best[0]:
            best = (error, vt.T @ (s / (s**2 + penalty) * projected))
    return np.asarray(centre + inputs @ best[1])


def nested(
    candidates: dict[str, np.ndarray], target: np.ndarray, groups: np.ndarray, seed: int
) -> tuple[np.ndarray, dict[str, int]]:
    """Predictions by the combination that does best inside the training rows of each fold.

    Returns them and how often each combination was chosen.
    """
    predictions, chosen = np.empty(len(target)), dict.fromkeys(candidates, 0)
    fold = folds(groups, seed)
    for k in np.unique(fold):
        train = fold != k
        inner = folds(groups[train], seed + 1)
        worth = {
            name: spearmanr(cross_validated(x[train], target[train], inner), target[train])[0]
            for name, x in candidates.items()
        }
        best = max(worth, key=lambda name: worth[name])
        chosen[best] += 1
        predictions[~train] = ridge(candidates[best], target, train)[~train]
    return predictions, {name: count for name, count in chosen.items() if count}


def with_curves(features: np.ndarray) -> np.ndarray:
    """Scores, their squares and their products: ridge regression then bends and combines them."""
    middle, spread = np.nanmedian(features, axis=0), np.nanstd(features, axis=0) + 1e-9
    scaled = np.clip((features - middle) / spread, -2.5, 2.5)
    i, j = np.triu_indices(features.shape[1])
    return np.concatenate([scaled, scaled[:, i] * scaled[:, j]], axis=1)
