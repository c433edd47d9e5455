"""The policy network: a trunk over sparse features, and one head for each stage.

The forward head of a stage gives one logit for each of its indices and, where the stage is
continuous, the mixture that the index's value is drawn from. The backward head and the state-flow
head exist only where the loss or the backward policy asks for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from mfal.envs.types import Environment, Features, Stage
from mfal.errors import MfalError
from mfal.gflownet.distributions import BoundedMixture, MaskedCategorical, value_mixture
from mfal.gflownet.kernels import product, sum_rows

__all__ = [
    "Heads",
    "Policy",
    "PolicyConfig",
    "active_heads",
    "apply_policy",
    "continuous_slots",
    "forward_log_prob",
    "is_continuous",
    "make_policy",
    "value_raw",
]

_BACKWARDS = ("uniform", "learned", "none")


@dataclass(frozen=True)
class PolicyConfig:
    """Size and kind of the policy network."""

    hidden: tuple[int, ...] = (256, 256)
    """Width of each trunk layer."""
    components: int = 6
    """Components of the mixture that a continuous value is drawn from."""
    backward: str = "uniform"
    """Backward policy: uniform over parents, learned, or none where states have one parent."""
    dtype: str = "float32"
    """Operands of matrix products, float32 or bfloat16; sums and parameters stay float32."""

    def __post_init__(self) -> None:
        # As a tuple, so that equal configurations are equal keys of what is compiled.
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if self.backward not in _BACKWARDS:
            raise MfalError(
                f"backward policy {self.backward!r}", f"choose one of {', '.join(_BACKWARDS)}"
            )
        if self.dtype not in ("float32", "bfloat16"):
            raise MfalError(f"dtype {self.dtype!r}", "choose float32 or bfloat16")
        if not self.hidden or min(self.hidden) < 1:
            raise MfalError(f"hidden layers {self.hidden}", "give at least one positive width")


class Heads(NamedTuple):
    """What the network says about states, with any leading batch axes."""

    logits: jax.Array
    """[..., A] float32, forward."""
    values: jax.Array
    """[..., V, 3 K] float32, mixture parameters of the V continuous indices, in order."""
    backward: jax.Array
    """[..., A] float32; [..., 0] unless the backward policy is learned."""
    log_flow: jax.Array
    """[...] float32; zero unless the loss needs state flows."""


class SparseDense(nn.Module):
    """A dense layer over features in sparse form: rows are gathered, not multiplied."""

    width: int
    vocabulary: int
    num_dense: int
    dtype: Any

    @nn.compact
    def __call__(self, features: Features) -> jax.Array:
        """[..., K] tokens and [..., C] numbers to [..., width] float32."""
        tokens = features.tokens.shape[-1]
        scale = 1.0 / max(1, tokens + self.num_dense)
        init = nn.initializers.normal(scale**0.5)
        table = self.param("table", init, (self.vocabulary, self.width), jnp.float32)
        out = self.param("bias", nn.initializers.zeros, (self.width,), jnp.float32)
        rank = features.dense.ndim
        out = lax.broadcast_to_rank(out, rank)
        if tokens:
            out = out + sum_rows(table, features.tokens)
        if self.num_dense:
            kernel = self.param("kernel", init, (self.num_dense, self.width), jnp.float32)
            out = out + product(features.dense, kernel, self.dtype)
        return out


class Dense(nn.Module):
    """A dense layer with operands of the given type and float32 results."""

    width: int
    dtype: Any
    kernel_init: Any = nn.initializers.he_normal()
    bias_init: Any = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., n] to [..., width] float32."""
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.width), jnp.float32)
        bias = self.param("bias", self.bias_init, (self.width,), jnp.float32)
        return product(x, kernel, self.dtype) + lax.broadcast_to_rank(bias, x.ndim)


