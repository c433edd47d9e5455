"""A proxy of one's own: a fit and a belief, in standard units, with its reliability measured.

Whoever brings a model writes two functions. What a campaign needs beyond them is made here:
features and values are standardised, and the model is fitted again without each quarter of the
crystals, so that its predictions are judged on answers that it has not seen. Its spread is taken at
its word; `Reliability.interval` says how far that goes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.errors import MfalError
from mfal.proxies.calibration import conformal_factor, held_out_score
from mfal.proxies.dataset import EXACT, Dataset
from mfal.proxies.features import featurise
from mfal.proxies.relation import Held, Posterior, Reliability, unknown_reliability

__all__ = ["OwnProxy", "OwnState", "Proxy", "make_own"]

_FOLDS = 4
_CLIP = 3.0
"""Standard deviations at which features are cut: one outlier must not drive the extrapolation."""
_LEVEL = 0.9


class Proxy(NamedTuple):
    """A model of what oracles say, for `[proxy] model`."""

    name: str
    version: str
    """To be raised when predictions change: a campaign that was begun with another is refused."""
    fit: Callable[[Dataset, jax.Array], Any]
    """(data, key) to the model's state, a pytree of arrays whose shapes depend on those of the data
    alone. Called on the host, so any library may do it; a function of its arguments and nothing
    else, or a resumed campaign ends otherwise. `data.crystal` holds features [N, F], and only rows
    where `data.valid` count; values are standardised within each fidelity, larger is better."""
    posterior: Callable[[Any, Any], Posterior]
    """(state, features [F] of one crystal) to the belief over M fidelities, in the same standard
    units; traceable by JAX."""
    features: Callable[[Any], jax.Array] | None = featurise
    """One crystal to numbers [F], traceable, which are standardised over the data and cut at three
    standard deviations; None for a model that takes the crystals themselves."""


class OwnState(NamedTuple):
    """A fitted model; a pytree of arrays."""

    model: Any
    """What `Proxy.fit` returned."""
    feature_mean: jax.Array
    """[F], or [] where the model takes crystals."""
    feature_scale: jax.Array
    """The same shape, positive."""
    value_mean: jax.Array
    """[M], in the unit of each fidelity's score."""
    value_scale: jax.Array
    """[M], positive, the same units."""
    reliability: Reliability
    """Intervals and scores of predictions for crystals left out."""
    loss: jax.Array
    """[] float32, mean negative log density of the standardised values left out."""
    held: Held | None = None
    """Predictions for each row without its crystal; None before a fit."""


class OwnProxy(NamedTuple):
    """The counterpart of `mfal.proxies.ensemble.Ensemble`."""

    fit: Callable[[Dataset, jax.Array], OwnState]
    """(data, key) to a fitted state. Under one key the same crystals are left out."""
    posterior: Callable[[OwnState, Any], Posterior]
    """(state, one crystal) to a belief over its fidelities; the caller applies `vmap`."""


def make_own(proxy: Proxy, num_fidelities: int) -> OwnProxy:
    """What a campaign takes, from a model of one's own.

    Args:
      proxy: the model.
      num_fidelities: M.
    """

    def view(state: OwnState, crystal: Any) -> Any:
        if proxy.features is None:
            return crystal
        x = (proxy.features(crystal) - state.feature_mean) / state.feature_scale
        return jnp.clip(x, -_CLIP, _CLIP)

    def posterior(state: OwnState, crystal: Any) -> Posterior:
        belief = proxy.posterior(state.model, view(state, crystal))
        scale = state.value_scale
        return Posterior(
            state.value_mean + scale * belief.mean,
            belief.covariance * jnp.outer(scale, scale),
            scale * belief.noise,
        )

    def fit_once(data: Dataset, key: jax.Array) -> OwnState:
        state = _standards(features_of(data.crystal), data, num_fidelities)
        value = (data.value - state.value_mean[data.fidelity]) / state.value_scale[data.fidelity]
        seen = data._replace(crystal=rows_of(state, data.crystal), value=value)
        try:
            model = jax.tree.map(_array, proxy.fit(seen, key))
        except Exception as error:
            raise MfalError(
                f"proxy {proxy.name}: fit raised {type(error).__name__}: {error}", "mend its fit"
            ) from error
        return state._replace(model=model)

    features_of = jax.jit(jax.vmap(proxy.features)) if proxy.features else lambda crystals: None
    rows_of = jax.jit(jax.vmap(view, in_axes=(None, 0)))
    beliefs = jax.jit(jax.vmap(posterior, in_axes=(None, 0)))

    def fit(data: Dataset, key: jax.Array) -> OwnState:
        key_fit, key_folds = jax.random.split(key)
        state = fit_once(data, key_fit)
        _check_shapes(proxy, state, data, num_fidelities)
        belief = beliefs(state, data.crystal)
        _check_numbers(proxy, belief)
        fold, held = folds_of(data, key_folds), [np.array(leaf) for leaf in belief]
        for number in np.unique(fold[fold >= 0]):
            out = fold == number
            part = fit_once(data._replace(valid=data.valid & ~out), key_fit)
            for known, unseen in zip(held, beliefs(part, data.crystal), strict=True):
                known[out] = np.asarray(unseen)[out]
        unseen = Posterior(*(jnp.asarray(leaf) for leaf in held))
        _check_numbers(proxy, unseen)
        variance = jnp.diagonal(unseen.covariance, axis1=1, axis2=2)
        total = Held(unseen.mean, jnp.sqrt(variance + unseen.noise**2))
        reliability, loss = _measure(state, data, total, jnp.asarray(fold >= 0))
        return state._replace(reliability=reliability, loss=loss, held=total)

    return OwnProxy(fit, posterior)


