"""Trajectories drawn backward, from terminal states to the start."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from mfal.envs.types import Action, Environment, Features, State
from mfal.gflownet.distributions import MaskedCategorical
from mfal.gflownet.network import OwnPolicy
from mfal.gflownet.policy import Policy, apply_policy
from mfal.gflownet.trajectories import Plan

__all__ = ["backward_rollout"]


def backward_rollout(
    env: Environment,
    policy: Policy | OwnPolicy,
    params: Any,
    key: jax.Array,
    final: State,
    *,
    conditions: jax.Array | None = None,
) -> tuple[Plan, jax.Array, jax.Array]:
    """Draw trajectories backward from terminal states by the backward policy.

    Args:
      env: the environment.
      policy: its network; a policy without a backward head draws uniformly over parents.
      params: of the network.
      key: PRNG key.
      final: [B] terminal states.
      conditions: [B, C'] numbers that the policy is conditioned on.

    Returns:
      The plan that leads forward to the same states, log P_B of the draws [B], and the number of
      steps [B].
    """
    batch = jax.tree.leaves(final)[0].shape[0]
    noise = jax.random.uniform(key, (env.max_steps, batch), jnp.float32)
    conditions = jnp.zeros((batch, 0), jnp.float32) if conditions is None else conditions
    undo, recover = jax.vmap(env.undo), jax.vmap(env.recover_value)
    backward_mask = jax.vmap(env.parent_mask)

    def body(carry: Any) -> Any:
        time, state, log_pb, length, index_rows, value_rows = carry
        mask = backward_mask(state)
        live = jnp.any(mask, axis=-1)
        logits = jnp.zeros(mask.shape, jnp.float32)
        if policy.learned_backward:
            sparse = jax.vmap(env.features)(state)
            dense = jnp.concatenate([sparse.dense, conditions], axis=-1)
            features = Features(sparse.tokens, dense)
            logits = apply_policy(policy, params, features).backward
        backward = MaskedCategorical(logits, mask)
        index = backward.invert(noise[time])
        value = recover(state, index)
        log_pb = log_pb + jnp.where(live, backward.log_prob(index), 0.0)
        before = undo(state, Action(index, value))
        state = jax.tree.map(lambda new, old: _where(live, new, old), before, state)
        return (
            time + 1,
            state,
            log_pb,
            length + live.astype(jnp.int32),
            index_rows.at[time].set(index),
            value_rows.at[time].set(value),
        )

    def go_on(carry: Any) -> jax.Array:
        time, state = carry[:2]
        return (time < env.max_steps) & jnp.any(backward_mask(state))

    start = (
        jnp.int32(0),
        final,
        jnp.zeros((batch,), jnp.float32),
        jnp.zeros((batch,), jnp.int32),
        jnp.zeros((env.max_steps, batch), jnp.int32),
        jnp.zeros((env.max_steps, batch), jnp.float32),
    )
    _, _, log_pb, length, index, value = lax.while_loop(go_on, body, start)
    # Step t of the way forward is step length - 1 - t of the way back.
    steps = jnp.arange(env.max_steps, dtype=jnp.int32)[:, None]
    order = jnp.maximum(length[None] - 1 - steps, 0)
    plan = Plan(
        follow=jnp.ones((batch,), bool),
        index=jnp.take_along_axis(index, order, axis=0),
        value=jnp.take_along_axis(value, order, axis=0),
    )
    return plan, log_pb, length


def _where(mask: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    return jnp.where(mask.reshape(mask.shape + (1,) * (jnp.ndim(new) - mask.ndim)), new, old)