class Policy(nn.Module):
    """Forward policy and, where asked for, backward policy and state flow, on one trunk."""

    stages: tuple[Stage, ...]
    vocabulary: int
    num_dense: int
    num_actions: int
    hidden: tuple[int, ...]
    components: int
    learned_backward: bool
    flow: bool
    dtype: Any

    def setup(self) -> None:
        """Declare the layers."""
        self.first = SparseDense(self.hidden[0], self.vocabulary, self.num_dense, self.dtype)
        self.inner = [Dense(width, self.dtype) for width in self.hidden[1:]]
        small = nn.initializers.variance_scaling(0.01, "fan_in", "normal")
        self.heads = {stage.name: Dense(stage.size, self.dtype, small) for stage in self.stages}
        self.value_heads = {
            stage.name: Dense(
                stage.size * 3 * self.components,
                self.dtype,
                small,
                _spread_bias(stage.size, self.components),
            )
            for stage in self.stages
            if stage.continuous
        }
        if self.learned_backward:
            self.backward_head = Dense(self.num_actions, self.dtype, small)
        if self.flow:
            self.flow_head = Dense(1, self.dtype, small)

    def first_layer(self, features: Features) -> jax.Array:
        """Before the first nonlinearity, [..., hidden[0]] float32."""
        return self.first(features)

    def inner_layer(self, number: int, x: jax.Array) -> jax.Array:
        """Before the nonlinearity that follows inner layer `number`."""
        return self.inner[number](x)

    def trunk(self, features: Features) -> tuple[jax.Array, ...]:
        """Activations of all layers, [..., hidden[i]], as they enter the next product."""
        x = nn.relu(self.first(features)).astype(self.dtype)
        activations = [x]
        for layer in self.inner:
            x = nn.relu(layer(x)).astype(self.dtype)
            activations.append(x)
        return tuple(activations)

    def stage_logits(self, name: str, hidden: jax.Array) -> jax.Array:
        """Forward logits of one stage, [..., size]."""
        return self.heads[name](hidden)

    def stage_values(self, name: str, hidden: jax.Array) -> jax.Array:
        """Mixture parameters of one continuous stage, [..., size, 3 K]."""
        raw = self.value_heads[name](hidden)
        return raw.reshape(*raw.shape[:-1], -1, 3 * self.components)

    def backward_logits(self, hidden: jax.Array) -> jax.Array:
        """Backward logits, [..., A], or [..., 0]."""
        if self.learned_backward:
            return self.backward_head(hidden)
        return jnp.zeros((*hidden.shape[:-1], 0), jnp.float32)

    def log_flow(self, hidden: jax.Array) -> jax.Array:
        """Log of the flow through the state, [...]."""
        if self.flow:
            return self.flow_head(hidden)[..., 0]
        return jnp.zeros(hidden.shape[:-1], jnp.float32)

    def __call__(self, features: Features) -> Heads:
        """All heads at once."""
        hidden = self.trunk(features)[-1]
        logits = [self.stage_logits(stage.name, hidden) for stage in self.stages]
        values = [self.stage_values(s.name, hidden) for s in self.stages if s.continuous]
        empty = jnp.zeros((*hidden.shape[:-1], 0, 3 * self.components), jnp.float32)
        return Heads(
            logits=jnp.concatenate(logits, axis=-1),
            values=jnp.concatenate([empty, *values], axis=-2),
            backward=self.backward_logits(hidden),
            log_flow=self.log_flow(hidden),
        )


def make_policy(
    env: Environment, config: PolicyConfig, *, flow: bool = False, conditions: int = 0
) -> Policy:
    """The policy network of an environment.

    Args:
      env: whose stages, actions and features fix the shape.
      config: sizes.
      flow: whether a state-flow head is needed.
      conditions: numbers appended to `Features.dense`, such as the log temperature.
    """
    return Policy(
        stages=env.stages,
        vocabulary=env.vocabulary,
        num_dense=env.num_dense + conditions,
        num_actions=env.num_actions,
        hidden=tuple(config.hidden),
        components=config.components,
        learned_backward=config.backward == "learned",
        flow=flow,
        dtype=jnp.dtype(config.dtype),
    )


def apply_policy(policy: Any, params: Any, features: Features) -> Heads:
    """All heads of the network at features with any leading batch axes."""
    heads: Heads = policy.apply({"params": params}, features)
    return heads


