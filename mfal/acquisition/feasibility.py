"""How likely a composition is to meet a constraint: logistic regression, to weigh a reward with.

The value of a query under a constraint is its value without one times the probability that the
constraint is met (Gardner, Kusner, Xu, Weinberger & Cunningham, ICML 2014, PMLR 32, 937). Whether
it is met may take a phase diagram to say, which a trainer can't trace; what the diagrams say of a
few hundred compositions teaches a regression that it can. Labels may be any shares from 0 to 1:
the same serves a second objective.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from mfal.crystals.types import NUM_ELEMENTS

__all__ = [
    "FLOOR",
    "FeasibilityParams",
    "chance_of_feasibility",
    "fit_feasibility",
    "fit_logistic",
]

FLOOR = 0.02
"""Least chance, so that a regression's errors can be found out."""
_RIDGE = 0.05
"""Inverse prior variance of a weight; inputs are of order one."""
_STEPS = 12
"""Newton steps; the problem is convex and they converge quadratically."""
_PRESENT = 1e-6


class FeasibilityParams(NamedTuple):
    """A fitted regression; a pytree, so that a new round doesn't recompile."""

    weights: jax.Array
    """[2 · 103 + 1], of presence, of atomic fraction, and of the constant."""


@jax.jit
def fit_feasibility(
    composition: jax.Array, label: jax.Array, valid: jax.Array
) -> FeasibilityParams:
    """The maximum of the posterior density under a Gaussian prior.

    Args:
      composition: [N, 103], atoms of each element.
      label: [N], 0 to 1.
      valid: [N] bool; other rows don't count.
    """
    inputs = jax.vmap(_inputs)(composition)
    # The constant is free: how common feasible compositions are is no matter of prior belief.
    ridge = jnp.full(inputs.shape[1], _RIDGE).at[-1].set(1e-4)
    return FeasibilityParams(fit_logistic(inputs, label, valid, ridge))


@jax.default_matmul_precision("highest")
def fit_logistic(
    inputs: jax.Array, label: jax.Array, valid: jax.Array, ridge: jax.Array
) -> jax.Array:
    """Weights [F] of greatest posterior density, P = sigmoid(inputs @ weights), by Newton's method.

    Args:
      inputs: [N, F], of order one.
      label: [N], 0 to 1.
      valid: [N] bool; other rows don't count.
      ridge: [F], positive, inverse prior variance of each weight.
    """
    chex.assert_shape([label, valid], (inputs.shape[0],))
    chex.assert_shape(ridge, (inputs.shape[1],))
    count = valid.astype(inputs.dtype)

    def newton(_: int, weights: jax.Array) -> jax.Array:
        mean = jax.nn.sigmoid(inputs @ weights)
        gradient = inputs.T @ (count * (mean - label)) + ridge * weights
        curvature = (inputs * (count * mean * (1 - mean))[:, None]).T @ inputs + jnp.diag(ridge)
        step = jnp.linalg.solve(curvature, gradient)
        # Far from the maximum the quadratic model overshoots; no sensible step is longer.
        return weights - step * jnp.minimum(1.0, 4.0 / (jnp.linalg.norm(step) + 1e-6))

    return jax.lax.fori_loop(0, _STEPS, newton, jnp.zeros(inputs.shape[1]))


@jax.default_matmul_precision("highest")
def chance_of_feasibility(params: FeasibilityParams, composition: jax.Array) -> jax.Array:
    """The expected label of one composition [103], []."""
    return jax.nn.sigmoid(_inputs(composition) @ params.weights)


def _inputs(composition: jax.Array) -> jax.Array:
    """[207] float32. One bad element spoils a compound however little of it there is."""
    assert composition.shape == (NUM_ELEMENTS,)
    fraction = composition / jnp.maximum(jnp.sum(composition), _PRESENT)
    present = (fraction > _PRESENT).astype(jnp.float32)
    return jnp.concatenate([present, fraction, jnp.ones(1)]).astype(jnp.float32)
