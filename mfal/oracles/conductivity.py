"""Ionic conductivity from a hop network by the Nernst-Einstein relation."""

from typing import NamedTuple

import numpy as np

from mfal.oracles.network import (
    ATTEMPT_FREQUENCY,
    BOLTZMANN,
    HopNetwork,
    activation_energy,
    mobility_tensor,
)

__all__ = ["Conductivity", "conductivity", "nernst_einstein"]

ELEMENTARY_CHARGE = 1.602176634e-19
"""C, exact in the SI of 2019."""


class Conductivity(NamedTuple):
    """What a network conducts at one temperature."""

    tensor: np.ndarray
    """[3, 3] float64, S/cm, Cartesian as the lattice."""
    log10_mean: float
    """log10 of a third of the trace, S/cm: of a powder to first order; -inf where nothing moves."""
    principal: np.ndarray
    """[3] float64, S/cm, principal values, ascending."""
    activation_energy: float
    """eV, of the trace of D at this temperature."""


def conductivity(
    network: HopNetwork,
    count: float,
    temperature: float = 300.0,
    exclusion: bool = False,
    attempt_frequency: float = ATTEMPT_FREQUENCY,
) -> Conductivity:
    """Conductivity of a cell with `count` mobile ions of charge one.

    Args:
      network: sites and hops of the cell.
      count: mobile ions in the cell, from its composition.
      temperature: K.
      exclusion: whether ions exclude each other from sites, see `mobility_tensor`.
      attempt_frequency: 1/s.
    """
    mobility = mobility_tensor(network, temperature, count, exclusion, attempt_frequency)
    volume = float(abs(np.linalg.det(network.lattice)))
    tensor = nernst_einstein(mobility, volume, temperature)
    mean = float(np.trace(tensor)) / 3.0
    return Conductivity(
        tensor,
        float(np.log10(mean)) if mean > 0 else -np.inf,
        np.linalg.eigvalsh(tensor),
        activation_energy(network, temperature, count, exclusion),
    )


def nernst_einstein(mobility: np.ndarray, volume: float, temperature: float) -> np.ndarray:
    """Conductivity in S/cm: sigma = q^2 N D / (V k T) for ions of charge one.

    Args:
      mobility: number of ions in the cell times their collective diffusion coefficient, Å^2/s.
      volume: of the cell, Å^3.
      temperature: K.

    >>> float(round(nernst_einstein(np.array(1e8), 100.0, 300.0), 5))  # one ion, D = 1e-8 cm^2/s
    0.00062
    """
    # Å^2/s is 1e-16 cm^2/s, Å^3 is 1e-24 cm^3, and q / kT is 1 / (kT in eV) per volt.
    return mobility * 1e-16 * ELEMENTARY_CHARGE / (volume * 1e-24 * BOLTZMANN * temperature)
