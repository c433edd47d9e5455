"""Densities of the crystal environment: partition functions by independent integration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.crystals.groups import LATTICE_SYSTEM
from mfal.crystals.lattice import FREE_PARAMETERS, cell_factor, is_consistent
from mfal.envs import CrystalSpec, CrystalState, Environment, crystal_environment, to_crystal
from mfal.envs.crystal.cell import fill_tied
from mfal.envs.crystal.spec import species_list
from mfal.envs.random import random_rollout
from tests.envs.enumeration import valid_crystals

pytestmark = pytest.mark.usefixtures("optimised")

LIMITS = {
    "max_atoms": 6,
    "max_atoms_per_element": 4,
    "min_length": 2.6,
    "max_length": 6.0,
    "min_angle": 60.0,
    "max_angle": 110.0,
    "volume_per_atom": (12.0, 20.0),
    "min_cell_factor": 0.5,
    "max_aspect": 1.6,
}


def log_reward(state: CrystalState) -> jax.Array:
    """Some reward that depends on everything."""
    lattice = state.lattice
    return (
        0.2 * jnp.sum(state.counts * (1 + jnp.arange(state.counts.shape[0])))
        - 0.3 * lattice[0]
        + 0.1 * lattice[2]
        - 0.01 * jnp.abs(lattice[4] - 80) * (lattice[4] > 0)
        + 0.02 * (state.group % 7)
    )


def weights(env: Environment, num: int, seed: int) -> tuple[CrystalState, np.ndarray]:
    """Terminal states of random trajectories, and R P_B / P_F of each, whose mean is Z."""

    def run(key: jax.Array) -> tuple[CrystalState, jax.Array]:
        walk = random_rollout(env, key, num)
        before = jax.tree.map(lambda x: x[:-1], walk.states)
        after = jax.tree.map(lambda x: x[1:], walk.states)
        count = jnp.sum(jax.vmap(jax.vmap(env.action_mask))(before), -1)
        jacobian = jax.vmap(jax.vmap(env.log_jacobian))(before, walk.actions)
        log_pf = -jnp.log(count) - jacobian
        log_pb = -jnp.log(jnp.sum(jax.vmap(jax.vmap(env.parent_mask))(after), -1))
        ratio = jnp.sum(jnp.where(walk.live, log_pb - log_pf, 0), 0)
        end = jax.tree.map(lambda x: x[-1], walk.states)
        return end, jnp.exp(ratio + jax.vmap(log_reward)(end))

    end, ratio = jax.jit(run)(jax.random.key(seed))
    return jax.device_get(end), np.asarray(ratio, float)


def integrals(spec: CrystalSpec, points: int = 20_000) -> dict[tuple, float]:
    """Integral of the reward over the valid cells of each valid crystal, by uniform sampling."""
    rng = np.random.default_rng(7)
    species = species_list(spec)
    batched = jax.jit(jax.vmap(log_reward))
    fill = jax.jit(jax.vmap(fill_tied, in_axes=(None, 0)))
    initial = crystal_environment(spec).initial_state()
    found = {}
    for group, composition in sorted(valid_crystals(spec)):
        system = int(LATTICE_SYSTEM[group - 1])
        free = FREE_PARAMETERS[system]
        low = np.repeat([spec.min_length, spec.min_angle], 3)
        high = np.repeat([spec.max_length, spec.max_angle], 3)
        lattice = np.where(free, rng.uniform(low, high, (points, 6)), 0).astype(np.float32)
        whole = np.asarray(fill(jnp.int32(system), lattice))
        atoms = sum(n for _, n in composition)
        factor = cell_factor(whole)
        volume = whole[:, :3].prod(1) * factor
        least, most = (v * atoms for v in spec.volume_per_atom)
        inside = is_consistent(whole) & (factor >= spec.min_cell_factor)
        inside &= (volume >= least) & (volume <= most)
        inside &= whole[:, :3].max(1) <= whole[:, :3].min(1) * spec.max_aspect
        size = spec.element_limits[1]
        padded = [*composition, *[(len(species), 0)] * (size - len(composition))]
        state = initial._replace(group=jnp.int32(group - 1))
        state = jax.tree.map(lambda x: jnp.broadcast_to(x, (points, *x.shape)), state)
        state = state._replace(
            lattice=lattice,
            species=jnp.broadcast_to(jnp.array([s for s, _ in padded]), (points, size)),
            counts=jnp.broadcast_to(jnp.array([n for _, n in padded]), (points, size)),
        )
        reward = np.exp(np.asarray(batched(state), float)) * inside
        found[group, composition] = float(reward.mean() * (high - low)[free].prod())
    return found


@pytest.mark.parametrize(
    ("groups", "options", "tolerance"),
    [
        ((221, 123), {}, 0.03),
        pytest.param((221, 47, 139), {}, 0.03, marks=pytest.mark.slow),
        ((10, 2), {"elements": ("Li", "O")}, 0.05),
    ],
)
def test_partition_function_and_terminal_distribution(groups, options, tolerance):
    elements = options.pop("elements", ("Li", "O", "F"))
    spec = CrystalSpec(elements, **LIMITS, groups=groups, **options)
    exact = integrals(spec)
    end, ratio = weights(crystal_environment(spec), 20_000, seed=1)
    assert ratio.mean() == pytest.approx(sum(exact.values()), rel=tolerance)

    none = len(species_list(spec))
    found = dict.fromkeys(exact, 0.0)
    species, counts = end.species.tolist(), end.counts.tolist()
    for i, group in enumerate(end.group.tolist()):
        pairs = zip(species[i], counts[i], strict=True)
        found[group + 1, tuple((s, n) for s, n in pairs if s < none)] += ratio[i] / len(ratio)
    assert set(found) == set(exact)
    share = np.array([[found[k] / ratio.mean(), exact[k] / sum(exact.values())] for k in exact])
    assert 0.5 * np.abs(share[:, 0] - share[:, 1]).sum() < 2 * tolerance


@pytest.mark.slow
def test_all_cells_are_reached_up_to_the_borders():
    # Sampled triclinic cells fill the range that rejection sampling finds, in every parameter.
    spec = CrystalSpec(("Li", "O"), **LIMITS, groups=(1,))
    env = crystal_environment(spec)
    end, _ = weights(env, 20_000, seed=2)
    crystals = jax.vmap(lambda s: to_crystal(spec, s))(end)
    lattice = np.asarray(crystals.lattice)
    for i, (low, high) in enumerate([(2.6, 6.0)] * 3 + [(60.0, 110.0)] * 3):
        assert lattice[:, i].min() == pytest.approx(low, rel=0.02)
        assert lattice[:, i].max() == pytest.approx(high, rel=0.02)
    factor = cell_factor(lattice)
    assert factor.min() == pytest.approx(0.5, abs=0.01)
    assert (factor > 0.5 - 1e-4).all()
    assert is_consistent(lattice).all()
