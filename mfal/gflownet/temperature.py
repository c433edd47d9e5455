"""Training for a range of temperatures at once.

The target is R^beta, and both the policy and log Z are told beta (Zhang et al. 2023,
arXiv:2210.00580; Kim et al. 2024, arXiv:2310.02823).
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from mfal.errors import MfalError

__all__ = ["LogZ", "TemperatureConfig", "condition_of", "draw_beta"]

_DEGREE = 6


@dataclass(frozen=True)
class TemperatureConfig:
    """Range of the inverse temperature, drawn log-uniformly for each trajectory."""

    low: float = 0.25
    high: float = 4.0

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high:
            raise MfalError(
                f"inverse temperatures from {self.low} to {self.high}",
                "give 0 < low < high",
            )


@dataclass(frozen=True)
class LogZ:
    """log Z as a function of the condition: a number, or a polynomial in log beta.

    log Z is smooth and convex in beta, so Chebyshev polynomials of low degree represent it far
    better than a second network would, and learn at the rate of a single number.
    """

    conditional: bool

    def init(self, key: jax.Array) -> jax.Array:
        """Coefficients, zero at first."""
        del key
        return jnp.zeros((_DEGREE + 1 if self.conditional else 1,), jnp.float32)

    def __call__(self, coefficients: jax.Array, conditions: jax.Array) -> jax.Array:
        """Value at conditions [B, 0 or 1], [B]."""
        batch = conditions.shape[0]
        if not self.conditional:
            return jnp.broadcast_to(coefficients[0], (batch,))
        angle = jnp.arccos(jnp.clip(conditions[:, 0], -1.0, 1.0))
        basis = jnp.cos(angle[:, None] * jnp.arange(_DEGREE + 1, dtype=jnp.float32)[None])
        return basis @ coefficients

    def start(self, coefficients: Any, step: jax.Array, estimate: jax.Array) -> jax.Array:
        """The same, its constant raised by an estimate at the very first step."""
        return coefficients.at[0].add(jnp.where(step == 0, estimate, 0.0))


def condition_of(config: TemperatureConfig | None, beta: jax.Array) -> jax.Array:
    """What the policy is told, [B, 1]: log beta scaled to -1..1; [B, 0] if not conditional."""
    if config is None:
        return jnp.zeros((*beta.shape, 0), jnp.float32)
    low, high = _log_range(config)
    return (2 * (jnp.log(beta) - low) / (high - low) - 1)[..., None]


def draw_beta(config: TemperatureConfig | None, key: jax.Array, batch: int) -> jax.Array:
    """Inverse temperatures of a batch, [B]; ones if not conditional."""
    if config is None:
        return jnp.ones((batch,), jnp.float32)
    low, high = _log_range(config)
    return jnp.exp(jax.random.uniform(key, (batch,), jnp.float32, low, high))


def _log_range(config: TemperatureConfig) -> tuple[jax.Array, jax.Array]:
    return jnp.log(jnp.float32(config.low)), jnp.log(jnp.float32(config.high))
