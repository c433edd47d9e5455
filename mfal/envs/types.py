"""The contract between environments and whatever samples from them.

An environment is a value: a `NamedTuple` of pure functions closed over a static spec. Nothing in
it has a batch axis; the caller applies `jax.vmap`. All shapes are fixed, so every function traces
under `jax.jit`.

A trajectory is a sequence of actions. In each state the sampler draws an index among the legal
ones and then, only where that index belongs to a continuous stage, a value in [0, 1]:

    log P_F(a | s) = log p(index | s) + [index is continuous] (log p(value | s, index) - log |J|),

with J = d(physical parameter) / d(value), given by `log_jacobian`. Densities of terminal states
are thus with respect to counting measure times Lebesgue measure on the free physical parameters.
Backward, the value of a continuous action is a function of the state (`recover_value`), so only
the index is drawn.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

__all__ = ["Action", "Environment", "Features", "Stage", "State"]

State = Any
"""A pytree of arrays without batch axis, of the environment's own making."""


class Action(NamedTuple):
    """One step of a trajectory."""

    index: jax.Array  # type: ignore[assignment]  # hides tuple.index, which nothing needs
    """[] int32, 0 to num_actions - 1."""
    value: jax.Array
    """[] float32 in [0, 1]; read only where `index` lies in a continuous stage."""


class Stage(NamedTuple):
    """A named block of the action indices, so that a policy can give each block its own head."""

    name: str
    start: int
    """First action index of the block."""
    size: int
    """Number of indices in the block."""
    continuous: bool
    """Whether its actions carry a value."""


class Features(NamedTuple):
    """What a policy sees, in sparse form: the first layer can gather rows instead of multiplying.

    `observe` equals the sum of the one-hot vectors of `tokens`, followed by `dense`.
    """

    tokens: jax.Array
    """[K] int32, positions of the ones, 0 to vocabulary - 1; `vocabulary` stands for none."""
    dense: jax.Array
    """[C] float32, of the order of one."""


class Environment(NamedTuple):
    """A directed acyclic graph of states as pure functions. See the module's text for measures."""

    name: str
    stages: tuple[Stage, ...]
    """A partition of range(num_actions) in order."""
    num_actions: int
    max_steps: int
    """No trajectory from the initial state is longer."""
    vocabulary: int
    """Number of token values; `observe` has length vocabulary + len(dense)."""
    num_dense: int
    initial_state: Callable[[], State]
    action_mask: Callable[[State], jax.Array]
    """[A] bool, legal forward actions; all False exactly in terminal states."""
    step: Callable[[State, Action], State]
    """The next state; a terminal state is returned as it is."""
    parent_mask: Callable[[State], jax.Array]
    """[A] bool, actions whose `undo` leads to a parent; all False exactly in the initial state."""
    undo: Callable[[State, Action], State]
    """Inverse of `step`; reads only the index."""
    recover_value: Callable[[State, jax.Array], jax.Array]
    """(state, index) to the value that the last action `index` carried; 0 where discrete."""
    log_jacobian: Callable[[State, Action], jax.Array]
    """(state before, action) to log |d physical / d value|, [] float32; 0 where discrete."""
    is_terminal: Callable[[State], jax.Array]
    """[] bool."""
    features: Callable[[State], Features]
    observe: Callable[[State], jax.Array]
    """[vocabulary + num_dense] float32."""
