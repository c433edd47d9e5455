"""How likely something is of a crystal: logistic regression on its features and its precedent.

A query can fail, for want of a sound arrangement of atoms say, and costs what an answer costs; and
a crystal that is answered about may turn out to be known, or too far from the hull. What asking is
worth counts times the probabilities of both (expected improvement under an unknown constraint:
Gardner, Kusner, Xu, Weinberger & Cunningham, ICML 2014, PMLR 32, 937; Gelbart, Snoek & Adams, UAI
2014, arXiv:1403.5607). The regression is linear, as it begins with a few dozen labels: of whether
an answer comes its AUC on random crystals of the default space is .73 [.69, .76] from 40 labels and
.84 [.83, .85] from 200 (`experiments/campaign_replay.py`; the ridge was chosen on the same
crystals).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mfal.acquisition.feasibility import fit_logistic
from mfal.acquisition.precedents import NO_PRECEDENTS, Precedents, precedent_of
from mfal.crystals.types import Crystal
from mfal.proxies.features import featurise

__all__ = ["ChanceParams", "chance_of", "fit_chance"]

_RIDGE = 0.3
"""Inverse prior variance of a weight on standardised features that are divided by sqrt(F)."""
_RIDGE_PRECEDENT = 1.0
"""The same of a precedent's weight: freer, a precedent of which there are three rows decides too
much (log loss on held-out candidates that were relaxed beforehand, eight folds)."""
_RIDGE_CONSTANT = 0.01
"""The same of the constant: how common failures are is no matter of prior belief."""
_CLIP = 3.0
"""Standard deviations at which features are cut."""


class ChanceParams(NamedTuple):
    """A fitted regression; a pytree, so that a new round doesn't recompile."""

    weights: jax.Array
    """[F + 3 + 1], of features, precedent and the constant; zeros before there is a label: one half
    everywhere."""
    mean: jax.Array
    """[F], of the features over the space."""
    scale: jax.Array
    """[F], positive."""
    precedents: Precedents
    """What has a precedent."""


@jax.jit
def fit_chance(
    space: Crystal,
    crystal: Crystal,
    label: jax.Array,
    valid: jax.Array,
    precedents: Precedents = NO_PRECEDENTS,
) -> ChanceParams:
    """The maximum of the posterior density under a Gaussian prior.

    Args:
      space: crystals drawn from the space, leading axis [S]: they set the scales of the features.
      crystal: [N], those of which it is known.
      label: [N], 1 where it holds, 0 where it doesn't.
      valid: [N] bool; other rows don't count.
      precedents: of the space.
    """
    everywhere = jax.vmap(featurise)(space)
    mean, scale = jnp.mean(everywhere, axis=0), jnp.std(everywhere, axis=0) + 1e-3
    start = ChanceParams(jnp.zeros(0), mean, scale, precedents)
    inputs = jax.vmap(_inputs, in_axes=(None, 0))(start, crystal)
    ridge = jnp.full(inputs.shape[1], _RIDGE).at[len(mean) : -1].set(_RIDGE_PRECEDENT)
    ridge = ridge.at[-1].set(_RIDGE_CONSTANT)
    return start._replace(weights=fit_logistic(inputs, label, valid, ridge))


@jax.default_matmul_precision("highest")
def chance_of(params: ChanceParams, crystal: Crystal) -> jax.Array:
    """The probability for one crystal, []."""
    return jax.nn.sigmoid(_inputs(params, crystal) @ params.weights)


def _inputs(params: ChanceParams, crystal: Crystal) -> jax.Array:
    """[F + 3 + 1] float32."""
    x = jnp.clip((featurise(crystal) - params.mean) / params.scale, -_CLIP, _CLIP)
    precedent = precedent_of(params.precedents, crystal)
    x = jnp.concatenate([x / jnp.sqrt(1.0 * len(x)), precedent, jnp.ones(1)])
    return x.astype(jnp.float32)
