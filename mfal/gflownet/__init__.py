"""GFlowNet training on any environment under the contract of `mfal.envs.types`."""

from mfal.gflownet.exploration import ExplorationConfig, Schedule
from mfal.gflownet.losses import LOSSES
from mfal.gflownet.policy import PolicyConfig
from mfal.gflownet.replay import ReplayConfig
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

__all__ = [
    "LOSSES",
    "DataSet",
    "ExplorationConfig",
    "Metrics",
    "PolicyConfig",
    "ReplayConfig",
    "Samples",
    "Schedule",
    "TemperatureConfig",
    "TrainConfig",
    "TrainState",
    "Trainer",
    "make_trainer",
]
