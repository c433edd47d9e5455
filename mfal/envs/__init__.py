"""GFlowNet environments as pure functions.

Nothing here knows of networks, so any training loop can use them. Trajectory balance with a linear
policy, on lithium phosphates whose reward favours many lithium atoms:

>>> import jax
>>> import jax.numpy as jnp
>>> from mfal.envs import Action, CrystalSpec, crystal_environment, to_crystal
>>> spec = CrystalSpec(elements=("Li", "P", "O"), element_limits=(3, 3), max_atoms=16)
>>> env = crystal_environment(spec)
>>> def loss(params, key):
...     def advance(carry, key):
...         state, log_pf = carry
...         mask = env.action_mask(state)
...         logits = jnp.where(mask, env.observe(state) @ params["weights"], -1e9)
...         key_index, key_value = jax.random.split(key)
...         index = jax.random.categorical(key_index, logits).astype(jnp.int32)
...         action = Action(index, jax.random.uniform(key_value))  # in [0, 1]: density one
...         gain = jax.nn.log_softmax(logits)[index] - env.log_jacobian(state, action)
...         return (env.step(state, action), log_pf + jnp.where(mask.any(), gain, 0)), None
...     start, keys = (env.initial_state(), 0.0), jax.random.split(key, env.max_steps)
...     (state, log_pf), _ = jax.lax.scan(advance, start, keys)
...     return (params["log_z"] + log_pf - to_crystal(spec, state).composition[2]) ** 2
>>> @jax.jit
... def update(params, key):
...     losses = jax.vmap(loss, (None, 0))
...     slope = jax.grad(lambda p: losses(p, jax.random.split(key, 64)).mean())(params)
...     return jax.tree.map(lambda p, g: p - 1e-3 * g, params, slope)
>>> inputs = env.vocabulary + env.num_dense
>>> params = {"weights": jnp.zeros((inputs, env.num_actions)), "log_z": jnp.zeros(())}
>>> for i in range(3):
...     params = update(params, jax.random.key(i))
>>> bool(jnp.isfinite(params["weights"]).all()), bool((params["weights"] != 0).any())
(True, True)
"""

from mfal.envs.crystal import (
    CrystalSpec,
    CrystalState,
    crystal_environment,
    from_crystal,
    sites_of,
    species_of,
    to_crystal,
)
from mfal.envs.crystal.presets import production_like_spec
from mfal.envs.discrete import discrete_environment
from mfal.envs.fidelity import FidelityState, with_fidelity
from mfal.envs.hypergrid import (
    HypergridReward,
    HypergridSpec,
    HypergridState,
    hypergrid,
    hypergrid_log_reward,
)
from mfal.envs.laws import broken_laws
from mfal.envs.observe import observe_from
from mfal.envs.random import Rollout, random_rollout, sample_uniformly
from mfal.envs.types import Action, Environment, Features, Stage, State

__all__ = [
    "Action",
    "CrystalSpec",
    "CrystalState",
    "Environment",
    "Features",
    "FidelityState",
    "HypergridReward",
    "HypergridSpec",
    "HypergridState",
    "Rollout",
    "Stage",
    "State",
    "broken_laws",
    "crystal_environment",
    "discrete_environment",
    "from_crystal",
    "hypergrid",
    "hypergrid_log_reward",
    "observe_from",
    "production_like_spec",
    "random_rollout",
    "sample_uniformly",
    "sites_of",
    "species_of",
    "to_crystal",
    "with_fidelity",
]
