"""Every environment keeps the laws, and the checker sees it when one doesn't."""

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfal.envs import (
    CrystalSpec,
    Environment,
    HypergridSpec,
    crystal_environment,
    hypergrid,
    with_fidelity,
)
from mfal.envs.laws import broken_laws

SMALL = {"elements": ("Li", "O", "P", "S", "Cl"), "max_atoms": 24, "max_atoms_per_element": 16}

SPECS = {
    "default": CrystalSpec(),
    "fractions": CrystalSpec(**SMALL, fractions={"Li": (0.2, 0.5), "O": (0.0, 0.4)}),
    "stoichiometry": CrystalSpec(stoichiometry="Li3PO4", max_atoms=48),
    "mixed valence": CrystalSpec({"Li": (1,), "Fe": (2, 3), "O": (-2,)}, mixed_valence=3),
    "wyckoff": CrystalSpec(**SMALL, wyckoff=True),
    "one group": CrystalSpec(**SMALL, groups=(62,)),
}


def crystal(name: str) -> Environment:
    return crystal_environment(SPECS[name])


QUICK = ("default", "wyckoff")


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in SPECS]
)
def test_crystal_environments(name):
    assert broken_laws(crystal(name), jax.random.key(1), 256) == []


@pytest.mark.parametrize("when", ["first", "last", "any"])
def test_with_fidelity(when):
    assert broken_laws(with_fidelity(hypergrid(HypergridSpec()), 2, when), jax.random.key(2)) == []


@pytest.mark.slow
@pytest.mark.parametrize("when", ["first", "last", "any"])
def test_crystal_with_fidelity(when):
    assert broken_laws(with_fidelity(crystal("one group"), 3, when), jax.random.key(2)) == []


@given(st.integers(1, 5), st.integers(2, 9), st.integers(0, 2**31 - 1))
@settings(deadline=None, max_examples=5)
def test_hypergrid(dimensions, side, seed):
    env = hypergrid(HypergridSpec(dimensions, side))
    assert broken_laws(env, jax.random.key(seed), 16) == []


def test_double_precision_changes_no_type():
    with jax.enable_x64(True):
        fresh = crystal_environment(CrystalSpec(**SMALL, groups=(61, 62)))
        for env in (fresh, hypergrid(HypergridSpec(2, 3))):
            assert broken_laws(with_fidelity(env, 2), jax.random.key(3), 16) == []


SABOTAGE = {
    "undo(step(s, a), a) is s": lambda e: {
        "undo": lambda s, a: e.undo(s, a)._replace(position=s.position)
    },
    "a is legal backward from step(s, a)": lambda e: {
        "parent_mask": lambda s: e.parent_mask(s).at[0].set(False)
    },
    "b is legal from undo(s, b)": lambda e: {
        "action_mask": lambda s: e.action_mask(s).at[0].min(s.position[1] == 0)
    },
    "a state has actions unless it is terminal": lambda e: {
        "action_mask": lambda s: e.action_mask(s) & (s.position.sum() < 2)
    },
    "every state but the initial one has a parent": lambda e: {
        "parent_mask": lambda s: e.parent_mask(s).at[0].set(True)
    },
    "trajectories end within max_steps": lambda e: {"max_steps": 2},
    "terminal states absorb": lambda e: {
        "step": lambda s, a: e.step(s, a)._replace(position=s.position + s.stopped)
    },
    "tokens lie in the vocabulary": lambda e: {
        "features": lambda s: e.features(s)._replace(tokens=e.features(s).tokens + 9)
    },
    "observe agrees with features": lambda e: {"observe": lambda s: e.observe(s) * 0.5},
    "step has the right shape and type": lambda e: {
        "step": lambda s, a: e.step(s, a)._replace(position=s.position * 1.0)
    },
    "stages cover all actions": lambda e: {"num_actions": 7},
}


@pytest.mark.parametrize("law", SABOTAGE)
def test_sabotage_is_seen(law):
    env = hypergrid(HypergridSpec(dimensions=2, side=3))
    broken = env._replace(**SABOTAGE[law](env))
    assert law in broken_laws(broken, jax.random.key(0))


@pytest.mark.slow
def test_sabotage_of_a_lattice_value_is_seen():
    env = crystal("one group")
    wrong = env._replace(recover_value=lambda s, i: env.recover_value(s, i) * jnp.float32(0.9))
    assert broken_laws(wrong, jax.random.key(0)) == ["step(undo(s, b), b) is s"]
