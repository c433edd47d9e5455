"""Points that compete for a place in a batch, and what is believed of them.

Uniform draws, draws around what looks best, points that were asked more cheaply before, and points
that climb the utility's gradient: in the place of a campaign's sampler.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.acquisition import Question, Terms, improvement_rate

from .beliefs import Beliefs, Processes, States, about, target_correlation, target_of
from .queries import Asked, folded
from .surrogate import BLOCK

__all__ = ["CandidateConfig", "Candidates", "climb", "draw", "question_of"]

_CLIMBS = 12


class CandidateConfig(NamedTuple):
    """How many candidates of each kind compete."""

    uniform: int = 128
    """Drawn from the whole cube."""
    local: int = 96
    """Drawn around the best expected values."""
    seen: int = 32
    """Asked before, but not at the target fidelity; the best expected ones."""
    climbers: int = 32
    """That climb the utility at its best fidelity."""


class Candidates(NamedTuple):
    """N points, and the belief about their answers at M fidelities."""

    x: np.ndarray
    """[N, D]"""
    available: np.ndarray
    """[N, M] bool, which have not been asked yet."""
    mean: np.ndarray
    """[N, M]"""
    covariance: np.ndarray
    """[N, M, M]"""
    correlation: np.ndarray
    """[N, N], of the target's answers between points."""


def draw(
    beliefs: Beliefs,
    config: CandidateConfig,
    terms: Terms,
    asked: Asked,
    rng: np.random.Generator,
) -> Candidates:
    """The candidates of a turn."""
    dimension, levels = asked.x.shape[1], beliefs.levels
    pool = np.concatenate([rng.uniform(size=(BLOCK, dimension)), asked.x])
    centres = pool[np.argsort(-target_of(beliefs, pool)[0], kind="stable")[:6]]
    near = centres[rng.integers(0, len(centres), config.local)]
    near = near + rng.choice([0.01, 0.03, 0.1], (config.local, 1)) * rng.normal(size=near.shape)
    uniform = rng.uniform(size=(config.uniform, dimension))
    seen, answered = _seen(beliefs, asked, config.seen, levels, rng)
    start = np.concatenate([uniform, folded(near), seen])
    with jax.enable_x64(True):
        x, *believed = _about(beliefs.processes, config.climbers)(beliefs.states, terms, start)
    available = np.ones((len(x), levels), bool)
    available[len(start) - len(seen) : len(start)] = ~answered
    return Candidates(np.asarray(x), available, *(np.asarray(leaf, float) for leaf in believed))


def question_of(mean: jax.Array, std: jax.Array, shift: jax.Array) -> Question:
    """What the utility needs of a point; nothing fails here and every point counts."""
    one = jnp.ones(())
    return Question(mean, std, shift, one, one, jnp.zeros((), bool))


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


@functools.cache
def _about(processes: Processes, climbers: int) -> Callable[..., tuple[jax.Array, ...]]:
    """Compiled: points to climb from, to all points and the belief about them."""

    @jax.jit
    def run(states: States, terms: Terms, start: jax.Array) -> tuple[jax.Array, ...]:
        def score(x: jax.Array) -> jax.Array:
            mean, covariance = about(processes, states, x)
            std = jnp.sqrt(jnp.maximum(jnp.diagonal(covariance), 1e-18))
            question = question_of(mean[-1], std[-1], jnp.abs(covariance[-1]) / std)
            return jnp.log(jnp.max(improvement_rate(terms, question)) + 1e-300)

        best = jax.lax.top_k(jax.vmap(score)(start), climbers)[1]
        climbed = climb(score, start[best], jnp.geomspace(0.1, 0.002, _CLIMBS))
        x = jnp.concatenate([start, climbed])
        mean, covariance = jax.vmap(functools.partial(about, processes, states))(x)
        between = target_correlation(processes, states, x, covariance[:, -1, -1])
        return x, mean, covariance, between

    return run


def _seen(
    beliefs: Beliefs, asked: Asked, count: int, levels: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Points [count, D] asked below the target alone, and where they were answered [count, M].

    Uniform draws fill up what is missing, so that the shapes stay.
    """
    points, number = np.unique(asked.x, axis=0, return_inverse=True)
    answered = np.zeros((len(points), int(asked.fidelity.max(initial=0)) + 1), bool)
    answered[number.ravel(), asked.fidelity] = True
    x = rng.uniform(size=(count, asked.x.shape[1]))
    where = np.zeros((count, levels), bool)
    if levels == 1 or answered.shape[1] < levels:
        return x, where
    below = np.flatnonzero(~answered[:, -1])
    if len(below):
        order = np.argsort(-target_of(beliefs, points[below])[0], kind="stable")[:count]
        x[: len(order)], where[: len(order)] = points[below[order]], answered[below[order]]
    return x, where
