"""One policy for a family of rewards: the policy and log Z are told which.

The family may be that of temperatures (`mfal.gflownet.temperature`), or one of one's own: weights
of several objectives, a target, a fidelity. Then a condition is drawn anew for each trajectory and
appended to what the policy sees, and the reward is asked as `log_reward(params, state, condition)`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mfal.errors import MfalError
from mfal.gflownet.temperature import LogZ, TemperatureConfig, condition_of, draw_beta

__all__ = ["Conditions", "Drawn", "OwnLogZ", "draw_conditions", "make_log_z", "num_conditions"]

_HIDDEN = 64


class Conditions(NamedTuple):
    """Conditions of one's own."""

    draw: Callable[[jax.Array], jax.Array]
    """Key to a condition, [C] float32 of the order of one."""


class Drawn(NamedTuple):
    """What a batch of trajectories is conditioned on."""

    beta: jax.Array
    """[B] float32, inverse temperatures; ones where these don't vary."""
    conditions: jax.Array
    """[B, C] float32, what the policy is told."""


@dataclass(frozen=True)
class OwnLogZ:
    """log Z as a function of a condition of one's own: a number plus a small network."""

    size: int

    def init(self, key: jax.Array) -> dict[str, Any]:
        """The number, zero at first, and the network's parameters."""
        network = self._network().init(key, jnp.zeros((self.size,), jnp.float32))
        return {"constant": jnp.zeros((1,), jnp.float32), "network": network}

    def __call__(self, params: Any, conditions: jax.Array) -> jax.Array:
        """Value at conditions [B, C], [B]."""
        varying: jax.Array = self._network().apply(params["network"], conditions)  # type: ignore
        return params["constant"][0] + varying[..., 0]

    def start(self, params: Any, step: jax.Array, estimate: jax.Array) -> Any:
        """The same, its constant raised by an estimate at the very first step."""
        raised = params["constant"].at[0].add(jnp.where(step == 0, estimate, 0.0))
        return {**params, "constant": raised}

    def _network(self) -> nn.Module:
        small = nn.initializers.variance_scaling(0.01, "fan_in", "normal")
        return nn.Sequential([nn.Dense(_HIDDEN), nn.tanh, nn.Dense(1, kernel_init=small)])


def num_conditions(temperature: TemperatureConfig | None, own: Conditions | None) -> int:
    """How many numbers the policy is told, C.

    Raises:
      MfalError: where both kinds are given, or `draw` gives no vector of float32.
    """
    if own is None:
        return 0 if temperature is None else 1
    if temperature is not None:
        raise MfalError(
            "conditions of one's own beside a range of temperatures",
            "leave TrainConfig.temperature out and draw the inverse temperature as a condition",
        )
    shape = jax.eval_shape(own.draw, jax.random.key(0))
    if len(shape.shape) != 1 or not jnp.issubdtype(shape.dtype, jnp.floating):
        raise MfalError(
            f"conditions drawn as {shape.dtype}{list(shape.shape)}", "draw a vector [C] of floats"
        )
    return int(shape.shape[0])


def make_log_z(temperature: TemperatureConfig | None, own: Conditions | None) -> LogZ | OwnLogZ:
    """Log Z as a function of what the policy is told."""
    if own is not None:
        return OwnLogZ(num_conditions(temperature, own))
    return LogZ(temperature is not None)


def draw_conditions(
    temperature: TemperatureConfig | None, own: Conditions | None, key: jax.Array, batch: int
) -> Drawn:
    """Conditions of a batch."""
    if own is not None:
        drawn = jax.vmap(own.draw)(jax.random.split(key, batch)).astype(jnp.float32)
        return Drawn(jnp.ones((batch,), jnp.float32), drawn)
    beta = draw_beta(temperature, key, batch)
    return Drawn(beta, condition_of(temperature, beta))
