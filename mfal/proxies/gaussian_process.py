"""An exact multi-fidelity Gaussian process, for few data or few dimensions.

The value at fidelity m is a multiple, of either sign, of a function that all fidelities share plus
a function of its own,

    f_m(x) = a_m g(x) + w_m d_m(x),      g ~ GP(0, k_0),  d_m ~ GP(0, k_1) independent,

a linear model of coregionalisation of rank one: the prior correlation of two fidelities,
a_m a_j / sqrt((a_m^2 + w_m^2)(a_j^2 + w_j^2)), can take any value, zero and negative ones included.
Hyperparameters maximise the posterior density from three starts: fidelities
that agree with the target, contradict it, or have nothing to do with it. After a third of the steps
the start that is ahead goes on alone.

Everything is computed in float64: the fit and the conditioning under `jax.enable_x64`, whatever the
process' default. Censored rows can't enter an exact process: limits count as measurements.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.scipy.linalg import cho_solve, solve_triangular

from mfal.proxies.dataset import Dataset
from mfal.proxies.features import NUM_FEATURES, featurise
from mfal.proxies.marginal import log_marginal
from mfal.proxies.relation import Posterior

__all__ = ["GPConfig", "GPState", "GaussianProcess", "make_gaussian_process"]

_JITTER = 1e-6
_CLIP = 3.0


@dataclass(frozen=True)
class GPConfig:
    """Static choices of a Gaussian process."""

    num_fidelities: int
    """M; fidelity M - 1 is the target."""
    smoothness: float = 2.5
    """Of the Matérn kernels: 0.5, 1.5, 2.5 or infinity (the squared exponential)."""
    relevance: bool = True
    """Whether each input has a length scale of its own."""
    steps: int = 120
    """Updates of the hyperparameters, from each start."""
    learning_rate: float = 0.1
    """Peak of the cosine schedule."""
    noise: float = 0.01
    """Prior median of the noise, in units of a fidelity's spread."""
    noise_width: float = 1.0
    """Prior standard deviation of the noise's logarithm."""


class _Params(NamedTuple):
    """Hyperparameters in unconstrained form."""

    log_length: jax.Array
    """[2, D] or [2, 1], of k_0 and k_1, in standardised inputs."""
    loading: jax.Array
    """[M], a."""
    log_own: jax.Array
    """[M], log w."""
    log_noise: jax.Array
    """[M], log standard deviation, in units of each fidelity's spread."""


class GPState(NamedTuple):
    """A conditioned process; a pytree of float64 arrays with capacity N."""

    params: _Params
    inputs: jax.Array
    """[N, D], standardised."""
    fidelity: jax.Array
    """[N]."""
    target: jax.Array
    """[N], standardised values; zero where padded."""
    valid: jax.Array
    """[N] bool."""
    cholesky: jax.Array
    """[N, N], lower factor of the noisy covariance; identity where padded."""
    weights: jax.Array
    """[N], inverse covariance times target."""
    feature_mean: jax.Array
    """[D]."""
    feature_scale: jax.Array
    """[D]."""
    value_mean: jax.Array
    """[M]."""
    value_scale: jax.Array
    """[M]."""
    log_density: jax.Array
    """[], log marginal likelihood plus log prior."""


class GaussianProcess(NamedTuple):
    """The process as a value; the counterpart of `mfal.proxies.ensemble.Ensemble`."""

    config: GPConfig
    fit: Callable[[Dataset], GPState]
    """Data to a conditioned process; compiles once a capacity. Deterministic."""
    posterior: Callable[[GPState, Any], Posterior]
    """(state, one input) to the belief over its fidelities; the caller applies `vmap`. Computed in
    float64 and given in the precision around the call, as whatever takes beliefs expects; to
    differentiate it, call under `jax.enable_x64`."""
    joint: Callable[[GPState, Any, jax.Array], tuple[jax.Array, jax.Array]]
    """(state, inputs [Q], fidelity [Q]) to the mean [Q] and covariance [Q, Q] of the truths."""
    mean: Callable[[GPState, Any, jax.Array], jax.Array]
    """(state, inputs [Q], fidelity [Q]) to the mean [Q] alone: for many inputs."""
    leave_one_out: Callable[[GPState], tuple[jax.Array, jax.Array]]
    """State to mean [N] and standard deviation [N] of each observation given all others."""
    leave_groups_out: Callable[[GPState, np.ndarray], tuple[np.ndarray, np.ndarray]]
    """(state, group [N]) to the same given only the observations of other groups: what new
    families of materials are to expect. On the host; padded rows get their prior."""
    evidence: Callable[[GPState], jax.Array]
    """State to the mean log density, nats, of the target's observations given all others: by the
    chain rule, that of each given the lower fidelities' and the target's before it."""
    correlation: Callable[[GPState], np.ndarray]
    """State to the prior correlation of the fidelities [M, M]."""


