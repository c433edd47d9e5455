"""Dynamics with CHGNet in float32: the energy over 10 ps."""

import jax
import numpy as np
import pytest

from mfal.crystals.elements import ATOMIC_MASS
from mfal.potentials.chgnet import chgnet_potential
from mfal.potentials.dynamics import run_dynamics, start_dynamics
from mfal.potentials.integrators import nve


def lithia():
    """Li2O, its conventional cell: positions, cell, species."""
    cell = 4.66 * np.eye(3)
    centres = np.array([[0.0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    fractional = np.concatenate([centres + 0.25, centres + 0.75, centres])
    return fractional @ cell, cell, np.repeat([3, 3, 8], 4)


@pytest.mark.slow
def test_energy_is_kept_for_ten_picoseconds():
    crystal = lithia()
    masses = ATOMIC_MASS[crystal[2] - 1]
    integrator, key = nve(1.0), jax.random.key(0)
    potential = chgnet_potential()
    state = start_dynamics(potential, [crystal], [masses], integrator, key, temperature=1200.0)
    _, frames = run_dynamics(potential, integrator, state, 10_000, every=1)
    energy = frames.conserved[:, 0] / 12
    # CHGNet's energy has rounded kinks at straight angles (`mfal.potentials.phonons`), of which an
    # antifluorite has many: at each the timestep leaves an error, and the energy walks at random.
    # The three atoms of a primitive cell, from one start at 1 fs, went 1.7 meV per atom here and
    # 1.5 by chgnet's own code with ASE's velocity Verlet; at half the timestep .5. Per atom a walk
    # falls with the root of the number of atoms, and a drift would not: hence twelve of them.
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
