"""An ensemble of small networks over crystals and fidelities.

Each member maps the features x of a crystal to a mean and a noise level at every fidelity at once:

    f_k(x) = g_k(x) + prior_k(x) + sum_{j<k} A_kj f_j(x),     k = 0 .. M-1,

a deep form of the autoregressive relation of Kennedy & O'Hagan, Biometrika 87, 1 (2000). The
relation A is learned; it is drawn around zero, member by member, and held near its draw by a
penalty, so that a fidelity which says nothing (or the contrary) about the target can be learned to
do so, and until data speak the members disagree even about the sign.

Spread away from data comes from three sources: bootstrap weights over groups of rows, frozen
random prior networks (Osband, Aslanides & Cassirer, NeurIPS 2018) and random initial weights.
Rows whose bootstrap weight is zero are held out from that member: the held-out answers calibrate
the spread and measure what each fidelity is worth (`mfal.proxies.relation`).
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from mfal.proxies.dataset import Dataset
from mfal.proxies.features import NUM_FEATURES, featurise
from mfal.proxies.likelihood import log_likelihood
from mfal.proxies.relation import (
    Held,
    Posterior,
    Prediction,
    Reliability,
    held_out,
    measure_reliability,
    posterior,
    unknown_reliability,
)

__all__ = ["Ensemble", "EnsembleConfig", "ProxyState", "make_ensemble"]

# The networks see values of unit variance; a noise level outside these bounds is not credible.
_MIN_NOISE, _MAX_NOISE = 0.05, 3.0
# Features are standardised and clipped here: one outlier must not drive the extrapolation.
_CLIP = 3.0
# Materials that differ by a dopant can differ by decades: wide initial weights make the functions
# rough on that scale, as a kernel of short length would (chosen by cross-validation on OBELiX).
_INIT = nn.initializers.variance_scaling(4.0, "fan_in", "truncated_normal")


@dataclass(frozen=True)
class EnsembleConfig:
    """Static choices of an ensemble."""

    num_fidelities: int
    """M; fidelity M - 1 is the target."""
    members: int = 10
    """E, number of networks."""
    widths: tuple[int, ...] = (64, 64)
    """Hidden widths of a member."""
    prior_width: int = 32
    """Hidden width of a member's frozen prior network."""
    prior_scale: float = 0.7
    """Standard deviation of the prior networks' output, in units of the values' spread."""
    holdout: float = 0.25
    """Share of the groups that each member doesn't see."""
    relation_scale: float = 0.5
    """Standard deviation of the drawn relation between fidelities, dimensionless."""
    relation_weight: float = 1.0
    """Pseudo-observations that hold the relation to its draw."""
    steps: int = 600
    """Updates of one fit."""
    batch_size: int = 128
    """Rows of an update."""
    learning_rate: float = 1e-2
    """Peak of the cosine schedule."""
    weight_decay: float = 3e-2
    """Decoupled weight decay of the trained networks."""


class ProxyState(NamedTuple):
    """All that a fitted ensemble knows; a pytree of arrays."""

    params: Any
    """Trained networks, leading axis [E]."""
    prior: Any
    """Frozen prior networks and their signs, leading axis [E]."""
    anchor: jax.Array
    """[E, M, M] float32, drawn relations, strictly lower triangular."""
    feature_mean: jax.Array
    """[F]."""
    feature_scale: jax.Array
    """[F], positive."""
    value_mean: jax.Array
    """[M], in the unit of each fidelity's score."""
    value_scale: jax.Array
    """[M], positive, the same units."""
    reliability: Reliability
    """Calibration of the spread and learned correlations between fidelities."""
    loss: jax.Array
    """[] float32, final mean negative log-likelihood of the standardised training values."""
    held: Held | None = None
    """What members that have not seen a row's crystal predict for it; None before a fit."""


class Ensemble(NamedTuple):
    """The ensemble as a value: pure functions, the slow ones jitted."""

    config: EnsembleConfig
    init: Callable[[jax.Array], ProxyState]
    """Key to an unfitted state: predictions are the prior's."""
    fit: Callable[[ProxyState, Dataset, jax.Array], ProxyState]
    """(state, data, key) to a state fitted from scratch on `data`; compiles once a capacity."""
    predict: Callable[[ProxyState, Any], Prediction]
    """(state, one crystal) to a prediction; the caller applies `vmap`."""
    posterior: Callable[[ProxyState, Any], Posterior]
    """(state, one crystal) to a Gaussian belief over its fidelities; the caller applies `vmap`."""


