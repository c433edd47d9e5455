"""Exchanges in known crystals, and what is learned of which crystals exist."""

import jax
import numpy as np
import pytest

from mfal.acquisition.chances import chance_of, fit_chance
from mfal.acquisition.precedents import precedent_of
from mfal.campaign.config import CampaignConfig, SpaceConfig
from mfal.campaign.ledger.crystals import crystal_arrays, known_record
from mfal.campaign.problem import make_problem, make_spec
from mfal.campaign.strategy.exchanges import crystal_of, exchanged_crystals
from mfal.campaign.strategy.experience import past_experience
from mfal.crystals.elements import ionic_radius
from mfal.envs.crystal.validity import violations

SPACE = SpaceConfig(elements=("Li", "O", "F", "Al", "Si", "P", "S", "Cl", "Ge", "Zr"))


@pytest.fixture(scope="module")
def problem():
    return make_problem(SPACE, CampaignConfig().oracles)


@pytest.fixture(scope="module")
def children(problem):
    return exchanged_crystals(problem, SPACE)


def test_exchanges_are_neutral_crystals_of_the_space_that_are_not_known(problem, children):
    spec = make_spec(SPACE)
    known = {
        (record.formula, record.space_group)
        for record in (known_record(structure, name) for name, structure in problem.known())
    }
    assert len(children) > 5
    assert len({(child.formula, child.space_group) for child in children}) == len(children)
    for child in children:
        charges = [n * child.oxidation_states[s] for s, n in child.composition.items()]
        assert sum(charges) == pytest.approx(0)
        crystal = crystal_of(child.composition, child.space_group, np.array(child.lattice))
        assert not violations(spec, crystal, child.oxidation_states)
        assert (child.formula, child.space_group) not in known
        assert child.source.startswith("exchanged:known:")


def test_the_cell_grows_with_the_ions(problem, children):
    parents = {f"exchanged:known:{name}": structure for name, structure in problem.known()}
    for child in children:
        parent = known_record(parents[child.source], "")
        ratio = np.prod(child.lattice[:3]) / np.prod(parent.lattice[:3])
        volumes = [
            sum(
                n * ionic_radius(s, record.oxidation_states[s]) ** 3
                for s, n in record.composition.items()
            )
            for record in (child, parent)
        ]
        if set(parent.composition) <= set(SPACE.elements):
            assert ratio == pytest.approx(volumes[0] / volumes[1], rel=1e-4)


def test_restrictions_hold_for_exchanges():
    space = SPACE.__class__(elements=SPACE.elements, must_contain=("Li", "Cl"))
    problem = make_problem(space, CampaignConfig().oracles)
    children = exchanged_crystals(problem, space)
    assert children
    assert all("Cl" in child.composition for child in children)


def test_experience_is_of_the_spaces_elements_and_tells_what_it_knows(problem, children):
    past = past_experience(problem, CampaignConfig(space=SPACE))
    composition = np.asarray(past.crystal.composition)
    assert 5 < len(composition) == len(past.answered)
    within = crystal_of(dict.fromkeys(SPACE.elements, 1), 1, np.ones(6)).composition > 0
    assert not composition[:, ~within].any()
    label, told = past.labels(0.1)
    far, lower = past.hull_distance > 0.1, past.answered & ~past.bounded & ~past.known
    assert not label[far].any()
    assert told[far].all()
    assert not told[lower & ~far].any()
    assert not told[~past.answered].any()


def test_what_is_known_has_that_precedent_and_exchanges_theirs(problem, children):
    past = past_experience(problem, CampaignConfig(space=SPACE))
    of = jax.jit(jax.vmap(precedent_of, in_axes=(None, 0)))
    own = [
        known_record(structure, name)
        for name, structure in problem.known()
        if structure.composition.chemical_system_set <= set(SPACE.elements)
    ]
    assert np.asarray(of(past.precedents, crystal_arrays(own)))[:, 0].all()
    # Some exchanges are in tables of known crystals that lend no atoms.
    assert np.asarray(of(past.precedents, crystal_arrays(list(children))))[:, :2].any(axis=1).all()


def test_candidates_relaxed_beforehand_teach_which_exist(problem):
    """Half of the table tells of the other half, better than chance."""
    config = CampaignConfig()
    past = past_experience(make_problem(config.space, config.oracles), config)
    first = np.arange(len(past.answered)) // 2 % 2 == 0  # exchanges and random ones by turns
    label = past.answered.astype(np.float32)
    params = fit_chance(past.crystal, past.crystal, label, first, past.precedents)
    chance = np.asarray(jax.vmap(chance_of, in_axes=(None, 0))(params, past.crystal))[~first]
    answered = past.answered[~first]
    assert (chance[answered][:, None] > chance[~answered]).mean() > 0.75
