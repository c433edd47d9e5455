"""Gaussian processes of a problem's answers: of all fidelities, or of the target alone.

Every function here keeps its shapes (padded data, points in blocks), so that a growing data set
recompiles at a few capacities only.
"""

from typing import NamedTuple

import jax
import numpy as np

from mfal.proxies.dataset import capacity_for, make_dataset
from mfal.proxies.gaussian_process import GaussianProcess, GPConfig, GPState, make_gaussian_process

from .problems import Problem
from .queries import Asked

__all__ = ["BLOCK", "Surrogate", "fit", "log_densities_of_target"]

BLOCK = 512
"""Points whose moments are computed in one dispatch."""

# Finer than the default's doubling, as a factorisation costs the cube of its size.
_CAPACITIES = (64, 96, 128, 192, 256)
_LEAST_LOG_DENSITY = -12.5
"""Of one standardised answer, as in `mfal.proxies.coupling`: a single outlier doesn't decide."""


class Surrogate(NamedTuple):
    """A fitted process and the functions that go with it."""

    process: GaussianProcess
    state: GPState


def fit(problem: Problem, asked: Asked, *, joint: bool, steps: int = 60) -> Surrogate:
    """Fits to all fidelities, or to the target alone as the only fidelity.

    Args:
      problem: what was asked.
      asked: the answers.
      joint: whether lower fidelities count.
      steps: updates of the hyperparameters.
    """
    target = len(problem.costs) - 1
    keep = np.ones(len(asked.value), bool) if joint else asked.fidelity == target
    fidelity = asked.fidelity[keep] if joint else np.zeros(keep.sum(), int)
    rows = int(keep.sum())
    capacity = next((c for c in _CAPACITIES if rows <= c), capacity_for(rows))
    data = make_dataset(
        asked.x[keep].astype(np.float32), fidelity, asked.value[keep], capacity=capacity
    )
    config = GPConfig(target + 1 if joint else 1, steps=steps)
    process = make_gaussian_process(config, _identity, problem.dimension)
    return Surrogate(process, process.fit(data))


def log_densities_of_target(surrogate: Surrogate, values: np.ndarray) -> np.ndarray:
    """Log density of each target answer given all others, nats, [n].

    Args:
      surrogate: of all fidelities or of the target.
      values: [n], the target's answers in their order.
    """
    process, state = surrogate
    last = process.config.num_fidelities - 1
    at_target = np.asarray(state.valid) & (np.asarray(state.fidelity) == last)
    mean, std = (np.asarray(leaf, float)[at_target] for leaf in process.leave_one_out(state))
    z = (values - mean) / std
    return np.maximum(-0.5 * z**2, _LEAST_LOG_DENSITY) - np.log(std) - 0.5 * np.log(2 * np.pi)


def _identity(x: jax.Array) -> jax.Array:
    return x
