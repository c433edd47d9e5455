"""The gradient of a loss, paid for live rows and active heads only.

The loss depends on the parameters through log_pf, log_pb and log_flow of each visited state, all
of which the rollout has computed, together with the activations of the network. So the gradient
splits by the chain rule: first the derivative of the loss by these numbers, which is cheap; then
one backward pass through the network with those derivatives as weights,

    grad = d/d theta  sum_rows  w_pf log_pf(theta) + w_pb log_pb(theta) + w_flow log_flow(theta).

It equals automatic differentiation through the whole, for every loss, on-policy or not; but the
network is not run forward again, rows past a trajectory's end are dropped, and each head sees only
the rows of its own stage. Rows go through in chunks of one static size, as many chunks as needed.

A network of one's own is run forward again on the same rows and differentiated automatically
(`autodiff_gradient`); the default one too where activations are not to be kept.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax import lax

from mfal.envs.types import Features, Stage
from mfal.gflownet.distributions import BoundedMixture, MaskedCategorical, value_mixture
from mfal.gflownet.losses import Balance
from mfal.gflownet.network import OwnPolicy
from mfal.gflownet.policy import (
    Policy,
    apply_policy,
    continuous_slots,
    forward_log_prob,
)
from mfal.gflownet.trajectories import Rows, Trajectories

__all__ = [
    "RowWeights",
    "autodiff_gradient",
    "evaluate_rows",
    "loss_and_weights",
    "policy_gradient",
]

# Bounds of the chunk size. Small chunks waste less, large ones run closer to the peak.
_SMALLEST, _LARGEST = 64, 512


class RowWeights(NamedTuple):
    """Derivatives of the loss by the numbers of each row, [R, B] float32 each."""

    log_pf: jax.Array
    log_pb: jax.Array
    log_flow: jax.Array


def loss_and_weights(
    per_trajectory: Callable[[Balance], jax.Array], balance: Balance, total: int
) -> tuple[jax.Array, RowWeights, jax.Array]:
    """The summed loss over `total` trajectories, its row weights, and its derivative by log Z."""
    chex.assert_equal_shape([balance.log_pf, balance.log_pb, balance.log_flow])
    chex.assert_shape([balance.log_z, balance.log_reward], (balance.log_pf.shape[1],))

    def mean(log_pf: Any, log_pb: Any, log_flow: Any, log_z: Any) -> jax.Array:
        b = balance._replace(log_pf=log_pf, log_pb=log_pb, log_flow=log_flow, log_z=log_z)
        return jnp.sum(per_trajectory(b)) / total

    at = (balance.log_pf, balance.log_pb, balance.log_flow, balance.log_z)
    loss, (by_pf, by_pb, by_flow, by_z) = jax.value_and_grad(mean, argnums=(0, 1, 2, 3))(*at)
    return loss, RowWeights(by_pf, by_pb, by_flow), by_z


def evaluate_rows(
    policy: Policy | OwnPolicy, params: Any, rows: Rows
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """log_pf, log_pb (zero unless learned) and log_flow of rows, run through the network anew.

    Log-densities of values are by the value itself: the Jacobian is constant in the parameters.
    """
    slots = continuous_slots(policy.stages)
    heads = apply_policy(policy, params, rows.features)
    zero = jnp.zeros(rows.index.shape, jnp.float32)
    log_pf = forward_log_prob(heads, slots, rows.mask, rows.index, rows.value, zero)
    log_pb = zero
    if policy.learned_backward:
        log_pb = MaskedCategorical(heads.backward, rows.parents).log_prob(rows.came_by)
    return log_pf, log_pb, heads.log_flow


def autodiff_gradient(
    policy: Policy | OwnPolicy, params: Any, trajectories: Trajectories, weights: RowWeights
) -> Any:
    """Gradient by the parameters of any network, which is run anew on the rows, a chunk at a time.

    Only `Rows.features`, the masks and the actions are read, so memory is that of one chunk.
    """
    rows, weights, _, needed, taken = _flat(policy, trajectories, weights)

    def through_network(grads: Any, place: jax.Array, inside: jax.Array) -> Any:
        part = jax.tree.map(partial(taken, place=place), rows)
        weight = jax.tree.map(lambda w: jnp.where(inside, w[place], 0.0), weights)

        def weighted(params: Any) -> jax.Array:
            found = evaluate_rows(policy, params, part)
            return sum((jnp.sum(w * x) for w, x in zip(weight, found, strict=True)), jnp.float32(0))

        return jax.tree.map(jnp.add, grads, jax.grad(weighted)(params))

    return _over_chunks(needed, through_network, jax.tree.map(jnp.zeros_like, params))


def policy_gradient(
    policy: Policy, params: Any, trajectories: Trajectories, weights: RowWeights
) -> Any:
    """Gradient by the default network's parameters."""
    count = trajectories.acting.size
    rows, weights, acting, needed, taken = _flat(policy, trajectories, weights)
    grads = jax.tree.map(jnp.zeros_like, params)
    width = policy.hidden[-1]
    alone = len(policy.stages) == 1
    by_hidden = jnp.zeros((0 if alone else count, width), jnp.float32)
    if not alone:
        for stage in policy.stages:
            block = slice(stage.start, stage.start + stage.size)
            mine = acting & taken(jnp.any(rows.mask[:, block], axis=-1))

            def head(carry: Any, place: jax.Array, inside: jax.Array, stage: Any = stage) -> Any:
                grads, by_hidden = carry
                weight = jnp.where(inside, weights.log_pf[place], 0.0)
                part = jax.tree.map(partial(taken, place=place), rows)
                by_head, by_x = _stage_backward(policy, params, stage, part, weight)
                target = jnp.where(inside, place, count)
                by_hidden = by_hidden.at[target].add(by_x, mode="drop")
                return _add(grads, by_head), by_hidden

            grads, by_hidden = _over_chunks(mine, head, (grads, by_hidden))

    def through_trunk(grads: Any, place: jax.Array, inside: jax.Array) -> Any:
        part = jax.tree.map(partial(taken, place=place), rows)
        weight = jax.tree.map(lambda w: jnp.where(inside, w[place], 0.0), weights)
        if alone:
            by_head, cotangent = _stage_backward(
                policy, params, policy.stages[0], part, weight.log_pf
            )
            grads = _add(grads, by_head)
        else:
            cotangent = jnp.where(inside[:, None], by_hidden[place], 0.0)
        by_more, more = _common_heads_backward(policy, params, part, weight)
        grads = _add(grads, by_more)
        by_trunk = _trunk_backward(policy, params, part, cotangent + more)
        return _add(grads, by_trunk)

    grads = _over_chunks(needed, through_trunk, grads)
    chex.assert_trees_all_equal_shapes_and_dtypes(grads, params)
    return grads


