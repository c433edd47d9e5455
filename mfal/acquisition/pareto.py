"""Candidates that no other one beats in every objective.

A point is on the Pareto front if no other point is at least as good in all objectives and better in
one. For conductors: log sigma against the width of the stability window, among the candidates that
meet the constraints.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["pareto_front", "pareto_ranks"]


def pareto_front(
    values: ArrayLike,
    *,
    maximise: Sequence[bool] | bool = True,
    feasible: ArrayLike | None = None,
) -> NDArray[np.bool_]:
    """Which points are on the front, [N] bool.

    Args:
      values: [N, K], objectives in columns; points with a NaN are never on the front, infinities
        are.
      maximise: whether larger is better, for all objectives or one by one.
      feasible: [N] bool, points that meet the constraints; the others neither count nor beat.

    >>> pareto_front([[-3.0, 2.0], [-4.0, 1.0], [-5.0, 4.0]])
    array([ True, False,  True])
    """
    points = _gains(values, maximise)
    allowed = _allowed(points, feasible)
    front = np.zeros(len(points), dtype=bool)
    front[np.flatnonzero(allowed)] = ~_dominated(points[allowed])
    return front


def pareto_ranks(
    values: ArrayLike,
    *,
    maximise: Sequence[bool] | bool = True,
    feasible: ArrayLike | None = None,
) -> NDArray[np.int64]:
    """The front a point belongs to once the better fronts are taken away, [N].

    0 is the Pareto front, 1 the front of the rest, and so on; -1 where there is a NaN or the
    constraints aren't met. Arguments as in `pareto_front`.
    """
    points = _gains(values, maximise)
    left = _allowed(points, feasible)
    ranks = np.full(len(points), -1, dtype=np.int64)
    rank = 0
    while left.any():
        indices = np.flatnonzero(left)
        front = indices[~_dominated(points[indices])]
        ranks[front] = rank
        left[front] = False
        rank += 1
    return ranks


def _gains(values: ArrayLike, maximise: Sequence[bool] | bool) -> NDArray[np.float64]:
    points = np.asarray(values, dtype=np.float64)
    if points.ndim != 2:
        raise ValueError(f"values need two axes, points and objectives, not {points.ndim}")
    directions = np.broadcast_to(np.asarray(maximise, dtype=bool), points.shape[1:])
    return np.where(directions, points, -points)


def _allowed(points: NDArray[np.float64], feasible: ArrayLike | None) -> NDArray[np.bool_]:
    allowed = np.array([not np.isnan(point).any() for point in points], dtype=bool)
    if feasible is not None:
        allowed &= np.asarray(feasible, dtype=bool)
    return allowed


def _dominated(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[N] bool. Time N² K, memory N K: fronts are taken of thousands of points, not of millions."""
    dominated = np.zeros(len(points), dtype=bool)
    for index, point in enumerate(points):
        better = (points >= point).all(axis=1) & (points > point).any(axis=1)
        dominated[index] = better.any()
    return dominated
