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


@jax.jit
def derivatives(free, packed, cell, images, table, weight):
    """Of the dense energy by automatic differentiation, and from the listed forces, [B, R, 3]."""

    def energy(free):
        pair, defect = dense_energy(free, packed, cell, images, table)
        return jnp.sum(packed.multiplicity * (pair + weight * defect**2))

    near = neighbours(packed.free, packed, cell, images, table, 128)
    force = forces(free, packed, cell, table, near, weight)
    # the chain rule from Cartesian places to free coordinates
    frame = frames(packed, cell)
    listed = -packed.multiplicity[..., None] * jnp.einsum("brjk,brk->brj", frame, force)
    return jax.grad(energy)(free), listed


@pytest.mark.parametrize("weight", [0.0, 2.0])
@pytest.mark.parametrize("step", [0.0, 0.3])
def test_listed_forces_are_the_derivatives_of_the_dense_energy(weight, step):
    # After a move of up to 0.3 Å the lists still hold all that matters.
    starts = [pack(62, CELL, start, 48, 8) for start in olivines(3)]
    packed = Packed(*map(np.stack, zip(*starts, strict=True)))
    move = np.random.default_rng(0).uniform(-step, step, packed.free.shape) / 3**0.5
    free = packed.free + np.einsum("brij,brj->bri", packed.scale, move).astype(np.float32)
    gradient, expected = derivatives(
        free,
        packed,
        CELL.astype(np.float32),
        whole_cells(CELL),
        padded_table(pair_table(SPECIES)),
        np.float32(weight),
    )
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
