"""Tables that are first asked for inside a trace hold no tracers afterwards."""

import jax
import jax.numpy as jnp

from mfal.envs import CrystalSpec, crystal_environment, to_crystal
from mfal.envs.hypergrid import HypergridSpec, hypergrid

# No other test has these, so that no cache knows them.
PLAIN = CrystalSpec(elements=("Li", "O", "F"), max_atoms=7, groups=(1, 2, 225))
SITES = CrystalSpec(
    elements=("Li", "O", "F"),
    max_atoms=7,
    groups=(1, 2, 225),
    wyckoff=True,
)


def test_environments_made_first_inside_a_trace():
    def legal(make):
        env = make()
        return jnp.sum(env.action_mask(env.initial_state()))

    for make in (
        lambda: crystal_environment(PLAIN),
        lambda: crystal_environment(SITES),
        lambda: hypergrid(HypergridSpec(dimensions=3, side=7)),
    ):
        jax.make_jaxpr(lambda make=make: legal(make))()
        assert int(legal(make)) > 0
    env = crystal_environment(PLAIN)
    state = env.initial_state()
    jax.make_jaxpr(lambda s: to_crystal(PLAIN, s))(state)
    assert to_crystal(PLAIN, state).composition.sum() == 0
