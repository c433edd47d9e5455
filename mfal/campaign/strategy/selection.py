"""What a round asks: of the target oracle, of a cheap one, for information; the guard has its say.

Pure functions of what is believed: nothing is fitted and nothing compiled here.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mfal.acquisition.guard import Verdict
from mfal.campaign.strategy.candidates import CandidatePool, without
from mfal.campaign.strategy.learner import Belief, Choice, Expectation, ScoredRows
from mfal.campaign.strategy.promising import most_promising, promise, to_screen
from mfal.campaign.strategy.stability import Stability
from mfal.campaign.strategy.trust import Trust, judge, sure
from mfal.campaign.strategy.types import Round

__all__ = ["Selection", "select"]

_NOTHING = Choice(np.zeros(0, int), np.zeros(0))


class Selection(NamedTuple):
    """Positions in the pool."""

    promising: np.ndarray
    """Of what the target oracle is asked for its promise."""
    windows: list[tuple[int, int]]
    """The same crystals, each with the fidelity that is to tell their own hull distance."""
    screened: np.ndarray
    """Of what a cheap oracle is asked for the same."""
    informative: Choice
    """Of what is asked for information."""
    verdict: Verdict | None
    """The guard's; None where it had nothing to judge."""


def select(
    round_: Round,
    rows: ScoredRows,
    trust: Trust,
    pool: CandidatePool,
    expected: Expectation,
    *,
    chance: np.ndarray,
    believe: Callable[[Belief], Expectation],
    inform: Callable[[Belief, np.ndarray, np.ndarray, float, Sequence[float]], Choice],
    costs: Sequence[float],
    exploit: float,
    batch: int,
    screen: int | None = None,
    window: int | None = None,
    stability: Stability | None = None,
) -> Selection:
    """What to ask, and the guard's verdict.

    Args:
      round_: with its allowances.
      rows: the answers as scores.
      trust: both fits.
      pool: what may be asked, N queries.
      expected: of the pool's crystals, by the fit to act on.
      chance: [N], probability that each is answered.
      believe: what a fit expects of the pool's crystals.
      inform: (fit, [N] bool which are available, positions that are being asked, CPU s to
        spend, CPU s that each fidelity may take) to the most informative.
      costs: CPU s of a query at each fidelity.
      exploit: share of the allowance for what looks best.
      batch: most queries for information.
      screen: fidelity at which candidates are to have answered before the target is asked.
      window: fidelity of the oracle that tells the stability window, asked beside the target.
      stability: judges candidates, where there is a requirement.
    """
    target = len(costs) - 1
    at_target = pool.fidelity == target
    at_target[pool.pending] = False
    rankings, std, scale = [promise(expected, trust.belief.best, chance)], 0.0, 1.0
    if trust.single is not None and trust.follow and at_target.any():
        own = promise(believe(trust.single), trust.single.best, chance)
        std = float(expected.std[np.argmax(np.where(at_target, own, -np.inf)), target])
        scale = float(rows.score[rows.fidelity == target].std())
        if not (sure(std, scale) or trust.proven):
            rankings.append(own)
    best = most_promising(
        round_,
        pool,
        rankings,
        share=exploit,
        costs=costs,
        window=window,
        stability=stability,
        screen=screen,
    )
    windows = _windows(round_, pool, best, window)
    spent = [0.0] * (target + 1)
    for fidelity in [target] * len(best) + [fidelity for _, fidelity in windows]:
        spent[fidelity] += costs[fidelity]
    # The last round asks the target oracle only.
    left = round_.allowance - sum(spent) if round_.number < round_.rounds else 0.0
    limits = [limit - taken for limit, taken in zip(round_.allowances, spent, strict=True)]
    waiting = np.concatenate([pool.pending, best[:batch]])
    pool = without(pool, windows)

    def informative(belief: Belief, available: np.ndarray) -> Choice:
        return inform(belief, available, waiting, left, limits)

    if screen is not None:
        verdict = judge(trust, std, scale, np.inf) if trust.single else None
        number = int(min(left, limits[screen]) / costs[screen] + 1e-6)
        screened = to_screen(pool, rankings[0], screen, number, best)
        return Selection(best, windows, screened, _NOTHING, verdict)
    none = np.zeros(0, int)
    if trust.single is None:
        return Selection(best, windows, none, informative(trust.joint, pool.available), None)
    if not trust.follow:
        choice = informative(trust.single, pool.available & at_target)
        return Selection(best, windows, none, choice, None)
    choice = informative(trust.joint, pool.available)
    cheap = len(choice.indices) > 0 and pool.fidelity[choice.indices[0]] < target
    rate = choice.gains[0] / costs[pool.fidelity[choice.indices[0]]] if cheap else np.inf
    verdict = judge(trust, std, scale, rate)
    if not verdict.worthwhile:
        choice = informative(trust.single, pool.available & at_target)
    return Selection(best, windows, none, choice, verdict)


def _windows(
    round_: Round, pool: CandidatePool, best: np.ndarray, window: int | None
) -> list[tuple[int, int]]:
    """Positions, and the fidelity of the oracle that is to tell their own hull distance."""
    if window is None:
        return []
    asked = round_.asked({pool.records[i].hash for i in best.tolist()})
    return [(i, window) for i in best.tolist() if (pool.records[i].hash, window) not in asked]
