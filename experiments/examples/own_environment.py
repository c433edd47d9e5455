"""An environment of one's own, trained to its exact distribution.

How many of six sites hold F, Cl and Br: an action fills one more, and log R is the mixture's energy
over kT. The order doesn't matter, so a state has many parents, which the uniform backward policy
accounts for.
"""

import jax
import jax.numpy as jnp

from mfal.envs import broken_laws, discrete_environment
from mfal.gflownet import PolicyConfig, TrainConfig, enumerate_states, exact_metrics, make_trainer

env = discrete_environment(
    jnp.zeros(3, jnp.int32),
    action_mask=lambda counts: jnp.full(3, counts.sum() < 6),
    step=lambda counts, k: counts.at[k].add(1),
    parent_mask=lambda counts: counts > 0,
    undo=lambda counts, k: counts.at[k].add(-1),
    max_steps=6,
)
assert not broken_laws(env, jax.random.key(0))


def log_reward(preferences, counts):
    return preferences @ counts


trainer = make_trainer(
    env,
    log_reward,
    TrainConfig(batch_size=64, learning_rate=3e-3, policy=PolicyConfig(hidden=(64, 64))),
)
preferences = jnp.array([0.0, 0.5, -0.5])
state, _ = trainer.run(trainer.init(jax.random.key(0)), preferences, 600)
measure = exact_metrics(enumerate_states(env), trainer.policy, log_reward)
exact = measure(state.params["policy"], preferences, trainer.log_z(state.params))
print(f"total variation {exact.total_variation:.3f}")