@functools.cache
def make_gaussian_process(
    config: GPConfig,
    featuriser: Callable[[Any], jax.Array] = featurise,
    num_features: int = NUM_FEATURES,
) -> GaussianProcess:
    """Builds the process' functions; equal arguments give the same, already compiled, ones."""
    num = config.num_fidelities
    matern = _MATERN[config.smoothness]

    def covariance(params: _Params, x: jax.Array, m: jax.Array, z: jax.Array, k: jax.Array) -> Any:
        """Prior covariance of the truths at (x [A, D], m [A]) and (z [B, D], k [B]), [A, B]."""
        length = jnp.exp(params.log_length)

        def apart(length: jax.Array) -> jax.Array:
            return _distances(x / length) if z is x else _distance(x / length, z / length)

        shared = matern(apart(length[0]))
        loading = jnp.outer(params.loading[m], params.loading[k])
        if num == 1:
            return shared * loading
        own = jnp.exp(params.log_own)
        equal = m[:, None] == k[None, :]
        return shared * loading + jnp.where(
            equal, matern(apart(length[1])) * jnp.outer(own[m], own[k]), 0.0
        )

    def noisy(params: _Params, x: jax.Array, m: jax.Array, valid: jax.Array) -> jax.Array:
        """Prior covariance of the observations [N, N]; identity where padded."""
        both = valid[:, None] & valid[None, :]
        noise = jnp.exp(2 * params.log_noise)[m] + _JITTER
        prior = jnp.where(both, covariance(params, x, m, x, m), 0.0)
        return prior + jnp.diag(jnp.where(valid, noise, 1.0))

    def log_prior(params: _Params) -> jax.Array:
        median = 0.5 * jnp.log(1.0 * num_features)
        return -0.5 * (
            jnp.sum((params.log_length - median) ** 2)
            + jnp.sum((params.loading**2 + jnp.exp(2 * params.log_own) - 1) ** 2)
            + jnp.sum(((params.log_noise - np.log(config.noise)) / config.noise_width) ** 2)
            + jnp.sum(jnp.exp(params.log_own))
        )

    def log_density(params: _Params, x: Any, m: Any, y: Any, valid: Any) -> jax.Array:
        return log_marginal(noisy(params, x, m, valid), y) + log_prior(params)

    def start(signs: tuple[float, ...]) -> _Params:
        loading = np.array([*signs, 1.0]) * 0.9
        return _Params(
            jnp.full((2, num_features if config.relevance else 1), 0.5 * np.log(num_features)),
            jnp.asarray(loading),
            jnp.asarray(0.5 * np.log(np.maximum(1 - loading**2, 0.05))),
            jnp.full(num, np.log(config.noise)),
        )

    # Lower fidelities all with the target, all against it, all unrelated; mixed signs are reached
    # from the last.
    starts = [(sign,) * (num - 1) for sign in ((1.0, -1.0, 0.05) if num > 1 else (1.0,))]

    @jax.jit
    def fit_wide(features: jax.Array, data: Dataset) -> GPState:
        valid = data.valid
        count = jnp.maximum(jnp.sum(valid), 1)
        mean = jnp.sum(jnp.where(valid[:, None], features, 0), 0) / count
        variance = jnp.sum(jnp.where(valid[:, None], (features - mean) ** 2, 0), 0) / count
        scale = jnp.sqrt(variance) + 1e-3
        x = jnp.clip((features - mean) / scale, -_CLIP, _CLIP)
        in_fidelity = (data.fidelity == jnp.arange(num)[:, None]) & valid
        counts = jnp.sum(in_fidelity, 1)
        value = data.value.astype(features.dtype)
        value_mean = jnp.sum(in_fidelity * value, 1) / jnp.maximum(counts, 1)
        squares = jnp.sum(in_fidelity * (value - value_mean[:, None]) ** 2, 1)
        std = jnp.sqrt(squares / jnp.maximum(counts - 1, 1))
        value_scale = jnp.where((counts > 1) & (std > 1e-9), std, 1.0)
        y = jnp.where(valid, (value - value_mean[data.fidelity]) / value_scale[data.fidelity], 0.0)
        arrays = (x, data.fidelity, y, valid)

        schedule = optax.cosine_decay_schedule(config.learning_rate, config.steps, 0.05)
        optimiser = optax.adam(schedule)

        def update(carry: tuple[_Params, Any, jax.Array], step: jax.Array) -> tuple[Any, None]:
            """One step of one start: of each in turn, then of the one that is ahead."""
            params, opts, reached = carry
            turn = step // max(first, 1)
            i = jnp.where(turn < len(starts), turn, _ahead(reached))
            param, opt = jax.tree.map(lambda leaf: leaf[i], (params, opts))
            loss, grads = jax.value_and_grad(lambda p: -log_density(p, *arrays))(param)
            finite = jax.tree.reduce(
                jnp.logical_and, jax.tree.map(lambda g: jnp.isfinite(g).all(), grads)
            )
            grads = jax.tree.map(lambda g: jnp.where(finite, g, 0.0), grads)
            updates, opt = optimiser.update(grads, opt, param)
            moved = (optax.apply_updates(param, updates), opt)
            params, opts = jax.tree.map(
                lambda leaf, new: leaf.at[i].set(new), (params, opts), moved
            )
            here = jnp.where(jnp.isfinite(loss), -loss, -jnp.inf)
            reached = jnp.where(turn < len(starts), reached.at[i].set(here), reached)
            return (params, opts, reached), None

        # One loop, so that the step is compiled once.
        first = config.steps // 3
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[start(s) for s in starts])
        carry = (stacked, jax.vmap(optimiser.init)(stacked), jnp.full(len(starts), -jnp.inf))
        steps = jnp.arange(config.steps + (len(starts) - 1) * first)
        (stacked, _, reached), _ = jax.lax.scan(update, carry, steps)
        params = jax.tree.map(lambda leaf: leaf[_ahead(reached)], stacked)
        lower = jnp.linalg.cholesky(noisy(params, x, data.fidelity, valid))
        white = solve_triangular(lower, y, lower=True)
        density = -0.5 * white @ white - jnp.sum(jnp.log(jnp.diagonal(lower)))
        return GPState(
            params, x, data.fidelity, y, valid, lower, cho_solve((lower, True), y),
            mean, scale, value_mean, value_scale, density + log_prior(params),
        )  # fmt: skip

    features_of = jax.jit(jax.vmap(featuriser))

    def fit(data: Dataset) -> GPState:
        with jax.enable_x64(True):
            return fit_wide(features_of(data.crystal).astype(jnp.float64), data)

    def condition(state: GPState, crystals: Any, m: jax.Array) -> tuple[jax.Array, jax.Array]:
        features = jax.vmap(featuriser)(crystals)
        x = jnp.clip((features - state.feature_mean) / state.feature_scale, -_CLIP, _CLIP)
        cross = covariance(state.params, state.inputs, state.fidelity, x, m)
        cross = jnp.where(state.valid[:, None], cross, 0.0)
        white = solve_triangular(state.cholesky, cross, lower=True)
        prior = covariance(state.params, x, m, x, m)
        scale = state.value_scale[m]
        mean = state.value_mean[m] + scale * (cross.T @ state.weights)
        return mean, (prior - white.T @ white) * jnp.outer(scale, scale)

    def posterior(state: GPState, crystal: Any) -> Posterior:
        repeated = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], num, axis=0), crystal)
        mean, between = condition(state, repeated, jnp.arange(num))
        floor = 1e-12 * jnp.diag(state.value_scale**2)
        return Posterior(mean, between + floor, noise_of(state))

    def noise_of(state: GPState) -> jax.Array:
        return jnp.exp(state.params.log_noise) * state.value_scale

    def leave_one_out(state: GPState) -> tuple[jax.Array, jax.Array]:
        with jax.enable_x64(True):
            size = len(state.target)
            inverse = cho_solve((state.cholesky, True), jnp.eye(size, dtype=state.target.dtype))
            precision = jnp.diagonal(inverse)
            scale = state.value_scale[state.fidelity]
            mean = state.value_mean[state.fidelity] + scale * (
                state.target - state.weights / precision
            )
            return mean, scale / jnp.sqrt(precision)

    def leave_groups_out(state: GPState, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # With Q the inverse covariance and G the group's rows, y_G less its prediction is
        # inv(Q_GG) (Q y)_G, and its covariance inv(Q_GG) (Rasmussen & Williams 2006, 5.4.2).
        with jax.enable_x64(True):
            inverse = np.asarray(cho_solve((state.cholesky, True), jnp.eye(len(state.target))))
        target, weights = np.asarray(state.target), np.asarray(state.weights)
        mean, std = target.copy(), np.ones(len(target))
        valid = np.asarray(state.valid)
        for label in np.unique(np.asarray(group)[valid]):
            rows = np.flatnonzero(valid & (np.asarray(group) == label))
            block = np.linalg.inv(inverse[np.ix_(rows, rows)])
            mean[rows] -= block @ weights[rows]
            std[rows] = np.sqrt(np.diagonal(block))
        fidelity = np.asarray(state.fidelity)
        scale, centre = (np.asarray(a)[fidelity] for a in (state.value_scale, state.value_mean))
        return centre + scale * mean, scale * std

    @jax.jit
    def evidence_wide(state: GPState) -> jax.Array:
        at_target = state.valid & (state.fidelity == num - 1)
        below = state.valid & ~at_target

        def density(rows: jax.Array) -> jax.Array:
            covariance = noisy(state.params, state.inputs, state.fidelity, rows)
            return log_marginal(covariance, jnp.where(rows, state.target, 0.0))

        count = jnp.maximum(jnp.sum(at_target), 1)
        constant = 0.5 * jnp.log(2 * jnp.pi) + jnp.log(state.value_scale[-1])
        return (density(state.valid) - density(below)) / count - constant

    def evidence(state: GPState) -> jax.Array:
        with jax.enable_x64(True):
            return evidence_wide(state)

    def correlation(state: GPState) -> np.ndarray:
        loading, own = np.asarray(state.params.loading), np.exp(np.asarray(state.params.log_own))
        prior = np.outer(loading, loading) + (np.diag(own**2) if num > 1 else 0.0)
        std = np.sqrt(np.diagonal(prior))
        return np.asarray(prior / np.outer(std, std))

    @jax.jit
    def mean_wide(state: GPState, crystals: Any, m: jax.Array) -> jax.Array:
        features = jax.vmap(featuriser)(crystals)
        x = jnp.clip((features - state.feature_mean) / state.feature_scale, -_CLIP, _CLIP)
        cross = covariance(state.params, state.inputs, state.fidelity, x, m)
        cross = jnp.where(state.valid[:, None], cross, 0.0)
        return state.value_mean[m] + state.value_scale[m] * (cross.T @ state.weights)

    joint_wide = jax.jit(condition)
    one_by_one = jax.jit(posterior)

    def joint(state: GPState, crystals: Any, m: jax.Array) -> tuple[jax.Array, jax.Array]:
        with jax.enable_x64(True):
            return joint_wide(state, crystals, m)

    def mean(state: GPState, crystals: Any, m: jax.Array) -> jax.Array:
        with jax.enable_x64(True):
            return mean_wide(state, crystals, m)

    def belief(state: GPState, crystal: Any) -> Posterior:
        ambient = jax.dtypes.canonicalize_dtype(jnp.float64)
        with jax.enable_x64(True):
            return jax.tree.map(lambda leaf: leaf.astype(ambient), one_by_one(state, crystal))

    return GaussianProcess(
        config, fit, belief, joint, mean, leave_one_out, leave_groups_out, evidence, correlation
    )


def _ahead(reached: jax.Array) -> jax.Array:
    """The first place of the largest, [] int32.

    Not `jnp.argmax`: that is lowered in the precision of whoever compiles, which within an outer
    `jit` is float32 as a rule, and fails on float64.
    """
    place = jnp.arange(len(reached), dtype=jnp.int32)
    return jnp.min(jnp.where(reached == jnp.max(reached), place, len(reached) - 1))


def _distance(x: jax.Array, z: jax.Array) -> jax.Array:
    """Euclidean distances [A, B], with a gradient at zero."""
    return _root(jnp.sum(x**2, 1)[:, None] + jnp.sum(z**2, 1)[None, :] - 2 * x @ z.T)


def _distances(x: jax.Array) -> jax.Array:
    """The same among one set of points, [A, A]."""
    squares = jnp.sum(x**2, 1)
    return _root(squares[:, None] + squares[None, :] - 2 * _gram(x))


def _root(squares: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.maximum(squares, 1e-14))


@jax.custom_vjp
def _gram(x: jax.Array) -> jax.Array:
    """Inner products [A, A] of points [A, D]; the gradient takes one product, not two."""
    return x @ x.T


_gram.defvjp(lambda x: (x @ x.T, x), lambda x, slope: ((slope + slope.T) @ x,))


_MATERN: dict[float, Callable[[jax.Array], jax.Array]] = {
    float("inf"): lambda r: jnp.exp(-0.5 * r**2),
    0.5: lambda r: jnp.exp(-r),
    1.5: lambda r: (1 + 3**0.5 * r) * jnp.exp(-(3**0.5) * r),
    2.5: lambda r: (1 + 5**0.5 * r + 5 / 3 * r**2) * jnp.exp(-(5**0.5) * r),
}
"""Matérn correlation functions of distance over length (Rasmussen & Williams 2006, eq. 4.17)."""
