"""The exact Gaussian process as a model for campaigns, in place of the ensemble."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mfal.proxies.dataset import Dataset
from mfal.proxies.features import NUM_FEATURES, featurise
from mfal.proxies.gaussian_process import GPConfig, GPState, make_gaussian_process
from mfal.proxies.own import Proxy
from mfal.proxies.relation import Posterior

__all__ = ["exact_process"]

# Least variance in standard units: what rounding to single precision may leave of a small one.
_LEAST = 1e-5


def exact_process(
    num_fidelities: int,
    features: Callable[[Any], jax.Array] = featurise,
    num_features: int = NUM_FEATURES,
) -> Proxy:
    """A process with one length scale for all features, for `[proxy] model`.

    Its settings are those of `experiments/obelix_regression.py`. Factorisations cost the cube of
    the campaign's capacity: lower `[proxy] capacity` where few answers will be bought.

    Args:
      num_fidelities: M.
      features: one crystal to numbers [F].
      num_features: F.
    """
    config = GPConfig(num_fidelities, smoothness=1.5, relevance=False, steps=40, noise=0.2)
    process = make_gaussian_process(config, _identity, num_features)

    def fit(data: Dataset, key: jax.Array) -> GPState:
        del key  # the process has nothing to draw
        return jax.tree.map(_narrow, process.fit(data))

    def posterior(state: GPState, x: jax.Array) -> Posterior:
        belief = process.posterior(state, x)
        variance = jnp.maximum(jnp.diagonal(belief.covariance), _LEAST)
        eye = jnp.eye(num_fidelities, dtype=bool)
        return belief._replace(covariance=jnp.where(eye, variance, belief.covariance))

    return Proxy("exact process", "1", fit, posterior, features)


def _identity(features: jax.Array) -> jax.Array:
    """What a `Proxy` sees are features already."""
    return features


def _narrow(leaf: jax.Array) -> jax.Array:
    """A state in single precision, as all that a campaign traces; it was factorised in double."""
    return leaf.astype(jnp.float32) if leaf.dtype == jnp.float64 else leaf
