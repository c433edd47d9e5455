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

The network learns log F(s) - log Z where it doesn't look forward. It starts out near zero, so that
flows start at log Z and rise with it: were they learned whole, a log Z of 20 would have to be
climbed by the network at its own small rate, and log Z would be pulled down to meet it on the way.

All are zero for every trajectory at the exact solution, whatever distribution the trajectories
were drawn from; that is what makes exploration and replay exact.

A state of reward zero has log F(s_L) = -inf, which no softmax reaches. Where these are to be
learned, log F(s_L) is log Z - c and the difference to it counts only while it is positive: a
trajectory is pressed down until P_F(trajectory) <= e^-c P_B(trajectory | s_L), and then left alone.
Summed over the trajectories that lead there, the state is drawn with probability e^-c at most; all
other states keep the exact solution, of loss zero, and log Z feels no pull.

A loss of one's own is a function of a `Balance`, and so of log_pf, log_pb, log_reward and final
states: hand it to `make_trainer(..., loss=...)`. It is differentiated by log_pf, log_pb, log_flow
and log_z. A mean over the batch within it has to be taken over devices, too, if there are several
(`lax.pmean`).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mfal.errors import MfalError

__all__ = ["LOSSES", "Balance", "Loss", "as_loss", "make_loss"]

LOSSES = ("tb", "vargrad", "db", "subtb")
"""Names of the losses: trajectory balance, VarGrad, detailed and sub-trajectory balance."""


class Balance(NamedTuple):
    """The quantities that a loss compares; R rows a trajectory, B trajectories."""

    log_pf: jax.Array
    """[R, B] float32; row t is the action taken from s_t, 0 past the end."""
    log_pb: jax.Array
    """[R, B] float32; row t is the step that led to s_t, 0 at row 0 and past the end."""
    log_flow: jax.Array
    """[R, B] float32, learned: log F(s_t) less log Z, or less `energy` where that is given; rows 0
    and L are not read."""
    log_z: jax.Array
    """[B] float32."""
    log_reward: jax.Array
    """[B] float32, times the inverse temperature where that varies."""
    energy: jax.Array | None
    """[R, B] float32, log-reward that s_t has already earned; None where not forward-looking."""
    length: jax.Array
    """[B] int32."""
    counted: jax.Array | None = None
    """[B] bool, rewards that are positive numbers; None: all are."""
    zero: jax.Array | None = None
    """[B] bool, rewards of zero, whose log_reward stands for a bound (see above); None: none is."""
    final: Any = None
    """[B] terminal states; None where the loss needs none."""


class Loss(NamedTuple):
    """A loss and what it needs."""

    per_trajectory: Callable[[Balance], jax.Array]
    """[B] float32; the batch's loss is its mean."""
    needs_flow: bool = False
    """Whether the network is to give log flows of states."""
    learns_log_z: bool = True
    """Whether log Z is a parameter."""
    name: str = "own"


def as_loss(given: Loss | Callable[[Balance], jax.Array]) -> Loss:
    """A `Loss` as it is; a bare function of a `Balance` as one that learns log Z and no flows."""
    return given if isinstance(given, Loss) else Loss(given)


@functools.cache
def make_loss(name: str, *, subtb_lambda: float = 0.9, axis_name: str | None = None) -> Loss:
    """A loss by name.

    Args:
      name: one of `LOSSES`.
      subtb_lambda: weight ratio of a sub-trajectory to one that is a step shorter.
      axis_name: of the mapped device axis that the batch is spread over, if it is.
    """
    if name == "tb":
        return Loss(_trajectory_balance, name=name)
    if name == "vargrad":
        return Loss(lambda b: _log_variance(b, axis_name), learns_log_z=False, name=name)
    if name == "db":
        return Loss(_detailed_balance, needs_flow=True, name=name)
    if name == "subtb":
        if not subtb_lambda > 0:
            raise MfalError(f"subtb_lambda {subtb_lambda}", "give a positive number, such as 0.9")
        return Loss(lambda b: _sub_trajectories(b, subtb_lambda), needs_flow=True, name=name)
    raise MfalError(f"loss {name!r}", f"choose one of {', '.join(LOSSES)}")


