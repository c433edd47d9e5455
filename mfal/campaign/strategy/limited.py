"""The batch of greatest information under a limit for each oracle."""

from collections.abc import Callable, Sequence

import numpy as np

from mfal.campaign.strategy.learner import Choice

__all__ = ["choose_within"]

_SLACK = 1 + 1e-9
"""Sums of costs such as 0.1 miss their value by less."""


def choose_within(
    choose: Callable[[np.ndarray, np.ndarray, float], Choice],
    fidelity: np.ndarray,
    available: np.ndarray,
    pending: np.ndarray,
    budget: float,
    limits: Sequence[float],
    *,
    costs: Sequence[float] | np.ndarray,
    size: int,
) -> Choice:
    """A greedy choice, while no fidelity takes more than its limit.

    The greedy choice knows one budget. A fidelity whose next query would overstep its own is
    closed, and the choice goes on from what was picked before.

    Args:
      choose: ([N] bool which are available, positions that are being asked, CPU s to spend)
        to the greedy choice.
      fidelity: [N] int32, at which fidelity each would be asked.
      available: [N] bool, which of them may be chosen.
      pending: positions that are being asked already.
      budget: CPU s that the batch may take.
      limits: [M], CPU s that each fidelity may take; infinite where nothing limits it.
      costs: [M], CPU s of a query at each fidelity.
      size: most queries in all.
    """
    left, costs = np.asarray(limits, float), np.asarray(costs, float)
    available = available.copy()
    picked: list[int] = []
    gains: list[float] = []
    while True:
        available &= (costs <= left * _SLACK)[fidelity]
        waiting = np.concatenate([pending, picked]).astype(int)
        choice = choose(available, waiting, budget)
        closed = None
        for i, gain in zip(choice.indices.tolist(), choice.gains.tolist(), strict=True):
            level, room = int(fidelity[i]), len(picked) < size
            if not room or costs[level] > left[level] * _SLACK:
                closed = level
                break
            left[level] -= costs[level]
            budget -= float(costs[level])
            available[i] = False
            picked.append(i)
            gains.append(gain)
        if closed is None or len(picked) == size:
            return Choice(np.array(picked, int), np.array(gains))
        available[fidelity == closed] = False