def _array(leaf: Any) -> jax.Array:
    """An array in single precision, as all that is traced."""
    if isinstance(leaf, jax.Array):
        return leaf
    array = np.asarray(leaf)
    kinds = {"f": np.float32, "i": np.int32}
    return jnp.asarray(array.astype(kinds.get(array.dtype.kind, array.dtype)))


def _standards(features: jax.Array | None, data: Dataset, num_fidelities: int) -> OwnState:
    """Moments of the valid rows, and no model yet."""
    valid = np.asarray(data.valid)
    mean, scale = np.array(0.0), np.array(1.0)
    if features is not None:
        raw = np.asarray(features, np.float64)[valid]
        # A feature that never varied flags the unknown: any other value of it hits the cut.
        mean, scale = raw.mean(0), raw.std(0) + 1e-3
    value_mean, value_scale = np.zeros(num_fidelities), np.ones(num_fidelities)
    for level in range(num_fidelities):
        own = np.asarray(data.value, np.float64)[valid & (np.asarray(data.fidelity) == level)]
        if len(own):
            value_mean[level] = own.mean()
        if len(own) > 1 and own.std() > 1e-6:
            value_scale[level] = own.std()
    return OwnState(
        model=None,
        feature_mean=jnp.asarray(mean, jnp.float32),
        feature_scale=jnp.asarray(scale, jnp.float32),
        value_mean=jnp.asarray(value_mean, jnp.float32),
        value_scale=jnp.asarray(value_scale, jnp.float32),
        reliability=unknown_reliability(num_fidelities),
        loss=jnp.zeros(()),
    )


def folds_of(data: Dataset, key: jax.Array) -> np.ndarray:
    """[N], the quarter to which each row's group belongs; -1 where there are too few groups."""
    group, valid = np.asarray(data.group), np.asarray(data.valid)
    # Of all groups, those without a valid row too: a fit to part of the rows leaves out the same.
    # As many draws as there can be groups: shapes repeat. Ranks share the groups out evenly.
    labels, number = np.unique(group, return_inverse=True)
    draws = np.asarray(jax.random.uniform(key, group.shape))[labels]
    rank = np.argsort(np.argsort(draws, kind="stable"), kind="stable")
    fold = rank[number] % _FOLDS
    # What has all valid rows can't be left out: nothing would remain to learn from.
    counts = np.bincount(fold[valid], minlength=_FOLDS)
    whole = np.isin(fold, np.flatnonzero(counts == valid.sum()))
    return np.where(whole | ~np.isin(fold, np.flatnonzero(counts)), -1, fold)


@jax.jit
def _measure(
    state: OwnState, data: Dataset, held: Held, out: jax.Array
) -> tuple[Reliability, jax.Array]:
    """Intervals, scores and loss, from the predictions without each row."""
    levels = len(state.value_mean)
    rows = jnp.arange(len(data.value))
    mean, total = held.mean[rows, data.fidelity], held.std[rows, data.fidelity]
    usable = data.valid & (data.censoring == EXACT) & out
    of_level = (data.fidelity == jnp.arange(levels)[:, None]) & usable
    surprise = (data.value - mean) / total
    interval = jax.vmap(lambda use: conformal_factor(surprise, use, _LEVEL))(of_level)
    score = jax.vmap(lambda use: held_out_score(data.value, mean, total, use))(of_level)
    scale = state.value_scale[data.fidelity]
    loss = -held_out_score(data.value / scale, mean / scale, total / scale, usable)
    return unknown_reliability(levels)._replace(
        interval=interval,
        score=jnp.where(jnp.any(of_level, axis=1), score, 0.0),
    ), jnp.where(jnp.any(usable), loss, 0.0)


def _check_shapes(proxy: Proxy, state: OwnState, data: Dataset, levels: int) -> None:
    """Makes sure that a belief has the right shapes, before anything rests on it."""

    def given(state: OwnState, crystal: Any) -> Any:
        seen = crystal if proxy.features is None else proxy.features(crystal)
        return proxy.posterior(state.model, seen)

    try:
        found = jax.eval_shape(given, state, jax.tree.map(lambda leaf: leaf[0], data.crystal))
        shapes = [tuple(each.shape) for each in jax.tree.leaves(found)]
    except Exception as error:
        raise MfalError(
            f"proxy {proxy.name}: posterior raised {type(error).__name__}: {error}",
            "mend its posterior; JAX must be able to trace it",
        ) from error
    if not isinstance(found, Posterior) or shapes != [(levels,), (levels, levels), (levels,)]:
        raise MfalError(
            f"proxy {proxy.name}: posterior returns {type(found).__name__} of shapes {shapes}",
            f"return a Posterior: mean [{levels}], covariance [{levels}, {levels}],"
            f" noise [{levels}], one number for each fidelity",
        )


def _check_numbers(proxy: Proxy, belief: Posterior) -> None:
    variance = np.diagonal(np.asarray(belief.covariance), axis1=1, axis2=2)
    finite = all(np.isfinite(np.asarray(leaf)).all() for leaf in belief)
    if not finite or not (variance > 0).all() or not (np.asarray(belief.noise) > 0).all():
        raise MfalError(
            f"proxy {proxy.name}: a belief is not finite, or a variance or noise is not positive",
            "mend its fit or posterior",
        )
