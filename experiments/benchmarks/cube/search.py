"""Search of a unit cube at several fidelities by the rule of campaigns: believe, draw, choose, ask.

What decides is a campaign's own code: two beliefs weighed by evidence (`mfal.proxies.distrust`),
what a question is worth per unit of cost (`mfal.acquisition.improvement_rate`), and the greedy
batch in view of what is chosen before (`mfal.acquisition.choose_batch`). Two parts stand in for
what needs crystals: exact Gaussian processes (`mfal.proxies.gaussian_process`) for the ensemble,
and points that climb the utility for the GFlowNet's samples. Like a campaign's last round, the last
half batch's worth of the budget asks the target alone. It is what
`experiments/benchmarks/acquisition.py` measures.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.acquisition import JointBelief, Terms, choose_batch, improvement_rate

from .beliefs import Beliefs, believe, target_of
from .candidates import CandidateConfig, Candidates, draw, question_of
from .problems import Problem
from .queries import Asked, ask, cost_of, design, folded
from .surrogate import BLOCK

__all__ = ["SearchConfig", "Turn", "plan", "recommend", "search"]


@dataclass(frozen=True)
class SearchConfig:
    """Static choices of a search."""

    batch: int = 4
    """Most queries of a turn."""
    rounds: int = 20
    """Most turns: a bound on the wall clock, whatever the budget."""
    joint: bool = True
    """Whether lower fidelities are asked and modelled at all."""
    distrust: bool = True
    """Whether the belief in lower fidelities is weighed by evidence."""
    candidates: CandidateConfig = field(default_factory=CandidateConfig)
    """That compete for a place in the batch."""
    steps: int = 60
    """Updates of the hyperparameters in a fit."""
    caution: float = 0.5
    """Standard deviations that count against a recommendation."""


class Turn(NamedTuple):
    """The state of a search after a turn."""

    cost: float
    """Cost units spent so far, the initial design included."""
    best: np.ndarray
    """[D], where the greatest target value is expected."""
    weight: float
    """Of the belief in lower fidelities, 0 to 1."""
    asked: Asked


class Batch(NamedTuple):
    """What to ask next, in the order of choice."""

    x: np.ndarray
    """[b, D]"""
    fidelity: np.ndarray
    """[b]"""


def recommend(
    beliefs: Beliefs, asked: Asked, caution: float, rng: np.random.Generator
) -> np.ndarray:
    """The point of greatest target mean less `caution` standard deviations, [D].

    By shrinking local search. The mean alone would often name a point that nobody has asked about,
    where a model of few data expects the best by extrapolation.
    """

    def worth(x: np.ndarray) -> np.ndarray:
        expected, std = target_of(beliefs, x)
        return expected - caution * std

    pool = np.concatenate([rng.uniform(size=(2 * BLOCK, asked.x.shape[1])), asked.x])
    for width in (0.1, 0.03, 0.01, 0.003, 0.001):
        best = pool[np.argsort(-worth(pool), kind="stable")[:4]]
        moved = np.repeat(best, BLOCK // 4 - 1, 0)
        moved = folded(moved + width * rng.normal(size=moved.shape))
        pool = np.concatenate([best, moved])
    return np.asarray(pool[np.argmax(worth(pool))])


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
      budget: cost units in all; the last query asks the recommendation at the target fidelity.
      initial: cost units of the initial design.
      seed: of everything drawn.
      callback: called after every turn.
    """
    rng = np.random.default_rng(seed)
    last = len(problem.costs) - 1
    asked = design(problem, rng, initial, list(range(last + 1)) if config.joint else [last])
    turns: list[Turn] = []

    def turn() -> tuple[Beliefs, np.ndarray]:
        beliefs = believe(
            problem, asked, joint=config.joint, distrust=config.distrust, steps=config.steps
        )
        best = recommend(beliefs, asked, config.caution, rng)
        turns.append(Turn(cost_of(problem, asked), best, beliefs.states.weight, asked))
        if callback:
            callback(turns[-1])
        return beliefs, best

    while True:
        beliefs, best = turn()
        # The last query asks the recommendation at the target fidelity: its cost stays in reserve.
        left = budget - cost_of(problem, asked) - problem.costs[last]
        if len(turns) == config.rounds:
            break
        batch = plan(problem, config, beliefs, asked, left, rng)
        if not len(batch.x):
            break
        asked = ask(problem, asked, batch.x, batch.fidelity)
    if cost_of(problem, asked) + problem.costs[last] <= budget + 1e-9:
        asked = ask(problem, asked, best[None], np.array([last]))
        turn()
    return turns


def plan(
    problem: Problem,
    config: SearchConfig,
    beliefs: Beliefs,
    asked: Asked,
    left: float,
    rng: np.random.Generator,
) -> Batch:
    """The next batch; empty where nothing is affordable or worth asking.

    Args:
      problem: what is asked.
      config: of the search.
      beliefs: about it.
      asked: all queries so far.
      left: cost units that the batch may spend.
      rng: of the candidates.
    """
    levels, target = beliefs.levels, len(problem.costs) - 1
    half = max(config.batch // 2, 1) * problem.costs[target]
    costs = np.array(problem.costs if levels > 1 else problem.costs[target:], float)
    known = asked.value[asked.fidelity == target]
    with jax.enable_x64(True):
        terms = Terms(
            best=jnp.asarray(known.max()),
            costs=jnp.asarray(costs),
            costs_later=jnp.asarray(costs),
            tells_stability=jnp.zeros(levels, bool),
            open=(jnp.arange(levels) == levels - 1) | (left > half * (1 + 1e-9)),
        )
    pool = draw(beliefs, config.candidates, terms, asked, rng)

    def worth(std: np.ndarray, shift: np.ndarray, chosen: list[tuple[int, int]]) -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(_rates(terms, pool.mean[:, -1], std, shift))

    picks = choose_batch(
        joint_belief(pool),
        worth,
        np.tile(costs, (len(pool.x), 1)),
        left,
        available=pool.available,
        size=config.batch,
    )
    fidelity = np.array([p.fidelity if levels > 1 else target for p in picks], int)
    return Batch(pool.x[[p.crystal for p in picks]], fidelity)


def joint_belief(pool: Candidates) -> JointBelief:
    """The form in which a campaign believes of its candidates."""

    def root(matrix: np.ndarray) -> np.ndarray:
        """The symmetric square root of [..., n, n]."""
        values, vectors = np.linalg.eigh(matrix)
        scaled = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
        return np.asarray(scaled @ np.swapaxes(vectors, -1, -2))

    return JointBelief(pool.mean, root(pool.covariance), root(pool.correlation))


@jax.jit
def _rates(terms: Terms, mean: jax.Array, std: jax.Array, shift: jax.Array) -> jax.Array:
    """[N, M], what each question is worth per unit of cost."""
    questions = jax.vmap(question_of)(mean, std, shift)
    return jax.vmap(improvement_rate, in_axes=(None, 0))(terms, questions)
