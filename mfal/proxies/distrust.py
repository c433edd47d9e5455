"""How far cheap fidelities are believed: two beliefs weighed by evidence.

The coupled belief learns from the answers of all fidelities, and from a crystal's own cheap answers
by conditioning. The other has seen the target's answers alone. Both predict each of the target's
answers without having seen it, and the product of their densities is the evidence for each: the
weight of the coupled belief is its probability, starting from even odds,

    w = 1 / (1 + exp(sum_i log p_single(y_i) - log p_coupled(y_i))).

What is believed is the mixture, by its first two moments. Where cheap fidelities mislead, w goes to
zero: the target's own answers decide, the covariance of cheap answers with the target vanishes, and
with it whatever asking them could be worth. There is no threshold to be set.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["Evidence", "mix", "weigh"]


class Evidence(NamedTuple):
    """What the target's answers say of two beliefs."""

    weight: float
    """0 to 1, of the coupled one."""
    coupled: float
    """Nats per answer: mean log density under the coupled belief; zero without any."""
    single: float
    """Nats per answer under the target's own."""
    answers: int


def weigh(coupled: np.ndarray, single: np.ndarray) -> Evidence:
    """The weight of the coupled belief.

    Args:
      coupled: [answers], log densities of the target's answers, nats, each unseen.
      single: the same under the belief without cheap fidelities.
    """
    if not len(coupled):
        return Evidence(0.5, 0.0, 0.0, 0)
    nats = float(np.sum(coupled - single))
    weight = float(1.0 / (1.0 + np.exp(-np.clip(nats, -50.0, 50.0))))
    return Evidence(weight, float(np.mean(coupled)), float(np.mean(single)), len(coupled))


def mix(
    mean: Any, covariance: Any, own_mean: Any, own_std: Any, weight: Any
) -> tuple[jax.Array, jax.Array]:
    """Mean [..., M] and covariance [..., M, M] of the mixture of both beliefs.

    The second belief knows nothing but the target: there its mean and deviation hold, elsewhere the
    coupled belief's, without any covariance with the target.

    Args:
      mean: [..., M], of the coupled belief.
      covariance: [..., M, M], of the coupled belief.
      own_mean: [...], of the target, by its own answers alone.
      own_std: [...].
      weight: [], of the coupled belief.
    """
    mean, covariance = jnp.asarray(mean), jnp.asarray(covariance)
    apart = jnp.asarray(own_mean) - mean[..., -1]
    target = jnp.arange(mean.shape[-1]) == mean.shape[-1] - 1
    both = target[:, None] & target[None, :]
    crossed = target[:, None] ^ target[None, :]
    other = jnp.where(crossed, 0.0, covariance)
    other = jnp.where(both, jnp.asarray(own_std)[..., None, None] ** 2, other)
    spread = weight * (1 - weight) * (apart**2)[..., None, None] * both
    mixed = weight * covariance + (1 - weight) * other + spread
    return mean + (1 - weight) * apart[..., None] * target, mixed
