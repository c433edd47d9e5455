"""Sendek's logistic regression on structural descriptors."""

from typing import TYPE_CHECKING

from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.oracles.sendek.regression import FEATURES, WEIGHTS, expected_features, probability
    from mfal.oracles.sendek.sampled import Sampled, sampled_features

__all__ = [
    "FEATURES",
    "WEIGHTS",
    "Sampled",
    "expected_features",
    "probability",
    "sampled_features",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "regression": "FEATURES WEIGHTS expected_features probability",
        "sampled": "Sampled sampled_features",
    },
)
