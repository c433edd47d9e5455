"""A small environment with a discrete choice and continuous values, and its known density.

A trajectory picks one of three arms, then draws one number x for arm 0 and 1, none for arm 2, and
for arm 1 a second number y; then it stops. The physical numbers are 2 + 3 v. The reward is a known
function of arm and numbers, integrated numerically in the tests.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.envs.observe import observe_from
from mfal.envs.types import Environment, Features, Stage

ARMS, VALUE_INDEX, STOP = 3, 3, 4
SCALE = 3.0
LOG_JACOBIAN = float(np.log(SCALE))
NEEDED = jnp.array([1, 2, 0])


class ToyState(NamedTuple):
    arm: jax.Array  # -1 none
    drawn: jax.Array  # numbers drawn
    values: jax.Array  # [2]
    stopped: jax.Array


def hybrid() -> Environment:
    def initial_state():
        return ToyState(jnp.int32(-1), jnp.int32(0), jnp.zeros(2), jnp.zeros((), bool))

    def open_numbers(state):
        return (state.arm >= 0) & (state.drawn < NEEDED[jnp.maximum(state.arm, 0)])

    def action_mask(state):
        choose = jnp.broadcast_to(state.arm < 0, (ARMS,))
        more = open_numbers(state)
        stop = (state.arm >= 0) & ~more & ~state.stopped
        return jnp.concatenate([choose, more[None], stop[None]])

    def step(state, action):
        chosen = action.index < ARMS
        valued = action.index == VALUE_INDEX
        arm = jnp.where(chosen, action.index, state.arm)
        place = jnp.arange(2) == state.drawn
        values = jnp.where(valued & place, action.value, state.values)
        new = ToyState(arm, state.drawn + valued, values, action.index == STOP)
        return jax.tree.map(lambda a, b: jnp.where(state.stopped, b, a), new, state)

    def parent_mask(state):
        at_arm = (state.arm >= 0) & (state.drawn == 0) & ~state.stopped
        choose = (jnp.arange(ARMS) == state.arm) & at_arm
        valued = (state.drawn > 0) & ~state.stopped
        return jnp.concatenate([choose, valued[None], state.stopped[None]])

    def undo(state, action):
        chosen, valued = action.index < ARMS, action.index == VALUE_INDEX
        drawn = state.drawn - valued
        values = jnp.where(valued & (jnp.arange(2) == drawn), 0.0, state.values)
        arm = jnp.where(chosen, -1, state.arm)
        return ToyState(arm, drawn, values, state.stopped & (action.index != STOP))

    def recover_value(state, index):
        last = jnp.sum(jnp.where(jnp.arange(2) == state.drawn - 1, state.values, 0.0))
        return jnp.where(index == VALUE_INDEX, last, 0.0)

    def features(state):
        tokens = jnp.stack([state.arm + 1, 4 + state.drawn, 7 + state.stopped]).astype(jnp.int32)
        return Features(tokens, state.values)

    return Environment(
        name="toy",
        stages=(
            Stage("arm", 0, ARMS, continuous=False),
            Stage("number", VALUE_INDEX, 1, continuous=True),
            Stage("stop", STOP, 1, continuous=False),
        ),
        num_actions=5,
        max_steps=4,
        vocabulary=9,
        num_dense=2,
        initial_state=initial_state,
        action_mask=action_mask,
        step=step,
        parent_mask=parent_mask,
        undo=undo,
        recover_value=recover_value,
        log_jacobian=lambda s, a: jnp.where(a.index == VALUE_INDEX, LOG_JACOBIAN, 0.0),
        is_terminal=lambda state: state.stopped,
        features=features,
        observe=observe_from(features, 9),
    )


def physical(values):
    return 2.0 + SCALE * values


def log_reward(scale, state):
    """Arm 0: a bump in x; arm 1: a ridge x near y; arm 2: 1.5."""
    x, y = physical(state.values[0]), physical(state.values[1])
    bump = -((x - 4.0) ** 2) / 0.5
    ridge = -((x - y) ** 2) / 0.8 - 0.3 * x
    return scale * jnp.stack([bump, ridge, jnp.log(1.5) + 0 * x])[state.arm]
