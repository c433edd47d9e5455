"""Which candidates to ask the target oracle about because they may be best."""

from collections import Counter
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from mfal.acquisition import log_expected_improvement
from mfal.campaign.ledger.budget import Account, affordable
from mfal.campaign.strategy.candidates import CandidatePool
from mfal.campaign.strategy.learner import Expectation
from mfal.campaign.strategy.stability import Stability
from mfal.campaign.strategy.types import Round

__all__ = ["most_promising", "promise", "to_screen"]

_GROUPS = 3
"""Space groups, at least, among what a round asks for its promise."""


def promise(expected: Expectation, best: float, chance: np.ndarray) -> np.ndarray:
    """Log of the expected improvement on the best score times the chance of an answer, [N].

    A mean plus a standard deviation, for comparison, prefers whatever the proxy knows least about,
    and takes no notice of whether there will be an answer.

    Args:
      expected: scores at all fidelities.
      best: best score at the target fidelity so far. Before there is one, -inf: the mean decides.
      chance: [N], probability of an answer.
    """
    mean, std = expected.mean[:, -1], np.maximum(expected.std[:, -1], 1e-9)
    if not np.isfinite(best):
        return mean + np.log(np.maximum(chance, 1e-9))
    gain = np.asarray(log_expected_improvement(jnp.asarray(mean), jnp.asarray(std), best))
    return gain + np.log(np.maximum(chance, 1e-9))


def most_promising(
    round_: Round,
    pool: CandidatePool,
    rankings: Sequence[np.ndarray],
    *,
    share: float,
    costs: Sequence[float],
    window: int | None,
    stability: Stability | None,
    screen: int | None = None,
) -> np.ndarray:
    """Positions of what to ask the target oracle about, because it may be best.

    One of each formula, and few of each space group, as the proxy's errors are alike among the
    alike.

    Args:
      round_: with its allowances.
      pool: what may be asked.
      rankings: of [N] each, larger is better; each has its turn.
      share: of the round's allowance; the last round takes all of it.
      costs: CPU s of a query at each fidelity.
      window: fidelity of the oracle that tells the window, asked beside the target.
      stability: judges candidates, where there is a requirement.
      screen: fidelity at which candidates are to have answered; those that have not come after.
    """
    target = len(costs) - 1
    turns = [
        stability.order(pool.judged, ranking)
        if stability and pool.judged
        else np.argsort(-ranking, kind="stable")
        for ranking in rankings
    ]
    order = np.stack(turns, axis=1).ravel()
    if screen is not None:
        passed = pool.answered[order, screen]
        order = np.concatenate([order[passed], order[~passed]])
    budget = round_.allowance * (1.0 if round_.number == round_.rounds else share)
    each = [target] if window is None else [target, window]
    together = [sum(costs[m] for m in each)] * len(order)
    number = min(
        affordable(Account(budget, 0.0, 0.0), together),
        *(
            affordable(Account(round_.allowances[m], 0.0, 0.0), [costs[m]] * len(order))
            for m in each
        ),
    )
    # What is being asked is as good as found: it isn't to be found again.
    waiting = [pool.records[i] for i in pool.pending if pool.fidelity[i] == target]
    formulas = {record.formula for record in waiting}
    groups = Counter(record.space_group for record in waiting)
    found: list[int] = []
    for i in order[~np.isin(order, pool.pending)].tolist():
        record = pool.records[i]
        crowded = groups[record.space_group] >= max(1, number // _GROUPS)
        if len(found) == number:
            break
        if pool.fidelity[i] == target and record.formula not in formulas and not crowded:
            formulas.add(record.formula)
            groups[record.space_group] += 1
            found.append(i)
    return np.array(found, int)


def to_screen(
    pool: CandidatePool, ranking: np.ndarray, screen: int, number: int, chosen: np.ndarray
) -> np.ndarray:
    """Positions of what to ask a cheap oracle about, so that the target is asked about the best.

    One of each formula, as of what the target is asked.

    Args:
      pool: what may be asked.
      ranking: [N], larger is better.
      screen: the cheap fidelity.
      number: of queries, at most.
      chosen: positions of what the target is asked already.
    """
    formulas: set[str] = set()
    asked = {pool.records[i].hash for i in chosen.tolist()}
    found: list[int] = []
    may = pool.available & (pool.fidelity == screen)
    for i in np.argsort(-ranking, kind="stable").tolist():
        if len(found) >= number:
            break
        record = pool.records[i]
        if may[i] and record.formula not in formulas and record.hash not in asked:
            formulas.add(record.formula)
            found.append(i)
    return np.array(found, int)
