"""Protection against a fidelity that misleads, in the manner of robust multi-fidelity BO.

Two models are kept: a joint one over all fidelities and one of the target alone. After Mikkola,
Martinelli, Filstroff & Kaski, AISTATS 2023 (rMFBO), the joint model's proposal is followed only if

1. the joint model is sure enough about the point which single-fidelity search would ask now: its
   target standard deviation there is at most `max_std` of the objective's scale, so that its mean
   can stand in for the answer which is being skipped;
2. the proposal's information per cost exceeds `min_gain`;

and, in addition, if

3. the joint model predicts the target observations, each left out, no worse than the target-only
   model does: the mean log density of the held-out values is not lower by more than `max_loss`
   nats, and the evidence below, where it is given, does not speak for the target-only model.

Condition 1 may be replaced by proof: target observations that the joint model finds more probable,
given the cheap ones and each other, by more than `min_evidence` nats in all (the logarithm of a
Bayes factor, which the joint model's extra hyperparameters alone can raise by some nats).

Otherwise the single-fidelity proposal is asked at the target fidelity, so that regret stays that of
single fidelity plus what condition 1 lets slip. (In rMFBO the single-fidelity model then takes the
joint mean at a skipped point for an observation; here it sees the target's own answers alone.)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["GuardConfig", "Verdict", "guard"]


class GuardConfig(NamedTuple):
    """Thresholds; a pytree, all in the units named."""

    max_std: float = 0.1
    """c1, share of the objective's scale."""
    min_gain: float = 1e-3
    """c2, nats per unit cost."""
    max_loss: float = 0.25
    """Nats per held-out target observation."""
    min_evidence: float = 5.0
    """Nats in all target observations, for the joint model and against the target-only one."""


class Verdict(NamedTuple):
    """Whether to follow the joint model, and why not; arrays of bool."""

    follow: jax.Array
    sure: jax.Array
    """Whether condition 1 holds."""
    worthwhile: jax.Array
    """Whether condition 2 holds."""
    calibrated: jax.Array
    """Whether condition 3 holds."""
    proven: jax.Array
    """Whether the evidence stands in for condition 1."""


def guard(
    config: GuardConfig,
    std_at_skipped: jax.Array,
    scale: jax.Array | float,
    gain_per_cost: jax.Array,
    joint_score: jax.Array,
    single_score: jax.Array,
    evidence: jax.Array | float = 0.0,
) -> Verdict:
    """Judges a multi-fidelity proposal.

    Args:
      config: thresholds.
      std_at_skipped: joint model's target standard deviation at the single-fidelity proposal.
      scale: of the objective, in the same unit (the spread of its observed values).
      gain_per_cost: of the multi-fidelity proposal, nats per unit cost.
      joint_score: held-out score of the target observations under the joint model.
      single_score: the same under the target-only model.
      evidence: log density of all target observations under the joint model, given the cheap ones,
        less that under the target-only model, nats.
    """
    sure = std_at_skipped <= config.max_std * scale
    worthwhile = gain_per_cost > config.min_gain
    calibrated = (joint_score >= single_score - config.max_loss) & (jnp.asarray(evidence) >= 0)
    proven = jnp.asarray(evidence > config.min_evidence)
    follow = (sure | proven) & worthwhile & calibrated
    return Verdict(follow, sure, worthwhile, calibrated, proven)
