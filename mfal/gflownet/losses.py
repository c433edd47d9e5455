"""Training losses as functions of what a batch of trajectories is worth.

With g_i = log F(s_i) - sum_{t < i} (log P_F(s_{t+1}|s_t) - log P_B(s_t|s_{t+1})), every loss here
is a function of differences of g along a trajectory s_0 ... s_L, where log F(s_0) = log Z and
log F(s_L) = log R:

- trajectory balance (Malkin et al. 2022, arXiv:2201.13259): (g_0 - g_L)^2;
- log-partition variance (VarGrad; Richter et al. 2020, arXiv:2010.10436): the same with log Z
  replaced by its mean estimate over the batch, so that none is learned;
- detailed balance (Bengio et al. 2023, arXiv:2111.09266): mean_i (g_i - g_{i+1})^2;
- sub-trajectory balance (Madan et al. 2023, arXiv:2209.12782):
  sum_{i<j} lambda^(j-i) (g_i - g_j)^2 / sum_{i<j} lambda^(j-i);
- forward-looking forms of the last two (Pan et al. 2023, arXiv:2302.01687): the network learns
  log F(s) less the reward that the state has already earned.

All are zero for every trajectory at the exact solution, whatever distribution the trajectories
were drawn from; that is what makes exploration and replay exact.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mfal.errors import MfalError

__all__ = ["LOSSES", "Balance", "Loss", "make_loss"]

LOSSES = ("tb", "vargrad", "db", "subtb")
"""Names of the losses: trajectory balance, VarGrad, detailed and sub-trajectory balance."""


class Balance(NamedTuple):
    """The quantities that a loss compares; R rows a trajectory, B trajectories."""

    log_pf: jax.Array
    """[R, B] float32; row t is the action taken from s_t, 0 past the end."""
    log_pb: jax.Array
    """[R, B] float32; row t is the step that led to s_t, 0 at row 0 and past the end."""
    log_flow: jax.Array
    """[R, B] float32, learned; rows 0 and L are not read."""
    log_z: jax.Array
    """[B] float32."""
    log_reward: jax.Array
    """[B] float32."""
    energy: jax.Array
    """[R, B] float32, log-reward that s_t has already earned; 0 where not forward-looking."""
    length: jax.Array
    """[B] int32."""


class Loss(NamedTuple):
    """A loss and what it needs."""

    per_trajectory: Callable[[Balance], jax.Array]
    """[B] float32; the batch's loss is its mean."""
    needs_flow: bool
    learns_log_z: bool


def make_loss(name: str, *, subtb_lambda: float = 0.9, axis_name: str | None = None) -> Loss:
    """A loss by name.

    Args:
      name: one of `LOSSES`.
      subtb_lambda: weight ratio of a sub-trajectory to one that is a step shorter.
      axis_name: of the mapped device axis that the batch is spread over, if it is.
    """
    if name == "tb":
        return Loss(lambda b: _residual(b) ** 2, needs_flow=False, learns_log_z=True)
    if name == "vargrad":
        return Loss(lambda b: _log_variance(b, axis_name), needs_flow=False, learns_log_z=False)
    if name == "db":
        return Loss(_detailed_balance, needs_flow=True, learns_log_z=True)
    if name == "subtb":
        if not subtb_lambda > 0:
            raise MfalError(f"subtb_lambda {subtb_lambda}", "give a positive number, such as 0.9")
        return Loss(
            lambda b: _sub_trajectories(b, subtb_lambda), needs_flow=True, learns_log_z=True
        )
    raise MfalError(f"loss {name!r}", f"choose one of {', '.join(LOSSES)}")


def _residual(b: Balance) -> jax.Array:
    """Residual log Z + log P_F(trajectory) - log R - log P_B(trajectory), [B]."""
    return b.log_z + jnp.sum(b.log_pf, axis=0) - jnp.sum(b.log_pb, axis=0) - b.log_reward


def _log_variance(b: Balance, axis_name: str | None) -> jax.Array:
    residual = _residual(b._replace(log_z=jnp.zeros_like(b.log_z)))
    mean = jnp.mean(residual)
    if axis_name is not None:
        mean = lax.pmean(mean, axis_name)
    # The gradient through the mean is zero, as deviations sum to zero.
    return (residual - lax.stop_gradient(mean)) ** 2


def _potential(b: Balance) -> tuple[jax.Array, jax.Array]:
    """g_i of the module's text, [R, B], and the row numbers [R, 1]."""
    rows = jnp.arange(b.log_pf.shape[0])[:, None]
    gained = jnp.cumsum(b.log_pf, axis=0) - b.log_pf - jnp.cumsum(b.log_pb, axis=0)
    flow = jnp.where(rows == 0, b.log_z, b.log_flow + b.energy)
    flow = jnp.where(rows == b.length, b.log_reward, flow)
    return flow - gained, rows


def _detailed_balance(b: Balance) -> jax.Array:
    potential, rows = _potential(b)
    difference = potential[:-1] - potential[1:]
    live = rows[:-1] < b.length
    # jnp.where inside the square keeps rows past the end out of the gradient.
    squares = jnp.where(live, difference, 0.0) ** 2
    return jnp.sum(squares, axis=0) / jnp.maximum(b.length, 1)


def _sub_trajectories(b: Balance, weight: float) -> jax.Array:
    potential, rows = _potential(b)
    count = rows.shape[0]
    first, last = jnp.arange(count)[:, None, None], jnp.arange(count)[None, :, None]
    live = (first < last) & (last <= b.length)
    weights = jnp.where(live, weight ** jnp.maximum(last - first, 0), 0.0)
    difference = jnp.where(live, potential[:, None] - potential[None, :], 0.0)
    total = jnp.maximum(jnp.sum(weights, axis=(0, 1)), 1e-30)
    return jnp.sum(weights * difference**2, axis=(0, 1)) / total
