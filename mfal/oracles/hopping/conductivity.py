"""Ionic conductivity from a hop network by the Nernst-Einstein relation."""

from typing import NamedTuple

import numpy as np

from mfal.oracles.hopping.network import (
    ATTEMPT_FREQUENCY,
    BOLTZMANN,
    HopNetwork,
    activation_energy,
    mobility_tensor,
    root_between,
)

__all__ = [
    "Conductivity",
    "conductivity",
    "nernst_einstein",
    "powder_average",
    "slowest_axis",
]

ELEMENTARY_CHARGE = 1.602176634e-19
"""C, exact in the SI of 2019."""


class Conductivity(NamedTuple):
    """What a network conducts at one temperature."""

    tensor: np.ndarray
    """[3, 3] float64, S/cm, Cartesian as the lattice."""
    log10_mean: float
    """log10 of a third of the trace, S/cm: of a powder to first order; -inf where nothing moves."""
    log10_powder: float
    """log10 of what a powder of such crystals conducts, S/cm, see `powder_average`."""
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
    least_vacancy: float = 0.0,
) -> Conductivity:
    """Conductivity of a cell with `count` mobile ions of charge one.

    Args:
      network: sites and hops of the cell.
      count: mobile ions in the cell, from its composition.
      temperature: K.
      exclusion: whether ions exclude each other from sites, see `mobility_tensor`.
      attempt_frequency: 1/s.
      least_vacancy: share of the sites that is taken to be empty where exclusion would leave less.
    """
    if exclusion:
        count = min(count, (1.0 - least_vacancy) * len(network.site_energy))
    mobility = mobility_tensor(network, temperature, count, exclusion, attempt_frequency)
    volume = float(abs(np.linalg.det(network.lattice)))
    tensor = nernst_einstein(mobility, volume, temperature)
    mean = float(np.trace(tensor)) / 3.0
    principal = np.maximum(np.linalg.eigvalsh(tensor), 0.0)
    powder = powder_average(principal)
    return Conductivity(
        tensor,
        float(np.log10(mean)) if mean > 0 else -np.inf,
        float(np.log10(powder)) if powder > 0 else -np.inf,
        principal,
        activation_energy(network, temperature, count, exclusion),
    )


def powder_average(principal: np.ndarray) -> float:
    """Conductivity of a dense polycrystal of randomly turned grains, in the unit of `principal`.

    The effective medium in which a spherical grain of any orientation changes nothing on average:
    sum_i (sigma_i - s) / (sigma_i + 2 s) = 0. Grains that conduct along one axis only block each
    other: s is then zero, and for planes half of the conductivity in the plane. Helsing & Helte,
    J. Appl. Phys. 69, 3583 (1991), doi:10.1063/1.348500.

    >>> round(powder_average(np.array([0.0, 1.0, 1.0])), 9)
    0.5
    """
    largest = float(principal.max())
    if largest <= 0 or (principal > 0).sum() < 2:
        return 0.0
    scaled = principal / largest

    def excess(log: float) -> float:
        s = np.exp(log)
        return float(((scaled - s) / (scaled + 2 * s)).sum())

    # Well below the second axis the first two terms are one each, and the third at least -1/2.
    low = float(np.log(np.sort(scaled)[1])) - 5.0
    return largest * float(np.exp(root_between(excess, low, 0.1)))


def slowest_axis(principal: np.ndarray) -> float:
    """The least principal value: of the direction in which ions have to cross every barrier.

    Channels and planes of a crystal that is fast in one or two directions are blocked by defects
    and by the neighbouring grains, so that measured conductivities follow the third direction (in
    OBELiX, `experiments/hop_network.py`).

    >>> slowest_axis(np.array([1e-9, 1.0, 1.0]))
    1e-09
    """
    return max(float(principal.min()), 0.0)


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
