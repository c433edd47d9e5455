"""A batch of queries chosen together: greedy joint information about the best value, per cost.

Taking the B best by themselves buys the same information B times. Here each pick is conditioned on
the answers still to come from those picked before it (and from queries that are still pending):
by the chain rule I(y_1..y_B; f*) = sum_i I(y_i; f* | y_1..y_{i-1}), and a Gaussian belief's
covariances after an answer don't depend on what the answer is. Greedy choice by information per
cost under a budget is near-optimal for submodular information (Krause & Guestrin, 2005; Li et al.,
NeurIPS 2022).
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from mfal.acquisition.information import information_about_maximum
from mfal.proxies.relation import Posterior, Prediction, Reliability, posterior

__all__ = [
    "Batch",
    "JointBelief",
    "choose_batch",
    "condition",
    "ensemble_belief",
    "joint_gain",
    "separate_belief",
]

_TINY = 1e-12


class JointBelief(NamedTuple):
    """Gaussian belief about N candidate queries: target truth f_i and answer y_i of each."""

    mean: jax.Array
    """[N], of the target truths."""
    truth_variance: jax.Array
    """[N], of the target truths."""
    truth_answer: jax.Array
    """[N, N], covariance of truth f_i with answer y_j."""
    answer: jax.Array
    """[N, N], covariance of the answers, their noise included."""


class Batch(NamedTuple):
    """The queries chosen, in order."""

    indices: jax.Array
    """[B] int32, positions in the pool; -1 once nothing more is affordable."""
    gains: jax.Array
    """[B], nats: information of each pick given those before it."""
    costs: jax.Array
    """[B], CPU s; zero where nothing was chosen."""


def condition(belief: JointBelief, index: jax.Array) -> JointBelief:
    """The belief once y_index has been asked: covariances shrink, means stay at expectation."""
    _assert_belief(belief)
    column = belief.answer[:, index]
    with_truth = belief.truth_answer[:, index]
    variance = jnp.maximum(column[index], _TINY)
    return JointBelief(
        belief.mean,
        jnp.maximum(belief.truth_variance - with_truth**2 / variance, 0.0),
        belief.truth_answer - jnp.outer(with_truth, column) / variance,
        belief.answer - jnp.outer(column, column) / variance,
    )


def joint_gain(belief: JointBelief, maxima: jax.Array) -> jax.Array:
    """Information of each answer about f*, nats, [N]; see `information_about_maximum`.

    A candidate whose answer is already fixed by the belief has none.
    """
    _assert_belief(belief)
    chex.assert_rank(maxima, 1)
    own = jnp.diagonal(belief.truth_answer)
    scale = jnp.sqrt(jnp.maximum(belief.truth_variance * jnp.diagonal(belief.answer), _TINY**2))
    correlation = jnp.clip(jnp.where(scale > _TINY, own / scale, 0.0), -1.0, 1.0)
    std = jnp.sqrt(belief.truth_variance)
    return jax.vmap(information_about_maximum, in_axes=(None, 0, 0, 0))(
        maxima, belief.mean, std, correlation
    )


def choose_batch(
    belief: JointBelief,
    maxima: jax.Array,
    costs: jax.Array,
    budget: jax.Array | float,
    size: int,
    *,
    available: jax.Array | None = None,
    pending: jax.Array | None = None,
    chance: jax.Array | None = None,
) -> Batch:
    """Greedy batch by joint information per unit cost, within a budget.

    Args:
      belief: about the N candidates (the pending ones among them).
      maxima: [K], samples of f*.
      costs: [N], positive.
      budget: CPU s that the batch may spend in all.
      size: B, largest number of queries, static.
      available: [N] bool, which candidates may be chosen; all if left out.
      pending: [P] int32, positions of queries already under way (-1 for none): they count as
        chosen, cost nothing and are not chosen again.
      chance: [N], probability that each is answered: information counts times this. One if left
        out.

    Returns:
      the batch; it never costs more than the budget.
    """
    costs = jnp.asarray(costs, float)
    free = jnp.ones(len(costs), bool) if available is None else available
    chex.assert_equal_shape([belief.mean, costs, free])
    if chance is not None:
        chex.assert_equal_shape([belief.mean, chance])
    if pending is not None:

        def await_one(
            carry: tuple[JointBelief, jax.Array], index: jax.Array
        ) -> tuple[tuple[JointBelief, jax.Array], None]:
            belief, free = carry
            after = condition(belief, index)
            real = index >= 0
            belief = jax.tree.map(lambda a, b: jnp.where(real, a, b), after, belief)
            return (belief, free & ~(real & (jnp.arange(len(free)) == index))), None

        (belief, free), _ = jax.lax.scan(await_one, (belief, free), pending)

    def pick(
        carry: tuple[JointBelief, jax.Array, jax.Array], _: None
    ) -> tuple[tuple[JointBelief, jax.Array, jax.Array], tuple[jax.Array, jax.Array, jax.Array]]:
        belief, free, left = carry
        gains = joint_gain(belief, maxima)
        if chance is not None:
            gains = gains * chance
        # A relative slack of float32: ten costs of 0.1 fit into a budget of 1.
        affordable = free & (costs <= left * (1 + 1e-6))
        best = jnp.argmax(jnp.where(affordable, gains / costs, -jnp.inf)).astype(jnp.int32)
        found = affordable[best]
        spent = jnp.where(found, costs[best], 0.0)
        after = condition(belief, best)
        belief = jax.tree.map(lambda a, b: jnp.where(found, a, b), after, belief)
        free = free & (jnp.arange(len(free)) != best)
        result = (jnp.where(found, best, -1), jnp.where(found, gains[best], 0.0), spent)
        return (belief, free, left - spent), result

    start = (belief, free, jnp.asarray(budget, costs.dtype))
    _, (indices, gains, spent) = jax.lax.scan(pick, start, None, length=size)
    return Batch(indices, gains, spent)


def _assert_belief(belief: JointBelief) -> None:
    size = belief.mean.shape[0]
    chex.assert_shape(belief.truth_variance, (size,))
    chex.assert_shape([belief.truth_answer, belief.answer], (size, size))


def ensemble_belief(
    predictions: Prediction,
    reliability: Reliability,
    fidelity: jax.Array,
    same: jax.Array,
    *,
    shrinkage: float = 0.2,
) -> JointBelief:
    """The joint belief about candidate queries from an ensemble's predictions.

    Covariance between (crystal i, fidelity m) and (crystal j, fidelity k) is taken as separable:
    sd_im sd_jk C_mk S_ij, with C the learned correlation between fidelities and S the members'
    correlation between crystals. S has a rank below the number of members, so a share of it is
    replaced by the identity of crystals; products of positive semidefinite matrices stay so.

    Args:
      predictions: members [N, E, M] and noise [N, M], from a `vmap` over N candidates.
      reliability: of the fitted ensemble.
      fidelity: [N] int32, the fidelity at which each candidate would be asked.
      same: [N] int32, equal for candidates of the same crystal.
      shrinkage: share of the identity in S, 0 to 1.
    """
    chex.assert_equal_shape([fidelity, same])
    chex.assert_shape(predictions.members, (len(fidelity), None, None))
    beliefs: Posterior = jax.vmap(posterior, in_axes=(0, None))(predictions, reliability)
    index = jnp.arange(len(fidelity))
    std = jnp.sqrt(jnp.diagonal(beliefs.covariance, axis1=1, axis2=2))
    own_std, target_std = std[index, fidelity], std[:, -1]
    deviation = predictions.members - jnp.mean(predictions.members, axis=1, keepdims=True)
    deviation = deviation / (jnp.sqrt(jnp.sum(deviation**2, axis=1, keepdims=True)) + _TINY)
    # Every fidelity is a view of the same similarity of crystals: their mean is the least noisy.
    # All digits, on accelerators too: covariances have to stay positive semidefinite.
    between = jnp.einsum("iem,jem->ij", deviation, deviation, precision=jax.lax.Precision.HIGHEST)
    between = between / deviation.shape[-1]
    equal = same[:, None] == same[None, :]
    between = jnp.where(equal, 1.0, (1 - shrinkage) * between)
    relation = reliability.correlation
    # How strongly each candidate's own fidelity speaks of its target, weakened as in `posterior`.
    with_target = beliefs.covariance[index, fidelity, -1] / (own_std * target_std)
    learned = relation[fidelity, -1]
    weak = jnp.where(
        jnp.abs(learned) > 1e-9, with_target / jnp.where(learned == 0, 1, learned), 0.0
    )
    weak = jnp.where(fidelity == relation.shape[0] - 1, 1.0, weak)
    answers = relation[fidelity][:, fidelity] * jnp.outer(weak, weak)
    answers = jnp.where(equal & (fidelity[:, None] == fidelity[None, :]), 1.0, answers)
    noise = predictions.noise[index, fidelity] ** 2
    return JointBelief(
        mean=beliefs.mean[:, -1],
        truth_variance=target_std**2,
        truth_answer=jnp.outer(target_std, own_std) * between * (relation[-1, fidelity] * weak),
        answer=jnp.outer(own_std, own_std) * between * answers + jnp.diag(noise),
    )


def separate_belief(beliefs: Posterior, fidelity: jax.Array, same: jax.Array) -> JointBelief:
    """The joint belief about candidate queries where crystals tell nothing of each other.

    For proxies that give a belief about one crystal at a time: answers about the same crystal are
    related as the belief says, those about different ones are independent.

    Args:
      beliefs: [N], one for each candidate.
      fidelity: [N] int32, the fidelity at which each candidate would be asked.
      same: [N] int32, equal for candidates of the same crystal.
    """
    index = jnp.arange(len(fidelity))
    equal = same[:, None] == same[None, :]
    # Row i holds the covariances of candidate i's truths with the answers of every candidate j.
    with_answers = beliefs.covariance[:, :, fidelity]
    noise = beliefs.noise[index, fidelity] ** 2
    return JointBelief(
        mean=beliefs.mean[:, -1],
        truth_variance=beliefs.covariance[:, -1, -1],
        truth_answer=jnp.where(equal, with_answers[:, -1], 0.0),
        answer=jnp.where(equal, with_answers[index, fidelity], 0.0) + jnp.diag(noise),
    )
