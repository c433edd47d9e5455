"""The proxy that the configuration names: mfal's ensemble, or a model of the user's own."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mfal.campaign.config import ENSEMBLE, ProxyConfig
from mfal.crystals.types import Crystal
from mfal.errors import MfalError
from mfal.proxies.dataset import Dataset
from mfal.proxies.ensemble import EnsembleConfig, make_ensemble
from mfal.proxies.own import Proxy, make_own
from mfal.proxies.relation import Prediction
from mfal.references import import_reference, make

__all__ = ["CampaignProxy", "Predicted", "bounded", "load_proxy", "make_proxy"]


class Predicted(NamedTuple):
    """What a proxy predicts of one crystal's answers."""

    mean: jax.Array
    """[M]"""
    std: jax.Array
    """[M], of an answer: what isn't known of the truth, and noise."""
    loading: jax.Array
    """[E], of length below one: the products of two crystals' loadings are the correlations of
    their errors."""


class CampaignProxy(NamedTuple):
    """What a campaign needs of a proxy. States have `held`, `reliability` and `loss`."""

    fit: Callable[[Dataset, jax.Array], Any]
    """(data, key) to a state."""
    forecast: Callable[[Any, Crystal], Predicted]
    """(state, one crystal) to a prediction; traceable."""


@lru_cache(maxsize=8)
def make_proxy(config: ProxyConfig, num_fidelities: int) -> CampaignProxy:
    """The proxy of a configuration.

    Raises:
      MfalError: where its model can't be found.
    """
    if config.model != ENSEMBLE:
        own = make_own(load_proxy(config.model, num_fidelities), num_fidelities)

        def own_forecast(state: Any, crystal: Crystal) -> Predicted:
            found = own.posterior(state, crystal)
            std = jnp.sqrt(jnp.diagonal(found.covariance) + found.noise**2)
            return Predicted(found.mean, std, jnp.zeros(1))

        return CampaignProxy(own.fit, own_forecast)

    ensemble = make_ensemble(
        EnsembleConfig(
            num_fidelities=num_fidelities,
            members=config.members,
            widths=(config.width, config.width),
            steps=config.steps,
        )
    )

    def fit(data: Dataset, key: jax.Array) -> Any:
        start, draws = jax.random.split(key)
        return ensemble.fit(ensemble.init(start), data, draws)

    def forecast(state: Any, crystal: Crystal) -> Predicted:
        predicted = ensemble.predict(state, crystal)
        predicted = bounded(predicted, state.value_mean, state.value_scale)
        mean = jnp.mean(predicted.members, axis=0)
        variance = jnp.var(predicted.members, axis=0, ddof=1)
        total = variance + predicted.noise**2
        # Errors about two crystals are alike as far as members that err about one err likewise
        # about the other, and as far as the members' spread, not noise, makes up the error.
        deviation = predicted.members[:, -1] - mean[-1]
        share = jnp.sqrt(variance[-1] / total[-1])
        length = jnp.sqrt(jnp.sum(deviation**2)) + 1e-12
        return Predicted(mean, jnp.sqrt(total), share * deviation / length)

    return CampaignProxy(fit, forecast)


def bounded(prediction: Prediction, mean: jax.Array, scale: jax.Array) -> Prediction:
    """A prediction that is nowhere less sure than the distribution of the answers itself.

    Far from data the networks' spread grows beyond that of all answers seen, and whatever looks for
    information or improvement runs there: whoever knows nothing of a crystal would still expect an
    answer like the others. Where the members' variance v exceeds the answers' s^2, the deviations
    from the answers' mean shrink by s^2 / v, the members' own from their mean by s / sqrt(v).

    Args:
      prediction: of one crystal.
      mean: [M], of the answers.
      scale: [M], s, standard deviation of the answers.
    """
    centre = jnp.mean(prediction.members, axis=0)
    variance = jnp.var(prediction.members, axis=0, ddof=1)
    share = jnp.minimum(1.0, scale**2 / jnp.maximum(variance, 1e-12))
    deviation = jnp.sqrt(share) * (prediction.members - centre)
    return prediction._replace(members=mean + share * (centre - mean) + deviation)


def load_proxy(reference: str, num_fidelities: int) -> Proxy:
    """The model behind module:name: a `Proxy`, or a function from the number of fidelities to one.

    Raises:
      MfalError: where the reference leads nowhere or to something else.
    """
    found = import_reference(reference, "proxy.model")
    if callable(found):
        found = make(reference, "proxy.model", num_fidelities)
    if not isinstance(found, Proxy):
        raise MfalError(
            f"proxy.model {reference!r} is {type(found).__name__}, not a mfal.proxies.Proxy",
            "name a Proxy, or a function that takes the number of fidelities and returns one",
        )
    return found
