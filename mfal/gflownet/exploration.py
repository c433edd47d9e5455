"""Schedules of the behaviour's departure from the policy."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from mfal.errors import MfalError
from mfal.gflownet.trajectories import Exploration

__all__ = ["ExplorationConfig", "Schedule", "exploration_at"]


@dataclass(frozen=True)
class Schedule:
    """A straight line from `start` to `end` over `steps` training steps, then flat."""

    start: float
    end: float
    steps: int = 1000

    def __call__(self, step: jax.Array) -> jax.Array:
        """The value at a training step, [] float32."""
        share = jnp.clip(step.astype(jnp.float32) / max(self.steps, 1), 0.0, 1.0)
        return jnp.float32(self.start) + share * jnp.float32(self.end - self.start)


@dataclass(frozen=True)
class ExplorationConfig:
    """How trajectories for training are drawn; log-probabilities stay those of the policy."""

    epsilon: Schedule = Schedule(0.05, 0.05)
    """Chance of a uniformly drawn action at each step."""
    temperature: Schedule = Schedule(1.0, 1.0)
    """Divides the logits; above one is flatter."""
    dither: Schedule = Schedule(0.0, 0.0)
    """Standard deviation of Gaussian noise on the logits, constant along a trajectory."""

    def __post_init__(self) -> None:
        ends = (self.epsilon.start, self.epsilon.end)
        if min(ends) < 0 or max(ends) > 1:
            raise MfalError(f"epsilon {ends}", "keep it between 0 and 1")
        if min(self.temperature.start, self.temperature.end) <= 0:
            raise MfalError(f"exploration temperature {self.temperature}", "keep it positive")
        if min(self.dither.start, self.dither.end) < 0:
            raise MfalError(f"dither {self.dither}", "keep it at zero or above")

    @property
    def dithers(self) -> bool:
        """Whether noise on the logits is ever asked for."""
        return max(self.dither.start, self.dither.end) > 0


def exploration_at(config: ExplorationConfig, step: jax.Array) -> Exploration:
    """The exploration of a training step."""
    return Exploration(config.epsilon(step), config.temperature(step), config.dither(step))
