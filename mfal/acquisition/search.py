"""Search of a unit cube at several fidelities: fit, guard, propose a batch, ask, recommend.

The method that campaigns use on crystals, on functions of a few numbers instead: an exact Gaussian
process of all fidelities (`mfal.proxies.gaussian_process`) stands for the ensemble, and candidates
come from uniform draws, from around what looks best and from climbing the acquisition's gradient,
in the sampler's place. It is what `experiments/benchmarks/acquisition.py` measures.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.acquisition.batch import JointBelief, choose_batch
from mfal.acquisition.guard import GuardConfig, Verdict, guard
from mfal.acquisition.information import information_about_maximum
from mfal.acquisition.maxima import gumbel_maxima
from mfal.acquisition.problems import Problem
from mfal.acquisition.queries import Asked, ask, cost_of, design, folded
from mfal.acquisition.single import log_expected_improvement
from mfal.proxies.calibration import held_out_score
from mfal.proxies.dataset import make_dataset
from mfal.proxies.gaussian_process import GaussianProcess, GPConfig, GPState, make_gaussian_process

__all__ = [
    "SearchConfig",
    "Turn",
    "fit",
    "propose",
    "recommend",
    "search",
]

Proposed = tuple[np.ndarray, np.ndarray, float]
"""Points [b, D], fidelities [b], and nats per cost unit of the first."""

_BLOCK = 512
"""Points whose means are computed in one dispatch."""


@dataclass(frozen=True)
class SearchConfig:
    """Static choices of a search."""

    batch: int = 4
    """Queries of a turn."""
    rounds: int = 20
    """Most turns: a bound on the wall clock, whatever the budget."""
    joint: bool = True
    """Whether lower fidelities are asked and modelled at all."""
    guarded: bool = True
    """Whether the joint model must earn its trust."""
    uniform: int = 128
    """Candidates drawn from the whole cube."""
    local: int = 96
    """Candidates drawn around the best expected values."""
    climbers: int = 32
    """Candidates that climb the gradient of the information at the top."""
    steps: int = 60
    """Updates of the hyperparameters in a fit."""
    caution: float = 0.5
    """Standard deviations that count against a recommendation."""
    smoothness: float = 2.5
    """Of the process, see `GPConfig`."""
    thresholds: GuardConfig = field(default_factory=GuardConfig)
    """Of the guard."""


class Turn(NamedTuple):
    """The state of a search after a turn."""

    cost: float
    """Cost units spent so far, the initial design included."""
    best: np.ndarray
    """[D], where the acting model expects the greatest top value."""
    followed: bool
    """Whether the next batch is the joint model's."""
    asked: Asked


def fit(problem: Problem, asked: Asked, config: SearchConfig, *, joint: bool) -> GPState:
    """Fits to all fidelities, or to the top alone as the only fidelity."""
    top = len(problem.costs) - 1
    keep = np.ones(len(asked.value), bool) if joint else asked.fidelity == top
    fidelity = asked.fidelity[keep] if joint else np.zeros(keep.sum(), int)
    rows = make_dataset(asked.x[keep].astype(np.float32), fidelity, asked.value[keep])
    return _process(
        top + 1 if joint else 1, problem.dimension, config.steps, config.smoothness
    ).fit(rows)


