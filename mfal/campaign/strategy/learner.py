"""From beliefs to proposals: train, sample, choose. Pure functions of data and a key.

Nothing of one round is carried into the next but the observations, so a round can be computed
again after a kill and comes out the same.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.acquisition import (
    AcquisitionParams,
    Batch,
    acquisition_params,
    bounded_log_reward,
    choose_batch,
    information_gain_per_cost,
    log_expected_improvement,
    make_log_reward,
)
from mfal.acquisition.feasibility import log_feasibility
from mfal.acquisition.success import chance_of_answer, log_chance
from mfal.campaign.config import ProxyConfig, SamplerConfig
from mfal.campaign.problem import Problem
from mfal.campaign.strategy.proxy import CampaignProxy, make_proxy
from mfal.crystals.types import Crystal
from mfal.envs.fidelity import FidelityState, with_fidelity
from mfal.envs.random import log_density, sample_uniformly
from mfal.gflownet.policy import PolicyConfig
from mfal.gflownet.train import Metrics, TrainConfig, Trainer, make_trainer
from mfal.proxies.dataset import Dataset
from mfal.proxies.relation import Posterior

__all__ = [
    "BUCKET",
    "Attempts",
    "Belief",
    "Choice",
    "Draws",
    "Expectation",
    "Learner",
    "ScoredRows",
    "believe",
    "chances",
    "choose",
    "make_learner",
    "pad",
    "train_and_sample",
]

BUCKET = 256
"""Pools are padded to multiples of this."""
_FORBIDDEN = -10.0
"""Added to the log reward of what the user's restrictions rule out: it is not asked about."""


class ScoredRows(NamedTuple):
    """Observations as scores: larger is better."""

    crystal: Crystal
    """[N]"""
    fidelity: np.ndarray
    """[N] int32"""
    score: np.ndarray
    """[N] float32, within the oracle's bounds, sign turned where lower is better."""
    proposed: np.ndarray
    """[N] bool, whether the crystal is one that the campaign proposed, not a known one."""
    censoring: np.ndarray
    """[N] int32, of the score: -1 where it is an upper limit, 1 a lower one, 0 exact."""


class Attempts(NamedTuple):
    """Queries about proposed crystals, whatever came of them."""

    crystal: Crystal
    """[N]"""
    answered: np.ndarray
    """[N] bool."""


class Learner(NamedTuple):
    """The compiled parts, which serve every round."""

    proxy: CampaignProxy
    trainer: Trainer | None
    """None where candidates come from a pool alone, and so is `uniform`."""
    problem: Problem
    costs: np.ndarray
    """[M] float32, CPU s of one query of a proposed crystal."""
    sampler: SamplerConfig
    capacity: int
    """Rows that a fit can hold."""
    size: int
    """Most queries that one choice takes."""
    beliefs: Callable[[Any, Crystal], Posterior]
    """(proxy state, crystals) to a belief about each, jitted."""
    uniform: Callable[..., Any] | None
    """(key, num) to terminal states of the environment without fidelity, jitted."""
    crystals: Callable[[Any], Crystal]
    """A batch of terminal states to a batch of triples, jitted."""
    batch: Callable[..., Batch]
    """The greedy choice over a padded pool, jitted."""
    acquisition: Callable[..., AcquisitionParams]
    """(proxy state, pool, costs, best score, key) to a round's parameters, jitted."""
    chance: Callable[[Any, Crystal], jax.Array]
    """(state of the regression, crystals) to the probability of an answer, jitted."""
    merit: Callable[[AcquisitionParams, jax.Array, Crystal], jax.Array]
    """(a round's parameters, best score, crystals [N]) to what makes each worth asking,
    [N, M + 1], jitted: the log reward at each fidelity, and the log of the expected improvement on
    the best score times the chance of an answer."""


class Belief(NamedTuple):
    """What is believed after a fit."""

    data: Dataset
    proxy: Any
    """State of the proxy, with `reliability` and `loss`."""
    params: AcquisitionParams
    best: float
    """Best score of a proposed crystal at the target fidelity. Known ones are not what is looked
    for: before any other answer, the median of theirs is what is to be improved on."""


class Draws(NamedTuple):
    """Terminal states that the sampler proposes, with their triples and fidelities."""

    states: Any
    """Of the environment without fidelity, leading axis [B]."""
    crystal: Crystal
    fidelity: np.ndarray
    """[B] int32"""
    metrics: Metrics


