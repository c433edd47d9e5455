"""Sendek's regression fitted again, on those of the 40 materials whose structure is known.

Logistic regression on the five features, weakly regularised (a normal prior of width 3 on the
weights of standardised features), by Newton's method; the error counts each material while it is
left out. The published weights and their error on the same materials stand beside it.

    python experiments/sendek_refit.py
"""

import numpy as np

from mfal.data import CONDUCTIVITY, load_set40
from mfal.oracles.sendek.regression import (
    FEATURES,
    WEIGHTS,
    expected_features,
    superionic_probability,
)

FAST = 1e-4  # S/cm
PRIOR = 3.0  # width


def fit(features: np.ndarray, fast: np.ndarray) -> np.ndarray:
    """Weights of the standardised features, and the constant, [6]."""
    design = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    penalty = np.diag([1 / PRIOR**2] * features.shape[1] + [1e-6])
    weights = np.zeros(design.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-design @ weights))
        gradient = design.T @ (chance - fast) + penalty @ weights
        hessian = design.T @ (design * (chance * (1 - chance))[:, None]) + penalty
        weights = weights - np.linalg.solve(hessian, gradient)
    return weights


def main() -> None:
    """Fit, leave one out, print."""
    table = load_set40()
    sigma = table.label_arrays(CONDUCTIVITY).value
    names, rows, measured = [], [], []
    for name, structure, value in zip(table.formulas, table.structures(), sigma, strict=True):
        if structure is None or not np.isfinite(value):
            continue
        names.append(name)
        rows.append(expected_features(structure))
        measured.append(value)
    raw, fast = np.array(rows), (np.array(measured) >= FAST).astype(float)
    mean, std = raw.mean(axis=0), raw.std(axis=0)
    features = (raw - mean) / std

    weights = fit(features, fast)
    left_out = np.empty(len(fast))
    for k in range(len(fast)):
        others = np.arange(len(fast)) != k
        left_out[k] = np.append(features[k], 1.0) @ fit(features[others], fast[others])
    published = superionic_probability(raw)

    print(f"{len(names)} of {len(table)} materials have a structure, {fast.sum():.0f} are fast\n")
    print(f"{'formula':28s} {'S/cm':>9s}  published P  refitted P, left out")
    for name, value, one, z in zip(names, measured, published, left_out, strict=True):
        print(f"{name:28s} {value:9.1e}  {one:11.3f}  {1 / (1 + np.exp(-z)):.3f}")
    plain = np.append(weights[:5] / std, weights[5] - (weights[:5] * mean / std).sum())
    print(f"\n{'weight':34s} {'published':>10s} {'refitted':>10s}")
    for name, one, two in zip((*FEATURES, "constant"), WEIGHTS, plain, strict=True):
        print(f"{name:34s} {one:10.3f} {two:10.3f}")
    inside = features @ weights[:5] + weights[5]
    for name, values in (
        ("published weights", published > 0.5),
        ("refitted, in training", inside > 0),
        ("refitted, left out", left_out > 0),
    ):
        wrong = int((values != (fast > 0)).sum())
        print(f"{name:24s} {wrong} of {len(fast)} wrong, {100 * wrong / len(fast):.0f} %")


if __name__ == "__main__":
    main()
