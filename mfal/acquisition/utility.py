"""What a question is worth: the improvement that it may lead to, per CPU second.

Asking the target oracle about a crystal improves on the best values by max(f - best, 0). Asking a
cheaper one first improves nothing by itself, but it tells whether to go on: a plan asks the cheap
oracle and then, only where the answer is good enough, the target. A question is worth what the best
plan that begins with it is expected to improve over what that plan is expected to cost,

    worth(m) = max_a  p E[1(z > a) EI(mean + shift z, sqrt(std^2 - shift^2))]
                      / (cost_m + p cost_target P(z > a)),        z ~ N(0, 1),

with `shift` the standard deviation by which the answer moves the target's mean, p the chance of an
answer and EI the expected improvement that is left. It is the index of a Pandora's box that may be
inspected (Weitzman, Econometrica 47, 641 (1979); for Bayesian optimisation Xie et al., NeurIPS
2024, arXiv:2406.20062), as a rate. A cheap answer that tells nothing only saves the target's cost
where the crystal would have failed; one that sorts well is worth far more than the target itself as
long as good crystals are rare, and nothing once the crystal is known. No constant weighs exploring
against exploiting or cheap against dear.
"""

import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.scipy.special import erfcx
from jax.scipy.stats import norm

__all__ = [
    "Question",
    "Terms",
    "expected_improvement",
    "improvement_rate",
    "log_expected_improvement",
]

_LEAST = 1e-9
"""Stands for a standard deviation of zero; far below any that a belief about a score has."""
_NODES = jnp.linspace(-3.5, 5.0, 103)
"""Values of z at which a plan may stop: dense enough that the rate is right to a percent
(tests/acquisition/test_utility.py), skewed to where good answers lie."""
_WEIGHTS = norm.pdf(_NODES) / jnp.sum(norm.pdf(_NODES))


class Terms(NamedTuple):
    """What a round's questions are measured by; a pytree, so that a new round doesn't recompile."""

    best: jax.Array
    """[], the score at the target fidelity that is to be improved on: of the tenth best formula."""
    costs: jax.Array
    """[M], CPU seconds of a first question about a crystal at each fidelity, its atoms included;
    the target is the last."""
    costs_later: jax.Array
    """[M], the same once the crystal's atoms are known."""
    tells_stability: jax.Array
    """[M] bool, whether an answer tells if the crystal meets the requirement on stability."""
    open: jax.Array
    """[M] bool, fidelities that are asked at all: once nothing can follow, only the target."""


class Question(NamedTuple):
    """What is believed of one crystal, by the fidelity that it may be asked at."""

    mean: jax.Array
    """[], of the target's score."""
    std: jax.Array
    """[], of the target's score."""
    shift: jax.Array
    """[M], standard deviation by which each answer moves that mean: |cov| / sd of the answer."""
    chance: jax.Array
    """[], probability that the crystal is answered about at all."""
    stable: jax.Array
    """[], probability that it meets the requirement on stability."""
    found: jax.Array
    """[] bool, whether its atoms are known."""
    rival: jax.Array | float = -math.inf
    """[], best score of another crystal of its formula: only what is better than that counts."""


def expected_improvement(mean: jax.Array, std: jax.Array, best: float | jax.Array) -> jax.Array:
    """E[max(f - best, 0)] = (mean - best) Phi(z) + std phi(z), z = (mean - best)/std, [...]."""
    std = jnp.maximum(std, _LEAST)
    z = (mean - best) / std
    return std * jnp.maximum(z * norm.cdf(z) + norm.pdf(z), 0.0)


def log_expected_improvement(mean: jax.Array, std: jax.Array, best: float | jax.Array) -> jax.Array:
    """Logarithm of the expected improvement, finite where that underflows.

    For z < -1, phi(z) + z Phi(z) = phi(z) [1 + z sqrt(pi/2) erfcx(-z/sqrt 2)] (Ament et al.,
    NeurIPS 2023); far below, the bracket is taken from its series 1/z^2 - 3/z^4.
    """
    std = jnp.maximum(std, _LEAST)
    z = (mean - best) / std
    near = jnp.maximum(z, -1.0)
    direct = jnp.log(near * norm.cdf(near) + norm.pdf(near))
    middle = jnp.clip(z, -10.0, -1.0)
    bracket = 1 + middle * (jnp.pi / 2) ** 0.5 * erfcx(-middle / 2**0.5)
    far = jnp.minimum(z, -10.0)
    series = jnp.log(1 - 3 / far**2) - 2 * jnp.log(-far)
    tail = norm.logpdf(z) + jnp.where(z > -10.0, jnp.log(jnp.maximum(bracket, 1e-12)), series)
    return jnp.log(std) + jnp.where(z > -1.0, direct, tail)


def improvement_rate(terms: Terms, question: Question) -> jax.Array:
    """What asking one crystal is worth at each fidelity, [M], score units per CPU second.

    The formula of the module's docstring, times the chance of meeting the requirement. Where an
    answer tells whether it is met, the target is asked only if it is.
    """
    chex.assert_equal_shape([question.shift, terms.costs, terms.costs_later, terms.open])
    costs = jnp.where(question.found, terms.costs_later, terms.costs)
    best = jnp.maximum(terms.best, question.rival)

    def plan(shift: jax.Array, cost: jax.Array, tells: jax.Array) -> jax.Array:
        left = jnp.sqrt(jnp.maximum(question.std**2 - shift**2, 0.0))
        gains = expected_improvement(question.mean + shift * _NODES, left, best)
        # The better the answer the more is left to gain, so that plans differ in where they stop.
        gain = jnp.cumsum((_WEIGHTS * gains)[::-1])
        often = jnp.cumsum(_WEIGHTS[::-1])
        follows = question.chance * jnp.where(tells, question.stable, 1.0)
        then = follows * terms.costs_later[-1] * often
        return jnp.max(question.chance * gain / (cost + then))

    rates = jax.vmap(plan)(question.shift, costs, terms.tells_stability)
    direct = question.chance * expected_improvement(question.mean, question.std, best)
    rates = rates.at[-1].set(direct / costs[-1])
    return jnp.where(terms.open, question.stable * rates, 0.0)