class Expectation(NamedTuple):
    """What the proxy expects of N crystals at M fidelities, as scores, [N, M] each."""

    mean: np.ndarray
    std: np.ndarray
    """Standard deviation of the true value."""
    noise: np.ndarray
    """Standard deviation of one answer around the true value."""


class Choice(NamedTuple):
    """A batch from a pool."""

    indices: np.ndarray
    """Positions in the pool, in the order of choice."""
    gains: np.ndarray
    """Nats that each adds to those before it."""


@lru_cache(maxsize=4)
def make_learner(
    problem: Problem,
    proxy: ProxyConfig,
    sampler: SamplerConfig,
    batch: int,
    costs: tuple[float, ...],
    *,
    constrained: bool = False,
) -> Learner:
    """Builds the proxy and the sampler for a problem; the same arguments give the same, compiled.

    Args:
      problem: what is searched.
      proxy: of the proxy.
      sampler: of the GFlowNet.
      batch: most queries that one choice takes.
      costs: CPU s of one query of a proposed crystal at each fidelity.
      constrained: whether the reward is weighed by `AcquisitionParams.feasibility` (`constrain`).
    """
    levels = len(problem.oracles)
    model = make_proxy(proxy, levels)
    environment = problem.environment

    def crystal_of(state: FidelityState) -> Crystal:
        return problem.to_crystal(state.inner)

    information = make_log_reward(model.posterior, crystal_of, lambda state: state.fidelity)

    def merit(params: AcquisitionParams, best: jax.Array, crystal: Crystal) -> jax.Array:
        belief = model.posterior(params.proxy, crystal)
        noise = jnp.maximum(belief.noise, params.information.noise)
        about = params.information._replace(noise=noise)
        gains = information_gain_per_cost(about, belief.mean, belief.covariance)
        chance = log_chance(params.success, crystal)
        mean, std = belief.mean[-1], jnp.sqrt(jnp.maximum(belief.covariance[-1, -1], 1e-18))
        improvement = log_expected_improvement(mean, std, jnp.where(best > -jnp.inf, best, 0.0))
        promise = jnp.where(best > -jnp.inf, improvement, mean) + chance
        reward = bounded_log_reward(params.reward, gains) + sampler.sharpness * chance
        found = jnp.append(reward, promise)
        if constrained:
            found += log_feasibility(params.feasibility, crystal.composition)
        return found

    def log_reward(params: AcquisitionParams, state: FidelityState) -> jax.Array:
        # The target is the random search's distribution, weighed by the information. A bare
        # reward would favour whatever there is most of: groups with many free lattice parameters
        # (a power of ten for each) and compositions of many elements.
        assert environment is not None
        reward = information(params, state) + log_density(environment, state.inner)
        # What is unlikely to be answered is not worth asking, however much it would tell.
        reward += sampler.sharpness * log_chance(params.success, crystal_of(state))
        if constrained:
            reward += log_feasibility(params.feasibility, crystal_of(state).composition)
        return reward + jnp.where(problem.allowed(crystal_of(state)), 0.0, _FORBIDDEN)

    trainer, uniform = None, None
    if environment is not None:
        trainer = make_trainer(
            with_fidelity(environment, levels),
            log_reward,
            TrainConfig(
                batch_size=sampler.batch,
                policy=PolicyConfig(hidden=(sampler.width, sampler.width)),
                learning_rate=sampler.learning_rate,
            ),
        )
        uniform = jax.jit(
            lambda key, num: sample_uniformly(environment, key, num), static_argnums=1
        )
    return Learner(
        proxy=model,
        trainer=trainer,
        problem=problem,
        costs=np.asarray(costs, np.float32),
        sampler=sampler,
        capacity=proxy.capacity,
        size=batch,
        beliefs=jax.jit(jax.vmap(model.posterior, in_axes=(None, 0))),
        uniform=uniform,
        crystals=jax.jit(jax.vmap(problem.to_crystal)),
        batch=jax.jit(partial(_choose, model, np.asarray(costs, np.float32), batch)),
        acquisition=jax.jit(
            partial(acquisition_params, model.posterior, exponent=sampler.sharpness)
        ),
        chance=jax.jit(jax.vmap(chance_of_answer, in_axes=(None, 0))),
        merit=jax.jit(jax.vmap(merit, in_axes=(None, None, 0))),
    )