def _flat(
    policy: Policy | OwnPolicy, trajectories: Trajectories, weights: RowWeights
) -> tuple[Rows, RowWeights, jax.Array, jax.Array, Callable[..., jax.Array]]:
    """Rows and weights in one line, which rows act and are needed, and how to take rows."""
    count = trajectories.acting.size
    # With a learned backward policy a terminal state may be a row, too.
    needed = trajectories.evaluated if policy.learned_backward else trajectories.acting
    column = trajectories.column
    stands = None
    if column is not None:
        height, batch = column.shape
        stands = (jnp.arange(height, dtype=jnp.int32)[:, None] * batch + column).reshape(-1)

    def taken(leaf: jax.Array, place: jax.Array | None = None) -> jax.Array:
        """Rows of `leaf` for these trajectories' rows, or for all in order."""
        if stands is not None:
            place = stands if place is None else stands[place]
        return leaf if place is None else leaf[place]

    rows, weights, acting, needed = jax.tree.map(
        lambda leaf: leaf.reshape(count, *leaf.shape[2:]),
        (trajectories.rows, weights, trajectories.acting, needed),
    )
    weights = RowWeights(
        log_pf=jnp.where(acting, weights.log_pf, 0.0),
        log_pb=jnp.where(needed, weights.log_pb, 0.0),
        log_flow=jnp.where(needed, weights.log_flow, 0.0),
    )
    return rows, weights, acting, needed, taken