def recommend(
    problem: Problem,
    state: GPState,
    config: SearchConfig,
    asked: Asked,
    rng: np.random.Generator,
    *,
    joint: bool,
) -> np.ndarray:
    """The point of greatest posterior mean less `caution` standard deviations at the top, [D].

    By shrinking local search. The mean alone would often name a point that nobody has asked about,
    where a model of few data expects the best by extrapolation.
    """

    def mean(x: np.ndarray) -> np.ndarray:
        expected, std = _at_top(problem, state, config, joint)(x)
        return expected - config.caution * std

    pool = np.concatenate([rng.uniform(size=(2 * _BLOCK, problem.dimension)), asked.x])
    for width in (0.1, 0.03, 0.01, 0.003, 0.001):
        best = pool[np.argsort(-mean(pool), kind="stable")[:4]]
        moved = np.repeat(best, _BLOCK // 4 - 1, 0)
        moved = folded(moved + width * rng.normal(size=moved.shape))
        pool = np.concatenate([best, moved])
    return np.asarray(pool[np.argmax(mean(pool))])


def propose(
    problem: Problem,
    state: GPState,
    config: SearchConfig,
    asked: Asked,
    left: float,
    rng: np.random.Generator,
    *,
    joint: bool,
) -> Proposed:
    """A batch by greedy joint information per cost.

    Args:
      problem: what is asked.
      state: of a fit with the same `joint`.
      config: of the search.
      asked: all queries so far.
      left: cost units that the batch may spend.
      rng: of the candidates and the samples of the maximum.
      joint: whether lower fidelities may be asked.

    Returns:
      points [b, D], fidelities [b], and nats per cost unit of the first.
    """
    last = len(problem.costs) - 1
    levels = last + 1 if joint else 1
    pool = np.concatenate([rng.uniform(size=(_BLOCK, problem.dimension)), asked.x])
    mean, _ = _at_top(problem, state, config, joint)(pool)
    centres = pool[np.argsort(-mean, kind="stable")[:6]]
    near = centres[rng.integers(0, len(centres), config.local)]
    near = near + rng.choice([0.01, 0.03, 0.1], (config.local, 1)) * rng.normal(size=near.shape)
    uniform = rng.uniform(size=(config.uniform, problem.dimension))
    known = asked.value[asked.fidelity == last]
    with jax.enable_x64(True):
        batch = _batch(levels, problem.dimension, config)(
            state,
            jnp.asarray(np.concatenate([uniform, folded(near)])),
            jnp.asarray(problem.costs if joint else problem.costs[-1:], float),
            float(known.max()) if len(known) else -np.inf,
            left,
            jax.random.key(int(rng.integers(2**31))),
        )
        x, fidelity, found, rate = (np.asarray(a) for a in batch)
    return x[found], fidelity[found] if joint else np.full(found.sum(), last), float(rate)


def search(
    problem: Problem,
    config: SearchConfig,
    budget: float,
    initial: float,
    seed: int,
    callback: Callable[[Turn], None] | None = None,
) -> list[Turn]:
    """Spends a budget, the initial design included, and never more.

    Args:
      problem: what is searched.
      config: how.
      budget: cost units in all; the last query asks the recommendation at the top.
      initial: cost units of the initial design.
      seed: of everything drawn.
      callback: called after every turn.
    """
    rng = np.random.default_rng(seed)
    last = len(problem.costs) - 1
    cheapest = min(problem.costs) if config.joint else problem.costs[last]
    asked = design(problem, rng, initial, list(range(last + 1)) if config.joint else [last])
    turns: list[Turn] = []

    def close(followed: bool) -> None:
        turns.append(Turn(cost_of(problem, asked), best, followed, asked))
        if callback:
            callback(turns[-1])

    while len(turns) < config.rounds:
        # The last query asks the recommendation at the top: its cost stays in reserve.
        left = budget - cost_of(problem, asked) - problem.costs[last]
        joint = config.joint
        state = fit(problem, asked, config, joint=joint)
        batch = None
        if left >= cheapest - 1e-9:
            batch = propose(problem, state, config, asked, left, rng, joint=joint)
        follow = joint
        if joint and config.guarded:
            own = fit(problem, asked, config, joint=False)
            safe = None
            if left >= problem.costs[last]:
                half = replace(config, batch=max(config.batch // 2, 1))
                safe = propose(problem, own, half, asked, left, rng, joint=False)
            skipped = safe[0][0] if safe else asked.x[0]
            rate = batch[2] if batch else 0.0
            verdict = _judge(problem, config, asked, state, own, skipped, rate)
            if not bool(verdict.calibrated & (verdict.proven | verdict.sure)):
                state, joint = own, False
            if not verdict.follow and safe and batch:
                batch, follow = _hedge(problem, config, safe, batch, left), False
        best = recommend(problem, state, config, asked, rng, joint=joint)
        if batch is None:
            close(follow)
            break
        close(follow)
        if not len(batch[0]):
            break
        asked = ask(problem, asked, batch[0], batch[1])
    if cost_of(problem, asked) + problem.costs[last] <= budget + 1e-9:
        asked = ask(problem, asked, best[None], np.array([last]))
        state = fit(problem, asked, config, joint=joint)
        best = recommend(problem, state, config, asked, rng, joint=joint)
        close(False)
    return turns


def _hedge(
    problem: Problem, config: SearchConfig, safe: Proposed, joint: Proposed, left: float
) -> Proposed:
    """Half a batch of what the top alone would ask, filled up with the joint model's cheap queries.

    The top's own search loses little by it, as it goes in smaller steps; and answers of all
    fidelities come in, by which the joint model can prove itself or not.
    """
    last = len(problem.costs) - 1
    costs = np.asarray(problem.costs)
    cheap = np.flatnonzero(joint[1] < last)[: config.batch - len(safe[0])]
    room = left - costs[last] * len(safe[0])
    cheap = cheap[np.cumsum(costs[joint[1][cheap]]) <= room + 1e-9]
    x = np.concatenate([safe[0], joint[0][cheap]])
    return x, np.concatenate([safe[1], joint[1][cheap]]), safe[2]


def _judge(
    problem: Problem,
    config: SearchConfig,
    asked: Asked,
    joint: GPState,
    own: GPState,
    skipped: np.ndarray,
    rate: float,
) -> Verdict:
    """The guard's word on the joint model and its batch.

    Args:
      problem: what is asked.
      config: of the search.
      asked: all queries so far.
      joint: fit of all fidelities.
      own: fit of the top alone.
      skipped: [D], what the top alone would ask first.
      rate: nats per cost unit of the joint model's first query.
    """
    last = len(problem.costs) - 1
    model = _process(last + 1, problem.dimension, config.steps, config.smoothness)
    alone = _process(1, problem.dimension, config.steps, config.smoothness)
    scores = [_score(problem, m, asked, s) for m, s in ((model, joint), (alone, own))]
    top = asked.value[asked.fidelity == last]
    return guard(
        config.thresholds,
        np.sqrt(np.asarray(model.posterior(joint, skipped).covariance)[-1, -1]),
        float(top.std()),
        jnp.asarray(rate),
        jnp.asarray(scores[0]),
        jnp.asarray(scores[1]),
        len(top) * (float(model.evidence(joint)) - float(alone.evidence(own))),
    )


def _score(problem: Problem, model: GaussianProcess, asked: Asked, state: GPState) -> float:
    """Held-out log density of the top observations, nats each."""
    mean, std = model.leave_one_out(state)
    top = np.asarray(state.valid) & (np.asarray(state.fidelity) == model.config.num_fidelities - 1)
    value = np.zeros(len(top))
    value[top] = asked.value[asked.fidelity == len(problem.costs) - 1]
    with jax.enable_x64(True):
        return float(_jitted_score(value, mean, std, top))


_jitted_score = jax.jit(held_out_score)


def _identity(x: jax.Array) -> jax.Array:
    return x


@functools.cache
def _process(num_fidelities: int, dimension: int, steps: int, smoothness: float) -> GaussianProcess:
    """One compiled process a shape."""
    return make_gaussian_process(
        GPConfig(num_fidelities, smoothness=smoothness, steps=steps), _identity, dimension
    )


@functools.cache
def _moments(
    levels: int, dimension: int, steps: int, smoothness: float
) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """(state, point [D]) to the mean and standard deviation of its top truth."""
    model = _process(levels, dimension, steps, smoothness)

    def moments(state: GPState, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        belief = model.posterior(state, x)
        return belief.mean[-1], jnp.sqrt(jnp.maximum(belief.covariance[-1, -1], 1e-12))

    return moments


@functools.cache
def _many_moments(levels: int, dimension: int, steps: int, smoothness: float) -> Callable[..., Any]:
    return jax.jit(jax.vmap(_moments(levels, dimension, steps, smoothness), in_axes=(None, 0)))


def _at_top(
    problem: Problem, state: GPState, config: SearchConfig, joint: bool
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Means and deviations at any number of points, in blocks of one shape: nothing recompiles."""
    run = _many_moments(
        len(problem.costs) if joint else 1, problem.dimension, config.steps, config.smoothness
    )

    def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        padded = np.concatenate([x, np.zeros((-len(x) % _BLOCK, x.shape[1]))])
        with jax.enable_x64(True):
            parts = [run(state, block) for block in np.split(padded, len(padded) // _BLOCK)]
        mean, std = (np.concatenate([np.asarray(p[i]) for p in parts]) for i in (0, 1))
        return mean[: len(x)], std[: len(x)]

    return moments


@functools.cache
def _batch(levels: int, dimension: int, config: SearchConfig) -> Callable[..., tuple]:
    """The compiled choice of a batch: candidates to points, fidelities, which count, first rate."""
    model = _process(levels, dimension, config.steps, config.smoothness)
    climbing = 12

    moments = _moments(levels, dimension, config.steps, config.smoothness)

    @jax.jit
    def run(
        state: GPState,
        pool: jax.Array,
        costs: jax.Array,
        seen: jax.Array,
        left: jax.Array,
        key: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        mean, std = jax.vmap(moments, in_axes=(None, 0))(state, pool)
        maxima = gumbel_maxima(key, mean, std, 10, seen)

        def gain(x: jax.Array) -> jax.Array:
            """Information of a noiseless answer at the top, as a function of the point."""
            return information_about_maximum(maxima, *moments(state, x), jnp.ones(()))

        best = jax.lax.top_k(jax.vmap(gain)(pool), config.climbers)[1]

        def climb(x: jax.Array, step: jax.Array) -> tuple[jax.Array, None]:
            slope = jax.vmap(jax.grad(lambda x: jnp.log(gain(x) + 1e-12)))(x)
            size = jnp.linalg.norm(slope, axis=1, keepdims=True)
            moved = jnp.clip(x + step * slope / (size + 1e-9), 0.0, 1.0)
            better = jax.vmap(gain)(moved) > jax.vmap(gain)(x)
            return jnp.where(better[:, None], moved, x), None

        climbed, _ = jax.lax.scan(climb, pool[best], jnp.geomspace(0.1, 0.002, climbing))
        x = jnp.concatenate([pool, climbed])
        fidelity = jnp.repeat(jnp.arange(levels), len(x))
        means, covariance = model.joint(state, jnp.tile(x, (levels, 1)), fidelity)
        noise = (jnp.exp(state.params.log_noise) * state.value_scale)[fidelity]
        top = (levels - 1) * len(x) + jnp.tile(jnp.arange(len(x)), levels)
        belief = JointBelief(
            means[top],
            jnp.maximum(jnp.diagonal(covariance)[top], 1e-12),
            covariance[top],
            covariance + jnp.diag(noise**2),
        )
        # At the top alone, one query of a batch is the greatest expected improvement: information
        # about the best value doesn't pay for asking where the best is known to be.
        first = jnp.zeros((0,), jnp.int32)
        if levels == 1 and config.batch > 1:
            std = jnp.sqrt(belief.truth_variance)
            first = jnp.argmax(log_expected_improvement(belief.mean, std, seen))[None]
            left = left - costs[0]
        size = config.batch - len(first)
        picked = choose_batch(belief, maxima, costs[fidelity], left, size, pending=first)
        chosen = jnp.concatenate([first, jnp.maximum(picked.indices, 0)])
        found = jnp.concatenate([jnp.ones(len(first), bool), picked.indices >= 0])
        rate = jnp.where(picked.indices[0] >= 0, picked.gains[0] / picked.costs[0], 0.0)
        return x[chosen % len(x)], fidelity[chosen], found, rate

    return run
