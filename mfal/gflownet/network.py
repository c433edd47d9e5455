"""A policy network of one's own, in place of the default one.

Any pair of functions will do, and so will a Flax module, which is such a pair:

>>> import flax.linen as nn
>>> import jax
>>> from mfal.envs.hypergrid import HypergridSpec, hypergrid
>>> from mfal.gflownet.policy import PolicyConfig
>>> env = hypergrid(HypergridSpec(dimensions=2, side=3))
>>> network = nn.Sequential([nn.Dense(8), nn.tanh, nn.Dense(env.num_actions)])
>>> policy = make_own_policy(env, network, PolicyConfig())
>>> params = policy.init(jax.random.key(0), env.features(env.initial_state()))["params"]
>>> policy.apply({"params": params}, env.features(env.initial_state())).logits.shape
(3,)

Its gradient is found by automatic differentiation (`mfal.gflownet.gradient`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mfal.envs.types import Environment, Features, Stage
from mfal.errors import MfalError
from mfal.gflownet.policy import Heads, PolicyConfig, continuous_slots

__all__ = ["Network", "Outputs", "OwnPolicy", "make_own_policy"]


class Network(NamedTuple):
    """A network as a value. No batch axis inside: the trainer applies `jax.vmap`."""

    init: Callable[[jax.Array, Any], Any]
    """(key, observation) to parameters, any pytree of float arrays."""
    apply: Callable[[Any, Any], Any]
    """(parameters, observation) to logits [A], or to `Outputs` where more is asked for."""
    sparse: bool = False
    """Whether the observation is `Features` as the environment gives them; by default it is the
    dense [vocabulary + num_dense] float32, as of `Environment.observe`. The numbers that the
    policy is conditioned on come last in either."""


class Outputs(NamedTuple):
    """What a network says about one state; None where it isn't asked for."""

    logits: jax.Array
    """[A], forward."""
    values: jax.Array | None = None
    """[V, 3 K], mixtures of the V continuous indices, K = `PolicyConfig.components`; needed where
    the environment has continuous stages. See `mfal.gflownet.distributions.value_mixture`."""
    backward: jax.Array | None = None
    """[A], backward; needed where `PolicyConfig.backward` is "learned"."""
    log_flow: jax.Array | None = None
    """[], log of the state's flow, less log Z; needed by the losses db and subtb."""


@dataclass(frozen=True)
class OwnPolicy:
    """A network as the policy of an environment; it is used as `mfal.gflownet.policy.Policy` is."""

    network: Network
    stages: tuple[Stage, ...]
    num_actions: int
    vocabulary: int
    num_dense: int
    components: int
    learned_backward: bool
    flow: bool

    def init(self, key: jax.Array, features: Features) -> dict[str, Any]:
        """Parameters under "params", as Flax has them."""
        params = self.network.init(key, self._observation(features))
        return {"params": params}

    def apply(self, variables: dict[str, Any], features: Features) -> Heads:
        """All heads at features with any leading batch axes."""

        def one(features: Features) -> Heads:
            return self._heads(self.network.apply(variables["params"], self._observation(features)))

        for _ in range(features.dense.ndim - 1):
            one = jax.vmap(one)
        return one(features)

    def _observation(self, features: Features) -> Any:
        if self.network.sparse:
            return features
        # The token that stands for none is past the end, and so nowhere one.
        ones = jax.nn.one_hot(features.tokens, self.vocabulary, dtype=jnp.float32)
        return jnp.concatenate([jnp.sum(ones, axis=0), features.dense])

    def _heads(self, given: Any) -> Heads:
        outputs = given if isinstance(given, Outputs) else Outputs(given)
        slots = len(continuous_slots(self.stages))

        def filled(given: jax.Array | None, *shape: int) -> jax.Array:
            return jnp.zeros(shape, jnp.float32) if given is None else given.astype(jnp.float32)

        return Heads(
            logits=filled(outputs.logits, self.num_actions),
            values=filled(outputs.values, slots, 3 * self.components),
            backward=filled(outputs.backward, 0),
            log_flow=filled(outputs.log_flow),
        )


def make_own_policy(
    env: Environment,
    network: Any,
    config: PolicyConfig,
    *,
    flow: bool = False,
    conditions: int = 0,
) -> OwnPolicy:
    """The policy of an environment by a network of one's own.

    Args:
      env: whose actions and features fix the shapes.
      network: a `Network`, or anything with its `init` and `apply`, such as a Flax module.
      config: its `components` and `backward` hold; size and type are the network's own affair.
      flow: whether the loss needs state flows.
      conditions: numbers appended to the observation.

    Raises:
      MfalError: if the network doesn't give what is asked of it.
    """
    if not (hasattr(network, "init") and hasattr(network, "apply")):
        raise MfalError(
            f"network of type {type(network).__name__}",
            "give a Flax module or a mfal.gflownet.Network(init, apply)",
        )
    if not isinstance(network, Network):
        network = Network(network.init, network.apply)
    policy = OwnPolicy(
        network=network,
        stages=env.stages,
        num_actions=env.num_actions,
        vocabulary=env.vocabulary,
        num_dense=env.num_dense + conditions,
        components=config.components,
        learned_backward=config.backward == "learned",
        flow=flow,
    )

    def outputs() -> Any:
        tokens = env.features(env.initial_state()).tokens
        dense = jnp.zeros((policy.num_dense,), jnp.float32)
        observation = policy._observation(Features(tokens, dense))
        params = network.init(jax.random.key(0), observation)
        return network.apply(params, observation)

    given = jax.eval_shape(outputs)
    given = given if isinstance(given, Outputs) else Outputs(given)
    slots = len(continuous_slots(env.stages))
    asked: dict[str, tuple[bool, tuple[int, ...], str]] = {
        "logits": (True, (env.num_actions,), "one for each action"),
        "values": (slots > 0, (slots, 3 * config.components), "the environment has values"),
        "backward": (policy.learned_backward, (env.num_actions,), "the backward policy is learned"),
        "log_flow": (flow, (), "the loss compares state flows"),
    }
    for name, (needed, shape, why) in asked.items():
        found = getattr(given, name)
        if found is None and not needed:
            continue
        if found is None or getattr(found, "shape", None) != shape:
            what = "nothing" if found is None else f"shape {list(getattr(found, 'shape', ()))}"
            raise MfalError(
                f"the network gives {what} for {name}, where {list(shape)} is needed ({why})",
                "return logits [A], or mfal.gflownet.Outputs, for one observation without batch "
                "axis",
            )
    return policy
