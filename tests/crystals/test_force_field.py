import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.crystals.bond_valence import pair_table
from mfal.crystals.force_field import Packed, dense_energy, forces, frames, neighbours
from mfal.crystals.relax import Orbit, pack, padded_table, whole_cells

SPECIES = [("Li", 1), ("Fe", 2), ("P", 5), ("O", -2)]
CELL = np.diag([10.33, 6.01, 4.69])


# olivine, species and position and free coordinates
OLIVINE = (
    (0, 0, (0, 0, 0)),
    (1, 2, (0.282, 0.25, 0.975)),
    (2, 2, (0.095, 0.25, 0.418)),
    (3, 2, (0.097, 0.25, 0.743)),
    (3, 2, (0.457, 0.25, 0.206)),
    (3, 3, (0.166, 0.046, 0.285)),
)


def olivines(num):
    """Olivine with every free coordinate shaken."""
    rng = np.random.default_rng(0)
    return [
        tuple(Orbit(s, p, np.array(x) + rng.normal(0, 0.03, 3)) for s, p, x in OLIVINE)
        for _ in range(num)
    ]


@pytest.mark.parametrize("weight", [0.0, 2.0])
@pytest.mark.parametrize("step", [0.0, 0.3])
def test_listed_forces_are_the_derivatives_of_the_dense_energy(weight, step):
    # After a move of up to 0.3 Å the lists still hold all that matters.
    starts = olivines(3)
    packed = jax.tree.map(
        jnp.asarray,
        Packed(*map(np.stack, zip(*(pack(62, CELL, a, 48, 8) for a in starts), strict=True))),
    )
    cell, images = jnp.asarray(CELL, jnp.float32), jnp.asarray(whole_cells(CELL))
    table = jax.tree.map(jnp.asarray, padded_table(pair_table(SPECIES)))
    multiplicity = packed.multiplicity

    def energy(free):
        pair, defect = dense_energy(free, packed, cell, images, table)
        return jnp.sum(multiplicity * (pair + weight * defect**2))

    near = neighbours(packed.free, packed, cell, images, table, 128)
    move = step * jax.random.uniform(jax.random.key(0), packed.free.shape, minval=-1, maxval=1)
    free = packed.free + jnp.einsum("brij,brj->bri", packed.scale, move / 3**0.5)
    gradient = jax.grad(energy)(free)
    force = forces(free, packed, cell, table, near, jnp.float32(weight))
    # the chain rule from Cartesian places to free coordinates
    expected = -multiplicity[..., None] * jnp.einsum("brjk,brk->brj", frames(packed, cell), force)
    size = float(jnp.abs(gradient).max())
    assert size > 1
    np.testing.assert_allclose(gradient, expected, atol=2e-5 * size)


def test_scaled_moves_are_ångströms():
    # position c of Pnma moves in the mirror plane only, d anywhere, a nowhere
    packed = pack(62, CELL, olivines(1)[0], 48, 8)
    batch = Packed(*(jnp.asarray(leaf)[None] for leaf in packed))
    frame = np.asarray(frames(batch, jnp.asarray(CELL, jnp.float32)))[0]
    for orbit, freedom in ((0, 0), (1, 2), (5, 3)):
        moves = packed.scale[orbit] @ np.random.default_rng(0).normal(size=(3, 50))
        shifts = frame[orbit].T @ moves
        lengths = np.linalg.svd(frame[orbit].T @ packed.scale[orbit], compute_uv=False)
        assert lengths == pytest.approx([1.0] * freedom + [0.0] * (3 - freedom), abs=1e-5)
        if freedom == 2:
            assert np.abs(shifts[1]).max() < 1e-5
