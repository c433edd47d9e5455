"""From an acquisition value to what a GFlowNet is trained on: positive, bounded, log scale."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mfal.acquisition.information import InformationParams, information_gain_per_cost
from mfal.acquisition.maxima import gumbel_maxima
from mfal.proxies.relation import Posterior

__all__ = [
    "AcquisitionParams",
    "RewardParams",
    "acquisition_params",
    "bounded_log_reward",
    "default_reward",
    "make_log_reward",
]


class RewardParams(NamedTuple):
    """The shape of the reward as a function of an acquisition value; a pytree of scalars."""

    scale: jax.Array
    """[], the acquisition value that earns a reward of one, say a high quantile over a pool."""
    exponent: jax.Array
    """[], positive: how sharply the sampler prefers high values."""
    floor: jax.Array
    """[], positive: share of `scale` added everywhere, so that no reward vanishes."""
    ceiling: jax.Array
    """[], above one: multiple of `scale` at which the reward is cut."""


class AcquisitionParams(NamedTuple):
    """All that the reward of a round depends on."""

    proxy: Any
    """State of the fitted proxy."""
    information: InformationParams
    reward: RewardParams
    feasibility: Any = None
    """What a constraint's weight depends on (`mfal.acquisition.feasibility`); None without one."""
    success: Any = None
    """What the chance of an answer depends on (`mfal.acquisition.success`); None where it isn't
    asked for."""


def default_reward(scale: jax.Array | float, exponent: float = 2.0) -> RewardParams:
    """A reward within [0.01, 10] ** exponent, about one at `scale`."""
    return RewardParams(
        jnp.asarray(scale, jnp.float32),
        jnp.asarray(exponent, jnp.float32),
        jnp.asarray(0.01, jnp.float32),
        jnp.asarray(10.0, jnp.float32),
    )


def bounded_log_reward(params: RewardParams, value: jax.Array) -> jax.Array:
    """Log R = exponent * log(floor + min(value / scale, ceiling)), finite for every value.

    A value that is negative or not a number counts as zero.
    """
    ratio = jnp.where(value > 0, value / params.scale, 0.0)
    return params.exponent * jnp.log(params.floor + jnp.minimum(ratio, params.ceiling))


def make_log_reward(
    posterior: Callable[[Any, Any], Posterior],
    crystal_of: Callable[[Any], Any],
    fidelity_of: Callable[[Any], jax.Array],
) -> Callable[[AcquisitionParams, Any], jax.Array]:
    """Builds `log_reward(params, terminal_state) -> []` for a trainer.

    The reward is the information about the best target-fidelity value per unit cost of asking this
    crystal at this fidelity. All numbers come in through `params`.

    Args:
      posterior: (proxy state, crystal) to a belief over fidelities, an `Ensemble.posterior`.
      crystal_of: terminal state to the proxy's input.
      fidelity_of: terminal state to its fidelity, [] int32.
    """

    def log_reward(params: AcquisitionParams, state: Any) -> jax.Array:
        belief = posterior(params.proxy, crystal_of(state))
        noise = jnp.maximum(belief.noise, params.information.noise)
        information = params.information._replace(noise=noise)
        gains = information_gain_per_cost(information, belief.mean, belief.covariance)
        chosen = jnp.arange(len(gains)) == fidelity_of(state)
        return bounded_log_reward(params.reward, jnp.sum(jnp.where(chosen, gains, 0.0)))

    return log_reward


def acquisition_params(
    posterior: Callable[[Any, Any], Posterior],
    proxy: Any,
    pool: Any,
    costs: jax.Array,
    best: jax.Array | float,
    key: jax.Array,
    *,
    num_maxima: int = 10,
    exponent: float = 2.0,
    quantile: float = 0.95,
    allowed: jax.Array | None = None,
) -> AcquisitionParams:
    """A round's parameters from a fitted proxy and a pool of crystals.

    The pool (known crystals and recent samples, say) supplies the samples of the best
    target-fidelity value and the scale: a reward of one is the `quantile` of the pool's gains per
    cost, each crystal at its best fidelity.

    Args:
      posterior: (proxy state, crystal) to a belief over M fidelities.
      proxy: state of the fitted proxy.
      pool: crystals with a leading axis [N].
      costs: [M], positive.
      best: best value known at the target fidelity; -inf before there is one.
      key: PRNG key of the samples of the maximum.
      num_maxima: K.
      exponent: sharpness of the reward.
      quantile: 0 to 1.
      allowed: [N] bool, crystals of the pool that count, at least one; all if left out. Under a
        constraint these are the ones that may meet it.
    """
    beliefs = jax.vmap(posterior, in_axes=(None, 0))(proxy, pool)
    target_std = jnp.sqrt(jnp.maximum(beliefs.covariance[:, -1, -1], 0.0))
    target_mean = beliefs.mean[:, -1]
    if allowed is not None:
        target_mean = jnp.where(allowed, target_mean, -jnp.inf)
        target_std = jnp.where(allowed, target_std, 0.0)
    information = InformationParams(
        maxima=gumbel_maxima(key, target_mean, target_std, num_maxima, best),
        noise=jnp.zeros(len(costs)),
        costs=jnp.asarray(costs, jnp.float32),
    )
    gains = jax.vmap(
        lambda belief: information_gain_per_cost(
            information._replace(noise=belief.noise), belief.mean, belief.covariance
        )
    )(beliefs)
    # Where nothing is to be learned any more the scale must stay positive.
    highest = jnp.max(gains, axis=1)
    if allowed is None:
        reached = jnp.quantile(highest, quantile)
    else:
        reached = jnp.nanquantile(jnp.where(allowed, highest, jnp.nan), quantile)
    scale = jnp.maximum(reached, 1e-6)
    return AcquisitionParams(proxy, information, default_reward(scale, exponent))
