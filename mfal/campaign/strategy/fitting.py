"""From observations to beliefs: the proxy's fit and all that a round's reward depends on.

Pure functions of data and a key; what they compile is the learner's
(`mfal.campaign.strategy.learner`).
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mfal.acquisition import AcquisitionParams
from mfal.acquisition.feasibility import fit_feasibility
from mfal.acquisition.success import SuccessParams, fit_success
from mfal.campaign.strategy.learner import Attempts, Belief, Learner, ScoredRows, pad
from mfal.crystals.types import Crystal
from mfal.proxies.dataset import EXACT, Dataset, make_dataset
from mfal.proxies.explained import describe_fidelity, explained_variance
from mfal.proxies.relation import Reliability

__all__ = ["constrain", "describe_fidelities", "fit_belief"]

_PROHIBITIVE = 1e9
"""CPU seconds that keep the sampler from a fidelity."""


def fit_belief(
    learner: Learner,
    rows: ScoredRows,
    attempts: Attempts,
    space: Callable[[jax.Array], Crystal],
    key: jax.Array,
    *,
    target_only: bool = False,
) -> Belief:
    """Fit the proxy to all rows and set the acquisition up from what it believes.

    The crystals proposed so far and a draw from the space are the pool on which the best
    value that the space holds, and the scale of the reward, are estimated. Known crystals are left
    out: a good one among them would hide what is to be found beside it.

    Args:
      learner: the compiled parts.
      rows: all observations.
      attempts: all queries about proposed crystals, from which the chance of an answer is learnt.
      space: from a key to crystals drawn from the space, always as many: they stand for it where f*
        is estimated.
      key: PRNG key. Two fits under one key leave the same rows out of the same members, so their
        held-out scores can be compared.
      target_only: learn from the target oracle's answers alone, and take the others to say nothing.
    """
    key_init, key_fit, key_space, key_maxima = jax.random.split(key, 4)
    levels = len(learner.problem.oracles)
    data, costs = _dataset(learner, rows), jnp.asarray(learner.costs)
    if target_only:
        at_target = data.fidelity == levels - 1
        # Masked, not cut out: the shapes stay, and what is compiled serves both fits.
        data = data._replace(valid=data.valid & at_target)
        costs = jnp.where(jnp.arange(levels) == levels - 1, costs, _PROHIBITIVE)
    proxy = learner.proxy.fit(data, key_init, key_fit)
    if target_only:
        apart = proxy.reliability._replace(correlation=jnp.eye(levels))
        proxy = proxy._replace(reliability=apart)
    best, drawn = _best(rows, levels - 1), space(key_space)
    everywhere = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), data.crystal, drawn)
    proposed = np.pad(rows.proposed, (0, learner.capacity - len(rows.proposed)))
    allowed = np.concatenate([proposed, np.ones(len(drawn.space_group_number), bool)])
    params = learner.acquisition(
        proxy, everywhere, costs, jnp.float32(best), key_maxima, allowed=allowed
    )
    params = params._replace(success=_fit_chance(drawn, attempts))
    return Belief(data, proxy, _tempered(params, proxy.reliability, rows), best)


def _tempered(
    params: AcquisitionParams, reliability: Reliability, rows: ScoredRows
) -> AcquisitionParams:
    """The reward as sharp as the proxy has shown to deserve.

    With L the log density of the target's held-out answers and L_0 that under a Gaussian of their
    own mean and spread, 1 - exp(-2 (L - L_0)) is the share of the variance that a calibrated
    Gaussian prediction explains, R^2. The exponent counts times R: a proxy that predicts nothing
    would draw the sampler to its errors, and there all proposals are alike.
    """
    scores = rows.score[rows.fidelity == len(params.information.costs) - 1]
    spread = float(np.std(scores)) if len(scores) > 1 else 0.0
    ignorance = -0.5 * math.log(2 * math.pi * math.e) - math.log(max(spread, 1e-6))
    explained = 1.0 - math.exp(-2.0 * max(float(reliability.score[-1]) - ignorance, 0.0))
    exponent = params.reward.exponent * math.sqrt(explained)
    return params._replace(reward=params.reward._replace(exponent=exponent))


def constrain(
    learner: Learner,
    belief: Belief,
    crystal: Crystal,
    label: np.ndarray,
    best: float,
    key: jax.Array,
    told: np.ndarray | None = None,
) -> Belief:
    """Aims the information at the best value under a constraint, and weighs the reward by it.

    Args:
      learner: a `constrained` one.
      belief: of this round.
      crystal: [N], of the space and of those asked about.
      label: [N], 0 to 1: how far each meets the constraint.
      best: best score at the target fidelity among those that may meet it; -inf before there is
        one.
      key: PRNG key of the samples of the maximum.
      told: [N] bool, whose labels teach the regression; all if left out.
    """
    padded = jax.tree.map(pad, crystal)
    valid = pad(np.ones(len(label), bool), edge=False)
    feasible = pad(label > 0, edge=False)
    params = learner.acquisition(
        belief.proxy,
        padded,
        belief.params.information.costs,
        jnp.float32(best),
        key,
        allowed=feasible if feasible.any() else valid,
    )
    taught = valid if told is None else pad(told, edge=False)
    feasibility = fit_feasibility(padded.composition, pad(label), taught)
    reward = params.reward._replace(exponent=belief.params.reward.exponent)
    params = params._replace(feasibility=feasibility, success=belief.params.success, reward=reward)
    return belief._replace(params=params, best=best)


def describe_fidelities(learner: Learner, belief: Belief) -> list[str]:
    """One sentence for each cheap fidelity: what it tells about the target."""
    names = [oracle.name for oracle in learner.problem.oracles]
    found = explained_variance(belief.data, belief.proxy.reliability)
    return [
        describe_fidelity(name, names[-1], explained)
        for name, explained in zip(names[:-1], found, strict=False)
    ]


def _best(rows: ScoredRows, target: int) -> float:
    """The score that is to be improved on; -inf before the target has answered.

    An upper limit has shown nothing that is to be improved on.
    """
    at_target = (rows.fidelity == target) & (rows.censoring >= EXACT)
    if (at_target & rows.proposed).any():
        return float(rows.score[at_target & rows.proposed].max())
    return float(np.median(rows.score[at_target])) if at_target.any() else -np.inf


def _dataset(learner: Learner, rows: ScoredRows) -> Dataset:
    """The rows padded to one capacity for the whole campaign, so that nothing compiles twice."""
    return make_dataset(
        rows.crystal, rows.fidelity, rows.score, rows.censoring, capacity=learner.capacity
    )


def _fit_chance(space: Crystal, attempts: Attempts) -> SuccessParams:
    """The regression of the chance of an answer; where nothing was asked yet, even odds."""
    number = len(attempts.answered)
    crystal = attempts.crystal if number else jax.tree.map(lambda leaf: leaf[:1], space)
    label = attempts.answered if number else np.zeros(1, bool)
    valid = pad(np.full(len(label), number > 0), edge=False)
    return fit_success(
        space, jax.tree.map(pad, crystal), pad(label.astype(np.float32), edge=False), valid
    )
