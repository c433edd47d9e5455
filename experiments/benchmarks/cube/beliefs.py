"""What is believed of a problem: the two processes of a turn, weighed by evidence.

As a campaign does it (`mfal.campaign.strategy.belief`): one belief learns from the answers of all
fidelities, the other from the target's alone, and `mfal.proxies.distrust` weighs and mixes them.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.proxies.distrust import mix, weigh
from mfal.proxies.gaussian_process import GaussianProcess, GPState

from .problems import Problem
from .queries import Asked
from .surrogate import BLOCK, fit, log_densities_of_target

__all__ = ["Beliefs", "Processes", "States", "about", "believe", "target_correlation", "target_of"]


class Processes(NamedTuple):
    """What the functions below are compiled for."""

    coupled: GaussianProcess
    single: GaussianProcess | None
    """None where there is but one belief."""


class States(NamedTuple):
    """A pytree."""

    coupled: GPState
    single: GPState | None
    weight: float
    """Of the coupled belief, 0 to 1."""


class Beliefs(NamedTuple):
    """Both, fitted."""

    processes: Processes
    states: States

    @property
    def levels(self) -> int:
        """Number of fidelities that are believed about."""
        return self.processes.coupled.config.num_fidelities


def believe(problem: Problem, asked: Asked, *, joint: bool, distrust: bool, steps: int) -> Beliefs:
    """Fits to what has been asked.

    Args:
      problem: what was asked.
      asked: the answers.
      joint: whether lower fidelities count.
      distrust: whether the belief in them is weighed; else it is taken as it is.
      steps: updates of the hyperparameters.
    """
    coupled = fit(problem, asked, joint=joint, steps=steps)
    if not (joint and distrust):
        return Beliefs(Processes(coupled.process, None), States(coupled.state, None, 1.0))
    single = fit(problem, asked, joint=False, steps=steps)
    target = asked.value[asked.fidelity == len(problem.costs) - 1]
    evidence = weigh(*(log_densities_of_target(each, target) for each in (coupled, single)))
    return Beliefs(
        Processes(coupled.process, single.process),
        States(coupled.state, single.state, evidence.weight),
    )


def about(processes: Processes, states: States, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean [M] and covariance [M, M] of the values at a point [D]; traceable.

    Without the processes' noise, which only makes up for what they can't fit: asked again, the
    problems here answer the same.
    """
    found = processes.coupled.posterior(states.coupled, x)
    if processes.single is None or states.single is None:
        return found.mean, found.covariance
    alone = processes.single.posterior(states.single, x)
    std = jnp.sqrt(alone.covariance[-1, -1])
    return mix(found.mean, found.covariance, alone.mean[-1], std, states.weight)


def target_correlation(
    processes: Processes, states: States, x: jax.Array, variance: jax.Array
) -> jax.Array:
    """[N, N], correlations of the target's values at points [N, D]; traceable.

    Args:
      processes: of the beliefs.
      states: likewise.
      x: the points.
      variance: [N], of the target's values there, by `about`.
    """

    def between(process: GaussianProcess, state: GPState) -> jax.Array:
        target = jnp.full(len(x), process.config.num_fidelities - 1)
        return process.joint(state, x, target)[1]

    covariance = between(processes.coupled, states.coupled)
    if processes.single is not None and states.single is not None:
        single = between(processes.single, states.single)
        covariance = states.weight * covariance + (1 - states.weight) * single
    std = jnp.sqrt(jnp.maximum(variance, 1e-18))
    return covariance / jnp.outer(std, std)


def target_of(beliefs: Beliefs, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation [n] of the target at points [n, D]."""
    run = _in_blocks(beliefs.processes)
    padded = np.concatenate([x, np.zeros((-len(x) % BLOCK, x.shape[1]))])
    with jax.enable_x64(True):
        parts = [run(beliefs.states, block) for block in np.split(padded, len(padded) // BLOCK)]
    mean, std = (np.concatenate([np.asarray(part[i]) for part in parts]) for i in (0, 1))
    return mean[: len(x)], std[: len(x)]


@functools.cache
def _in_blocks(processes: Processes) -> Callable[..., Any]:
    """Compiled once for processes and a capacity."""

    def target(states: States, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        mean, covariance = about(processes, states, x)
        return mean[-1], jnp.sqrt(jnp.maximum(covariance[-1, -1], 1e-18))

    return jax.jit(jax.vmap(target, in_axes=(None, 0)))