def _over_chunks(
    chosen: jax.Array, body: Callable[[Any, jax.Array, jax.Array], Any], carry: Any
) -> Any:
    """Fold `body(carry, place [C], inside [C])` over the chosen rows, C at a time."""
    count = chosen.shape[0]
    size = min(max(1 << (count // 16).bit_length(), _SMALLEST), _LARGEST)
    # Padding the list to a whole number of chunks keeps slices from being moved back.
    (order,) = jnp.nonzero(chosen, size=-(-count // size) * size, fill_value=count)
    order = order.astype(jnp.int32)
    total = jnp.sum(chosen, dtype=jnp.int32)

    def go_on(state: Any) -> jax.Array:
        return state[0] * size < total

    def advance(state: Any) -> Any:
        number, carry = state
        place = lax.dynamic_slice(order, (number * size,), (size,))
        inside = place < count
        return number + 1, body(carry, jnp.minimum(place, count - 1), inside)

    return lax.while_loop(go_on, advance, (jnp.int32(0), carry))[1]


def _stage_backward(
    policy: Policy, params: Any, stage: Stage, rows: Rows, weight: jax.Array
) -> tuple[Any, jax.Array]:
    """Gradient of sum(weight * log_pf) through one stage's heads: parameters, hidden [C, width]."""
    block = slice(stage.start, stage.start + stage.size)
    # d log_pf / d logit = [taken] - probability.
    taken = (
        rows.index[:, None]
        == jnp.arange(stage.start, stage.start + stage.size, dtype=jnp.int32)[None]
    )
    probability = jnp.exp(rows.logits[:, block] - rows.log_normaliser[:, None])
    by_logit = weight[:, None] * (
        taken.astype(jnp.float32) - jnp.where(rows.mask[:, block], probability, 0.0)
    )
    hidden = rows.activations[-1]
    name = f"heads_{stage.name}"
    by_params, by_hidden = _pull(
        policy, params, name, lambda m, x: m.stage_logits(stage.name, x), hidden, by_logit
    )
    if not stage.continuous:
        return by_params, by_hidden

    def density(raw: jax.Array) -> jax.Array:
        log_density = BoundedMixture(value_mixture(raw)).log_prob(rows.value)
        mine = jnp.any(taken, axis=-1)
        return jnp.sum(weight * jnp.where(mine, log_density, 0.0))

    by_raw = jax.grad(density)(rows.raw)
    by_value = jnp.where(taken[..., None], by_raw.reshape(len(weight), 1, -1), 0.0)
    by_more, more = _pull(
        policy,
        params,
        f"value_heads_{stage.name}",
        lambda m, x: m.stage_values(stage.name, x),
        hidden,
        by_value,
    )
    return {**by_params, **by_more}, by_hidden + more


def _common_heads_backward(
    policy: Policy, params: Any, rows: Rows, weight: RowWeights
) -> tuple[Any, jax.Array]:
    """The same for the heads that every row has: backward policy and state flow."""
    hidden = rows.activations[-1]
    grads: dict[str, Any] = {}
    by_hidden = jnp.zeros(hidden.shape, jnp.float32)
    if policy.learned_backward:

        def log_pb(logits: jax.Array) -> jax.Array:
            backward = MaskedCategorical(logits, rows.parents)
            return jnp.sum(weight.log_pb * backward.log_prob(rows.came_by))

        by_logit = jax.grad(log_pb)(rows.backward)
        by_params, more = _pull(
            policy, params, "backward_head", Policy.backward_logits, hidden, by_logit
        )
        grads, by_hidden = {**grads, **by_params}, by_hidden + more
    if policy.flow:
        by_params, more = _pull(
            policy, params, "flow_head", Policy.log_flow, hidden, weight.log_flow
        )
        grads, by_hidden = {**grads, **by_params}, by_hidden + more
    return grads, by_hidden


def _trunk_backward(policy: Policy, params: Any, rows: Rows, cotangent: jax.Array) -> Any:
    """Gradient through the trunk, from the last layer to the features."""
    grads: dict[str, Any] = {}
    for number in range(len(policy.hidden) - 1, 0, -1):
        # Where the rectifier let nothing through, nothing comes back.
        cotangent = jnp.where(rows.activations[number] > 0, cotangent, 0.0)
        name = f"inner_{number - 1}"
        by_params, cotangent = _pull(
            policy,
            params,
            name,
            lambda m, x, at=number - 1: m.inner_layer(at, x),
            rows.activations[number - 1],
            cotangent,
        )
        grads |= by_params
    cotangent = jnp.where(rows.activations[0] > 0, cotangent, 0.0)

    def first(own: Any, features: Features) -> jax.Array:
        out = policy.apply({"params": own}, features, method=Policy.first_layer)
        return out  # type: ignore[return-value]

    _, pull = jax.vjp(lambda own: first(own, rows.features), {"first": params["first"]})
    return grads | pull(cotangent)[0]


def _pull(
    policy: Policy,
    params: Any,
    name: str,
    method: Callable[..., Any],
    x: jax.Array,
    cotangent: jax.Array,
) -> tuple[Any, jax.Array]:
    """Cotangents of one layer's parameters and of its input; the layer isn't run forward."""

    def run(own: Any, x: jax.Array) -> Any:
        return policy.apply({"params": own}, x, method=method)

    _, pull = jax.vjp(run, {name: params[name]}, x)
    by_params, by_x = pull(cotangent)
    return by_params, by_x.astype(jnp.float32)


def _add(total: Any, part: dict[str, Any]) -> Any:
    """Add the gradients of some layers to those of all."""
    return total | {name: jax.tree.map(jnp.add, total[name], part[name]) for name in part}
