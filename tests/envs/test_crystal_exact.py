"""Masks of the crystal environment against brute force: every valid crystal, and no other."""

import jax
import numpy as np
import pytest

from mfal.envs import CrystalSpec, crystal_environment
from mfal.envs.crystal.automata import wyckoff_automaton
from mfal.envs.crystal.validity import holds_counts
from tests.envs.enumeration import (
    assignments,
    at_lattice,
    discrete_part,
    explore,
    valid_crystals,
)

SMALL = {"max_atoms": 10, "max_atoms_per_element": 8, "element_limits": (1, 3)}
# Groups that hold little, of every crystal system.
GROUPS = (2, 12, 47, 62, 123, 139, 166, 194, 205, 216, 221, 225, 229)
SPECS = {
    "default": CrystalSpec(("Li", "O", "P", "F"), **SMALL, groups=GROUPS),
    "nothing required": CrystalSpec(("Li", "O", "F"), **SMALL, groups=(123, 229), required=()),
    "two required": CrystalSpec(
        ("Li", "O", "F", "P"), **SMALL, groups=(2, 225), required=("Li", "F")
    ),
    "fractions": CrystalSpec(
        ("Li", "O", "P", "F"), **SMALL, groups=GROUPS, fractions={"O": (0.2, 0.5)}
    ),
    "stoichiometry": CrystalSpec(stoichiometry="Li3PO4", max_atoms=24, groups=GROUPS),
    "mixed valence": CrystalSpec(
        {"Li": (1,), "Fe": (2, 3), "O": (-2,)}, **SMALL, groups=GROUPS, mixed_valence=3
    ),
    "many atoms of each": CrystalSpec(
        ("Li", "O", "F"),
        max_atoms=12,
        min_atoms=6,
        max_atoms_per_element=8,
        min_atoms_per_element=2,
        groups=GROUPS,
    ),
    "every group": CrystalSpec(("Li", "O"), max_atoms=12, max_atoms_per_element=8),
}


QUICK = (
    "default",
    "two required",
    "fractions",
    "mixed valence",
)


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in SPECS]
)
def test_reached_crystals_are_the_valid_ones(name):
    spec = SPECS[name]
    env = crystal_environment(spec)
    graph = explore(env, ends=at_lattice)
    ends = np.flatnonzero(jax.vmap(at_lattice)(graph.states))
    reached = {discrete_part(spec, graph.states, i) for i in ends}
    expected = valid_crystals(spec)
    assert len(expected) > 5
    assert reached == expected
    # One end for each: the state holds nothing of the path.
    assert len(ends) == len(reached)
    # No dead end anywhere, and every edge is a backward edge.
    assert graph.legal.any(1).all()
    edges = set(zip(graph.targets.tolist(), graph.indices.tolist(), strict=True))
    backward = set(zip(*(x.tolist() for x in np.nonzero(graph.backward)), strict=True))
    assert edges == backward


def test_each_composition_has_one_parent():
    tree = explore(crystal_environment(SPECS["default"]), ends=at_lattice)
    assert (tree.backward.sum(1)[1:] == 1).all()


def test_reached_sites_are_all_assignments():
    spec = CrystalSpec(
        ("Li", "O", "F"), max_atoms=7, max_atoms_per_element=4, wyckoff=True,
        groups=(3, 47, 99, 115, 160, 187, 221, 225),
    )  # fmt: skip
    env = crystal_environment(spec)
    lattice = env.stages[-1].start
    graph = explore(env, ends=lambda state: env.action_mask(state)[lattice:].any())
    reached = {}
    for i in np.flatnonzero(graph.legal[:, lattice:].any(1)):
        crystal = discrete_part(spec, graph.states, i)
        sites = tuple(map(tuple, graph.states.sites[i][:, : len(crystal[1])].tolist()))
        assert sites not in reached.setdefault(crystal, set())
        reached[crystal].add(sites)
    valid = valid_crystals(spec)
    assert reached == {
        (g, composition): assignments(g, tuple(n for _, n in composition))
        for g, composition in valid
    }
    assert sum(map(len, reached.values())) > 3 * len(valid)
    assert graph.legal.any(1).all()
    edges = set(zip(graph.targets.tolist(), graph.indices.tolist(), strict=True))
    backward = set(zip(*(x.tolist() for x in np.nonzero(graph.backward)), strict=True))
    assert edges == backward


@pytest.mark.parametrize("max_count", [6, 13])
def test_automaton_agrees_with_plain_search_in_all_groups(max_count):
    automaton = wyckoff_automaton(max_count)
    rng = np.random.default_rng(max_count)
    possible = 0
    for group in range(1, 231):
        for _ in range(12):
            # Sums of the group's own multiplicities, so that about half the draws fit.
            counts = rng.integers(1, max_count + 1, rng.integers(1, 5)).tolist()
            if rng.random() < 0.7:
                base = int(rng.choice([1, 2, 3, 4, 6]))
                counts = [max(base, n - n % base) for n in counts]
                counts = [min(n, max_count) for n in counts]
            state = automaton.start[group - 1]
            for n in counts:
                state = automaton.step[state, n]
            assert (state > 0) == holds_counts(group, tuple(counts)), (group, counts)
            possible += int(state > 0)
    assert 300 < possible < 2500


def test_plain_search_agrees_with_pyxtal():
    from pyxtal.symmetry import Group

    rng = np.random.default_rng(0)
    outcomes = []
    for group in range(1, 231):
        symmetry = Group(group)
        base = min(p.multiplicity for p in symmetry.Wyckoff_positions)
        for _ in range(4):
            counts = [int(base * n) for n in rng.integers(1, 5, rng.integers(2, 6))]
            compatible, _ = symmetry.check_compatible(counts)
            assert holds_counts(group, tuple(counts)) == compatible, (group, counts)
            outcomes.append(compatible)
    assert 0.2 < np.mean(outcomes) < 0.95
