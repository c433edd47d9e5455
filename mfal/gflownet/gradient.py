"""The gradient of a loss, paid for live rows only.

The loss depends on the parameters through log_pf, log_pb and log_flow of each visited state, all
of which the rollout has computed. So the gradient splits by the chain rule: first the derivative
of the loss by these numbers, which is cheap; then one pass through the network over the visited
states, with those derivatives as constant weights,

    grad = d/d theta  sum_rows  w_pf log_pf(theta) + w_pb log_pb(theta) + w_flow log_flow(theta).

It equals automatic differentiation through the whole, for every loss, on-policy or not; and since
rows are independent in the second pass, the rows past a trajectory's end can be dropped.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mfal.gflownet.losses import Balance
from mfal.gflownet.policy import (
    Policy,
    apply_policy,
    categorical_log_prob,
    continuous_slots,
    forward_log_prob,
)
from mfal.gflownet.rollout import Rows, Trajectories

__all__ = ["RowWeights", "evaluate_rows", "loss_and_weights", "policy_gradient"]

# Row capacities that are compiled, as shares of all rows.
_SHARES = (1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1)


class RowWeights(NamedTuple):
    """Derivatives of the loss by the numbers of each row, [R, B] float32 each."""

    log_pf: jax.Array
    log_pb: jax.Array
    log_flow: jax.Array


def loss_and_weights(
    per_trajectory: Callable[[Balance], jax.Array], balance: Balance, total: int
) -> tuple[jax.Array, RowWeights, jax.Array]:
    """The summed loss over `total` trajectories, its row weights, and its derivative by log Z."""

    def mean(log_pf: Any, log_pb: Any, log_flow: Any, log_z: Any) -> jax.Array:
        b = balance._replace(log_pf=log_pf, log_pb=log_pb, log_flow=log_flow, log_z=log_z)
        return jnp.sum(per_trajectory(b)) / total

    at = (balance.log_pf, balance.log_pb, balance.log_flow, balance.log_z)
    loss, (by_pf, by_pb, by_flow, by_z) = jax.value_and_grad(mean, argnums=(0, 1, 2, 3))(*at)
    return loss, RowWeights(by_pf, by_pb, by_flow), by_z


def evaluate_rows(
    policy: Policy, params: Any, rows: Rows
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """log_pf, log_pb (zero unless learned) and log_flow of rows with any leading axes."""
    slots = continuous_slots(policy.stages)
    heads = apply_policy(policy, params, rows.features)
    log_pf = forward_log_prob(heads, slots, rows.mask, rows.index, rows.value, rows.log_jacobian)
    log_pb = jnp.zeros_like(log_pf)
    if policy.learned_backward:
        log_pb = categorical_log_prob(heads.backward, rows.parents, rows.came_by)
    return log_pf, log_pb, heads.log_flow


def policy_gradient(
    policy: Policy, params: Any, trajectories: Trajectories, weights: RowWeights
) -> Any:
    """Gradient by the network's parameters."""
    count = trajectories.acting.size
    needed = trajectories.visited if policy.learned_backward else trajectories.acting
    weights = RowWeights(
        log_pf=jnp.where(trajectories.acting, weights.log_pf, 0.0),
        log_pb=jnp.where(needed, weights.log_pb, 0.0),
        log_flow=jnp.where(needed, weights.log_flow, 0.0),
    )
    flat = jax.tree.map(
        lambda leaf: leaf.reshape(count, *leaf.shape[2:]), (trajectories.rows, weights)
    )
    needed = needed.reshape(count)
    capacities = sorted({max(1, int(-(-count * share // 1))) for share in _SHARES})

    def with_capacity(capacity: int) -> Callable[[], Any]:
        def run() -> Any:
            chosen = flat
            if capacity < count:
                (position,) = jnp.nonzero(needed, size=capacity, fill_value=count)
                taken = jax.tree.map(lambda leaf: leaf[jnp.minimum(position, count - 1)], flat)
                inside = position < count
                kept = jax.tree.map(lambda leaf: jnp.where(inside, leaf, 0.0), taken[1])
                chosen = (taken[0], kept)
            return jax.grad(_weighted_sum, argnums=1)(policy, params, *chosen)

        return run

    live = jnp.sum(needed)
    branch = jnp.sum(live > jnp.array(capacities[:-1], jnp.int32))
    return lax.switch(branch, [with_capacity(capacity) for capacity in capacities])


def _weighted_sum(policy: Policy, params: Any, rows: Rows, weights: RowWeights) -> jax.Array:
    log_pf, log_pb, log_flow = evaluate_rows(policy, params, rows)
    total = weights.log_pf * log_pf + weights.log_pb * log_pb + weights.log_flow * log_flow
    return jnp.sum(total)
