"""What to ask next, and at which fidelity."""

from mfal.acquisition.batch import (
    Batch,
    JointBelief,
    choose_batch,
    condition,
    ensemble_belief,
    joint_gain,
    separate_belief,
)
from mfal.acquisition.guard import GuardConfig, Verdict, guard, held_out_score
from mfal.acquisition.information import (
    InformationParams,
    answer_correlation,
    information_about_maximum,
    information_gain_per_cost,
    truncation,
)
from mfal.acquisition.maxima import gumbel_maxima
from mfal.acquisition.reward import (
    AcquisitionParams,
    RewardParams,
    acquisition_params,
    bounded_log_reward,
    default_reward,
    make_log_reward,
)
from mfal.acquisition.single import (
    expected_improvement,
    knowledge_gradient,
    log_expected_improvement,
    max_value_entropy,
    positive,
    thompson,
    upper_confidence_bound,
)

__all__ = [
    "AcquisitionParams",
    "Batch",
    "GuardConfig",
    "InformationParams",
    "JointBelief",
    "RewardParams",
    "Verdict",
    "acquisition_params",
    "answer_correlation",
    "bounded_log_reward",
    "choose_batch",
    "condition",
    "default_reward",
    "ensemble_belief",
    "expected_improvement",
    "guard",
    "gumbel_maxima",
    "held_out_score",
    "information_about_maximum",
    "information_gain_per_cost",
    "joint_gain",
    "knowledge_gradient",
    "log_expected_improvement",
    "make_log_reward",
    "max_value_entropy",
    "positive",
    "separate_belief",
    "thompson",
    "truncation",
    "upper_confidence_bound",
]
