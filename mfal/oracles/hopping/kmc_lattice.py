"""The sites of a supercell as the tables that a kinetic Monte Carlo kernel reads."""

from typing import NamedTuple

import numpy as np

from mfal.oracles.hopping.network import ATTEMPT_FREQUENCY, BOLTZMANN, HopNetwork

__all__ = ["KmcLattice", "kmc_lattice"]


class KmcLattice(NamedTuple):
    """Hops out of and into every site; S sites, at most K hops each, B sites of the network."""

    kind: np.ndarray
    """[S] int32, the site of the network that each site of the supercell is a copy of."""
    target: np.ndarray
    """[S, K] int32, where hop k out of a site leads; hop k into it comes from there as well."""
    out: np.ndarray
    """[B, K] float64, cumulative rates of the hops out, 1/s; constant after the last one."""
    back: np.ndarray
    """[B, K] float64, cumulative rates of the same hops taken inwards, 1/s."""
    step: np.ndarray
    """[B, K, 3] float64, displacement of a hop out, Å."""
    energy: np.ndarray
    """[B] float64, site energies, eV."""
    adjacent: np.ndarray
    """[S, A] int32, distinct sites that one hop joins to each, padded with -1."""
    volume: float
    """Å^3, of the supercell."""


def kmc_lattice(
    network: HopNetwork,
    repeat: tuple[int, int, int],
    temperature: float,
    attempt_frequency: float = ATTEMPT_FREQUENCY,
) -> KmcLattice:
    """Tables for `repeat` cells along each axis at a temperature (K).

    A hop from a site to its own image in the supercell is left out: it would lead onto itself.
    Choose `repeat` larger than the longest winding.
    """
    cells = np.asarray(repeat)
    count, num_cells = len(network.site_energy), int(np.prod(cells))
    outward: list[list[tuple[int, np.ndarray, float]]] = [[] for _ in range(count)]
    for (i, j), winding, saddle in zip(
        network.hop, network.winding, network.saddle_energy, strict=True
    ):
        if i == j and not np.mod(winding, cells).any():
            continue
        outward[i].append((int(j), winding, float(saddle)))
        outward[j].append((int(i), -winding, float(saddle)))
    width = max((len(hops) for hops in outward), default=0) or 1
    target = np.zeros((count, num_cells, width), np.int32)
    rates = np.zeros((2, count, width))
    step = np.zeros((count, width, 3))
    thermal = BOLTZMANN * temperature
    index = np.stack(np.unravel_index(np.arange(num_cells), repeat), axis=-1)
    for i, hops in enumerate(outward):
        for k, (j, winding, saddle) in enumerate(hops):
            cell = np.ravel_multi_index(tuple(np.mod(index + winding, cells).T), repeat)
            target[i, :, k] = j * num_cells + cell
            rates[0, i, k] = np.exp(-(saddle - network.site_energy[i]) / thermal)
            rates[1, i, k] = np.exp(-(saddle - network.site_energy[j]) / thermal)
            step[i, k] = (network.position[j] + winding - network.position[i]) @ network.lattice
    flat = target.reshape(count * num_cells, width)
    used = np.repeat(rates[0] > 0, num_cells, axis=0)
    neighbours = [np.unique(row[mask]) for row, mask in zip(flat, used, strict=True)]
    widest = max(len(row) for row in neighbours) or 1
    adjacent = np.full((len(flat), widest), -1, np.int32)
    for site, row in enumerate(neighbours):
        row = row[row != site]
        adjacent[site, : len(row)] = row
    cumulative = attempt_frequency * np.cumsum(rates, axis=-1)
    return KmcLattice(
        np.repeat(np.arange(count, dtype=np.int32), num_cells),
        flat,
        cumulative[0],
        cumulative[1],
        step,
        network.site_energy,
        adjacent,
        float(abs(np.linalg.det(network.lattice))) * num_cells,
    )
