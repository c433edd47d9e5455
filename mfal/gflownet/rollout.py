"""Trajectories: drawn forward, or followed where they are given.

Arrays of a batch are time-major: row t of a trajectory is its state s_t. The loop ends when every
trajectory of the batch has ended, and before that grows narrower, so that the longest trajectory is
not everybody's price. All random numbers are drawn ahead, in one call.

Reverse-mode differentiation can't go through such a loop, and the trainer doesn't need it (see
`gradient`). For a loss of one's own in a loop of one's own, `rollout(..., scan=True)` runs the same
steps under `lax.scan`, up to `env.max_steps` of them whatever the batch does, and can be
differentiated by `params`. Actions are held fixed there, as every loss of the module `losses` takes
them: no derivative goes through a drawn value.
"""

from functools import partial
from typing import Any, Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax import lax

from mfal.envs.types import Action, Environment, Features, State
from mfal.gflownet.distributions import BoundedMixture, MaskedCategorical, value_mixture
from mfal.gflownet.network import OwnPolicy
from mfal.gflownet.policy import (
    Policy,
    active_heads,
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
    "draw_noise",
    "rollout",
]


def draw_noise(key: jax.Array, env: Environment, batch: int, dither: bool = False) -> Noise:
    """Random numbers for a batch."""
    key_uniform, key_dither = jax.random.split(key)
    return Noise(
        uniform=jax.random.uniform(key_uniform, (env.max_steps, batch, 4), jnp.float32),
        dither=jax.random.normal(
            key_dither, (batch, env.num_actions if dither else 0), jnp.float32
        ),
    )


def rollout(
    env: Environment,
    policy: Policy | OwnPolicy,
    params: Any,
    noise: Noise,
    *,
    exploration: Exploration | None = None,
    plan: Plan | None = None,
    conditions: jax.Array | None = None,
    uniform_backward: bool = True,
    intermediate: Any = None,
    widths: tuple[int, ...] | None = None,
    keep: Literal["all", "inputs", "nothing"] = "all",
    scan: bool = False,
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
      keep: of each row, all that the gradient needs, only what the network saw (so that it is run
        anew for the gradient), or nothing.
      scan: whether to run all of `env.max_steps` under `lax.scan`, so that the log-probabilities
        and flows can be differentiated by `params`; `widths` is not read then.
    """
    batch = noise.uniform.shape[1]
    chex.assert_shape(noise.uniform, (env.max_steps, batch, 4))
    chex.assert_shape(noise.dither, (batch, {0, env.num_actions}))
    chex.assert_type(noise.uniform, float)
    if plan is not None:
        chex.assert_shape(plan.follow, (batch,))
        chex.assert_shape([plan.index, plan.value], (None, batch))
    if conditions is not None:
        chex.assert_shape(conditions, (batch, None))
    if scan:
        widths = (batch,)
    widths = _halvings(env, batch) if widths is None else widths
    slots = continuous_slots(env.stages)
    learned = policy.learned_backward
    step = jax.vmap(env.step)
    forward_mask, backward_mask = jax.vmap(env.action_mask), jax.vmap(env.parent_mask)
    is_terminal, log_jacobian = jax.vmap(env.is_terminal), jax.vmap(env.log_jacobian)
    energy_of = None if intermediate is None else jax.vmap(intermediate)
    conditions = jnp.zeros((batch, 0), jnp.float32) if conditions is None else conditions

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
            value = lax.stop_gradient(value) if scan else value
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
        rows = Rows(
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
        )
        # Where no action is legal, which an environment must not do, nothing sensible follows.
        log_pf = jnp.where(jnp.any(mask, axis=-1), log_pf, jnp.inf)
        row = _Row(
            rows=_kept(rows, keep),
            acting=walk.acting,
            live=walk.live,
            log_pf=jnp.where(walk.acting, log_pf, 0.0),
            log_pb=log_pb,
            log_flow=jnp.where(walk.live, heads.log_flow, 0.0),
            energy=jnp.where(walk.live, energy, 0.0),
        )
        return row, action

    def move(time: jax.Array, walk: _Walk, order: jax.Array | None) -> tuple[_Walk, _Row]:
        """The row of each state, and where the action leads."""
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
        return _Walk(after, live, acting, action.index, parents), row

    def advance(order: jax.Array | None, carry: Any) -> Any:
        time, walk, record = carry
        walk, row = move(time, walk, order)
        return time + 1, walk, jax.tree.map(partial(_write, time), record, row)

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
    numbers = jnp.arange(rows_count, dtype=jnp.int32)
    if scan:
        walk, record = lax.scan(lambda walk, time: move(time, walk, None), walk, numbers)
        return _trajectories(record, None, walk.state, learned)
    shape = jax.eval_shape(lambda: visit(jnp.int32(0), walk, None)[0])
    record = jax.tree.map(lambda leaf: jnp.zeros((rows_count, *leaf.shape), leaf.dtype), shape)

    time, final, order, column = jnp.int32(0), start, None, None
    for width, fewest in zip(widths, (*widths[1:], 0), strict=True):
        if width < batch:
            # Those under way come first, in their order; the others are there to fill up.
            kept = jnp.argsort(~walk.live, stable=True)[:width].astype(jnp.int32)
            walk = jax.tree.map(lambda leaf, kept=kept: leaf[kept], walk)
            order = kept if order is None else order[kept]
            columns = jnp.arange(batch, dtype=jnp.int32)
            place = jnp.full((batch,), batch, jnp.int32).at[order].set(columns[:width])
            column = columns if column is None else column
            column = jnp.where(numbers[:, None] >= time, place, column)
        carry = (time, walk, record)
        time, walk, record = lax.while_loop(partial(go_on, fewest), partial(advance, order), carry)
        final = (
            walk.state
            if order is None
            else jax.tree.map(
                lambda whole, part, order=order: whole.at[order].set(part), final, walk.state
            )
        )

    return _trajectories(record, column, final, learned)


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


def _trajectories(
    record: _Row, column: jax.Array | None, final: State, learned: bool
) -> Trajectories:
    """The record of a whole batch in the order of trajectories."""
    blank: Any = ()
    numbered = jax.tree.map(partial(aligned, column=column), record._replace(rows=blank))
    numbers = jnp.arange(numbered.acting.shape[0], dtype=jnp.int32)[:, None]
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
        visited=numbers <= length[None],
        log_pf=numbered.log_pf,
        log_pb=log_pb,
        log_flow=numbered.log_flow,
        energy=numbered.energy,
        final=final,
        length=length,
    )


def _kept(rows: Rows, keep: str) -> Any:
    """What is to be kept of the rows; what is left out has size zero."""
    if keep == "all":
        return rows
    if keep == "nothing":
        return ()
    batch = rows.index.shape[0]
    return rows._replace(
        activations=(),
        logits=rows.logits[:, :0],
        log_normaliser=jnp.zeros((batch, 0), jnp.float32),
        backward=rows.backward[:, :0],
        raw=rows.raw[..., :0],
    )


def _halvings(env: Environment, batch: int) -> tuple[int, ...]:
    """Under 64 rows a product is hardly cheaper."""
    if len(env.stages) > 1:
        return (batch,)
    return tuple(batch // 2**n for n in range(3) if n == 0 or batch // 2**n >= 64)


def _write(time: jax.Array, whole: jax.Array, part: jax.Array) -> jax.Array:
    """Set the first columns of row `time`."""
    return lax.dynamic_update_slice(whole, part[None], (time,) + (jnp.int32(0),) * part.ndim)


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
