"""Dense observations from sparse ones."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mfal.envs.types import Features, State

__all__ = ["observe_from"]


def observe_from(features: Callable[..., Features], vocabulary: int) -> Callable[..., jax.Array]:
    """The dense observation that a sparse one stands for, [vocabulary + C] float32."""

    def observe(state: State) -> jax.Array:
        sparse = features(state)
        # The extra row catches the token that stands for none.
        ones = jnp.zeros((vocabulary + 1,), jnp.float32).at[sparse.tokens].add(1.0)
        return jnp.concatenate([ones[:vocabulary], sparse.dense])

    return observe
