"""Models that a campaign is told to learn with."""

import os

import jax.numpy as jnp

from mfal.proxies import Posterior, Proxy

__all__ = ["VERSION", "nothing", "three_lines", "two"]

VERSION = "MFAL_TEST_PROXY_VERSION"
"""Environment variable with the version that the models have."""


def _fit(data, key):
    x = data.crystal * data.valid[:, None]
    spread = jnp.linalg.inv(x.T @ x + x.shape[1] * jnp.eye(x.shape[1]))
    return spread @ x.T @ data.value, spread


def three_lines(levels: int) -> Proxy:
    """Bayesian ridge regression: one line for all fidelities, each with a part of its own."""

    def posterior(state, x):
        weights, spread = state
        own = 0.3 * jnp.eye(levels)
        return Posterior(jnp.full(levels, x @ weights), x @ spread @ x + own, jnp.full(levels, 0.5))

    return Proxy("ridge", os.environ.get(VERSION, "1"), _fit, posterior)


two = three_lines(2)
nothing = "no model"
