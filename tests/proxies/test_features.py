import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.crystals.elements import atomic_number
from mfal.crystals.types import Crystal
from mfal.proxies.features import FEATURE_NAMES, NUM_FEATURES, featurise


def crystal(amounts, group, lattice):
    composition = np.zeros(103, np.float32)
    for symbol, amount in amounts.items():
        composition[atomic_number(symbol) - 1] = amount
    return Crystal(jnp.asarray(composition), jnp.int32(group), jnp.asarray(lattice, jnp.float32))


def named(c):
    return dict(zip(FEATURE_NAMES, np.asarray(featurise(c)), strict=True))


ROCK_SALT = crystal({"Li": 4, "Cl": 4}, 225, [5.13, 5.13, 5.13, 90, 90, 90])
THIOPHOSPHATE = crystal({"Li": 12, "P": 4, "S": 16}, 62, [13.07, 8.02, 6.10, 90, 90, 90])


def test_names_are_unique_and_match_the_vector():
    assert len(set(FEATURE_NAMES)) == NUM_FEATURES == featurise(ROCK_SALT).shape[0]


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
    gradient = jax.grad(total)(lattice)
    assert np.isfinite(gradient).all()
    for k, step in enumerate([0.05] * 3 + [0.5] * 3):
        shift = jnp.zeros(6).at[k].set(step)
        slope = (total(lattice + shift) - total(lattice - shift)) / (2 * step)
        assert gradient[k] == pytest.approx(float(slope), rel=0.02, abs=2e-3)


def test_all_groups_and_single_elements_give_finite_features():
    groups = jnp.arange(1, 231)
    many = jax.vmap(lambda g: featurise(THIOPHOSPHATE._replace(space_group_number=g)))(groups)
    assert np.isfinite(many).all()
    elements = jax.vmap(lambda c: featurise(ROCK_SALT._replace(composition=c)))(jnp.eye(103))
    assert np.isfinite(elements).all()
