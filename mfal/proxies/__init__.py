"""Learned predictors with honest uncertainty."""

from mfal.proxies.calibration import (
    conformal_factor,
    coverage,
    crps_gaussian,
    sharpness,
)
from mfal.proxies.dataset import ABOVE, BELOW, EXACT, Dataset, capacity_for, make_dataset
from mfal.proxies.ensemble import Ensemble, EnsembleConfig, ProxyState, make_ensemble
from mfal.proxies.exact import exact_process
from mfal.proxies.explained import Explained, describe_fidelity, explained_variance
from mfal.proxies.features import FEATURE_NAMES, NUM_FEATURES, featurise
from mfal.proxies.gaussian_process import (
    GaussianProcess,
    GPConfig,
    GPState,
    make_gaussian_process,
)
from mfal.proxies.own import OwnProxy, OwnState, Proxy, make_own
from mfal.proxies.relation import Posterior, Prediction, Reliability, posterior

__all__ = [
    "ABOVE",
    "BELOW",
    "EXACT",
    "FEATURE_NAMES",
    "NUM_FEATURES",
    "Dataset",
    "Ensemble",
    "EnsembleConfig",
    "Explained",
    "GPConfig",
    "GPState",
    "GaussianProcess",
    "OwnProxy",
    "OwnState",
    "Posterior",
    "Prediction",
    "Proxy",
    "ProxyState",
    "Reliability",
    "capacity_for",
    "conformal_factor",
    "coverage",
    "crps_gaussian",
    "describe_fidelity",
    "exact_process",
    "explained_variance",
    "featurise",
    "make_dataset",
    "make_ensemble",
    "make_gaussian_process",
    "make_own",
    "posterior",
    "sharpness",
]
