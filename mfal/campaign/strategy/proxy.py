"""The proxy that the configuration names: mfal's ensemble, or a model of the user's own."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mfal.acquisition.batch import JointBelief, ensemble_belief, separate_belief
from mfal.campaign.config import ENSEMBLE, ProxyConfig
from mfal.crystals.types import Crystal
from mfal.errors import MfalError
from mfal.proxies.dataset import Dataset
from mfal.proxies.ensemble import EnsembleConfig, make_ensemble
from mfal.proxies.own import Proxy, make_own
from mfal.proxies.relation import Posterior, Prediction, posterior
from mfal.references import import_reference, make

__all__ = ["CampaignProxy", "bounded", "load_proxy", "make_proxy"]


class CampaignProxy(NamedTuple):
    """What a campaign needs of a proxy. States have `reliability` and `loss`."""

    fit: Callable[[Dataset, jax.Array, jax.Array], Any]
    """(data, key of the start, key of the fit) to a state."""
    posterior: Callable[[Any, Crystal], Posterior]
    """(state, one crystal) to a belief; traceable."""
    joint: Callable[[Any, Crystal, jax.Array, jax.Array], JointBelief]
    """(state, crystals [N], fidelity [N], same [N]) to a belief about N queries; traceable."""


def make_proxy(config: ProxyConfig, num_fidelities: int) -> CampaignProxy:
    """The proxy of a configuration.

    Raises:
      MfalError: where its model can't be found.
    """
    if config.model != ENSEMBLE:
        own = make_own(load_proxy(config.model, num_fidelities), num_fidelities)

        def separate(state: Any, crystal: Crystal, fidelity: jax.Array, same: jax.Array) -> Any:
            beliefs = jax.vmap(own.posterior, in_axes=(None, 0))(state, crystal)
            return separate_belief(beliefs, fidelity, same)

        return CampaignProxy(lambda data, _, key: own.fit(data, key), own.posterior, separate)

    ensemble = make_ensemble(
        EnsembleConfig(
            num_fidelities=num_fidelities,
            members=config.members,
            widths=(config.width, config.width),
            steps=config.steps,
        )
    )

    def predict(state: Any, crystal: Crystal) -> Prediction:
        predicted = ensemble.predict(state, crystal)
        return bounded(predicted, state.value_mean, state.value_scale)

    def single(state: Any, crystal: Crystal) -> Posterior:
        return posterior(predict(state, crystal), state.reliability)

    def joint(state: Any, crystal: Crystal, fidelity: jax.Array, same: jax.Array) -> JointBelief:
        predictions = jax.vmap(predict, in_axes=(None, 0))(state, crystal)
        return ensemble_belief(predictions, state.reliability, fidelity, same)

    return CampaignProxy(
        lambda data, start, key: ensemble.fit(ensemble.init(start), data, key), single, joint
    )


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
