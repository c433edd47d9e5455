"""What to ask next, and at which fidelity."""

from mfal.acquisition.batch import JointBelief, Pick, choose_batch
from mfal.acquisition.reward import RewardParams, bounded_log_reward, default_reward
from mfal.acquisition.utility import (
    Question,
    Terms,
    expected_improvement,
    improvement_rate,
    log_expected_improvement,
)

__all__ = [
    "JointBelief",
    "Pick",
    "Question",
    "RewardParams",
    "Terms",
    "bounded_log_reward",
    "choose_batch",
    "default_reward",
    "expected_improvement",
    "improvement_rate",
    "log_expected_improvement",
]
