"""Gaussian processes of a problem's answers: of all fidelities, or of the target alone.

Every function here keeps its shapes (padded data, points in blocks), so that a growing data set
recompiles at a few capacities only.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.proxies.calibration import held_out_score
from mfal.proxies.dataset import capacity_for, make_dataset
from mfal.proxies.gaussian_process import GaussianProcess, GPConfig, GPState, make_gaussian_process

from .problems import Problem
from .queries import Asked

__all__ = ["Surrogate", "fit", "held_out", "moments_at", "target_evidence", "target_moments"]

BLOCK = 512
"""Points whose moments are computed in one dispatch."""

# Finer than the default's doubling, as a factorisation costs the cube of its size.
_CAPACITIES = (64, 96, 128, 192, 256)


class Surrogate(NamedTuple):
    """A fitted process and the functions that go with it."""

    process: GaussianProcess
    state: GPState

    @property
    def levels(self) -> int:
        """Number of fidelities that it knows; one if it saw the target alone."""
        return self.process.config.num_fidelities


def fit(
    problem: Problem, asked: Asked, *, joint: bool, steps: int = 60, smoothness: float = 2.5
) -> Surrogate:
    """Fits to all fidelities, or to the target alone as the only fidelity.

    Args:
      problem: what was asked.
      asked: the answers.
      joint: whether lower fidelities count.
      steps: updates of the hyperparameters.
      smoothness: see `GPConfig`.
    """
    target = len(problem.costs) - 1
    keep = np.ones(len(asked.value), bool) if joint else asked.fidelity == target
    fidelity = asked.fidelity[keep] if joint else np.zeros(keep.sum(), int)
    rows = int(keep.sum())
    capacity = next((c for c in _CAPACITIES if rows <= c), capacity_for(rows))
    data = make_dataset(
        asked.x[keep].astype(np.float32), fidelity, asked.value[keep], capacity=capacity
    )
    config = GPConfig(target + 1 if joint else 1, smoothness=smoothness, steps=steps)
    process = make_gaussian_process(config, _identity, problem.dimension)
    return Surrogate(process, process.fit(data))


def target_moments(surrogate: Surrogate, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation [n] of the target's truth at points [n, D]."""
    run = _many_moments(surrogate.process)
    padded = np.concatenate([x, np.zeros((-len(x) % BLOCK, x.shape[1]))])
    with jax.enable_x64(True):
        blocks = np.split(padded, len(padded) // BLOCK)
        parts = [run(surrogate.state, block) for block in blocks]
    mean, std = (np.concatenate([np.asarray(p[i]) for p in parts]) for i in (0, 1))
    return mean[: len(x)], std[: len(x)]


def moments_at(
    process: GaussianProcess, state: GPState, x: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The same at one point [D], to be traced and differentiated."""
    belief = process.posterior(state, x)
    return belief.mean[-1], jnp.sqrt(jnp.maximum(belief.covariance[-1, -1], 1e-12))


def held_out(surrogate: Surrogate, target_values: np.ndarray) -> float:
    """Mean log density of the target observations, each left out, nats.

    Args:
      surrogate: of all fidelities or of the target.
      target_values: [n], of the target observations in their order.
    """
    process, state = surrogate
    at_target = np.asarray(state.valid) & (np.asarray(state.fidelity) == surrogate.levels - 1)
    value = np.zeros(len(at_target))
    value[at_target] = target_values
    with jax.enable_x64(True):
        return float(_score(process, state, value, at_target))


def target_evidence(surrogate: Surrogate) -> float:
    """Log density of the target observations given the lower ones, nats each."""
    return float(surrogate.process.evidence(surrogate.state))


@functools.partial(jax.jit, static_argnums=0)
def _score(
    process: GaussianProcess, state: GPState, value: jax.Array, at_target: jax.Array
) -> jax.Array:
    return held_out_score(value, *process.leave_one_out(state), at_target)


@functools.cache
def _many_moments(process: GaussianProcess) -> Callable[..., Any]:
    """Compiled once a process and capacity."""
    at = functools.partial(moments_at, process)
    return jax.jit(jax.vmap(at, in_axes=(None, 0)))


def _identity(x: jax.Array) -> jax.Array:
    return x
