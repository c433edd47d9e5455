"""What to ask next, and at which fidelity."""

from mfal.acquisition.batch import (
    Batch,
    JointBelief,
    choose_batch,
    condition,
    ensemble_belief,
    joint_gain,
)
from mfal.acquisition.information import (
    InformationParams,
    answer_correlation,
    information_about_maximum,
    information_gain_per_cost,
    truncation,
)
from mfal.acquisition.maxima import gumbel_maxima, member_maxima
from mfal.acquisition.reward import (
    AcquisitionParams,
    RewardParams,
    acquisition_params,
    bounded_log_reward,
    default_reward,
    make_log_reward,
)

__all__ = [
    "AcquisitionParams",
    "Batch",
    "InformationParams",
    "JointBelief",
    "RewardParams",
    "acquisition_params",
    "answer_correlation",
    "bounded_log_reward",
    "choose_batch",
    "condition",
    "default_reward",
    "ensemble_belief",
    "gumbel_maxima",
    "information_about_maximum",
    "information_gain_per_cost",
    "joint_gain",
    "make_log_reward",
    "member_maxima",
    "truncation",
]
