import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from mfal.acquisition.feasibility import (
    chance_of_feasibility,
    fit_feasibility,
)
from mfal.crystals.elements import atomic_number

LI, OXYGEN, SULFUR, CL = (atomic_number(symbol) - 1 for symbol in ("Li", "O", "S", "Cl"))


def compositions(seed=0, number=64):
    rng = np.random.default_rng(seed)
    found = np.zeros((number, 103), np.float32)
    found[:, LI] = rng.integers(1, 5, number)
    for column in (OXYGEN, SULFUR, CL):
        found[:, column] = rng.integers(0, 4, number) * rng.integers(0, 2, number)
    return found


def test_an_element_that_spoils_compounds_is_found():
    train, test = compositions(), compositions(seed=1)
    params = fit_feasibility(train, (train[:, SULFUR] == 0).astype(np.float32), np.ones(64, bool))
    found = np.asarray(jax.vmap(chance_of_feasibility, in_axes=(None, 0))(params, test))
    assert ((found > 0.5) == (test[:, SULFUR] == 0)).all()


def test_newton_finds_the_maximum_that_a_general_minimiser_finds():
    train = compositions(seed=2)
    labels = np.random.default_rng(3).random(64)
    valid = np.arange(64) < 20
    rows = train[valid].astype(float)
    x = np.concatenate([rows > 0, rows / rows.sum(1, keepdims=True), np.ones((20, 1))], 1)
    used = [*np.flatnonzero(np.ptp(x, axis=0) > 0).tolist(), LI, 103 + LI, 206]
    used = sorted(set(used))  # the other weights are zero at the maximum
    x = x[:, used]

    def loss(w):
        z = x @ w
        ridge = 0.025 * np.sum(w[:-1] ** 2) + 0.5e-4 * w[-1] ** 2
        return np.sum(np.logaddexp(0, z) - labels[valid] * z) + ridge

    expected = minimize(loss, np.zeros(len(used)), method="BFGS", options={"gtol": 1e-8}).x
    found = fit_feasibility(train, jnp.asarray(labels, jnp.float32), valid).weights
    np.testing.assert_allclose(found[np.array(used)], expected, atol=2e-3)
    assert np.abs(np.delete(found, used)).max() == 0


@pytest.mark.parametrize("label", [0.0, 0.3, 1.0])
def test_labels_that_are_all_alike_do_not_diverge(label):
    train = compositions()
    params = fit_feasibility(train, jnp.full(64, label), jnp.ones(64, bool))
    found = jax.vmap(chance_of_feasibility, in_axes=(None, 0))(params, train)
    np.testing.assert_allclose(found, label, atol=0.02)
