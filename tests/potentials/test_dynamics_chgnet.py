"""Dynamics with CHGNet in float32: the energy over 10 ps."""

import jax
import numpy as np
import pytest

from mfal.crystals.elements import ATOMIC_MASS
from mfal.potentials.chgnet import chgnet_potential
from mfal.potentials.dynamics import run_dynamics, start_dynamics
from mfal.potentials.integrators import nve
from mfal.potentials.units import ACCELERATION


def lithia():
    """Li2O, its primitive cell: positions, cell, species."""
    cell = 4.66 / 2 * np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])
    fractional = np.array([[0.25] * 3, [0.75] * 3, [0.0] * 3])
    return fractional @ cell, cell, np.array([3, 3, 8])


def beyond_the_energy(positions, velocities, masses, timestep):
    """[F - 4] eV: what velocity Verlet conserves, less the energy, at all moments but two each end.

    h² (v V'' v / 12 - a M a / 24) for a timestep h, by the formula of Baker, Campbell and Hausdorff
    (E. Hairer, C. Lubich & G. Wanner, Acta Numer. 12, 399 (2003), doi:10.1017/S0962492902000144);
    what is left out has the fourth power of h. V'' v is minus the rate of the force, and forces are
    the second differences of positions, which velocity Verlet takes them for.

    Args:
      positions: [F, N, 3] Å at every step.
      velocities: [F, N, 3] Å/fs.
      masses: [N] u.
      timestep: fs.
    """
    acceleration = (positions[2:] - 2 * positions[1:-1] + positions[:-2]) / timestep**2
    rate = (acceleration[2:] - acceleration[:-2]) / (2 * timestep)
    terms = -velocities[2:-2] * rate / 12 - acceleration[1:-1] ** 2 / 24
    return timestep**2 / ACCELERATION * np.einsum("n,fnk->f", masses, terms)


def test_an_oscillator_keeps_what_velocity_verlet_conserves():
    stiffness, mass, timestep = 5.0, 7.0, 4.0
    x, v, rows = 0.3, 0.01, []
    for _ in range(400):
        rows.append((x, v))
        v -= timestep * ACCELERATION / 2 * stiffness * x / mass
        x += timestep * v
        v -= timestep * ACCELERATION / 2 * stiffness * x / mass
    x, v = np.array(rows).T
    energy = mass * v**2 / (2 * ACCELERATION) + stiffness * x**2 / 2
    kept = energy[2:-2] + beyond_the_energy(
        x[:, None, None], v[:, None, None], np.array([mass]), timestep
    )
    assert np.ptp(energy) > 0.02 * energy.mean()
    assert np.ptp(kept) < 0.03 * np.ptp(energy)


@pytest.mark.slow
def test_energy_is_kept_for_ten_picoseconds():
    crystal = lithia()
    masses = ATOMIC_MASS[crystal[2] - 1]
    integrator, key = nve(1.0), jax.random.key(0)
    potential = chgnet_potential()
    state = start_dynamics(potential, [crystal], [masses], integrator, key, temperature=1200.0)
    _, frames = run_dynamics(potential, integrator, state, 10_000, every=1)
    energy = frames.conserved[2:-2, 0].astype(float) / 3
    # The energy itself ripples with the square of the timestep, and the ripples follow the slow
    # exchange between so few modes, which looks like a drift. What velocity Verlet conserves shows
    # what float32 and outdated tables would do.
    motion = (frames.positions[:, 0, :3], frames.velocities[:, 0, :3])
    beyond = beyond_the_energy(*(part.astype(float) for part in motion), masses, 1.0) / 3
    time = np.arange(len(energy)) / len(energy)
    for name, series in (("energy", energy), ("with Verlet's own terms", energy + beyond)):
        drift = np.polyfit(time, series, 1)[0]
        ends = series[-2000:].mean() - series[:2000].mean()
        print(f"{name}: {1e3 * drift:.3f} meV per atom, last two against first two", end=" ")
        print(f"picoseconds {1e3 * ends:.3f}, ripples {1e3 * np.std(series - drift * time):.3f}")
        assert abs(drift) < 1e-3
        assert abs(ends) < 1e-3
    assert np.ptp(frames.kinetic_energy) > 0.05  # it does move
