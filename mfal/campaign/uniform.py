"""Random search: terminal states drawn by uniformly chosen legal actions."""

import jax
import jax.numpy as jnp

from mfal.envs.types import Action, Environment, State

__all__ = ["sample_uniformly"]


def sample_uniformly(env: Environment, key: jax.Array, num: int) -> State:
    """Independent terminal states, leading axis [num].

    Every legal action of a state is equally likely, and every value uniform in [0, 1]. This isn't
    the uniform distribution over crystals; it is what a search without a model does.
    """

    def step(state: State, key: jax.Array) -> tuple[State, None]:
        key_index, key_value = jax.random.split(key)
        mask = env.action_mask(state)
        logits = jnp.where(mask, 0.0, -jnp.inf)
        done = env.is_terminal(state)
        index = jax.random.categorical(key_index, jnp.where(done, 0.0, logits))
        action = Action(index.astype(jnp.int32), jax.random.uniform(key_value))
        return env.step(state, action), None  # a terminal state absorbs

    def one(key: jax.Array) -> State:
        return jax.lax.scan(step, env.initial_state(), jax.random.split(key, env.max_steps))[0]

    return jax.vmap(one)(jax.random.split(key, num))
