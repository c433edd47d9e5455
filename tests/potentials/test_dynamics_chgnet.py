"""Dynamics with CHGNet in float32: the energy over 10 ps."""

import jax
import numpy as np
import pytest

from mfal.crystals.elements import ATOMIC_MASS
from mfal.potentials.chgnet import chgnet_potential
from mfal.potentials.dynamics import run_dynamics, start_dynamics
from mfal.potentials.integrators import nve


def lithia():
    """Li2O, its primitive cell: positions, cell, species."""
    cell = 4.66 / 2 * np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])
    fractional = np.array([[0.25] * 3, [0.75] * 3, [0.0] * 3])
    return fractional @ cell, cell, np.array([3, 3, 8])


@pytest.mark.slow
def test_energy_is_kept_for_ten_picoseconds():
    crystal = lithia()
    masses = ATOMIC_MASS[crystal[2] - 1]
    integrator, key = nve(1.0), jax.random.key(0)
    potential = chgnet_potential()
    state = start_dynamics(potential, [crystal], [masses], integrator, key, temperature=1200.0)
    _, frames = run_dynamics(potential, integrator, state, 10_000, every=1)
    energy = frames.conserved[:, 0] / 3
    # The energy walks at random, by .034 meV of all three atoms times the root of the number of
    # steps: 1 meV per atom in ten thousand, less by the root of the number of atoms in a larger
    # cell. It is the timestep's doing: half of it takes the energy a quarter as far (.04 against
    # .19 meV in 3 ps), and float64, if hotter, went farther still (.6). Rounding of positions, and
    # of forces by 2.5e-5 eV/Å, would take it sixty times less far, and the terms of second order
    # that velocity Verlet conserves beside the energy are .03 meV. A drift grows with time.
    time = np.arange(len(energy)) / len(energy)
    drift = np.polyfit(time, energy, 1)[0]
    ripple = np.std(energy - drift * time)
    ends = energy[-2000:].mean() - energy[:2000].mean()
    print(f"drift {1e3 * drift:.3f} meV per atom, ripples {1e3 * ripple:.3f}", end="")
    print(f", last two against first two picoseconds {1e3 * ends:.3f}", end="")
    print(f", at {frames.temperature.mean():.0f} K")
    assert abs(drift) < 1e-3
    assert abs(ends) < 1e-3
    assert np.ptp(frames.kinetic_energy) > 0.05  # it does move
