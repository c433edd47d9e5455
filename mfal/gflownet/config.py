"""What is fixed when a trainer is compiled, and what it hands back."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax

from mfal.envs.types import State
from mfal.errors import MfalError
from mfal.gflownet.exploration import ExplorationConfig
from mfal.gflownet.policy import PolicyConfig
from mfal.gflownet.replay import ReplayBuffer, ReplayConfig
from mfal.gflownet.temperature import TemperatureConfig

__all__ = ["DataSet", "Metrics", "Params", "Samples", "TrainConfig", "TrainState"]

Params = dict[str, Any]


@dataclass(frozen=True)
class TrainConfig:
    """All that is fixed when a trainer is compiled."""

    batch_size: int = 64
    """Trajectories a step."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    """Network."""
    loss: str = "tb"
    """tb, vargrad, db or subtb."""
    subtb_lambda: float = 0.9
    """Weight ratio of a sub-trajectory to one that is a step shorter."""
    learning_rate: float = 1e-3
    """Of the network, Adam."""
    log_z_learning_rate: float = 0.1
    """Of log Z, Adam."""
    log_z_from_batch: bool = True
    """Start log Z at the first batch's estimate instead of at zero."""
    clip_norm: float | None = None
    """Largest norm of the network's gradient."""
    exploration: ExplorationConfig = field(default_factory=ExplorationConfig)
    """Behaviour while training."""
    replay: ReplayConfig | None = None
    """Replay buffer, or none."""
    data_share: float = 0.0
    """Share of each batch that leads to terminal states of a data set, drawn backward."""
    temperature: TemperatureConfig | None = None
    """Train for a range of inverse temperatures at once, the policy being told which."""
    steps_per_dispatch: int = 50
    """Training steps of one compiled call."""
    zero_reward_gap: float | None = None
    """What to do with states of reward zero (log R = -inf). None refuses them. A number c teaches
    the policy to end in any one of them with probability e^-c at most (`mfal.gflownet.losses`), so
    c should exceed the logarithm of their number by some; all other states keep their exact
    proportions."""
    micro_batches: int = 1
    """Parts that a batch is done in, one after the other, with one update at the end: memory is
    that of one part. log Z then starts at the first part's estimate."""
    rematerialise: bool = False
    """Whether the network is run anew for the gradient, instead of keeping what each layer gave in
    the rollout: less memory, more time."""

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.steps_per_dispatch < 1:
            raise MfalError(
                f"batch_size {self.batch_size}, steps_per_dispatch {self.steps_per_dispatch}",
                "give positive numbers",
            )
        if self.micro_batches < 1 or self.batch_size % self.micro_batches:
            raise MfalError(
                f"{self.micro_batches} micro-batches of a batch of {self.batch_size}",
                "give a number that divides batch_size",
            )
        if self.micro_batches > 1 and self.loss == "vargrad":
            raise MfalError(
                "loss 'vargrad' in micro-batches: it compares all trajectories of a batch",
                "choose tb, db or subtb, or micro_batches=1",
            )
        if self.zero_reward_gap is not None and not self.zero_reward_gap > 0:
            raise MfalError(f"zero_reward_gap {self.zero_reward_gap}", "give a positive number")
        if not 0 <= self.data_share <= 1:
            raise MfalError(f"data_share {self.data_share}", "give a share from 0 to 1")
        if self.loss == "vargrad" and self.temperature is not None:
            raise MfalError(
                "loss 'vargrad' for a range of temperatures: its batch has one log Z, each "
                "temperature another",
                "choose tb, db or subtb",
            )
        if self.num_replayed + self.num_from_data > self.batch_size:
            raise MfalError("shares of replay and data exceed the batch", "lower one of them")

    @property
    def num_replayed(self) -> int:
        """Trajectories of a batch that are replayed."""
        return round(self.batch_size * self.replay.share) if self.replay else 0

    @property
    def num_from_data(self) -> int:
        """Trajectories of a batch that lead to states of the data set."""
        return round(self.batch_size * self.data_share)


class DataSet(NamedTuple):
    """Terminal states to train on."""

    states: State
    """[N] terminal states."""
    weight: jax.Array
    """[N] float32, drawn in proportion; 0 for padding."""


class TrainState(NamedTuple):
    """All that evolves: enough to go on bit for bit."""

    params: Params
    """"policy": of the network; "log_z": of log Z."""
    opt_state: Any
    key: jax.Array
    step: jax.Array
    """[] int32, training steps done."""
    replay: ReplayBuffer | None
    data: DataSet | None


class Metrics(NamedTuple):
    """What a training step tells; `run` stacks them, [num_steps] each."""

    loss: jax.Array
    log_z: jax.Array
    """Learned, or the batch's estimate where the loss learns none; at beta = 1 if conditional."""
    log_reward: jax.Array
    """Mean over the freshly drawn trajectories."""
    best_log_reward: jax.Array
    length: jax.Array
    """Mean number of actions."""
    grad_norm: jax.Array
    dropped: jax.Array
    """Trajectories left out because their reward was not a number."""
    zero: jax.Array
    """Trajectories that ended where the reward is zero."""
    unended: jax.Array
    """Trajectories without a proper end, which only an environment that breaks its laws has."""


class Samples(NamedTuple):
    """Independent draws from the policy, without exploration."""

    states: State
    """[B] terminal states."""
    log_pf: jax.Array
    """[B] float32, of the trajectory that led there."""
    log_pb: jax.Array
    """[B] float32, of the same trajectory backward."""
    log_reward: jax.Array
    """[B] float32, at beta = 1."""
    length: jax.Array
    """[B] int32."""
