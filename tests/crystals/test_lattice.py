"""Cell geometry against pymatgen and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pymatgen.core import Lattice

from mfal.crystals import groups, lattice


@pytest.mark.parametrize(
    "parameters",
    [
        (5.0, 5.0, 5.0, 90.0, 90.0, 90.0),
        (3.1, 4.2, 9.9, 90.0, 113.0, 90.0),
        (5.5, 5.5, 13.2, 90.0, 90.0, 120.0),
        (4.4, 6.1, 7.3, 71.0, 98.0, 104.0),
    ],
)
def test_cells_agree_with_pymatgen(parameters):
    expected = Lattice.from_parameters(*parameters)
    assert lattice.cell_volume(parameters) == pytest.approx(expected.volume)
    rows = lattice.cell_matrix(parameters)
    np.testing.assert_allclose(rows @ rows.T, expected.metric_tensor, atol=1e-9)
    assert np.linalg.det(rows) == pytest.approx(expected.volume)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), parameters[:3])


def test_jax_and_batches():
    key = jax.random.key(0)
    batch = jnp.concatenate(
        [
            jax.random.uniform(key, (7, 3), minval=3, maxval=9),
            jax.random.uniform(key, (7, 3), minval=70, maxval=110),
        ],
        -1,
    )
    volumes = jax.jit(lattice.cell_volume)(batch)
    assert volumes.shape == (7,)
    assert volumes.dtype == jnp.float32
    np.testing.assert_allclose(volumes, lattice.cell_volume(np.asarray(batch, float)), rtol=1e-5)
    assert jnp.isfinite(jax.grad(lambda x: lattice.cell_volume(x).sum())(batch)).all()


def test_impossible_angles_are_seen():
    # Two angles of 50 and 60 degrees can't span one of 130; three of 125 exceed a full turn.
    for angles in [(50, 60, 130), (125, 125, 125)]:
        assert not lattice.is_consistent([5, 5, 5, *angles])
    assert lattice.is_consistent([5, 5, 5, 119, 119, 119])


def test_right_angles_are_exact():
    assert lattice.cell_factor(jnp.array([5.0, 6.0, 7.0, 90.0, 90.0, 90.0])) == 1.0


def test_free_parameters_by_system():
    number_free = lattice.FREE_PARAMETERS.sum(1).tolist()
    assert dict(zip(groups.LATTICE_SYSTEM_NAMES, number_free, strict=True)) == {
        "triclinic": 6,
        "monoclinic": 4,
        "orthorhombic": 3,
        "tetragonal": 2,
        "rhombohedral": 2,
        "hexagonal": 2,
        "cubic": 1,
    }
    # What isn't free is tied to something.
    assert (np.isnan(lattice.TIED_ANGLE) == lattice.FREE_PARAMETERS[:, 3:]).all()
    own = np.arange(3) == lattice.TIED_LENGTH
    assert (own == lattice.FREE_PARAMETERS[:, :3]).all()