def train_and_sample(
    learner: Learner,
    belief: Belief,
    key: jax.Array,
    callback: Callable[[int, Metrics], None] | None = None,
) -> Draws:
    """Train a fresh sampler on the acquisition and draw candidates with their fidelities."""
    key_init, key_sample = jax.random.split(key)
    sampler = learner.sampler
    assert learner.trainer is not None
    state = learner.trainer.init(key_init)
    state, metrics = learner.trainer.run(state, belief.params, sampler.steps, callback, bar=False)
    samples = learner.trainer.sample(state, belief.params, key_sample, sampler.samples)
    inner = samples.states.inner
    return Draws(
        inner, learner.crystals(inner), np.asarray(samples.states.fidelity, np.int32), metrics
    )


def choose(
    learner: Learner,
    belief: Belief,
    crystal: Crystal,
    fidelity: np.ndarray,
    available: np.ndarray,
    pending: np.ndarray,
    budget: float,
    chance: np.ndarray,
) -> Choice:
    """The batch of greatest joint information per cost among N queries, within a budget.

    Args:
      learner: the compiled parts.
      belief: of this round.
      crystal: [N], the crystals that might be asked about.
      fidelity: [N] int32, at which fidelity each would be asked.
      available: [N] bool, which of them may be chosen.
      pending: positions that are being asked already; a new multiple of the batch's size compiles
        anew.
      budget: CPU s that the batch may take.
      chance: [N], probability that each is answered.
    """
    if not len(fidelity) or budget <= 0:
        return Choice(np.zeros(0, int), np.zeros(0))
    same = np.unique(_rows_of(crystal), axis=0, return_inverse=True)[1].reshape(-1)
    spare = max(-(-len(pending) // learner.size), 1) * learner.size - len(pending)
    batch = learner.batch(
        belief.proxy,
        belief.params.information.maxima,
        jax.tree.map(pad, crystal),
        pad(fidelity),
        pad(same.astype(np.int32)),
        jnp.float32(budget),
        pad(available, edge=False),
        np.pad(pending.astype(np.int32), (0, spare), constant_values=-1),
        pad(chance.astype(np.float32), edge=False),
    )
    indices = np.asarray(batch.indices)
    return Choice(indices[indices >= 0], np.asarray(batch.gains)[indices >= 0])


def believe(learner: Learner, belief: Belief, crystal: Crystal) -> Expectation:
    """What the proxy expects of N crystals at every fidelity."""
    number, levels = len(crystal.space_group_number), len(learner.costs)
    if not number:
        nothing = np.zeros((0, levels))
        return Expectation(nothing, nothing, nothing)
    posterior = learner.beliefs(belief.proxy, jax.tree.map(pad, crystal))
    variance = jnp.diagonal(posterior.covariance, axis1=1, axis2=2)
    return Expectation(
        np.asarray(posterior.mean)[:number],
        np.sqrt(np.asarray(variance))[:number],
        np.asarray(posterior.noise)[:number],
    )


def chances(learner: Learner, belief: Belief, crystal: Crystal) -> np.ndarray:
    """The probability that a query about each of N crystals is answered, [N]."""
    number = len(crystal.space_group_number)
    if not number:
        return np.zeros(0)
    found = learner.chance(belief.params.success, jax.tree.map(pad, crystal))
    return np.asarray(found)[:number]


def _choose(
    model: CampaignProxy,
    costs: np.ndarray,
    size: int,
    proxy: Any,
    maxima: jax.Array,
    crystal: Crystal,
    fidelity: jax.Array,
    same: jax.Array,
    budget: jax.Array,
    available: jax.Array,
    pending: jax.Array,
    chance: jax.Array,
) -> Batch:
    joint = model.joint(proxy, crystal, fidelity, same)
    costs_of = jnp.asarray(costs)[fidelity]
    return choose_batch(
        joint, maxima, costs_of, budget, size, available=available, pending=pending, chance=chance
    )


def pad(array: Any, *, edge: bool = True) -> np.ndarray:
    """The leading axis filled up to a multiple of `BUCKET`, so that shapes repeat."""
    array = np.asarray(array)
    width = [(0, -len(array) % BUCKET)] + [(0, 0)] * (array.ndim - 1)
    return np.pad(array, width, mode="edge" if edge else "constant")


def _rows_of(crystal: Crystal) -> np.ndarray:
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(crystal)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)
