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

from .information import information_about_maximum

__all__ = [
    "Batch",
    "JointBelief",
    "choose_batch",
    "condition",
    "joint_gain",
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
