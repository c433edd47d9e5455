"""Sendek's logistic regression on structural descriptors."""

from typing import TYPE_CHECKING

from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.oracles.sendek.regression import (
        FEATURES,
        WEIGHTS,
        expected_features,
        superionic_probability,
    )
    from mfal.oracles.sendek.sampled import Sampled, sampled_features

__all__ = [
    "FEATURES",
    "WEIGHTS",
    "Sampled",
    "expected_features",
    "sampled_features",
    "superionic_probability",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "regression": "FEATURES WEIGHTS expected_features superionic_probability",
        "sampled": "Sampled sampled_features",
    },
)
