"""States to crystals and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.crystals.elements import atomic_number
from mfal.crystals.types import Crystal
from mfal.envs import (
    Action,
    CrystalSpec,
    crystal_environment,
    from_crystal,
    sites_of,
    species_of,
    to_crystal,
)
from mfal.envs.crystal.validity import violations
from mfal.envs.random import random_rollout
from mfal.errors import MfalError


def crystal(group, lattice, **counts):
    composition = np.zeros(103, np.float32)
    for symbol, n in counts.items():
        composition[atomic_number(symbol) - 1] = n
    return Crystal(composition, np.int32(group), np.array(lattice, np.float32))


LITHIUM_OXIDE = crystal(225, [4.619] * 3 + [90] * 3, Li=8, O=4)
LI3PS4 = crystal(62, [13.066, 8.015, 6.101, 90, 90, 90], Li=12, P=4, S=16)
LI3N = crystal(191, [3.648, 3.648, 3.875, 90, 90, 120], Li=3, N=1)


@pytest.mark.parametrize(
    ("known", "options"),
    [
        (LITHIUM_OXIDE, {}),
        (LI3N, {"groups": (191, 225)}),
        (LI3PS4, {"fractions": {"Li": (0.1, 0.9)}}),
    ],
)
def test_known_crystals_round_trip_and_can_be_reached(known, options):
    spec = CrystalSpec(**options, max_atoms=32, max_atoms_per_element=16)
    env = crystal_environment(spec)
    parent_mask, action_mask = jax.jit(env.parent_mask), jax.jit(env.action_mask)
    step, undo, recover = jax.jit(env.step), jax.jit(env.undo), jax.jit(env.recover_value)
    state = from_crystal(spec, known)
    assert bool(env.is_terminal(state))
    back = to_crystal(spec, state)
    np.testing.assert_array_equal(back.composition, known.composition)
    np.testing.assert_allclose(back.lattice, known.lattice, rtol=1e-6)
    assert int(back.space_group_number) == int(known.space_group_number)

    # Backward to the start, and forward again along legal actions.
    path = []
    while parent_mask(state).any():
        index = jnp.argmax(parent_mask(state)).astype(jnp.int32)
        path.append(Action(index, recover(state, index)))
        state = undo(state, path[-1])
    for a, b in zip(state, env.initial_state(), strict=True):
        np.testing.assert_array_equal(a, b)
    for action in reversed(path):
        assert bool(action_mask(state)[action.index])
        state = step(state, action)
    np.testing.assert_allclose(to_crystal(spec, state).lattice, known.lattice, rtol=1e-4)


def test_species():
    spec = CrystalSpec(max_atoms=32, max_atoms_per_element=16)
    assert species_of(spec, from_crystal(spec, LI3PS4)) == {"Li": 1, "P": 5, "S": -2}
    phosphide = crystal(194, [4.264, 4.264, 7.579, 90, 90, 120], Li=6, P=2)
    assert species_of(spec, from_crystal(spec, phosphide)) == {"Li": 1, "P": -3}
    mixed = CrystalSpec({"Li": (1,), "Mn": (3, 4), "O": (-2,)}, mixed_valence=2, max_atoms=60,
                        max_atoms_per_element=32)  # fmt: skip
    spinel = crystal(227, [8.25] * 3 + [90] * 3, Li=8, Mn=16, O=32)
    assert species_of(mixed, from_crystal(mixed, spinel)) == {"Li": 1, "Mn": 3.5, "O": -2}


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (crystal(225, [4.6] * 3 + [90] * 3, Li=8, O=4.5), "oxidation state"),
        (crystal(225, [4.6] * 3 + [90] * 3, Li=4, O=4), "neutral"),
        (crystal(225, [4.6] * 3 + [90] * 3, Na=8, O=4), "Na"),
        (crystal(229, [4.6] * 3 + [90] * 3, Li=4, O=2), "Wyckoff"),
        (crystal(225, [4.6, 4.7, 4.6, 90, 90, 90], Li=8, O=4), "b = 4.7000 breaks"),
        (crystal(225, [9.6] * 3 + [90] * 3, Li=8, O=4), "volume"),
        (crystal(2, [4.6, 4.6, 4.6, 50, 50, 120], Li=8, O=4), "close a cell"),
        (crystal(225, [4.6] * 3 + [90] * 3, O=4), "neutral"),
        (crystal(62, [13.066, 8.015, 6.101, 90, 90, 90], Li=48, O=24), "between 1 and 32"),
    ],
)
def test_what_the_spec_forbids_is_said(known, words):
    with pytest.raises(MfalError, match=words):
        from_crystal(CrystalSpec(), known)


def test_given_oxidation_states_are_used():
    with pytest.raises(MfalError, match="no oxidation state of the spec fits P"):
        from_crystal(CrystalSpec(), LI3PS4, {"Li": 1, "P": 3, "S": -2})


def test_sites():
    spec = CrystalSpec(("Li", "O"), wyckoff=True, max_atoms=16, max_atoms_per_element=12)
    state = from_crystal(spec, LITHIUM_OXIDE, sites=[("O", "a"), ("Li", "c")])
    assert sites_of(spec, state) == [("O", "a"), ("Li", "c")]
    assert bool(crystal_environment(spec).is_terminal(state))
    for wrong in ([("O", "a")], [("O", "a"), ("Li", "b"), ("Li", "b")], [("O", "z"), ("Li", "c")]):
        with pytest.raises(MfalError, match="site"):
            from_crystal(spec, LITHIUM_OXIDE, sites=wrong)
    with pytest.raises(MfalError, match="assigns no"):
        sites_of(CrystalSpec(), state)


def test_random_crystals_obey_their_spec():
    # Every demand one by one, on all 230 groups at once.
    spec = CrystalSpec()
    env = crystal_environment(spec)

    @jax.jit
    def ends(key):
        states = jax.tree.map(lambda x: x[-1], random_rollout(env, key, 512).states)
        return states, jax.vmap(lambda state: to_crystal(spec, state))(states)

    states, crystals = jax.device_get(ends(jax.random.key(5)))
    seen = set()
    for i in range(512):
        one, state = (jax.tree.map(lambda x, i=i: x[i], tree) for tree in (crystals, states))
        assert violations(spec, one, species_of(spec, state)) == []
        seen.add(int(one.space_group_number))
    assert len(seen) > 100
