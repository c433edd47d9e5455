import numpy as np
import pytest
from scipy.optimize import minimize

from experiments.benchmarks.cube.problems import (
    augmented_branin,
    augmented_hartmann,
    dial,
    reversed_hartmann,
    three_branins,
)


def correlation(problem, fidelity):
    x = np.random.default_rng(0).uniform(size=(20_000, problem.dimension))
    target = problem.evaluate(x, len(problem.costs) - 1)
    return np.corrcoef(problem.evaluate(x, fidelity), target)[0, 1]


@pytest.mark.parametrize(
    "problem",
    [three_branins(), augmented_branin(), dial(0.5), augmented_hartmann(), reversed_hartmann()],
    ids=lambda p: p.name,
)
def test_optimum_is_reached_and_not_exceeded(problem):
    rng = np.random.default_rng(1)
    target = len(problem.costs) - 1
    starts = rng.uniform(size=(2000, problem.dimension))
    starts = starts[np.argsort(-problem.evaluate(starts, target))[:8]]
    found = max(
        -minimize(
            lambda x: -problem.evaluate(x[None], target)[0],
            start,
            bounds=[(0, 1)] * problem.dimension,
        ).fun
        for start in starts
    )
    assert found == pytest.approx(problem.optimum, abs=1e-5)


def test_published_strength_of_the_low_fidelities():
    # R^2 with the target: shifted Branin .54 and .83; Perdikaris .09 and .03.
    assert correlation(three_branins(), 0) ** 2 == pytest.approx(0.09, abs=0.02)
    assert correlation(three_branins(), 1) ** 2 == pytest.approx(0.03, abs=0.02)
    assert correlation(augmented_branin(), 0) ** 2 == pytest.approx(0.54, abs=0.03)
    assert correlation(augmented_branin(), 1) ** 2 == pytest.approx(0.83, abs=0.03)
    assert correlation(augmented_hartmann(), 0) ** 2 > 0.999
    assert abs(correlation(reversed_hartmann(), 1)) < 0.1
    for setting, expected in zip(
        (0, 0.25, 0.5, 0.75, 1), (0.99, 0.94, 0.10, -0.82, -0.92), strict=True
    ):
        assert correlation(dial(setting), 0) == pytest.approx(expected, abs=0.03)
