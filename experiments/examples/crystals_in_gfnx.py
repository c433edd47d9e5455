"""The crystal environment in gfnx's rollout, with the log-variance loss (gfnx: see peers.txt)."""

from collections import namedtuple
from types import SimpleNamespace

import gfnx
import jax
import jax.numpy as jnp
import optax

from mfal.envs import Action, CrystalSpec, crystal_environment, to_crystal

env = crystal_environment(spec := CrystalSpec(elements=("Li", "P", "S"), max_atoms=12))
lithium = jax.vmap(lambda state: to_crystal(spec, state).composition[2])
Walk = namedtuple("Walk", "inner key is_pad")
mask, ended, see = map(jax.vmap, (env.action_mask, env.is_terminal, env.observe))


def reset(num, key):
    start = jax.tree.map(lambda x: jnp.stack([x] * num), env.initial_state())
    return see(start), Walk(start, jax.random.split(key, num), jnp.zeros(num, bool))


def step(walk, index, _):  # what an action carries is drawn evenly; its density is one
    keys = jax.vmap(jax.random.split)(walk.key)
    action = Action(index, jax.vmap(jax.random.uniform)(keys[:, 0]))
    inner, pad = jax.vmap(env.step)(walk.inner, action), ended(walk.inner)
    parents = jnp.maximum(jax.vmap(env.parent_mask)(inner).sum(-1), 1)
    told = {"b": jax.vmap(env.log_jacobian)(walk.inner, action) - jnp.log(parents)}
    log_reward = jnp.where(ended(inner) & ~pad, lithium(inner), 0.0)
    return see(inner), Walk(inner, keys[:, 1], pad), log_reward, ended(inner), told


# gfnx wants some action everywhere, also after the end.
invalid = lambda walk, _: ~mask(walk.inner).at[:, 0].max(ended(walk.inner))  # noqa: E731
peer = SimpleNamespace(reset=reset, step=step, get_invalid_mask=invalid)
peer.sample_action, peer.max_steps_in_episode = jax.random.categorical, env.max_steps


def loss(weights, key):
    policy, keys = lambda _, x, w: (x @ w, {}), jax.random.split(key)
    drawn, _ = gfnx.utils.forward_rollout(keys[0], 64, policy, weights, peer, keys[1])
    gap = drawn.info["sampled_log_prob"] - drawn.info["b"] - drawn.log_gfn_reward
    return jnp.where(drawn.pad, 0.0, gap).sum(1).var()  # zero where all tell the same log Z


weights = jnp.zeros((env.vocabulary + env.num_dense, env.num_actions))
optimiser = optax.adam(0.01)
state, gradient, losses = optimiser.init(weights), jax.jit(jax.value_and_grad(loss)), []
for key in jax.random.split(jax.random.key(0), 300):
    value, slope = gradient(weights, key)
    change, state = optimiser.update(slope, state)
    weights, losses = weights + change, [*losses, float(value)]
print(f"loss {sum(losses[:20]) / 20:.1f} at first, {sum(losses[-20:]) / 20:.1f} at last")
