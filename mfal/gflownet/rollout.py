"""Trajectories: drawn forward, followed where they are given, or drawn backward from the end.

Arrays of a batch are time-major: row t of a trajectory is its state s_t. The loop ends when every
trajectory of the batch has ended, and before that grows narrower, so that the longest trajectory is
not everybody's price. All random numbers are drawn ahead, in one call.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mfal.envs.types import Action, Environment, Features, State
from mfal.gflownet.distributions import BoundedMixture, MaskedCategorical, value_mixture
from mfal.gflownet.policy import (
    Policy,
    active_heads,
    apply_policy,
    continuous_slots,
    is_continuous,
    value_raw,
)
from mfal.gflownet.trajectories import Exploration, Noise, Plan, Rows, Trajectories, aligned

__all__ = [
    "Exploration",
    "Noise",
    "Plan",
    "Rows",
    "Trajectories",
    "backward_rollout",
    "draw_noise",
    "rollout",
]


def draw_noise(key: jax.Array, env: Environment, batch: int, dither: bool = False) -> Noise:
    """Random numbers for a batch."""
    key_uniform, key_dither = jax.random.split(key)
    return Noise(
        uniform=jax.random.uniform(key_uniform, (env.max_steps, batch, 4)),
        dither=jax.random.normal(key_dither, (batch, env.num_actions if dither else 0)),
    )


def rollout(
    env: Environment,
    policy: Policy,
    params: Any,
    noise: Noise,
    *,
    exploration: Exploration | None = None,
    plan: Plan | None = None,
    conditions: jax.Array | None = None,
    uniform_backward: bool = True,
    intermediate: Any = None,
    widths: tuple[int, ...] | None = None,
) -> Trajectories:
    """Draw a batch of trajectories.

    Args:
      env: the environment.
      policy: its network.
      params: of the network.
      noise: from `draw_noise`; its shapes give the batch size.
      exploration: departure of the behaviour from the policy.
      plan: trajectories to follow instead.
      conditions: [B, C'] numbers that the policy is conditioned on.
      uniform_backward: whether the backward policy is uniform (else none) if it isn't learned.
      intermediate: maps an unbatched state to its log-reward so far, for forward-looking losses.
      widths: numbers of trajectories that the loop is compiled for, descending from the batch
        size: once no more than the next are under way, the loop goes on with these alone. By
        default the batch is halved at most twice, and not below 64; not at all where the policy
        has several stages, since each width is compiled apart, which takes seconds there.
    """
    batch = noise.uniform.shape[1]
    widths = _halvings(env, batch) if widths is None else widths
    slots = continuous_slots(env.stages)
    learned = policy.learned_backward
    step = jax.vmap(env.step)
    forward_mask, backward_mask = jax.vmap(env.action_mask), jax.vmap(env.parent_mask)
    is_terminal, log_jacobian = jax.vmap(env.is_terminal), jax.vmap(env.log_jacobian)
    energy_of = None if intermediate is None else jax.vmap(intermediate)
    conditions = jnp.zeros((batch, 0)) if conditions is None else conditions

    def visit(time: jax.Array, walk: _Walk, order: jax.Array | None) -> tuple[_Row, Action]:
        """The row of each state, and the action taken from it."""

        def mine(leaf: jax.Array) -> jax.Array:
            return leaf if order is None else leaf[order]

        state = walk.state
        mask = forward_mask(state)
        sparse = jax.vmap(env.features)(state)
        dense = jnp.concatenate([sparse.dense, mine(conditions)], axis=-1)
        features = Features(sparse.tokens, dense)
        activations, heads = active_heads(policy, params, features, mask)
        # The last row takes no action, so its noise is never used.
        uniform = mine(noise.uniform[jnp.minimum(time, env.max_steps - 1)])
        index, lost = _draw_index(heads.logits, mask, uniform, mine(noise.dither), exploration)
        if plan is not None:
            given, follow = jnp.minimum(time, plan.index.shape[0] - 1), mine(plan.follow)
            index = jnp.where(follow, mine(plan.index[given]), index)
        forward = MaskedCategorical(heads.logits, mask)
        log_pf = forward.log_prob(index)
        carries = is_continuous(slots, index)

        def valued() -> tuple[jax.Array, jax.Array, jax.Array]:
            """Mixtures, values drawn from them or given, and their log-densities."""
            raw = value_raw(heads.values, slots, index)
            mixture = BoundedMixture(value_mixture(raw))
            value = mixture.invert(uniform[:, 2], uniform[:, 3])
            value = jnp.where(lost, uniform[:, 3], value)
            if plan is not None:
                value = jnp.where(follow, mine(plan.value[given]), value)
            density = mixture.log_prob(value) - log_jacobian(state, Action(index, value))
            return raw, value, jnp.where(carries, density, 0.0)

        blank = (
            jnp.zeros((*index.shape, 3, policy.components if slots else 0), jnp.float32),
            jnp.zeros(index.shape, jnp.float32),
            jnp.zeros(index.shape, jnp.float32),
        )
        # Many a step carries no value in the whole batch.
        raw, value, density = lax.cond(jnp.any(carries), valued, lambda: blank) if slots else blank
        action = Action(index, value)
        log_pf += density
        log_pb = jnp.zeros_like(log_pf)
        if learned:
            log_pb = MaskedCategorical(heads.backward, walk.parents).log_prob(walk.came_by)
            log_pb = jnp.where(walk.live & (time > 0), log_pb, 0.0)
        energy = jnp.zeros_like(log_pf) if energy_of is None else energy_of(state)
        row = _Row(
            rows=Rows(
                features=features,
                activations=activations,
                mask=mask,
                logits=heads.logits,
                log_normaliser=forward.log_normaliser(),
                parents=walk.parents,
                backward=heads.backward,
                index=action.index,
                value=action.value,
                raw=raw,
                came_by=walk.came_by,
            ),
            acting=walk.acting,
            live=walk.live,
            log_pf=jnp.where(walk.acting, log_pf, 0.0),
            log_pb=log_pb,
            log_flow=jnp.where(walk.live, heads.log_flow, 0.0),
            energy=jnp.where(walk.live, energy, 0.0),
        )
        return row, action

    def advance(order: jax.Array | None, carry: Any) -> Any:
        time, walk, record = carry
        row, action = visit(time, walk, order)
        after = step(walk.state, action)
        acting = live = walk.acting & ~is_terminal(after)
        parents = walk.parents
        if learned:
            parents = backward_mask(after)
            # The network is run on an end, too, unless it has but one parent: then log P_B = 0.
            live = acting | walk.acting & (jnp.sum(parents, axis=-1) > 1)
        elif uniform_backward:
            log_pb = _uniform_backward(backward_mask(after))
            row = row._replace(log_pb=jnp.where(walk.acting, log_pb, 0.0))
        record = jax.tree.map(partial(_write, time), record, row)
        return time + 1, _Walk(after, live, acting, action.index, parents), record

    def go_on(fewest: int, carry: Any) -> jax.Array:
        time, walk, _ = carry
        return (time < rows_count) & (jnp.sum(walk.live) > fewest)

    start = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (batch, *jnp.shape(leaf))), env.initial_state()
    )
    everyone = jnp.ones((batch,), bool)
    parents = backward_mask(start) if learned else jnp.zeros((batch, 0), bool)
    walk = _Walk(start, everyone, everyone, jnp.zeros((batch,), jnp.int32), parents)
    rows_count = env.max_steps + 1
    shape = jax.eval_shape(lambda: visit(jnp.int32(0), walk, None)[0])
    record = jax.tree.map(lambda leaf: jnp.zeros((rows_count, *leaf.shape), leaf.dtype), shape)

    time, final, order, column = jnp.int32(0), start, None, None
    numbers = jnp.arange(rows_count)[:, None]
    for width, fewest in zip(widths, (*widths[1:], 0), strict=True):
        if width < batch:
            # Those under way come first, in their order; the others are there to fill up.
            kept = jnp.argsort(~walk.live, stable=True)[:width]
            walk = jax.tree.map(lambda leaf, kept=kept: leaf[kept], walk)
            order = kept if order is None else order[kept]
            place = jnp.full((batch,), batch, jnp.int32).at[order].set(jnp.arange(width))
            column = jnp.arange(batch, dtype=jnp.int32) if column is None else column
            column = jnp.where(numbers >= time, place, column)
        carry = (time, walk, record)
        time, walk, record = lax.while_loop(partial(go_on, fewest), partial(advance, order), carry)
        final = (
            walk.state
            if order is None
            else jax.tree.map(
                lambda whole, part, order=order: whole.at[order].set(part), final, walk.state
            )
        )

    numbered = jax.tree.map(partial(aligned, column=column), record._replace(rows=()))
    length = jnp.sum(numbered.acting, axis=0, dtype=jnp.int32)
    log_pb = numbered.log_pb
    if not learned:
        # It was found with the action, and belongs to the row that this leads to.
        log_pb = jnp.concatenate([jnp.zeros_like(log_pb[:1]), log_pb[:-1]])
    return Trajectories(
        rows=record.rows,
        column=column,
        acting=numbered.acting,
        evaluated=numbered.live,
        visited=numbers <= length,
        log_pf=numbered.log_pf,
        log_pb=log_pb,
        log_flow=numbered.log_flow,
        energy=numbered.energy,
        final=final,
        length=length,
    )


def backward_rollout(
    env: Environment,
    policy: Policy,
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
    noise = jax.random.uniform(key, (env.max_steps, batch))
    conditions = jnp.zeros((batch, 0)) if conditions is None else conditions
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
            length + live,
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
    order = jnp.maximum(length - 1 - jnp.arange(env.max_steps)[:, None], 0)
    plan = Plan(
        follow=jnp.ones((batch,), bool),
        index=jnp.take_along_axis(index, order, axis=0),
        value=jnp.take_along_axis(value, order, axis=0),
    )
    return plan, log_pb, length


class _Walk(NamedTuple):
    """Where the trajectories under way stand."""

    state: State
    live: jax.Array
    """[W] bool: the network is to be run."""
    acting: jax.Array
    """[W] bool: not at the end."""
    came_by: jax.Array
    parents: jax.Array
    """[W, A] bool, or [W, 0] unless the backward policy is learned."""


class _Row(NamedTuple):
    """One row of the record, [W, ...]; see `Trajectories`."""

    rows: Rows
    acting: jax.Array
    live: jax.Array
    log_pf: jax.Array
    log_pb: jax.Array
    """Of the step that led here where it is learned, else of the step from here."""
    log_flow: jax.Array
    energy: jax.Array


def _halvings(env: Environment, batch: int) -> tuple[int, ...]:
    """Under 64 rows a product is hardly cheaper."""
    if len(env.stages) > 1:
        return (batch,)
    return tuple(batch // 2**n for n in range(3) if n == 0 or batch // 2**n >= 64)


def _write(time: jax.Array, whole: jax.Array, part: jax.Array) -> jax.Array:
    """Set the first columns of row `time`."""
    return lax.dynamic_update_slice(whole, part[None], (time,) + (0,) * part.ndim)


def _draw_index(
    logits: jax.Array,
    mask: jax.Array,
    uniform: jax.Array,
    dither: jax.Array,
    exploration: Exploration | None,
) -> tuple[jax.Array, jax.Array]:
    """Indices drawn, and which of them without regard to the policy."""
    lost = jnp.zeros(mask.shape[:-1], bool)
    if exploration is not None:
        lost = uniform[:, 1] < exploration.epsilon
        logits = logits / exploration.temperature
        if dither.shape[-1]:
            logits = logits + exploration.dither * dither
        logits = jnp.where(lost[:, None], 0.0, logits)
    return MaskedCategorical(logits, mask).invert(uniform[:, 0]), lost


def _uniform_backward(parents: jax.Array) -> jax.Array:
    count = jnp.sum(parents, axis=-1)
    return -jnp.log(jnp.maximum(count, 1).astype(jnp.float32))


def _where(mask: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    return jnp.where(mask.reshape(mask.shape + (1,) * (jnp.ndim(new) - mask.ndim)), new, old)
