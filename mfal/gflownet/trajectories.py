"""What a batch of trajectories is made of: what goes into a rollout and what comes out.

Arrays of a batch are time-major: row t of a trajectory is its state s_t.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mfal.envs.types import Features, State

__all__ = ["Exploration", "Noise", "Plan", "Rows", "Trajectories", "aligned"]


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
    """What the network saw and said at each state it was run on; leading axes [R, B].

    All that the gradient needs, so that it need not run the network forward again. Row t of
    trajectory b stands in column `Trajectories.column[t, b]`.
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
    column: jax.Array | None
    """[R, B] int32, where in `rows` a trajectory's row stands; None: where it does here."""
    acting: jax.Array
    """[R, B] bool: an action was taken from row t."""
    evaluated: jax.Array
    """[R, B] bool: the network was run on row t."""
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


def aligned(rows: jax.Array, column: jax.Array | None) -> jax.Array:
    """Numbers [R, B] of `Rows` in the order of trajectories; zero where there are none."""
    if column is None:
        return rows
    return jnp.take_along_axis(rows, column, axis=1, mode="fill", fill_value=0)