def active_heads(
    policy: Any, params: Any, features: Features, mask: jax.Array
) -> tuple[tuple[jax.Array, ...], Heads]:
    """The trunk's activations [B, hidden[i]], and the heads of stages with a legal action.

    A network of one's own gives no activations, and all heads.

    Args:
      policy: network.
      params: of the network.
      features: [B].
      mask: [B, A] bool. Where no row has a legal action in a stage, the stage's head isn't run,
        and its logits are zero.
    """

    def call(method: Any, *arguments: Any) -> Any:
        return policy.apply({"params": params}, *arguments, method=method)

    if not isinstance(policy, Policy):
        return (), apply_policy(policy, params, features)
    activations = call(Policy.trunk, features)
    hidden = activations[-1]
    batch, width = hidden.shape[0], 3 * policy.components
    logits, values = [], [jnp.zeros((batch, 0, width), jnp.float32)]
    for stage in policy.stages:

        def run(hidden: jax.Array, stage: Stage = stage) -> tuple[jax.Array, jax.Array]:
            out = call(Policy.stage_logits, stage.name, hidden)
            if not stage.continuous:
                return out, jnp.zeros((batch, 0, width), jnp.float32)
            return out, call(Policy.stage_values, stage.name, hidden)

        def skip(hidden: jax.Array, stage: Stage = stage) -> tuple[jax.Array, jax.Array]:
            slots = stage.size if stage.continuous else 0
            blank = jnp.zeros((batch, slots, width), jnp.float32)
            return jnp.zeros((batch, stage.size), jnp.float32), blank

        if len(policy.stages) == 1:
            out = run(hidden)
        else:
            needed = jnp.any(mask[:, stage.start : stage.start + stage.size])
            out = lax.cond(needed, run, skip, hidden)
        logits.append(out[0])
        values.append(out[1])
    heads = Heads(
        logits=jnp.concatenate(logits, axis=-1),
        values=jnp.concatenate(values, axis=-2),
        backward=call(Policy.backward_logits, hidden),
        log_flow=call(Policy.log_flow, hidden),
    )
    return activations, heads


def is_continuous(slots: tuple[int, ...], index: jax.Array) -> jax.Array:
    """Whether an action carries a value, [...] bool."""
    return jnp.any(_equals(index, slots), axis=-1)


def continuous_slots(stages: Sequence[Stage]) -> tuple[int, ...]:
    """Action indices that carry a value, in order."""
    return tuple(
        index for s in stages if s.continuous for index in range(s.start, s.start + s.size)
    )


def value_raw(values: jax.Array, slots: tuple[int, ...], index: jax.Array) -> jax.Array:
    """Raw mixture parameters of the chosen index, [..., 3, K]; zeros where it is discrete."""
    chosen = _equals(index, slots)
    raw = jnp.sum(jnp.where(chosen[..., None], values, 0.0), axis=-2)
    return raw.reshape(*raw.shape[:-1], 3, -1)


def forward_log_prob(
    heads: Heads,
    slots: tuple[int, ...],
    mask: jax.Array,
    index: jax.Array,
    value: jax.Array,
    log_jacobian: jax.Array,
) -> jax.Array:
    """Log-probability P_F of actions, [...]: with respect to counting times Lebesgue measure.

    Args:
      heads: the network's answer, with leading axes [...].
      slots: action indices that carry a value.
      mask: [..., A] bool, legal indices.
      index: [...] int32.
      value: [...] float32 in [0, 1].
      log_jacobian: [...] float32, log |d physical / d value|; 0 where discrete.
    """
    log_prob = MaskedCategorical(heads.logits, mask).log_prob(index)
    if slots:
        mixture = BoundedMixture(value_mixture(value_raw(heads.values, slots, index)))
        density = mixture.log_prob(value) - log_jacobian
        log_prob = log_prob + jnp.where(is_continuous(slots, index), density, 0.0)
    return log_prob


def _equals(index: jax.Array, numbers: tuple[int, ...]) -> jax.Array:
    """Which of the numbers an index is, [..., n] bool."""
    row = jnp.array(numbers, jnp.int32)
    return index[..., None] == lax.broadcast_to_rank(row, index.ndim + 1)


def _spread_bias(size: int, components: int) -> Any:
    """Bias under which the components start side by side, so that none is another's copy."""

    def init(key: Any, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        centre = (jnp.arange(components, dtype=jnp.float32) + 0.5) / components
        raw = jnp.stack(
            [
                jnp.zeros((components,), jnp.float32),
                jnp.log(centre) - jnp.log1p(-centre),
                jnp.full((components,), jnp.log(jnp.expm1(jnp.float32(1.0 / components)))),
            ]
        )
        return jnp.tile(raw.reshape(-1), size).astype(dtype).reshape(shape)

    return init
