"""Queries of a problem: asking them, what they cost, and designs to begin with."""

from typing import NamedTuple

import numpy as np

from .problems import Problem

__all__ = ["Asked", "ask", "cost_of", "design", "folded"]


class Asked(NamedTuple):
    """What has been asked so far."""

    x: np.ndarray
    """[n, D], in the unit cube."""
    fidelity: np.ndarray
    """[n] int."""
    value: np.ndarray
    """[n], larger is better."""


def ask(problem: Problem, asked: Asked | None, x: np.ndarray, fidelity: np.ndarray) -> Asked:
    """Asks the problem and appends the answers."""
    value = np.array(
        [problem.evaluate(p[None], int(m))[0] for p, m in zip(x, fidelity, strict=True)]
    )
    new = Asked(x, fidelity, value)
    if asked is None:
        return new
    return Asked(*(np.concatenate(pair) for pair in zip(asked, new, strict=True)))


def cost_of(problem: Problem, asked: Asked) -> float:
    """Cost units of all queries."""
    return float(np.asarray(problem.costs)[asked.fidelity].sum())


def design(
    problem: Problem,
    rng: np.random.Generator,
    cost: float,
    fidelities: list[int],
    share: float = 0.25,
) -> Asked:
    """A random initial design of given cost.

    The lower fidelities get `share` of it, in equal parts, but none more than ten points a
    dimension; the target, where it is among the fidelities, gets the rest. The designs are nested,
    each fidelity asking the first points of one sequence: only where answers meet can the
    fidelities be compared.
    """
    target, dimension = len(problem.costs) - 1, problem.dimension
    lower = [m for m in fidelities if m != target]
    for_target = cost * (1 - share) if lower and target in fidelities else cost
    plan = {target: int(for_target / problem.costs[target] + 1e-9)} if target in fidelities else {}
    left = cost - problem.costs[target] * sum(plan.values())
    for m in lower:
        plan[m] = min(int(left / len(lower) / problem.costs[m] + 1e-9), 10 * dimension)
    x = rng.uniform(size=(max(plan.values()), dimension))
    points = np.concatenate([x[:count] for count in plan.values()])
    return ask(problem, None, points, np.repeat(list(plan), list(plan.values())))


def folded(x: np.ndarray) -> np.ndarray:
    """Reflected into the unit cube. Clipping would crowd the candidates on its faces."""
    x = np.abs(x) % 2.0
    return np.minimum(x, 2.0 - x)
