"""How likely something is of a crystal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.acquisition.chances import chance_of, fit_chance
from mfal.acquisition.precedents import make_precedents
from mfal.crystals.elements import atomic_number
from mfal.crystals.types import Crystal

CHANCES = jax.jit(jax.vmap(chance_of, in_axes=(None, 0)))
LI, OXYGEN, SULFUR = (atomic_number(symbol) - 1 for symbol in ("Li", "O", "S"))


def crystals(seed, number):
    """Lithium oxides and sulfides, dense and loose."""
    rng = np.random.default_rng(seed)
    composition = np.zeros((number, 103), np.float32)
    composition[:, LI] = rng.integers(1, 5, number)
    anion = rng.choice([OXYGEN, SULFUR], number)
    composition[np.arange(number), anion] = rng.integers(1, 5, number)
    edges = np.repeat(rng.uniform(4, 10, (number, 1)), 3, axis=1)
    cell = np.concatenate([edges, np.full((number, 3), 90.0)], axis=1).astype(np.float32)
    return Crystal(jnp.asarray(composition), jnp.full(number, 225), jnp.asarray(cell))


def fitted(seed, number, labels):
    space, asked = crystals(9, 64), crystals(seed, number)
    valid = np.ones(number, bool)
    return fit_chance(space, asked, jnp.asarray(labels(asked), jnp.float32), valid)


def small(crystal):
    return np.asarray(crystal.lattice[:, 0] < 7.0)


def test_what_makes_queries_fail_is_found_on_other_crystals():
    params, test = fitted(0, 64, small), crystals(1, 200)
    chance = np.asarray(CHANCES(params, test))
    above = chance[small(test)][:, None] > chance[~small(test)]
    assert above.mean() > 0.9  # the area under the curve of the receiver's operating characteristic
    assert chance[small(test)].mean() > chance[~small(test)].mean() + 0.3


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_without_a_pattern_it_is_the_share_of_answers(share):
    params = fitted(2, 64, lambda c: np.arange(64) % 4 < 4 * share)
    chance = CHANCES(params, crystals(3, 100))
    assert float(chance.mean()) == pytest.approx(share, abs=0.1)


def test_rows_that_do_not_count_leave_even_odds():
    space = crystals(4, 16)
    params = fit_chance(space, space, jnp.ones(16), jnp.zeros(16, bool))
    chance = CHANCES(params, space)
    np.testing.assert_allclose(chance, 0.5)


def test_a_precedent_counts_beside_the_features():
    """What has a precedent holds, and nothing else does, whatever the features are."""
    train = crystals(5, 64)
    composition = np.asarray(train.composition)
    has = composition[:, LI] > composition[:, [OXYGEN, SULFUR]].sum(1)
    table = make_precedents(composition[has], np.full(has.sum(), 225), np.zeros(has.sum(), bool))
    label = jnp.asarray(has, jnp.float32)
    params = fit_chance(crystals(9, 64), train, label, np.ones(64, bool), table)
    chance = np.asarray(CHANCES(params, train))
    assert chance[has].min() > 0.7
    assert chance[~has].max() < 0.3
    elsewhere = train._replace(space_group_number=jnp.full(64, 14))
    assert (np.asarray(CHANCES(params, elsewhere))[has] < chance[has]).all()
