"""Search of a unit cube at several fidelities: fit, guard, propose a batch, ask, recommend.

The method that campaigns use on crystals, on functions of a few numbers instead: an exact Gaussian
process of all fidelities (`mfal.proxies.gaussian_process`) stands for the ensemble, and candidates
come from uniform draws, from around what looks best and from climbing the acquisition's gradient,
in the sampler's place. It is what `experiments/benchmarks/acquisition.py` measures.

Lower fidelities have to earn their part. A process of all answers and one of the target's alone are
fitted in every turn:

- as long as the target's answers do not prove the joint process (`guard`: a Bayes
  factor and held-out densities), the turn is the target's own: its process chooses half a batch of
  target queries and the recommendation;
- once proven, the joint process chooses the batch, by information per cost at all fidelities; its
  first query is the greatest expected improvement at the target fidelity, so that proof is tested
  in each turn;
- the last half batch's worth of the budget goes to the target alone, by expected improvement.

So a fidelity that misleads costs its part of the initial design and no more.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from .guard import GuardConfig, Verdict, guard
from .problems import Problem
from .proposals import CandidateConfig, Proposed, propose
from .queries import Asked, ask, cost_of, design, folded
from .surrogate import BLOCK, Surrogate, fit, held_out, target_evidence, target_moments

__all__ = ["SearchConfig", "Turn", "recommend", "search"]


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
    candidates: CandidateConfig = field(default_factory=CandidateConfig)
    """That compete for a place in the batch."""
    steps: int = 60
    """Updates of the hyperparameters in a fit."""
    caution: float = 0.5
    """Standard deviations that count against a recommendation."""
    smoothness: float = 2.5
    """Of the process, see `GPConfig`."""
    thresholds: GuardConfig = field(
        default_factory=lambda: GuardConfig(max_loss=0.0, min_evidence=3.0)
    )
    """Of the guard: both proofs must be positive. What useful and misleading fidelities reach was
    looked up on seeds 100 to 108 of the benchmark's problems, like `margin`."""
    margin: float = 0.25
    """Nats per held-out target answer by which the joint process must predict better at first; once
    trusted, it stays so until it predicts worse or the evidence falls short."""


class Turn(NamedTuple):
    """The state of a search after a turn."""

    cost: float
    """Cost units spent so far, the initial design included."""
    best: np.ndarray
    """[D], where the acting model expects the greatest target value."""
    followed: bool
    """Whether the next batch is the joint model's."""
    asked: Asked
    verdict: Verdict | None = None
    """The guard's, where there is one."""


def recommend(
    surrogate: Surrogate, asked: Asked, caution: float, rng: np.random.Generator
) -> np.ndarray:
    """The point of greatest target mean less `caution` standard deviations, [D].

    By shrinking local search. The mean alone would often name a point that nobody has asked about,
    where a model of few data expects the best by extrapolation.
    """

    def worth(x: np.ndarray) -> np.ndarray:
        expected, std = target_moments(surrogate, x)
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

    def act(asked: Asked) -> tuple[Surrogate, Verdict | None]:
        """The acting surrogate and the guard's word."""
        if not config.joint:
            return _fit(problem, asked, config, joint=False), None
        joint = _fit(problem, asked, config, joint=True)
        if not config.guarded:
            return joint, None
        own = _fit(problem, asked, config, joint=False)
        trusted = bool(turns) and turns[-1].followed
        verdict = judge(problem, config, asked, joint, own, trusted=trusted)
        return joint if verdict.follow else own, verdict

    def close(acting: Surrogate, verdict: Verdict | None) -> np.ndarray:
        best = recommend(acting, asked, config.caution, rng)
        turns.append(Turn(cost_of(problem, asked), best, acting.levels > 1, asked, verdict))
        if callback:
            callback(turns[-1])
        return best

    while True:
        acting, verdict = act(asked)
        best = close(acting, verdict)
        # The last query asks the recommendation at the target fidelity: its cost stays in reserve.
        left = budget - cost_of(problem, asked) - problem.costs[last]
        if len(turns) == config.rounds:
            break
        batch = plan(problem, config, acting, asked, left, rng)
        if not len(batch.x):
            break
        asked = ask(problem, asked, batch.x, batch.fidelity)
    if cost_of(problem, asked) + problem.costs[last] <= budget + 1e-9:
        asked = ask(problem, asked, best[None], np.array([last]))
        acting, verdict = act(asked)
        close(acting, verdict)
    return turns


def plan(
    problem: Problem,
    config: SearchConfig,
    acting: Surrogate,
    asked: Asked,
    left: float,
    rng: np.random.Generator,
) -> Proposed:
    """The next batch; empty where nothing is affordable.

    Args:
      problem: what is asked.
      config: of the search.
      acting: the surrogate that decides: of all fidelities, or of the target alone.
      asked: all queries so far.
      left: cost units that the batch may spend.
      rng: of the candidates.
    """
    half = max(config.batch // 2, 1)
    if not config.joint:
        size, improvements = config.batch, config.batch
    elif acting.levels > 1 and left > half * problem.costs[-1] + 1e-9:
        size, improvements = config.batch, 1
    else:
        size, improvements = half, half
    return propose(
        problem, acting, config.candidates, asked, left, size, rng, improvements=improvements
    )


def judge(
    problem: Problem,
    config: SearchConfig,
    asked: Asked,
    joint: Surrogate,
    own: Surrogate,
    *,
    trusted: bool,
) -> Verdict:
    """The guard's word on the joint process: proof alone counts here, not its own surety.

    Args:
      problem: what is asked.
      config: of the search.
      asked: all queries so far.
      joint: fit of all fidelities.
      own: fit of the target alone.
      trusted: whether it has proved itself before.
    """
    target = asked.value[asked.fidelity == len(problem.costs) - 1]
    margin = 0.0 if trusted else config.margin
    return guard(
        config.thresholds,
        jnp.asarray(jnp.inf),
        float(target.std()),
        jnp.asarray(jnp.inf),
        jnp.asarray(held_out(joint, target) - margin),
        jnp.asarray(held_out(own, target)),
        len(target) * (target_evidence(joint) - target_evidence(own)),
    )


def _fit(problem: Problem, asked: Asked, config: SearchConfig, *, joint: bool) -> Surrogate:
    return fit(problem, asked, joint=joint, steps=config.steps, smoothness=config.smoothness)
