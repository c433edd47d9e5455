"""What a round believes of crystals: proxy, same-crystal term, and distrust of cheap fidelities.

The proxy is fitted twice under one key, to all answers and to the target's alone
(`mfal.proxies.distrust`). Crystals that have answered are believed by conditioning what was
predicted without their answers (`mfal.proxies.coupling`).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.acquisition import JointBelief
from mfal.campaign.config import ProxyConfig
from mfal.campaign.ledger.crystals import crystal_arrays
from mfal.campaign.ledger.records import CrystalRecord
from mfal.campaign.strategy.observations import ScoredRows
from mfal.campaign.strategy.proxy import make_proxy
from mfal.crystals.types import Crystal
from mfal.proxies.coupling import condition, couple, crystals_of, log_density_of_target
from mfal.proxies.dataset import Dataset
from mfal.proxies.distrust import Evidence, mix, weigh
from mfal.proxies.explained import Explained, explained_variance

__all__ = ["BUCKET", "Belief", "Fitted", "make_belief", "pad"]

BUCKET = 256
"""Pools are padded to multiples of this, so that shapes repeat."""


class Fitted(NamedTuple):
    """What is believed after a fit."""

    state: Any
    """Pytree on which `Belief.about` depends."""
    evidence: Evidence
    """What the target's answers say of believing the cheap ones."""
    explained: list[Explained]
    """What each cheap fidelity tells about the target."""
    detail: dict[str, Any]
    """What the ledger keeps of the fit, values for JSON: `correlation` [M, M], `interval` [M]."""
    held: dict[str, int]
    """Row of each crystal (its hash) that has answered."""


class Belief(NamedTuple):
    """How a campaign comes to beliefs; any other with these three functions can take its place."""

    fit: Callable[[ScoredRows, jax.Array], Fitted]
    """(answers, key) to what is believed."""
    about: Callable[[Any, Crystal], tuple[jax.Array, jax.Array]]
    """(`Fitted.state`, a crystal that hasn't answered) to the mean [M] and covariance [M, M] of its
    answers; traceable."""
    joint: Callable[[Fitted, Sequence[CrystalRecord], np.ndarray, np.ndarray], JointBelief]
    """(belief, N crystals, [N, M] which have answered where, [N, M] what) to the joint belief about
    all their answers."""


class _State(NamedTuple):
    coupled: Any
    single: Any
    weight: jax.Array
    correlation: jax.Array


def make_belief(config: ProxyConfig, levels: int) -> Belief:
    """The belief by the configured proxy; the target is the last of `levels` fidelities."""
    proxy = make_proxy(config, levels)

    def both(state: _State, crystal: Crystal) -> tuple[Any, Any]:
        coupled = proxy.forecast(state.coupled, crystal)
        single = coupled if levels == 1 else proxy.forecast(state.single, crystal)
        return coupled, single

    def about(state: _State, crystal: Crystal) -> tuple[jax.Array, jax.Array]:
        coupled, single = both(state, crystal)
        covariance = state.correlation * jnp.outer(coupled.std, coupled.std)
        return mix(coupled.mean, covariance, single.mean[-1], single.std[-1], state.weight)

    forecasts = jax.jit(jax.vmap(both, in_axes=(None, 0)))

    def fit(rows: ScoredRows, key: jax.Array) -> Fitted:
        data = rows.dataset(config.capacity)
        coupled = proxy.fit(data, key)
        if levels == 1:
            state = _State(coupled, None, jnp.ones(()), jnp.eye(1))
            return fitted(state, rows, data, Evidence(1.0, 0.0, 0.0, 0))
        # Masked, not cut out: the shapes stay, and what is compiled serves both fits.
        single = proxy.fit(data._replace(valid=data.valid & (data.fidelity == levels - 1)), key)
        correlation, _ = couple(coupled.held, data)
        found = crystals_of(data, levels)
        mean, std = (np.asarray(leaf, float)[found.rows] for leaf in coupled.held)
        covariance = np.asarray(correlation) * std[:, :, None] * std[:, None, :]
        own = [np.asarray(leaf, float)[found.rows] for leaf in single.held]
        alone = np.zeros_like(covariance) + np.eye(levels) * own[1][:, None, :] ** 2
        evidence = weigh(
            log_density_of_target(mean, covariance, found),
            log_density_of_target(own[0], alone, found),
        )
        state = _State(coupled, single, jnp.float32(evidence.weight), correlation)
        return fitted(state, rows, data, evidence)

    def fitted(state: _State, rows: ScoredRows, data: Dataset, evidence: Evidence) -> Fitted:
        reliability = state.coupled.reliability
        believed = np.asarray(state.correlation) * np.sqrt(evidence.weight)
        detail = {
            "proxy_loss": float(state.coupled.loss),
            "correlation": np.asarray(state.correlation).tolist(),
            "interval": np.asarray(reliability.interval).tolist(),
        }
        explained = explained_variance(data, reliability._replace(correlation=believed))
        return Fitted(state, evidence, explained[:-1], detail, rows.first())

    def joint(
        found: Fitted, records: Sequence[CrystalRecord], answered: np.ndarray, value: np.ndarray
    ) -> JointBelief:
        number, state = len(records), found.state
        crystals = jax.tree.map(pad, crystal_arrays(list(records)))
        coupled, single = jax.tree.map(lambda leaf: np.asarray(leaf, float)[:number], forecasts(
            state, crystals
        ))  # fmt: skip
        mean, std = coupled.mean.copy(), coupled.std.copy()
        # What has answered was predicted by members that have not seen it.
        known = [i for i, record in enumerate(records) if record.hash in found.held]
        rows = [found.held[records[i].hash] for i in known]
        mean[known] = np.asarray(state.coupled.held.mean, float)[rows]
        std[known] = np.asarray(state.coupled.held.std, float)[rows]
        covariance = np.asarray(state.correlation, float) * std[:, :, None] * std[:, None, :]
        mean, covariance = condition(mean, covariance, answered, value)
        mean, covariance = (
            np.asarray(leaf, float)
            for leaf in mix(mean, covariance, single.mean[:, -1], single.std[:, -1], state.weight)
        )
        # Nothing is left to ask where the target itself has answered.
        covariance[answered[:, -1]] = 0.0
        mean[answered] = value[answered]
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :] @ vectors.transpose(0, 2, 1)
        return JointBelief(mean, root, coupled.loading)

    return Belief(fit, about, joint)


def pad(array: Any, *, edge: bool = True) -> np.ndarray:
    """The leading axis filled up to a multiple of `BUCKET`."""
    array = np.asarray(array)
    width = [(0, -len(array) % BUCKET)] + [(0, 0)] * (array.ndim - 1)
    return np.pad(array, width, mode="edge" if edge and len(array) else "constant")