class _Member(nn.Module):
    """Means before the relation [M], log noise [M] and the relation [M, M]."""

    widths: tuple[int, ...]
    num_fidelities: int

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        hidden = x
        for width in self.widths:
            hidden = nn.silu(nn.Dense(width, kernel_init=_INIT)(hidden))
        small = nn.initializers.variance_scaling(0.1, "fan_in", "normal")
        mean = nn.Dense(self.num_fidelities, kernel_init=small)(hidden)
        log_noise = nn.Dense(
            self.num_fidelities,
            kernel_init=nn.initializers.zeros,
            bias_init=nn.initializers.constant(-0.7),
        )(hidden)
        shape = (self.num_fidelities, self.num_fidelities)
        return mean, log_noise, self.param("relation", nn.initializers.zeros, shape)


class _Prior(nn.Module):
    """A random function [M] of order one, smooth on the scale of the standardised features."""

    width: int
    num_fidelities: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        bias = nn.initializers.normal(1.0)
        hidden = jnp.tanh(nn.Dense(self.width, bias_init=bias)(x))
        out = nn.initializers.normal((2.0 / self.width) ** 0.5)
        return nn.Dense(self.num_fidelities, kernel_init=out, use_bias=False)(hidden)


@functools.cache
def make_ensemble(
    config: EnsembleConfig,
    featuriser: Callable[[Any], jax.Array] = featurise,
    num_features: int = NUM_FEATURES,
) -> Ensemble:
    """Builds the ensemble's functions; equal arguments give the same, already compiled, ones.

    Args:
      config: static choices.
      featuriser: one crystal to features [F]; other inputs need their own.
      num_features: F.
    """
    member = _Member(config.widths, config.num_fidelities)
    prior_net = _Prior(config.prior_width, config.num_fidelities)
    blank = jnp.zeros(num_features)

    def fresh_params(key: jax.Array, anchor: jax.Array) -> Any:
        params = jax.vmap(lambda k: member.init(k, blank))(jax.random.split(key, config.members))
        params["params"]["relation"] = anchor
        return params

    def init(key: jax.Array) -> ProxyState:
        key_params, key_prior, key_anchor = jax.random.split(key, 3)
        count = config.num_fidelities
        # Members come in mirrored pairs: the same prior function and the same drawn relation with
        # opposite signs. Their spread is honest and their mean is free of the draw.
        pair, sign = jnp.arange(config.members) // 2, 1.0 - 2.0 * (jnp.arange(config.members) % 2)
        drawn = jax.random.normal(key_anchor, (config.members, count, count))
        anchor = config.relation_scale * jnp.tril(drawn, -1)[pair] * sign[:, None, None]
        prior_keys = jax.random.split(key_prior, config.members)[pair]
        return ProxyState(
            params=fresh_params(key_params, anchor),
            prior=(jax.vmap(lambda k: prior_net.init(k, blank))(prior_keys), sign),
            anchor=anchor,
            feature_mean=jnp.zeros(num_features),
            feature_scale=jnp.ones(num_features),
            value_mean=jnp.zeros(count),
            value_scale=jnp.ones(count),
            reliability=unknown_reliability(count),
            loss=jnp.zeros(()),
        )

    def outputs(params: Any, prior: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One member's standardised means [M] and noise levels [M] at standardised features."""
        answer: Any = member.apply(params, x)
        own, log_noise, lower = answer
        prior_params, sign = prior
        offset: Any = prior_net.apply(prior_params, x)
        own = own + config.prior_scale * sign * jax.lax.stop_gradient(offset)
        means: list[jax.Array] = []
        for k in range(config.num_fidelities):
            means.append(own[k] + sum((lower[k, j] * means[j] for j in range(k)), jnp.zeros(())))
        return jnp.stack(means), jnp.clip(jnp.exp(log_noise), _MIN_NOISE, _MAX_NOISE)

    def standardised(state: ProxyState, x: jax.Array) -> jax.Array:
        return jnp.clip((x - state.feature_mean) / state.feature_scale, -_CLIP, _CLIP)

    every_member = jax.vmap(outputs, in_axes=(0, 0, None))
    every_row = jax.vmap(every_member, in_axes=(None, None, 0), out_axes=1)

    def fit(state: ProxyState, data: Dataset, key: jax.Array) -> ProxyState:
        key_params, key_weights, key_batches = jax.random.split(key, 3)
        raw = jax.vmap(featuriser)(data.crystal)
        state = _standardise(state, raw, data)
        x = standardised(state, raw)
        target = (data.value - state.value_mean[data.fidelity]) / state.value_scale[data.fidelity]
        rows = len(data.value)
        kept, weights = _bootstrap(key_weights, data.group, config.members, config.holdout)
        weights = weights * data.valid
        # Valid rows first: a uniform number below their count picks one of them.
        order = jnp.argsort(~data.valid)
        count = jnp.sum(data.valid)
        penalty = config.relation_weight / config.relation_scale**2 / jnp.maximum(count, 1)

        def row_loss(mean: jax.Array, noise: jax.Array, index: jax.Array) -> jax.Array:
            fidelity = data.fidelity[index]
            mean, noise = mean[fidelity], noise[fidelity]
            nll = -log_likelihood(target[index], data.censoring[index], mean, noise)
            # Rows of high noise would lose their say in the mean (Seitzer et al., ICLR 2022).
            return nll * jax.lax.stop_gradient(noise)

        def loss_fn(params: Any, batch: jax.Array) -> jax.Array:
            means, noises = every_row(params, state.prior, x[batch])
            per_row = jax.vmap(jax.vmap(row_loss), in_axes=(0, 0, None))(means, noises, batch)
            held = jnp.sum((params["params"]["relation"] - state.anchor) ** 2) / 2
            # Summed over members: each has its own parameters, so each gets its own gradient.
            return jnp.sum(jnp.mean(weights[:, batch] * per_row, axis=1)) + penalty * held

        schedule = optax.cosine_onecycle_schedule(config.steps, config.learning_rate)
        optimiser = optax.chain(
            optax.clip_by_global_norm(10.0 * config.members),
            optax.adamw(schedule, weight_decay=config.weight_decay, mask=_decayed),
        )
        params = fresh_params(key_params, state.anchor)

        def update(carry: tuple[Any, Any], key: jax.Array) -> tuple[tuple[Any, Any], jax.Array]:
            params, opt_state = carry
            uniform = jax.random.uniform(key, (min(config.batch_size, rows),))
            batch = order[(uniform * count).astype(jnp.int32)]
            loss, grads = jax.value_and_grad(loss_fn)(params, batch)
            updates, opt_state = optimiser.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), loss

        keys = jax.random.split(key_batches, config.steps)
        (params, _), losses = jax.lax.scan(update, (params, optimiser.init(params)), keys)
        means, noises = every_row(params, state.prior, x)
        reliability = measure_reliability(means, noises, kept, target, data, state.value_scale)
        held = held_out(means, noises, kept, data.valid, reliability)
        tail = max(config.steps // 10, 1)
        return state._replace(
            held=Held(
                state.value_mean + state.value_scale * held.mean, state.value_scale * held.std
            ),
            params=params,
            reliability=reliability,
            loss=jnp.mean(losses[-tail:]) / config.members,
        )

    def predict(state: ProxyState, crystal: Any) -> Prediction:
        x = standardised(state, featuriser(crystal))
        means, noises = every_member(state.params, state.prior, x)
        centre = jnp.mean(means, axis=0)
        spread = centre + state.reliability.spread * (means - centre)
        noise = jnp.sqrt(jnp.mean(noises**2, axis=0)) * state.reliability.noise
        return Prediction(
            members=state.value_mean + state.value_scale * spread,
            noise=state.value_scale * noise,
        )

    def belief(state: ProxyState, crystal: Any) -> Posterior:
        return posterior(predict(state, crystal), state.reliability)

    return Ensemble(config, jax.jit(init), jax.jit(fit), predict, belief)


def _standardise(state: ProxyState, features: jax.Array, data: Dataset) -> ProxyState:
    """Moments of the valid rows: features [F], values per fidelity [M]."""
    valid = data.valid[:, None]
    count = jnp.maximum(jnp.sum(data.valid), 1)
    mean = jnp.sum(jnp.where(valid, features, 0), axis=0) / count
    variance = jnp.sum(jnp.where(valid, (features - mean) ** 2, 0), axis=0) / count
    of_fidelity = (data.fidelity == jnp.arange(len(state.value_mean))[:, None]) & data.valid
    counts = jnp.sum(of_fidelity, axis=1)
    value_mean = jnp.sum(of_fidelity * data.value, axis=1) / jnp.maximum(counts, 1)
    deviation = of_fidelity * (data.value - value_mean[:, None])
    value_std = jnp.sqrt(jnp.sum(deviation**2, axis=1) / jnp.maximum(counts, 1))
    known = (counts > 1) & (value_std > 1e-6)
    return state._replace(
        feature_mean=mean,
        # A feature that never varied flags the unknown: any other value of it hits the clip.
        feature_scale=jnp.sqrt(variance) + 1e-3,
        value_mean=value_mean,
        value_scale=jnp.where(known, value_std, 1.0),
    )


def _bootstrap(
    key: jax.Array, group: jax.Array, members: int, holdout: float
) -> tuple[jax.Array, jax.Array]:
    """Which rows each member sees [E, N] bool, and with what weight [E, N].

    A share `holdout` of the groups is kept from each member; the others weigh by an exponential
    draw of mean one (the Bayesian bootstrap of Rubin, Ann. Stat. 9, 130 (1981)).
    """
    key_kept, key_weight = jax.random.split(key)
    shape = (members, len(group))
    kept = jax.random.uniform(key_kept, shape) >= holdout
    weight = jax.random.exponential(key_weight, shape) * kept / (1.0 - holdout)
    return kept[:, group], weight[:, group]


def _decayed(params: Any) -> Any:
    """Weight decay acts on kernels only."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: getattr(path[-1], "key", None) == "kernel", params
    )
