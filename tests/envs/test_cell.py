"""Intervals of lattice parameters against brute force over fine grids."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.crystals.lattice import cell_factor
from mfal.envs.crystal.cell import cell_limits, interval, parameter_order
from mfal.envs.crystal.spec import CrystalSpec

SPECS = [
    CrystalSpec(),
    CrystalSpec(min_angle=90.0, max_angle=130.0, min_cell_factor=0.4),
    CrystalSpec(min_angle=40.0, max_angle=75.0, min_cell_factor=0.2),
]
LENGTHS = CrystalSpec(
    min_length=4.0, max_length=11.0, min_atoms=20, max_atoms=30, volume_per_atom=(10.0, 20.0)
)
SQUAT = replace(LENGTHS, max_aspect=1.25)


def at(spec, lattice, parameter, system=0, volume=(400.0, 900.0)):
    low, width = interval(
        cell_limits(spec),
        tuple(jnp.float32(v) for v in volume),
        jnp.int32(system),
        jnp.asarray(lattice, jnp.float32),
        jnp.int32(parameter),
    )
    return float(low), float(low + width)


@pytest.mark.parametrize("spec", SPECS)
def test_triclinic_angles_are_all_that_is_feasible(spec):
    step = 0.25
    grid = np.arange(spec.min_angle, spec.max_angle + step / 2, step)
    beta, gamma = np.meshgrid(grid, grid, indexing="ij")
    cells = np.ones((*beta.shape, 6))
    cells[..., 4], cells[..., 5] = beta, gamma
    feasible_alpha = []
    rng = np.random.default_rng(0)
    for alpha in grid[::8]:
        cells[..., 3] = alpha
        feasible = cell_factor(cells) >= spec.min_cell_factor
        if not feasible.any():
            continue
        feasible_alpha.append(alpha)
        low, high = at(spec, [0, 0, 0, alpha, 0, 0], 4)
        found = grid[feasible.any(1)]
        assert low <= found[0] + 1e-3 < low + 2 * step
        assert high - 2 * step < found[-1] - 1e-3 <= high
        chosen = rng.choice(np.flatnonzero(feasible.any(1)))
        low, high = at(spec, [0, 0, 0, alpha, grid[chosen], 0], 5)
        found = grid[feasible[chosen]]
        assert low <= found[0] + 1e-3 < low + 2 * step
        assert high - 2 * step < found[-1] - 1e-3 <= high
    low, high = at(spec, np.zeros(6), 3)
    assert low <= feasible_alpha[0] + 1e-3 < low + 12 * step
    assert high - 12 * step < feasible_alpha[-1] - 1e-3 <= high


@pytest.mark.parametrize("system", range(7))
@pytest.mark.parametrize("spec", [LENGTHS, SQUAT])
def test_lengths_reach_the_volume_range_and_no_further(system, spec):
    order = parameter_order()[system]
    rng = np.random.default_rng(system)
    for _ in range(20):
        # A target cell in range must lie within every interval on its way.
        lattice = np.zeros(6)
        for parameter in order[order < 6]:
            low, high = at(spec, lattice, parameter, system)
            assert low < high
            lattice[parameter] = rng.uniform(low, high)
        lengths = lattice[:3].copy()
        lengths[1] = lengths[1] or lengths[0]
        lengths[2] = lengths[2] or lengths[0]
        fixed = np.where(lattice[3:] > 0, lattice[3:], 90.0)
        if system in (4, 5):
            fixed[2] = 120.0
        volume = lengths.prod() * cell_factor(np.concatenate([lengths, fixed]))
        assert 400 * 0.999 <= volume <= 900 * 1.001
        assert (lengths >= 4 - 1e-3).all()
        assert (lengths <= 11 + 1e-3).all()
        assert lengths.max() <= lengths.min() * spec.max_aspect * 1.001


@pytest.mark.parametrize("spec", [LENGTHS, SQUAT])
def test_lengths_are_all_that_is_feasible(spec):
    grid = np.linspace(4.0, 11.0, 141)
    step = grid[1] - grid[0]
    a, b, c = np.meshgrid(grid, grid, grid, indexing="ij")
    volume, lengths = a * b * c, np.stack([a, b, c])
    feasible = (volume >= 400) & (volume <= 900)
    feasible &= lengths.max(0) <= lengths.min(0) * spec.max_aspect
    for found, low, high in [
        (grid[feasible.any((1, 2))], *at(spec, np.zeros(6), 0, 2)),
        (grid[feasible[80].any(1)], *at(spec, [grid[80], 0, 0, 0, 0, 0], 1, 2)),
        (grid[feasible[80, 70]], *at(spec, [grid[80], grid[70], 0, 0, 0, 0], 2, 2)),
    ]:
        assert low <= found[0] + 1e-3 < low + 2 * step
        assert high - 2 * step < found[-1] - 1e-3 <= high


def test_first_length_uses_the_whole_range():
    # Cubic: a^3 in [400, 900]. Tetragonal: c may go from 4 to 11 Å.
    spec = LENGTHS
    assert at(spec, np.zeros(6), 0, 6) == pytest.approx((400 ** (1 / 3), 900 ** (1 / 3)), rel=1e-5)
    expected = ((400 / 11) ** 0.5, 11.0)
    assert at(spec, np.zeros(6), 0, 3) == pytest.approx(expected, rel=1e-5)


def test_systems_that_the_angles_exclude():
    assert cell_limits(CrystalSpec(min_angle=95, max_angle=115)).admitted.tolist() == [
        True, False, False, False, False, False, False,
    ]  # fmt: skip
    # Three angles of 120 degrees and more are flat.
    assert not cell_limits(CrystalSpec(min_angle=120, max_angle=130)).admitted.any()


def test_gradients_are_finite_up_to_the_borders():
    spec = CrystalSpec()
    limits = cell_limits(spec)
    order = parameter_order()

    def total_log_width(values, system, volume):
        lattice, total = jnp.zeros(6), 0.0
        for k in range(6):
            parameter = jnp.asarray(order)[system, k]
            low, width = interval(limits, (volume, 2 * volume), system, lattice, parameter)
            placed = (jnp.arange(6) == parameter) & (parameter < 6)
            lattice = jnp.where(placed, low + width * values[k], lattice)
            total += jnp.where(parameter < 6, jnp.log(width), 0)
        return total

    gradient = jax.jit(jax.grad(total_log_width, argnums=(0, 2)))
    for system in range(7):
        for corner in ([0.0] * 6, [1.0] * 6, [0.0, 1.0] * 3, [1.0, 0.0] * 3, [0.5] * 6):
            for part in gradient(jnp.array(corner), jnp.int32(system), jnp.float32(300.0)):
                assert jnp.isfinite(part).all(), (system, corner)
