"""Trajectories: drawn forward, followed where they are given, or drawn backward from the end.

Arrays of a batch are time-major: row t of a trajectory is its state s_t. The loop ends when every
trajectory of the batch has ended. All random numbers are drawn ahead, in one call.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mfal.envs.types import Action, Environment, Features, State
from mfal.gflownet.distributions import (
    draw_index,
    draw_value,
    mask_logits,
    mixture_log_prob,
    value_mixture,
)
from mfal.gflownet.policy import (
    Heads,
    Policy,
    active_heads,
    apply_policy,
    categorical_log_prob,
    chosen_logit,
    continuous_slots,
    is_continuous,
    value_raw,
)

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


class Exploration(NamedTuple):
    """How far the behaviour departs from the policy. The log-probabilities never do."""

    epsilon: jax.Array | float = 0.0
    """Chance, at each step, of a uniformly drawn legal index (and value)."""
    temperature: jax.Array | float = 1.0
    """Divides the logits."""
    dither: jax.Array | float = 0.0
    """Standard deviation of a Gaussian added to the logits, the same all along a trajectory."""


class Noise(NamedTuple):
    """Random numbers of a batch."""

    uniform: jax.Array
    """[T, B, 4] float32: index, whether to explore, mixture component, value."""
    dither: jax.Array
    """[B, A] float32 standard normal; [B, 0] where unused."""


class Plan(NamedTuple):
    """Actions to follow instead of drawn ones."""

    follow: jax.Array
    """[B] bool, which trajectories are given."""
    index: jax.Array  # type: ignore[assignment]  # hides tuple.index, which nothing needs
    """[T, B] int32."""
    value: jax.Array
    """[T, B] float32."""


class Rows(NamedTuple):
    """What the network saw and said at each visited state; leading axes [R, B].

    All that the gradient needs, so that it need not run the network forward again.
    """

    features: Features
    activations: tuple[jax.Array, ...]
    """[..., hidden[i]] of each trunk layer."""
    mask: jax.Array
    """[..., A] bool, legal forward actions."""
    logits: jax.Array
    """[..., A] float32; zero in stages without a legal action."""
    log_normaliser: jax.Array
    """[...] float32, log of the sum of exp(logits) over legal actions."""
    parents: jax.Array
    """[..., A] bool, legal backward actions; [..., 0] unless the backward policy is learned."""
    backward: jax.Array
    """[..., A] float32, backward logits; [..., 0] unless learned."""
    index: jax.Array  # type: ignore[assignment]  # hides tuple.index, which nothing needs
    """[...] int32, action taken here."""
    value: jax.Array
    """[...] float32, its value."""
    raw: jax.Array
    """[..., 3, K] float32, mixture parameters of the action taken; [..., 3, 0] without values."""
    came_by: jax.Array
    """[...] int32, action that led here."""


class Trajectories(NamedTuple):
    """A batch of whole trajectories under the present parameters; R = T + 1 rows."""

    rows: Rows
    acting: jax.Array
    """[R, B] bool: an action was taken from row t."""
    visited: jax.Array
    """[R, B] bool: row t is a state of the trajectory, the terminal one included."""
    log_pf: jax.Array
    """[R, B] float32, log P_F of the action taken from row t."""
    log_pb: jax.Array
    """[R, B] float32, log P_B of the action that led to row t; 0 at row 0."""
    log_flow: jax.Array
    """[R, B] float32, learned log flow of row t; 0 where unused."""
    energy: jax.Array
    """[R, B] float32, intermediate log-reward of row t; 0 where unused."""
    final: State
    """[B] terminal states."""
    length: jax.Array
    """[B] int32, number of actions."""


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
    """
    batch = noise.uniform.shape[1]
    slots = continuous_slots(env.stages)
    learned = policy.learned_backward
    # With a network to evaluate at terminal states, each trajectory pays one more row.
    visits_end = learned
    step = jax.vmap(env.step)
    forward_mask, backward_mask = jax.vmap(env.action_mask), jax.vmap(env.parent_mask)
    is_terminal, log_jacobian = jax.vmap(env.is_terminal), jax.vmap(env.log_jacobian)
    energy_of = None if intermediate is None else jax.vmap(intermediate)
    conditions = jnp.zeros((batch, 0)) if conditions is None else conditions
    zero, none = jnp.zeros((batch,), jnp.float32), jnp.zeros((batch,), bool)

    def visit(
        time: jax.Array, state: State, live: jax.Array, came_by: jax.Array
    ) -> tuple[Trajectories, Action, jax.Array]:
        """The row of a state, the action taken from it, and log P_B of the step before."""
        mask = forward_mask(state)
        sparse = jax.vmap(env.features)(state)
        features = Features(sparse.tokens, jnp.concatenate([sparse.dense, conditions], axis=-1))
        activations, heads = active_heads(policy, params, features, mask)
        # The last row takes no action, so its noise is never used.
        uniform = noise.uniform[jnp.minimum(time, env.max_steps - 1)]
        action = _draw_action(heads, slots, mask, uniform, noise.dither, exploration)
        if plan is not None:
            given = jnp.minimum(time, plan.index.shape[0] - 1)
            action = Action(
                jnp.where(plan.follow, plan.index[given], action.index),
                jnp.where(plan.follow, plan.value[given], action.value),
            )
        normaliser = jax.nn.logsumexp(mask_logits(heads.logits, mask), axis=-1)
        log_pf = chosen_logit(heads.logits, action.index) - normaliser
        raw = jnp.zeros((batch, 3, 0), jnp.float32)
        if slots:
            raw = value_raw(heads.values, slots, action.index)
            density = mixture_log_prob(value_mixture(raw), action.value)
            density -= log_jacobian(state, action)
            log_pf += jnp.where(is_continuous(slots, action.index), density, 0.0)
        acting = live & ~is_terminal(state) if visits_end else live
        parents = backward_mask(state) if learned else jnp.zeros((batch, 0), bool)
        log_pb = categorical_log_prob(heads.backward, parents, came_by) if learned else zero
        row = Trajectories(
            rows=Rows(
                features=features,
                activations=activations,
                mask=mask,
                logits=heads.logits,
                log_normaliser=normaliser,
                parents=parents,
                backward=heads.backward,
                index=action.index,
                value=action.value,
                raw=raw,
                came_by=came_by,
            ),
            acting=acting,
            visited=live,
            log_pf=jnp.where(acting, log_pf, 0.0),
            log_pb=zero,
            log_flow=jnp.where(live, heads.log_flow, 0.0),
            energy=zero if energy_of is None else jnp.where(live, energy_of(state), 0.0),
            final=(),
            length=(),  # type: ignore[arg-type]
        )
        return row, action, log_pb

    def go_on(carry: Any) -> jax.Array:
        time, _, live, _, _ = carry
        return (time < rows_count) & jnp.any(live)

    def advance(carry: Any) -> Any:
        time, state, live, came_by, record = carry
        row, action, log_pb = visit(time, state, live, came_by)
        after = step(state, action)
        written = jax.tree.map(lambda whole, part: whole.at[time].set(part), record, row)
        if learned:
            log_pb = jnp.where(live & (time > 0), log_pb, 0.0)
            log_pb_rows = record.log_pb.at[time].set(log_pb)
        else:
            log_pb = _uniform_backward(backward_mask(after)) if uniform_backward else zero
            log_pb_rows = record.log_pb.at[time + 1].set(jnp.where(row.acting, log_pb, 0.0))
        record = written._replace(log_pb=log_pb_rows)
        live = row.acting if visits_end else row.acting & ~is_terminal(after)
        return time + 1, after, live, action.index, record

    start = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (batch, *jnp.shape(leaf))), env.initial_state()
    )
    first = (jnp.int32(0), start, ~none, jnp.zeros((batch,), jnp.int32))
    rows_count = env.max_steps + 1
    shape = jax.eval_shape(lambda: visit(*first)[0])
    record = jax.tree.map(lambda leaf: jnp.zeros((rows_count, *leaf.shape), leaf.dtype), shape)
    _, final, _, _, record = lax.while_loop(go_on, advance, (*first, record))
    length = jnp.sum(record.acting, axis=0, dtype=jnp.int32)
    if not visits_end:
        ends = jnp.arange(rows_count)[:, None] == length
        record = record._replace(visited=record.visited | ends)
    return record._replace(final=final, length=length)


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
        index = draw_index(logits, mask, noise[time])
        value = recover(state, index)
        log_pb = log_pb + jnp.where(live, categorical_log_prob(logits, mask, index), 0.0)
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


def _draw_action(
    heads: Heads,
    slots: tuple[int, ...],
    mask: jax.Array,
    uniform: jax.Array,
    dither: jax.Array,
    exploration: Exploration | None,
) -> Action:
    logits = heads.logits
    lost = jnp.zeros(mask.shape[:-1], bool)
    if exploration is not None:
        lost = uniform[:, 1] < exploration.epsilon
        logits = logits / exploration.temperature
        if dither.shape[-1]:
            logits = logits + exploration.dither * dither
        logits = jnp.where(lost[:, None], 0.0, logits)
    index = draw_index(logits, mask, uniform[:, 0])
    if not slots:
        return Action(index, jnp.zeros(index.shape, jnp.float32))
    mixture = value_mixture(value_raw(heads.values, slots, index))
    value = draw_value(mixture, uniform[:, 2], uniform[:, 3])
    return Action(index, jnp.where(lost, uniform[:, 3], value))


def _uniform_backward(parents: jax.Array) -> jax.Array:
    count = jnp.sum(parents, axis=-1)
    return -jnp.log(jnp.maximum(count, 1).astype(jnp.float32))


def _where(mask: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    return jnp.where(mask.reshape(mask.shape + (1,) * (jnp.ndim(new) - mask.ndim)), new, old)
