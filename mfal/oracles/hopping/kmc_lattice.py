"""The sites of a supercell as the tables that a kinetic Monte Carlo kernel reads."""

from typing import NamedTuple

import numpy as np
from scipy.special import erfc

from mfal.oracles.bond_valence.pair_potentials import coulomb_parameters
from mfal.oracles.bond_valence.tiles import lattice_shifts
from mfal.oracles.hopping.network import ATTEMPT_FREQUENCY, BOLTZMANN, HopNetwork

__all__ = ["KmcLattice", "Repulsion", "ion_repulsion", "kmc_lattice"]

REACH = 2.7
"""Screening lengths beyond which a repulsion is left out: erfc(2.7) = 1.3e-4, for Li+ 2e-4 eV at
5.1 Å."""


class Repulsion(NamedTuple):
    """The screened Coulomb energy of two mobile ions, strength · erfc(R · inverse) / R."""

    strength: float
    """eV Å."""
    inverse: float
    """1/Å, of the screening length."""


def ion_repulsion(mobile: str = "Li", mobile_charge: int = 1) -> Repulsion:
    """The repulsion of two mobile ions in the force field that the site energies come from.

    Like charges of softBV repel by k q1 q2 / sqrt(n1 n2) · erfc(R / (f (r1 + r2))) / R, whichever
    they are (Chen, Wong & Adams, Acta Cryst. B 75, 18 (2019), doi:10.1107/S2052520618015718; see
    `mfal.oracles.bond_valence.pair_potentials` for k, f and the radii). So two mobile ions do by
    the very expression with which the framework's cations act on them. Nothing is fitted.

    >>> ion_repulsion().strength  # eV Å: 14.4 over the principal quantum number of lithium
    7.2
    """
    return Repulsion(*coulomb_parameters(mobile, mobile_charge, mobile, mobile_charge))


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
    near: np.ndarray
    """[S, A] int32, sites within reach of a site's ion, one entry for each image; padded with S.
    A = 0 without repulsion."""
    pair: np.ndarray
    """[B, A] float64, the repulsion of the ions on the two, eV; 0 for padding."""
    volume: float
    """Å^3, of the supercell."""


def kmc_lattice(
    network: HopNetwork,
    repeat: tuple[int, int, int],
    temperature: float,
    attempt_frequency: float = ATTEMPT_FREQUENCY,
    repulsion: Repulsion | None = None,
) -> KmcLattice:
    """Tables for `repeat` cells along each axis at a temperature (K), with or without repulsion.

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
    near, pair = _near_tables(network, repeat, repulsion)
    cumulative = attempt_frequency * np.cumsum(rates, axis=-1)
    return KmcLattice(
        np.repeat(np.arange(count, dtype=np.int32), num_cells),
        target.reshape(count * num_cells, width),
        cumulative[0],
        cumulative[1],
        step,
        network.site_energy,
        near,
        pair,
        float(abs(np.linalg.det(network.lattice))) * num_cells,
    )


def _near_tables(
    network: HopNetwork, repeat: tuple[int, int, int], repulsion: Repulsion | None
) -> tuple[np.ndarray, np.ndarray]:
    """`near` and `pair` of `KmcLattice`; an ion's own images act on it everywhere alike."""
    count, num_cells = len(network.site_energy), int(np.prod(repeat))
    if repulsion is None or not repulsion.strength:
        return np.zeros((count * num_cells, 0), np.int32), np.zeros((count, 0))
    reach = REACH / repulsion.inverse
    shifts = lattice_shifts(network.lattice, reach, network.position)
    images = network.position[:, None] + shifts  # [B, shifts, 3]
    rows = []
    for i in range(count):
        distance = np.linalg.norm((images - network.position[i]) @ network.lattice, axis=-1)
        j, s = np.nonzero(distance < reach)
        own = (j == i) & ~np.mod(shifts[s], repeat).any(axis=1)
        j, s = j[~own], s[~own]
        far = distance[j, s]
        rows.append((j, shifts[s], repulsion.strength * erfc(far * repulsion.inverse) / far))
    widest = max(len(j) for j, _, _ in rows)
    near = np.full((count, num_cells, widest), count * num_cells, np.int32)
    pair = np.zeros((count, widest))
    index = np.stack(np.unravel_index(np.arange(num_cells), repeat), axis=-1)
    for i, (j, shift, energy) in enumerate(rows):
        cell = np.mod(index[:, None] + shift, repeat)  # [cells, A, 3]
        flat = np.ravel_multi_index(tuple(np.moveaxis(cell, -1, 0)), repeat)
        near[i, :, : len(j)] = j * num_cells + flat
        pair[i, : len(j)] = energy
    return near.reshape(count * num_cells, widest), pair
