"""An acquisition of one's own in a scan: thirty rounds, two fidelities, one compiled program.

Answers are the truth with an error, a large one where they are cheap; the belief is linear in the
features. A question is worth what it takes from the uncertainty about the best crystals, per unit
of cost.
"""

import jax
import jax.numpy as jnp

from mfal.envs import CrystalSpec, crystal_environment, to_crystal
from mfal.envs.laws import random_rollout
from mfal.proxies import featurise

spec = CrystalSpec(elements=("Li", "P", "S", "Cl"), max_atoms=16)
walks = random_rollout(crystal_environment(spec), jax.random.key(0), 200).states
pool = jax.vmap(lambda state: to_crystal(spec, state))(jax.tree.map(lambda x: x[-1], walks))
x = jax.vmap(featurise)(pool)
x = jnp.nan_to_num((x - x.mean(0)) / x.std(0)) / x.shape[1] ** 0.5
truth = x @ jax.random.normal(jax.random.key(1), x.shape[1:])
noise, cost = jnp.array([0.3, 0.03]), jnp.array([0.1, 1.0])


def ask(belief, key):
    precision, information = belief
    covariance = jnp.linalg.inv(precision)
    mean, spread = x @ covariance @ information, jnp.einsum("nf,fg,ng->n", x, covariance, x)
    promise = jax.nn.softmax((mean + jnp.sqrt(spread)) / 0.1)
    gain = jnp.log1p(spread[:, None] / noise**2) * promise[:, None] / cost
    crystal, fidelity = jnp.unravel_index(jnp.argmax(gain), gain.shape)
    answer = truth[crystal] + noise[fidelity] * jax.random.normal(key)
    row, weight = x[crystal], noise[fidelity] ** -2
    belief = precision + weight * jnp.outer(row, row), information + weight * answer * row
    return belief, (truth[jnp.argmax(mean)], cost[fidelity])


start = jnp.eye(x.shape[1]), jnp.zeros(x.shape[1])
_, (chosen, spent) = jax.lax.scan(ask, start, jax.random.split(jax.random.key(2), 30))
print(f"best {truth.max():.2f}, held for best {chosen[-1]:.2f} after {spent.sum():.1f} units")
