"""Synthetic problems with several fidelities and known optima, to measure search methods on.

All are maximised over the unit cube; fidelity 0 is the cheapest, the last one is the target. NumPy
in float64: they stand for experiments, not for models.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = [
    "Problem",
    "augmented_branin",
    "augmented_hartmann",
    "dial",
    "reversed_hartmann",
    "three_branins",
]


class Problem(NamedTuple):
    """A function at several fidelities."""

    name: str
    dimension: int
    costs: tuple[float, ...]
    """Of one query at each fidelity; the target costs one."""
    evaluate: Callable[[np.ndarray, int], np.ndarray]
    """(points [n, D] in the unit cube, fidelity) to values [n], larger is better."""
    optimum: float
    """Greatest value of the target fidelity."""


_BRANIN_LOW, _BRANIN_SPAN = np.array([-5.0, 0.0]), 15.0
_BRANIN_MINIMUM = 0.39788735772973816


def branin(x1: np.ndarray, x2: np.ndarray) -> np.ndarray:
    """Branin's function, to be minimised: x1 in [-5, 10], x2 in [0, 15].

    >>> round(float(branin(1.0, 2.0)), 4)
    21.6276
    """
    bracket = x2 - 5.1 / (4 * np.pi**2) * x1**2 + 5 * x1 / np.pi - 6
    return np.asarray(bracket**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x1) + 10)


def perdikaris_branin(x1: np.ndarray, x2: np.ndarray, fidelity: int) -> np.ndarray:
    """Three fidelities of Perdikaris et al., Proc. R. Soc. A 473, 20160751 (2017).

    >>> [round(float(perdikaris_branin(1.0, 2.0, m)), 3) for m in range(3)]
    [-7.307, 71.486, 21.628]
    """
    if fidelity == 2:
        return branin(x1, x2)
    if fidelity == 1:
        return np.asarray(
            10 * np.sqrt(branin(x1 - 2, x2 - 2)) + 2 * (x1 - 0.5) - 3 * (3 * x2 - 1) - 1
        )
    return np.asarray(perdikaris_branin(1.2 * (x1 + 2), 1.2 * (x2 + 2), 1) - 3 * x2 + 1)


def _scaled(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x1, x2 = (_BRANIN_LOW + _BRANIN_SPAN * np.asarray(x, float)).T
    return x1, x2


def three_branins() -> Problem:
    """Branin with Perdikaris' lower fidelities, which say little of the target (R^2 .03, .09)."""
    return Problem(
        "branin",
        2,
        (0.01, 0.1, 1.0),
        lambda x, m: -perdikaris_branin(*_scaled(x), m),
        -_BRANIN_MINIMUM,
    )


def augmented_branin() -> Problem:
    """Branin with one coefficient shifted by 0.1 (1 - s), s = 0, 0.5, 1 (as in botorch)."""

    def evaluate(x: np.ndarray, fidelity: int) -> np.ndarray:
        x1, x2 = _scaled(x)
        return -shifted_branin(x1, x2, (0.0, 0.5, 1.0)[fidelity])

    return Problem("augmented branin", 2, (0.01, 0.1, 1.0), evaluate, -_BRANIN_MINIMUM)


def shifted_branin(x1: np.ndarray, x2: np.ndarray, s: float) -> np.ndarray:
    """Branin's function with 5.1/(4 pi^2) lowered by 0.1 (1 - s), to be minimised.

    >>> [round(float(shifted_branin(1.0, 2.0, s)), 4) for s in (1.0, 0.5)]
    [21.6276, 21.3764]
    """
    change = _shift_bracket(x1, x2, s) ** 2 - _shift_bracket(x1, x2, 1.0) ** 2
    return np.asarray(branin(x1, x2) + change)


def _shift_bracket(x1: np.ndarray, x2: np.ndarray, s: float) -> np.ndarray:
    slope = 5.1 / (4 * np.pi**2) - 0.1 * (1 - s)
    return np.asarray(x2 - slope * x1**2 + 5 * x1 / np.pi - 6)


def dial(reliability: float) -> Problem:
    """Branin with a low fidelity of adjustable worth, f_L = f - (a + 1/2) bracket^2.

    The correlation of low and target runs from .99 at a = 0 through .1 at .5 to -.92 at 1 (Toal,
    Struct. Multidiscip. Optim. 51, 1223 (2015), as in the package mf2).

    Args:
      reliability: a, 0 to 1; small is good.
    """

    def evaluate(x: np.ndarray, fidelity: int) -> np.ndarray:
        x1, x2 = _scaled(x)
        target = branin(x1, x2)
        if fidelity == 1:
            return -target
        return -(target - (reliability + 0.5) * _shift_bracket(x1, x2, 1.0) ** 2)

    return Problem(f"dial {reliability:.2f}", 2, (0.1, 1.0), evaluate, -_BRANIN_MINIMUM)


_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
_A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann(x: np.ndarray, s: float = 1.0) -> np.ndarray:
    """Hartmann's function of six variables, to be maximised, its first weight less 0.1 (1 - s).

    >>> [round(float(hartmann(np.full((1, 6), 0.5), s)[0]), 6) for s in (1.0, 0.5)]
    [0.505315, 0.502337]
    """
    alpha = _ALPHA - np.array([0.1 * (1 - s), 0, 0, 0])
    squares = np.sum(_A * (np.asarray(x, float)[:, None, :] - _P) ** 2, axis=-1)
    return np.asarray(np.exp(-squares) @ alpha)


_HARTMANN_MAXIMUM = 3.322368011415515


def augmented_hartmann() -> Problem:
    """Hartmann-6 with nearly perfect lower fidelities, s = 0, 0.5, 1 (as in botorch)."""
    return Problem(
        "hartmann",
        6,
        (0.125, 0.25, 1.0),
        lambda x, m: hartmann(x, (0.0, 0.5, 1.0)[m]),
        _HARTMANN_MAXIMUM,
    )


def reversed_hartmann() -> Problem:
    """Hartmann-6 whose lower fidelities see the coordinates in reverse order: they mislead."""

    def evaluate(x: np.ndarray, fidelity: int) -> np.ndarray:
        points = np.asarray(x, float)
        s = (0.0, 0.5, 1.0)[fidelity]
        return hartmann(points if fidelity == 2 else points[:, ::-1], s)

    return Problem("reversed hartmann", 6, (0.125, 0.25, 1.0), evaluate, _HARTMANN_MAXIMUM)
