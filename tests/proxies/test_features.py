import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pymatgen.core import Structure

from mfal.crystals.elements import atomic_number
from mfal.crystals.structures import crystal_from_structure
from mfal.crystals.types import Crystal
from mfal.proxies.features import FEATURE_NAMES, NUM_FEATURES, featurise

SEEN = jax.jit(featurise)
MANY = jax.jit(jax.vmap(featurise))


def crystal(amounts, group, lattice):
    composition = np.zeros(103, np.float32)
    for symbol, amount in amounts.items():
        composition[atomic_number(symbol) - 1] = amount
    return Crystal(jnp.asarray(composition), jnp.int32(group), jnp.asarray(lattice, jnp.float32))


def named(c):
    return dict(zip(FEATURE_NAMES, np.asarray(SEEN(c)), strict=True))


ROCK_SALT = crystal({"Li": 4, "Cl": 4}, 225, [5.13, 5.13, 5.13, 90, 90, 90])
THIOPHOSPHATE = crystal({"Li": 12, "P": 4, "S": 16}, 62, [13.07, 8.02, 6.10, 90, 90, 90])


def test_names_are_unique_and_match_the_vector():
    assert len(set(FEATURE_NAMES)) == NUM_FEATURES == SEEN(ROCK_SALT).shape[0]


def test_rock_salt_by_hand():
    f = named(ROCK_SALT)
    volume = 5.13**3
    assert f["fraction Li"] == pytest.approx(0.5)
    assert f["mean electronegativity"] == pytest.approx((0.98 + 3.16) / 2, rel=1e-5)
    assert f["spread electronegativity"] == pytest.approx((3.16 - 0.98) / 2, rel=1e-5)
    assert f["highest electronegativity"] == pytest.approx(3.16, rel=1e-5)
    assert f["log volume per atom"] == pytest.approx(np.log(volume / 8), rel=1e-5)
    assert f["Li density"] == pytest.approx(100 * 4 / volume, rel=1e-5)
    assert f["anion fraction"] == pytest.approx(0.5)
    assert f["point group m-3m"] == 1
    assert f["system cubic"] == 1
    assert f["kind centrosymmetric"] == 1
    assert f["log group order"] == pytest.approx(np.log(192))
    assert f["mixing entropy"] == pytest.approx(np.log(2), rel=1e-5)


def test_phosphorus_is_an_anion_only_where_nothing_more_negative_is_present():
    phosphide = crystal({"Li": 6, "P": 2}, 194, [4.27, 4.27, 7.59, 90, 90, 120])
    assert named(phosphide)["anion fraction"] == pytest.approx(0.25)
    assert named(THIOPHOSPHATE)["anion fraction"] == pytest.approx(0.5)
    argyrodite = crystal({"Li": 24, "P": 4, "S": 20, "Cl": 4}, 216, [9.86] * 3 + [90] * 3)
    # chlorine (3.16) is the most negative, sulfur (2.58) lies outside the window
    assert named(argyrodite)["highest electronegativity"] == pytest.approx(3.16, rel=1e-5)


def test_amounts_scale_with_the_cell():
    doubled = crystal({"Li": 8, "Cl": 8}, 225, [5.13, 5.13, 10.26, 90, 90, 90])
    one, two = named(ROCK_SALT), named(doubled)
    for name in FEATURE_NAMES:
        # Whatever counts atoms, or the lengths of the cell, may change; all else must not.
        if name.startswith(("log atoms", "log volume", "log c", "log longest")):
            continue
        assert two[name] == pytest.approx(one[name], abs=2e-3), name
    assert two["log volume per atom"] == pytest.approx(one["log volume per atom"], rel=1e-5)


def test_gradient_with_respect_to_the_lattice_agrees_with_differences():
    def total(lattice):
        weights = jnp.cos(jnp.arange(NUM_FEATURES))
        return weights @ featurise(THIOPHOSPHATE._replace(lattice=lattice))

    lattice = THIOPHOSPHATE.lattice + jnp.asarray([0, 0, 0, -3.0, 2.0, 4.0])
    total = jax.jit(total)
    gradient = jax.jit(jax.grad(total))(lattice)
    assert np.isfinite(gradient).all()
    for k, step in enumerate([0.05] * 3 + [0.5] * 3):
        shift = jnp.zeros(6).at[k].set(step)
        slope = (total(lattice + shift) - total(lattice - shift)) / (2 * step)
        assert gradient[k] == pytest.approx(float(slope), rel=0.02, abs=2e-3)


def test_order_of_elements_and_sites_does_not_matter():
    edge = 5.64 / 2 * (np.ones((3, 3)) - np.eye(3))
    species, places = (
        ["Li", "Br", "Li", "Cl"],
        np.array([[0, 0, 0], [2, 2, 2], [1, 1, 1], [3, 3, 3]]) / 4,
    )
    one = SEEN(crystal_from_structure(Structure(edge, species, places)))
    for order in ([3, 1, 2, 0], [1, 0, 3, 2]):
        other = Structure(edge, [species[i] for i in order], places[order])
        np.testing.assert_array_equal(SEEN(crystal_from_structure(other)), one)


def test_permuted_axes_permute_their_features_alone():
    """What doesn't name an axis is the same however the cell is set up."""
    swapped = THIOPHOSPHATE._replace(lattice=THIOPHOSPHATE.lattice[jnp.array([2, 0, 1, 3, 4, 5])])
    one, other = named(THIOPHOSPHATE), named(swapped)
    for name in FEATURE_NAMES:
        if name not in ("log a", "log b", "log c"):
            assert other[name] == pytest.approx(one[name], rel=1e-5, abs=1e-6), name
    assert other["log a"] == one["log c"]


def test_gradients_are_finite_where_axes_are_equal():
    slopes = jax.jit(jax.jacrev(featurise, allow_int=True))(ROCK_SALT)
    assert np.isfinite(slopes.composition).all()
    assert np.isfinite(slopes.lattice).all()
    # In a cubic cell all three axes count alike for the volume: d log V / d a = 1 / a each.
    by_edges = slopes.lattice[FEATURE_NAMES.index("log volume"), :3]
    np.testing.assert_allclose(by_edges, 1 / 5.13, rtol=1e-4)


def test_all_groups_and_single_elements_give_finite_features():
    lattice, composition = THIOPHOSPHATE.lattice, THIOPHOSPHATE.composition

    def all_finite(compositions, numbers):
        repeated = jnp.broadcast_to(lattice, (len(numbers), 6))
        return np.isfinite(MANY(Crystal(compositions, numbers, repeated))).all()

    assert all_finite(jnp.tile(composition, (230, 1)), jnp.arange(1, 231))
    alone = jnp.eye(103)[jnp.arange(230) % 103]
    assert all_finite(alone, jnp.full(230, 225))