def _residual(b: Balance) -> jax.Array:
    """Residual log Z + log P_F(trajectory) - log R - log P_B(trajectory), [B]."""
    return b.log_z + jnp.sum(b.log_pf, axis=0) - jnp.sum(b.log_pb, axis=0) - b.log_reward


def _one_sided(difference: jax.Array, where: jax.Array | None) -> jax.Array:
    """Differences to a bound count only above it."""
    if where is None:
        return difference
    return jnp.where(where, jnp.maximum(difference, 0.0), difference)


def _trajectory_balance(b: Balance) -> jax.Array:
    return _one_sided(_residual(b), b.zero) ** 2


def _log_variance(b: Balance, axis_name: str | None) -> jax.Array:
    residual = _residual(b._replace(log_z=jnp.zeros_like(b.log_z)))
    if b.counted is None:
        mean = jnp.mean(residual)
        if axis_name is not None:
            mean = lax.pmean(mean, axis_name)
    else:
        total = jnp.sum(jnp.where(b.counted, residual, 0.0))
        count = jnp.sum(b.counted, dtype=jnp.float32)
        if axis_name is not None:
            total, count = lax.psum((total, count), axis_name)
        mean = total / jnp.maximum(count, 1.0)
    # The gradient through the mean is zero, as deviations sum to zero.
    deviation = residual - lax.stop_gradient(mean)
    if b.zero is not None:
        # With log Z = 0 the bound is log R itself.
        deviation = jnp.where(b.zero, jnp.maximum(residual, 0.0), deviation)
    return deviation**2


def _potential(b: Balance) -> tuple[jax.Array, jax.Array]:
    """g_i of the module's text, [R, B], and the row numbers [R, 1]."""
    rows = jnp.arange(b.log_pf.shape[0], dtype=jnp.int32)[:, None]
    gained = jnp.cumsum(b.log_pf, axis=0) - b.log_pf - jnp.cumsum(b.log_pb, axis=0)
    log_z = b.log_z[None]
    flow = b.log_flow + (log_z if b.energy is None else b.energy)
    flow = jnp.where(rows == 0, log_z, flow)
    flow = jnp.where(rows == b.length[None], b.log_reward[None], flow)
    return flow - gained, rows


def _detailed_balance(b: Balance) -> jax.Array:
    potential, rows = _potential(b)
    difference = potential[:-1] - potential[1:]
    live = rows[:-1] < b.length[None]
    if b.zero is not None:
        difference = _one_sided(difference, b.zero[None] & (rows[:-1] == b.length[None] - 1))
    # jnp.where inside the square keeps rows past the end out of the gradient.
    squares = jnp.where(live, difference, 0.0) ** 2
    return jnp.sum(squares, axis=0) / jnp.maximum(b.length, 1).astype(jnp.float32)


def _sub_trajectories(b: Balance, weight: float) -> jax.Array:
    potential, rows = _potential(b)
    count = rows.shape[0]
    number = jnp.arange(count, dtype=jnp.int32)
    first, last = number[:, None, None], number[None, :, None]
    length = b.length[None, None]
    live = (first < last) & (last <= length)
    weights = jnp.where(live, weight ** jnp.maximum(last - first, 0).astype(jnp.float32), 0.0)
    difference = potential[:, None] - potential[None, :]
    if b.zero is not None:
        difference = _one_sided(difference, b.zero[None, None] & (last == length))
    difference = jnp.where(live, difference, 0.0)
    total = jnp.maximum(jnp.sum(weights, axis=(0, 1)), 1e-30)
    return jnp.sum(weights * difference**2, axis=(0, 1)) / total
