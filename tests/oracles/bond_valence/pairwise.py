"""Site energies pair by pair in float64: slow, short, and what the kernel is tested against."""

import numpy as np
from scipy.special import erfc

from mfal.oracles.bond_valence.framework import Framework
from mfal.oracles.bond_valence.pair_potentials import CUT_OFF
from mfal.oracles.bond_valence.site_energy import site_energies
from mfal.oracles.bond_valence.tiles import CLOSEST, lattice_shifts


def morse_energy(
    distance: np.ndarray, r_min: np.ndarray, alpha: np.ndarray, d0: np.ndarray
) -> np.ndarray:
    """Energy next to an anion, eV; arguments broadcast."""
    exponential = np.exp(alpha * (r_min - distance))
    return 0.5 * d0 * (exponential * exponential - 2.0 * exponential)


def coulomb_energy(distance: np.ndarray, strength: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Energy next to a cation, eV; arguments broadcast."""
    return strength * erfc(distance * inverse) / distance


def reference_energies(
    framework: Framework, points: np.ndarray, cut_off: float = CUT_OFF
) -> np.ndarray:
    """Energies at fractional coordinates, [N], eV.

    Args:
      framework: the ions that stay.
      points: [N, 3] fractional coordinates.
      cut_off: Å.
    """
    shifts = lattice_shifts(framework.lattice, cut_off, points)
    total = np.zeros(len(points))
    places = points @ framework.lattice
    for position, (r_min, alpha, d0) in zip(
        framework.anion_position, framework.anion_constants, strict=True
    ):
        images = (position + shifts) @ framework.lattice
        distance = np.linalg.norm(places[:, None] - images, axis=-1)
        energy = morse_energy(distance, r_min, alpha, d0)
        total += np.where(distance < cut_off, energy, 0.0).sum(axis=1)
    for position, (strength, inverse) in zip(
        framework.cation_position, framework.cation_constants, strict=True
    ):
        images = (position + shifts) @ framework.lattice
        distance = np.linalg.norm(places[:, None] - images, axis=-1)
        distance = np.maximum(distance, CLOSEST)
        energy = coulomb_energy(distance, strength, inverse)
        total += np.where(distance < cut_off, energy, 0.0).sum(axis=1)
    return total


def grid_energies(
    framework: Framework, shape: tuple[int, int, int], origin: tuple[float, ...] = (0.0, 0.0, 0.0)
) -> np.ndarray:
    """The kernel's energies at (i/n1, j/n2, k/n3) + origin, [n1, n2, n3]: no symmetry is used."""
    points = np.indices(shape).reshape(3, -1).T / np.asarray(shape) + origin
    return site_energies(framework, points).reshape(shape)
