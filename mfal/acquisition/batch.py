"""A batch of questions chosen together: greedy, each in view of those chosen before it.

Taking the best by themselves asks about the same crystal over and over. A Gaussian belief's
covariances after an answer don't depend on what the answer is, so each choice is made as if those
before it (and what is still open) had been answered as expected: what they will tell about the
crystals alike is no longer worth asking for. Greedy choice by worth per cost under a budget is
near-optimal for such sums of diminishing returns (Krause & Guestrin, 2005; Li et al., NeurIPS
2022).
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

__all__ = ["JointBelief", "Pick", "choose_batch"]

_SLACK = 1 + 1e-9
"""Sums of costs such as 0.1 miss their value by less."""
_LEAST = 1e-12


class JointBelief(NamedTuple):
    """Gaussian belief about the answers of N crystals at M fidelities, the target the last.

    The covariance of the answers (i, m) and (j, k) is B_ij sum_l A_i[m, l] A_j[k, l], with B_ij =
    z_i . z_j between different crystals and B_ii = 1: positive semidefinite for loadings |z| <= 1.
    """

    mean: np.ndarray
    """[N, M]"""
    root: np.ndarray
    """[N, M, M], A_i: a square root of the covariance of crystal i's answers, A_i A_i'."""
    loading: np.ndarray
    """[N, E], z_i: how far the errors about a crystal are those about others."""


class Pick(NamedTuple):
    """One question of a batch."""

    crystal: int
    fidelity: int
    worth: float
    """What it was worth when it was chosen, in view of those before it."""


def choose_batch(
    belief: JointBelief,
    worth: Callable[[np.ndarray, np.ndarray, list[tuple[int, int]]], np.ndarray],
    costs: np.ndarray,
    budget: float,
    *,
    available: np.ndarray,
    costs_later: np.ndarray | None = None,
    limits: np.ndarray | None = None,
    pending: Iterable[tuple[int, int]] = (),
    size: int | None = None,
) -> list[Pick]:
    """The greedy batch; it never costs more than the budget, nor a fidelity more than its limit.

    Args:
      belief: about the N crystals.
      worth: from the target's standard deviation [N], that by which each answer moves its mean
        [N, M], and the questions (crystal, fidelity) that were chosen before or are pending, to
        what each question is worth per cost, [N, M].
      costs: [N, M], positive.
      budget: what the batch may cost in all.
      available: [N, M] bool, which questions may be asked. Once the target is asked about a
        crystal, nothing else is.
      costs_later: [N, M], what questions cost about a crystal that another one is asked about in
        the same batch or already; as before if left out.
      limits: [M], what each fidelity may take of it; infinite where nothing limits it.
      pending: (crystal, fidelity) that are being asked already: they count as chosen.
      size: most questions; as many as the budget buys if left out.
    """
    levels = belief.mean.shape[1]
    available, costs, room = available.copy(), np.array(costs, float), np.full(levels, np.inf)
    if limits is not None:
        room = np.array(limits, float)
    covariance = np.einsum("nml,nkl->nmk", belief.root, belief.root)
    told: list[np.ndarray] = []
    chosen: list[tuple[int, int]] = []

    def ask(i: int, m: int) -> None:
        """The covariances once (i, m) has been answered."""
        nonlocal covariance
        available[i, slice(None) if m == levels - 1 else m] = False
        if costs_later is not None:
            costs[i] = costs_later[i]
        chosen.append((i, m))
        shared = belief.loading @ belief.loading[i]
        shared[i] = 1.0
        column = shared[:, None] * (belief.root @ belief.root[i, m])
        for before in told:
            column = column - before * before[i, m]
        variance = column[i, m]
        if variance > _LEAST:
            column = column / np.sqrt(variance)
            covariance = covariance - column[:, :, None] * column[:, None, :]
            told.append(column)

    for i, m in pending:
        ask(i, m)
    picks: list[Pick] = []
    while size is None or len(picks) < size:
        open_ = available & (costs <= budget * _SLACK) & (costs <= room * _SLACK)
        if not open_.any():
            break
        variance = np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0.0)
        shift = np.abs(covariance[:, -1]) / np.sqrt(np.maximum(variance, _LEAST))
        value = np.where(open_, worth(np.sqrt(variance[:, -1]), shift, chosen), -np.inf)
        i, m = divmod(int(np.argmax(value)), levels)
        if not value[i, m] > 0:
            break
        picks.append(Pick(i, m, float(value[i, m])))
        budget -= float(costs[i, m])
        room[m] -= float(costs[i, m])
        ask(i, m)
    return picks
