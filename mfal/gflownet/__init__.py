"""GFlowNet training on any environment under the contract of `mfal.envs.types`."""

from typing import TYPE_CHECKING

from mfal.gflownet.conditions import Conditions
from mfal.gflownet.estimates import (
    Diversity,
    Quality,
    evidence_bounds,
    log_prob,
    measure_diversity,
    measure_quality,
    top_k,
)
from mfal.gflownet.exact import ExactMetrics, StateGraph, enumerate_states, exact_metrics
from mfal.gflownet.exploration import ExplorationConfig, Schedule
from mfal.gflownet.losses import LOSSES, Balance, Loss
from mfal.gflownet.network import Network, Outputs, make_own_policy
from mfal.gflownet.policy import PolicyConfig, make_policy
from mfal.gflownet.progress import Callback, chain, json_lines, progress_bar, tensorboard
from mfal.gflownet.replay import ReplayConfig
from mfal.gflownet.rewards import (
    ClipParams,
    LogReward,
    RewardTransform,
    StandardiseParams,
    TransformedParams,
    clip,
    floor,
    from_score,
    standardise,
    temper,
    transform_reward,
)
from mfal.gflownet.rollout import draw_noise, rollout
from mfal.gflownet.temperature import TemperatureConfig
from mfal.gflownet.train import (
    DataSet,
    Metrics,
    Samples,
    TrainConfig,
    Trainer,
    TrainState,
    make_trainer,
)
from mfal.gflownet.trajectories import Trajectories
from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.gflownet.checkpoint import restore, save
    from mfal.gflownet.runner import run_in_folder

__all__ = [
    "LOSSES",
    "Balance",
    "Callback",
    "ClipParams",
    "Conditions",
    "DataSet",
    "Diversity",
    "ExactMetrics",
    "ExplorationConfig",
    "LogReward",
    "Loss",
    "Metrics",
    "Network",
    "Outputs",
    "PolicyConfig",
    "Quality",
    "ReplayConfig",
    "RewardTransform",
    "Samples",
    "Schedule",
    "StandardiseParams",
    "StateGraph",
    "TemperatureConfig",
    "TrainConfig",
    "TrainState",
    "Trainer",
    "Trajectories",
    "TransformedParams",
    "chain",
    "clip",
    "draw_noise",
    "enumerate_states",
    "evidence_bounds",
    "exact_metrics",
    "floor",
    "from_score",
    "json_lines",
    "log_prob",
    "make_own_policy",
    "make_policy",
    "make_trainer",
    "measure_diversity",
    "measure_quality",
    "progress_bar",
    "restore",
    "rollout",
    "run_in_folder",
    "save",
    "standardise",
    "temper",
    "tensorboard",
    "top_k",
    "transform_reward",
]

# Checkpoints are Orbax's, which takes a while to load.
__getattr__, __dir__ = lazily(
    __name__,
    {
        "checkpoint": "restore save",
        "runner": "run_in_folder",
    },
)
