"""How likely a query is to be answered at all: logistic regression on a crystal's features.

A query can fail, for want of a sound arrangement of atoms say, and costs what an answer costs. What
an answer is worth counts times the probability that it comes (expected improvement under an unknown
constraint: Gardner, Kusner, Xu, Weinberger & Cunningham, ICML 2014, PMLR 32, 937; Gelbart, Snoek &
Adams, UAI 2014, arXiv:1403.5607). The regression is linear, as it begins with a dozen labels: on
random crystals of the default space its AUC is .73 [.69, .76] from 40 labels and .84 [.83, .85]
from 200 (`experiments/campaign_replay.py`; the ridge was chosen on the same crystals).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mfal.acquisition.feasibility import fit_logistic
from mfal.proxies.features import featurise

__all__ = ["SuccessParams", "chance_of_answer", "fit_success"]

_RIDGE = 0.3
"""Inverse prior variance of a weight on standardised features that are divided by sqrt(F)."""
_CLIP = 3.0
"""Standard deviations at which features are cut."""


class SuccessParams(NamedTuple):
    """A fitted regression; a pytree, so that a new round doesn't recompile."""

    weights: jax.Array
    """[F + 1], the last of the constant; zeros before there is a label: one half everywhere."""
    mean: jax.Array
    """[F], of the features over the space."""
    scale: jax.Array
    """[F], positive."""


@jax.jit
def fit_success(space: Any, crystal: Any, label: jax.Array, valid: jax.Array) -> SuccessParams:
    """The maximum of the posterior density under a Gaussian prior.

    Args:
      space: crystals drawn from the space, leading axis [S]: they set the scales of the features.
      crystal: [N], those that were asked about.
      label: [N], 1 where an answer came, 0 where none did.
      valid: [N] bool; other rows don't count.
    """
    everywhere = jax.vmap(featurise)(space)
    mean, scale = jnp.mean(everywhere, axis=0), jnp.std(everywhere, axis=0) + 1e-3
    start = SuccessParams(jnp.zeros(len(mean) + 1), mean, scale)
    inputs = jax.vmap(_inputs, in_axes=(None, 0))(start, crystal)
    # The constant is free: how common failures are is no matter of prior belief.
    ridge = jnp.full(inputs.shape[1], _RIDGE).at[-1].set(1e-2)
    return start._replace(weights=fit_logistic(inputs, label, valid, ridge))


@jax.default_matmul_precision("highest")
def chance_of_answer(params: SuccessParams, crystal: Any) -> jax.Array:
    """Probability that a query about one crystal is answered, []."""
    return jax.nn.sigmoid(_inputs(params, crystal) @ params.weights)


def _inputs(params: SuccessParams, crystal: Any) -> jax.Array:
    """[F + 1] float32."""
    x = jnp.clip((featurise(crystal) - params.mean) / params.scale, -_CLIP, _CLIP)
    return jnp.concatenate([x / jnp.sqrt(1.0 * len(x)), jnp.ones(1)]).astype(jnp.float32)
