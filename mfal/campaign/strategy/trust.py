"""Whether the cheap oracles' answers may steer a round: the guard, in the form a batch takes.

The proxy is fitted twice, to all answers and to the target oracle's alone, and both are scored on
the target oracle's answers that members have not seen (`mfal.acquisition.guard`):

- where the joint fit predicts them worse, the whole round is planned by the target's own fit: the
  sampler is trained on it and the target oracle alone is asked;
- where the cheap queries promise next to nothing per cost, only they are given up;
- where the joint fit is unsure of the crystal that the target's own fit would ask first, nothing is
  skipped on its word: that fit's first choices get every second place among the round's target
  queries. Unless the cheap oracles have proven themselves: unseen answers speak for the joint fit
  by some nats, and noisy answers leave any fit unsure of a single crystal for ever.

So a misleading oracle costs at most the queries that were made before it was found out.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from mfal.acquisition.guard import GuardConfig, Verdict, guard
from mfal.campaign.strategy.learner import Belief

__all__ = [
    "Trust",
    "judge",
    "predicts_no_worse",
    "record",
    "screening",
    "sentence",
    "sure",
    "weigh_fits",
]

# Lies between what good and bad cheap oracles do to the score on small problems (one of each is in
# tests/proxies/test_ensemble.py). Caution is cheap: an oracle set aside is judged anew each round.
_CONFIG = GuardConfig(max_loss=0.1)


class Trust(NamedTuple):
    """Two fits to the same answers, and which of them to act on."""

    joint: Belief
    """Of all fidelities."""
    single: Belief | None
    """Of the target oracle's answers alone; None where there is no guard or no cheap oracle."""
    joint_score: float
    """Nats per held-out answer of the target oracle."""
    single_score: float
    evidence: float = 0.0
    """Nats in all by which the held-out answers speak for the joint fit."""

    @property
    def follow(self) -> bool:
        """Whether the joint fit predicts the target no worse than the target's own."""
        return self.single is None or predicts_no_worse(self.joint_score, self.single_score)

    @property
    def belief(self) -> Belief:
        """The fit to act on."""
        return self.joint if self.single is None or self.follow else self.single

    @property
    def proven(self) -> bool:
        """Whether the cheap oracles have shown that they tell about the target."""
        return self.evidence > _CONFIG.min_evidence


def weigh_fits(joint: Belief, single: Belief | None, target: int) -> Trust:
    """Two fits under one key, with what the answers that they have not seen say of each.

    The evidence has two parts. Crystals that are left out whole tell whether cheap answers about
    other crystals help: the difference of the scores times the number of answers. Those asked at
    both fidelities tell whether a cheap answer about the crystal itself does: n pairs of errors
    with correlation rho are more likely than uncorrelated ones by -n/2 log(1 - rho^2). The
    correlation is already corrected for chance (`mfal.proxies.relation`).
    """
    found = joint.proxy.reliability
    ours = float(found.score[target])
    if single is None:
        return Trust(joint, None, ours, 0.0)
    own = float(single.proxy.reliability.score[target])
    answers = int((joint.data.valid & (joint.data.fidelity == target)).sum())
    pairs = np.asarray(found.pairs)[:target, target]
    squared = np.minimum(np.asarray(found.correlation)[:target, target] ** 2, 0.99)
    related = float(np.max(-0.5 * pairs * np.log1p(-squared), initial=0.0))
    return Trust(joint, single, ours, own, answers * (ours - own) + related)


def screening(
    trust: Trust, costs: Sequence[float], share: float, related: np.ndarray
) -> int | None:
    """The cheap fidelity that candidates are to pass before the target is asked; None without one.

    The best of n candidates by a score that correlates with the target's by rho lies rho e(n)
    standard deviations above the mean, e(n) the expected greatest of n Gaussian draws. A share of a
    round buys more candidates at a cheap fidelity and a perfect correlation at the target fidelity:
    the fidelity of greatest rho e(n) is the best buy.

    Args:
      trust: both fits.
      costs: [M], CPU s of a query at each fidelity.
      share: CPU s that are to be spent so.
      related: [M], correlation of each fidelity's answer with the target's about the same crystal.
    """
    if not trust.follow or len(costs) < 2:
        return None
    worth = [float(abs(r) * _greatest(share / c)) for r, c in zip(related, costs, strict=True)]
    return int(np.argmax(worth[:-1])) if max(worth[:-1]) > worth[-1] else None


def _greatest(number: float) -> float:
    """Expected greatest of so many standard Gaussian draws, zero below one draw.

    The quantile at (n - 0.375) / (n + 0.25), G. Blom, Statistical Estimates and Transformed
    Beta-Variables (Wiley, 1958); within 0.02 of the truth.

    >>> round(_greatest(10), 2)
    1.55
    """
    return float(norm.ppf((number - 0.375) / (number + 0.25))) if number > 1 else 0.0


def predicts_no_worse(joint_score: float, single_score: float) -> bool:
    """Whether a joint fit's held-out score is within the guard's tolerance of the target's own.

    Without any held-out answer both scores are zero: there is nothing to hold against it.
    """
    return joint_score >= single_score - _CONFIG.max_loss


def sure(std: float, scale: float) -> bool:
    """Whether a standard deviation is small beside the spread of the observed scores."""
    return std <= _CONFIG.max_std * scale


def judge(trust: Trust, std: float, scale: float, gain_per_cost: float) -> Verdict:
    """The guard's verdict on a round's proposal.

    Args:
      trust: both fits' scores.
      std: joint fit's standard deviation at the crystal that the single fit would ask first.
      scale: spread of the target oracle's observed scores, the same unit.
      gain_per_cost: of the first query for information, nats per CPU second.
    """
    return guard(
        _CONFIG,
        jnp.asarray(std),
        scale,
        jnp.asarray(gain_per_cost),
        jnp.asarray(trust.joint_score),
        jnp.asarray(trust.single_score),
        # Evidence against the joint fit is the scores' to judge, as without any.
        max(trust.evidence, 0.0),
    )


def sentence(trust: Trust, verdict: Verdict | None) -> str:
    """What the guard decided, for the user.

    Args:
      trust: both fits.
      verdict: on a round's proposal; None at the end or where the joint fit is turned down.
    """
    if trust.single is None:
        return "the guard is off"
    if not trust.follow:
        decision = "cheap oracles not trusted, the target oracle's own answers decide"
    elif verdict is not None and not bool(verdict.worthwhile):
        decision = "cheap queries not worth their cost, the target oracle alone is asked"
    elif verdict is not None and not (bool(verdict.sure) or bool(verdict.proven)):
        decision = (
            "cheap oracles trusted, but every second target query is left to the target's own fit"
        )
    else:
        decision = "cheap oracles trusted"
    return (
        f"guard: {decision} (log density of its held-out answers {trust.joint_score:.2f} with all"
        f" answers, {trust.single_score:.2f} with its own)"
    )


def record(trust: Trust, verdict: Verdict | None) -> dict[str, Any]:
    """The guard's decision as the ledger keeps it in a round's detail."""
    return {
        "on": trust.single is not None,
        "follow": trust.follow and (verdict is None or bool(verdict.worthwhile)),
        "calibrated": trust.follow,
        "sure": None if verdict is None else bool(verdict.sure),
        "worthwhile": None if verdict is None else bool(verdict.worthwhile),
        "joint_score": trust.joint_score,
        "single_score": trust.single_score,
        "evidence": trust.evidence,
        "proven": trust.proven,
        "text": sentence(trust, verdict),
    }
