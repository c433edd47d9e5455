"""Which points of the cube to ask next, at which fidelity.

A batch is filled in this order: expected improvement at the target fidelity, one after the other;
then joint information about the best value per cost (`joint`). Information alone
does not pay for asking where the best is known to be, improvement alone does not pay for learning.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.acquisition import log_expected_improvement
from mfal.proxies.gaussian_process import GaussianProcess, GPState

from .information import information_about_maximum
from .joint import JointBelief, choose_batch, condition
from .maxima import gumbel_maxima
from .problems import Problem
from .queries import Asked, folded
from .surrogate import BLOCK, Surrogate, moments_at, target_moments

__all__ = ["CandidateConfig", "Proposed", "climb", "propose"]

_CLIMBS = 12


class CandidateConfig(NamedTuple):
    """How many candidates of each kind compete."""

    uniform: int = 128
    """Drawn from the whole cube."""
    local: int = 96
    """Drawn around the best expected values."""
    climbers: int = 32
    """That climb the gradient, half of the information from the target, half of the improvement."""


class Proposed(NamedTuple):
    """A batch, in the order of choice."""

    x: np.ndarray
    """[b, D]."""
    fidelity: np.ndarray
    """[b]."""


def propose(
    problem: Problem,
    surrogate: Surrogate,
    config: CandidateConfig,
    asked: Asked,
    left: float,
    size: int,
    rng: np.random.Generator,
    *,
    improvements: int = 1,
) -> Proposed:
    """Chooses a batch.

    Args:
      problem: what is asked.
      surrogate: whose beliefs decide; one that knows the target alone asks nothing else.
      config: of the candidates.
      asked: all queries so far.
      left: cost units that the batch may spend.
      size: most queries.
      rng: of the candidates and the samples of the maximum.
      improvements: queries of the batch that are chosen for expected improvement at the target
        fidelity.
    """
    last = len(problem.costs) - 1
    levels = surrogate.levels
    pool = np.concatenate([rng.uniform(size=(BLOCK, problem.dimension)), asked.x])
    centres = pool[np.argsort(-target_moments(surrogate, pool)[0], kind="stable")[:6]]
    near = centres[rng.integers(0, len(centres), config.local)]
    near = near + rng.choice([0.01, 0.03, 0.1], (config.local, 1)) * rng.normal(size=near.shape)
    uniform = rng.uniform(size=(config.uniform, problem.dimension))
    known = asked.value[asked.fidelity == last]
    with jax.enable_x64(True):
        batch = _batch(surrogate.process, config, size, improvements)(
            surrogate.state,
            jnp.asarray(np.concatenate([uniform, folded(near)])),
            jnp.asarray(problem.costs if levels > 1 else problem.costs[-1:], float),
            float(known.max()) if len(known) else -np.inf,
            left,
            jax.random.key(int(rng.integers(2**31))),
        )
        x, fidelity, found = (np.asarray(a) for a in batch)
    fidelity = fidelity if levels > 1 else np.full(len(x), last)
    return Proposed(x[found], fidelity[found])


@functools.cache
def _batch(
    process: GaussianProcess, config: CandidateConfig, size: int, improvements: int
) -> Callable[..., tuple[jax.Array, ...]]:
    """The compiled choice: candidates to points, fidelities, which count."""
    levels = process.config.num_fidelities
    moments = functools.partial(moments_at, process)

    @jax.jit
    def run(
        state: GPState,
        pool: jax.Array,
        costs: jax.Array,
        seen: jax.Array,
        left: jax.Array,
        key: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        mean, std = jax.vmap(moments, in_axes=(None, 0))(state, pool)
        maxima = gumbel_maxima(key, mean, std, 10, seen)

        def gain(x: jax.Array) -> jax.Array:
            """Information of a noiseless answer of the target, as a function of the point."""
            return information_about_maximum(maxima, *moments(state, x), jnp.ones(()))

        def improvement(x: jax.Array) -> jax.Array:
            return log_expected_improvement(*moments(state, x), seen)

        half = config.climbers // 2
        climbed = jnp.concatenate(
            [
                best_climbed(lambda x: jnp.log(gain(x) + 1e-12), pool, config.climbers - half),
                best_climbed(improvement, pool, half),
            ]
        )
        x = jnp.concatenate([pool, climbed])
        fidelity = jnp.repeat(jnp.arange(levels), len(x))
        means, covariance = process.joint(state, jnp.tile(x, (levels, 1)), fidelity)
        noise = (jnp.exp(state.params.log_noise) * state.value_scale)[fidelity]
        target = (levels - 1) * len(x) + jnp.tile(jnp.arange(len(x)), levels)
        belief = JointBelief(
            means[target],
            jnp.maximum(jnp.diagonal(covariance)[target], 1e-12),
            covariance[target],
            covariance + jnp.diag(noise**2),
        )
        count = jnp.floor(left / costs[-1] * (1 + 1e-6))
        first = improving(belief, fidelity == levels - 1, seen, improvements, count)
        left = left - costs[-1] * jnp.sum(first >= 0)
        picked = choose_batch(
            belief,
            maxima,
            costs[fidelity],
            left,
            size - improvements,
            pending=first,
        )
        indices = jnp.concatenate([first, picked.indices])
        chosen = jnp.maximum(indices, 0)
        return x[chosen % len(x)], fidelity[chosen], indices >= 0

    return run


def climb(
    score: Callable[[jax.Array], jax.Array], start: jax.Array, lengths: jax.Array
) -> jax.Array:
    """Points after steps up the gradient within the cube, [n, D]; a step that loses is not taken.

    Args:
      score: of one point [D], differentiable.
      start: [n, D].
      lengths: of the steps, one after the other.
    """

    def step(x: jax.Array, length: jax.Array) -> tuple[jax.Array, None]:
        value, slope = jax.vmap(jax.value_and_grad(score))(x)
        norm = jnp.linalg.norm(slope, axis=1, keepdims=True)
        moved = jnp.clip(x + length * slope / (norm + 1e-9), 0.0, 1.0)
        better = jax.vmap(score)(moved) > value
        return jnp.where(better[:, None], moved, x), None

    return jax.lax.scan(step, start, lengths)[0]


def best_climbed(score: Callable[[jax.Array], jax.Array], pool: jax.Array, count: int) -> jax.Array:
    """The best of a pool, climbed, [count, D]."""
    best = jax.lax.top_k(jax.vmap(score)(pool), count)[1]
    return climb(score, pool[best], jnp.geomspace(0.1, 0.002, _CLIMBS))


def improving(
    belief: JointBelief,
    at_target: jax.Array,
    seen: jax.Array,
    size: int,
    count: jax.Array,
) -> jax.Array:
    """Greedy queries of the target for expected improvement: `count` positions, then -1, [size].

    Each is chosen as if those before it had answered their means: the variances shrink, and what
    counts is improvement on the best of them.
    """

    def await_one(
        carry: tuple[JointBelief, jax.Array, jax.Array], index: jax.Array
    ) -> tuple[JointBelief, jax.Array, jax.Array]:
        after, best, free = carry
        best = jnp.maximum(best, belief.mean[index])
        return condition(after, index), best, free & (jnp.arange(len(free)) != index)

    carry = (belief, seen, at_target)
    chosen: list[jax.Array] = []
    for k in range(size):
        after, best, free = carry
        std = jnp.sqrt(jnp.maximum(after.truth_variance, 1e-12))
        score = jnp.where(free, log_expected_improvement(after.mean, std, best), -jnp.inf)
        index = jnp.argmax(score).astype(jnp.int32)
        chosen.append(jnp.where(k < count, index, -1))
        carry = await_one(carry, index)
    return jnp.stack(chosen) if chosen else jnp.zeros((0,), jnp.int32)
