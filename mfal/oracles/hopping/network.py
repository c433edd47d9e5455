"""Diffusion on a periodic network of sites and hops, solved exactly.

Independent walkers on sites with energies E_i, hopping over saddles E_ij with rates
k_ij = nu0 exp(-(E_ij - E_i) / kT), have the symmetric equilibrium flux

    c_ij = pi_i k_ij = nu0 exp(-E_ij / kT) / Z ,        Z = sum_i exp(-E_i / kT)

and the diffusion tensor is the least value of the quadratic form

    e·D·e = min over X of  1/2 sum_ij c_ij [e·(d_ij + X_j - X_i)]^2

over all ordered hops, d_ij being the displacement of the hop (the cell problem of
homogenisation; derived for random barriers in De Masi, Ferrari, Goldstein & Wick, J. Stat. Phys.
55, 787 (1989), doi:10.1007/BF01041608). Because X may take up any shift of the sites, d_ij may be
replaced by the lattice vector that the hop crosses: positions drop out, only whole windings stay.

The minimum is found by eliminating one site after another, as resistors are by the star-mesh rule:
a site with conductances c_i to its neighbours is replaced by conductances c_i c_j / sum c between
each pair of them. Nothing is ever subtracted from a conductance, so each digit is right however
many decades the rates span, where a general linear solver loses the slow ones.
"""

from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np

from mfal.errors import MfalError
from mfal.oracles.bond_valence.percolation import Percolation

__all__ = [
    "ATTEMPT_FREQUENCY",
    "BOLTZMANN",
    "HopNetwork",
    "activation_energy",
    "diffusion_tensor",
    "hop_network",
    "merge_shallow",
    "mobility_tensor",
    "occupancies",
    "open_dimensions",
    "root_between",
]

BOLTZMANN = 8.617333262e-5
"""eV/K, exact in the SI of 2019."""
ATTEMPT_FREQUENCY = 1e13
"""1/s, the usual order of a lattice vibration; enters D and sigma as a factor."""


class HopNetwork(NamedTuple):
    """Sites of one cell and the hops between them; B sites, H hops, each hop listed once."""

    lattice: np.ndarray
    """[3, 3] float64, rows a, b, c in Å."""
    position: np.ndarray
    """[B, 3] float64, fractional."""
    site_energy: np.ndarray
    """[B] float64, eV."""
    hop: np.ndarray
    """[H, 2] int64, the two sites."""
    winding: np.ndarray
    """[H, 3] int64, cell of the second site seen from the first one's."""
    saddle_energy: np.ndarray
    """[H] float64, eV, on the scale of the site energies."""


def hop_network(
    found: Percolation,
    lattice: np.ndarray,
    shape: tuple[int, int, int],
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    shallow: float = 0.0,
) -> HopNetwork:
    """The network that a percolation sweep found.

    Args:
      found: the sweep, with a margin (the hops above the 3-D threshold matter at high temperature).
      lattice: [3, 3] rows, Å.
      shape: of the energy map.
      origin: fractional shift of the map's grid.
      shallow: minima less deep than this (eV) are taken into their neighbours, see `merge_shallow`.
    """
    index = np.stack(np.unravel_index(found.site, shape), axis=-1)
    network = HopNetwork(
        np.asarray(lattice, float),
        np.mod(index / np.asarray(shape) + np.asarray(origin), 1.0),
        found.site_energy,
        found.hop,
        found.winding,
        found.saddle_energy,
    )
    return merge_shallow(network, shallow) if shallow > 0 else network


def merge_shallow(network: HopNetwork, depth: float) -> HopNetwork:
    """Joins each site to a lower one that it reaches over less than `depth` eV.

    A flat or rough map has minima that are no sites of their own: grid noise splits one basin in
    two. Going up through the saddles, a basin whose minimum lies less than `depth` under the saddle
    to a lower basin becomes part of it.
    """
    count = len(network.site_energy)
    parent = np.arange(count)
    shift = np.zeros((count, 3), np.int64)  # cell of the parent seen from the node

    def root(node: int) -> tuple[int, np.ndarray]:
        total = np.zeros(3, np.int64)
        while parent[node] != node:
            total = total + shift[node]
            node = int(parent[node])
        return node, total

    energy = network.site_energy
    order = np.argsort(network.saddle_energy, kind="stable")
    for h in order:
        (a, to_a), (b, to_b) = root(int(network.hop[h, 0])), root(int(network.hop[h, 1]))
        winding = network.winding[h] + to_b - to_a
        if a == b:
            continue
        if energy[a] > energy[b]:
            a, b, winding = b, a, -winding
        if network.saddle_energy[h] - energy[b] < depth:
            parent[b], shift[b] = a, -winding
    roots, totals = zip(*(root(node) for node in range(count)), strict=True) if count else ((), ())
    kept = np.unique(np.array(roots, np.int64))
    number = np.full(count, -1, np.int64)
    number[kept] = np.arange(len(kept))
    hops: dict[tuple[int, ...], float] = {}
    for h in order:
        i, j = int(network.hop[h, 0]), int(network.hop[h, 1])
        a, b = int(number[roots[i]]), int(number[roots[j]])
        winding = network.winding[h] + totals[j] - totals[i]
        if a > b or (a == b and tuple(winding) < (0, 0, 0)):
            a, b, winding = b, a, -winding
        if a != b or winding.any():
            # Ascending in energy: the first is the lowest saddle of this hop.
            hops.setdefault((a, b, *map(int, winding)), float(network.saddle_energy[h]))
    rows = np.array(list(hops), np.int64).reshape(-1, 5)
    return HopNetwork(
        network.lattice,
        network.position[kept],
        energy[kept],
        rows[:, :2],
        rows[:, 2:],
        np.array(list(hops.values()), float),
    )


def open_dimensions(network: HopNetwork, depth: float) -> int:
    """Dimensions, 0 to 3, in which ions run through the crystal without a barrier of `depth` (eV).

    After `merge_shallow` with the same depth: a site that reaches its own images over less is no
    site, as ions do not stay in one cell.
    """
    low = network.saddle_energy - network.site_energy[network.hop[:, 0]] < depth
    low &= network.hop[:, 0] == network.hop[:, 1]
    most = 0
    for site in np.unique(network.hop[low, 0]):
        loops = network.winding[low & (network.hop[:, 0] == site)]
        most = max(most, int(np.linalg.matrix_rank(loops.astype(float))))
    return most


def occupancies(network: HopNetwork, temperature: float, count: float) -> tuple[np.ndarray, float]:
    """Mean occupation of each site, [B], and the chemical potential, eV, at most one ion a site.

    Fermi's distribution f_i = 1 / (1 + exp((E_i - mu) / kT)) with sum f_i = count: exact for ions
    that only exclude each other from sites.

    Raises:
      MfalError: when there are no more sites than ions.
    """
    if not 0 < count < len(network.site_energy):
        raise MfalError(
            f"{count:g} ions do not fit on {len(network.site_energy)} sites",
            "leave exclusion out, or merge fewer shallow sites",
        )
    thermal = BOLTZMANN * temperature
    energy = np.sort(network.site_energy)
    whole = round(count)

    def excess(mu: float) -> float:
        # Ions on the upper sites minus vacancies on the lower ones: where both are rare, the
        # sum of all occupations would lose them to rounding.
        x = (energy - mu) / thermal
        upper, lower = _fermi(x[whole:]).sum(), _fermi(-x[:whole]).sum()
        return float(upper - lower + (whole - count))

    edge = thermal * (50.0 + np.log(len(energy)))
    mu = root_between(excess, energy[0] - edge, energy[-1] + edge)
    return _fermi((network.site_energy - mu) / thermal), mu


def _fermi(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e^x), with all digits where it is small."""
    small = np.exp(-np.abs(x))
    return np.where(x > 0, small, 1.0) / (1.0 + small)


def root_between(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function crosses zero between two ends at which its signs differ, to the last bits.

    Bisection: some sixty calls. SciPy's roots need a fifth of them, but importing `scipy.optimize`
    takes a sixth of the CPU time of scoring one crystal from the command line.

    >>> round(root_between(lambda x: x**3 - 2.0, 0.0, 2.0), 12)
    1.259921049895
    """
    rises = function(high) > function(low)
    while low < (middle := 0.5 * (low + high)) < high:
        if (function(middle) < 0) == rises:
            low = middle
        else:
            high = middle
    return middle


def mobility_tensor(
    network: HopNetwork,
    temperature: float,
    count: float = 1.0,
    exclusion: bool = False,
    attempt_frequency: float = ATTEMPT_FREQUENCY,
) -> np.ndarray:
    """Number of ions times their collective diffusion tensor, [3, 3], Å^2/s.

    Args:
      network: sites and hops.
      temperature: K.
      count: mobile ions in the cell.
      exclusion: at most one ion a site. The flux of a hop becomes <f_i (1 - f_j)> k_ij with
        Fermi's occupations, which is exact where all site energies are equal (then the tensor is
        that of free walkers times 1 - c) and a mean field otherwise. Without it ions pass through
        each other.
      attempt_frequency: 1/s.
    """
    thermal = BOLTZMANN * temperature
    energy, saddle = network.site_energy, network.saddle_energy
    if len(saddle) == 0:
        return np.zeros((3, 3))
    # The largest conductance is scaled to one, and the scale put back at the end in one factor.
    bottom = float(saddle.min())
    weight = np.exp(-(saddle - bottom) / thermal)
    if exclusion:
        _, mu = occupancies(network, temperature, count)
        # f_i (1 - f_j) exp(E_i / kT) = exp(mu / kT) (1 - f_i) (1 - f_j)
        empty = _fermi(-(energy - mu) / thermal)
        weight = weight * empty[network.hop[:, 0]] * empty[network.hop[:, 1]]
        exponent = -(bottom - mu) / thermal
        scale = 1.0
    else:
        lowest = float(energy.min())
        partition = float(np.exp(-(energy - lowest) / thermal).sum())
        exponent = -(bottom - lowest) / thermal
        scale = count / partition
    tensor = _effective_tensor(len(energy), network.hop, network.winding.astype(np.float64), weight)
    return (
        attempt_frequency * scale * np.exp(exponent) * network.lattice.T @ tensor @ network.lattice
    )


def diffusion_tensor(
    network: HopNetwork, temperature: float, attempt_frequency: float = ATTEMPT_FREQUENCY
) -> np.ndarray:
    """Diffusion tensor of one walker, [3, 3], Å^2/s."""
    return mobility_tensor(network, temperature, attempt_frequency=attempt_frequency)


def activation_energy(
    network: HopNetwork, temperature: float, count: float = 1.0, exclusion: bool = False
) -> float:
    """- d ln(trace D) / d(1/kT) at one temperature, eV; infinite where nothing diffuses."""
    step = 1e-3
    logs, inverse = [], []
    for factor in (1.0 - step, 1.0 + step):
        trace = np.trace(mobility_tensor(network, temperature * factor, count, exclusion))
        if trace <= 0:
            return np.inf
        logs.append(np.log(trace))
        inverse.append(1.0 / (BOLTZMANN * temperature * factor))
    return float(-(logs[1] - logs[0]) / (inverse[1] - inverse[0]))


@numba.njit(cache=True)
def _effective_tensor(sites, hop, displacement, weight):  # type: ignore[no-untyped-def]
    """The minimum of sum_h w_h (d_h + X_j - X_i)(x)(...), [3, 3], by star-mesh elimination."""
    conductance = np.zeros((sites, sites))
    mean = np.zeros((sites, sites, 3))  # displacement from row to column
    tensor = np.zeros((3, 3))
    for h in range(len(weight)):
        if weight[h] > 0.0:
            _add(conductance, mean, tensor, hop[h, 0], hop[h, 1], weight[h], displacement[h])
    degree = np.zeros(sites, np.int64)
    for i in range(sites):
        for j in range(sites):
            degree[i] += conductance[i, j] > 0.0
    alive = np.ones(sites, np.bool_)
    neighbour = np.empty(sites, np.int64)
    difference = np.empty(3)
    for _ in range(sites):
        # The site with fewest neighbours: fewest new edges.
        k = -1
        for i in range(sites):
            if alive[i] and (k < 0 or degree[i] < degree[k]):
                k = i
        alive[k] = False
        found = 0
        total = 0.0
        for j in range(sites):
            if conductance[k, j] > 0.0:
                neighbour[found] = j
                found += 1
                total += conductance[k, j]
        for one in range(found):
            i = neighbour[one]
            share = conductance[k, i] / total
            for two in range(one + 1, found):
                j = neighbour[two]
                value = share * conductance[k, j]
                if value > 0.0:
                    for axis in range(3):
                        difference[axis] = mean[k, j, axis] - mean[k, i, axis]
                    if conductance[i, j] == 0.0:
                        degree[i] += 1
                        degree[j] += 1
                    _add(conductance, mean, tensor, i, j, value, difference)
        for one in range(found):
            i = neighbour[one]
            conductance[i, k] = 0.0
            conductance[k, i] = 0.0
            degree[i] -= 1
        degree[k] = 0
    return tensor


@numba.njit(cache=True)
def _add(conductance, mean, tensor, i, j, value, displacement):  # type: ignore[no-untyped-def]
    """Puts an edge in parallel to the one between i and j, if any.

    Two parallel edges c1, c2 with displacements d1, d2 act as one with c1 + c2 and the mean
    displacement, and a constant c1 c2 / (c1 + c2) (d1 - d2)(x)(d1 - d2); a loop is all constant.
    """
    old = conductance[i, j]
    if i == j:
        for a in range(3):
            for b in range(3):
                tensor[a, b] += value * displacement[a] * displacement[b]
        return
    reduced = old * (value / (old + value))
    for a in range(3):
        for b in range(3):
            tensor[a, b] += (
                reduced * (displacement[a] - mean[i, j, a]) * (displacement[b] - mean[i, j, b])
            )
    for a in range(3):
        mean[i, j, a] += (value / (old + value)) * (displacement[a] - mean[i, j, a])
        mean[j, i, a] = -mean[i, j, a]
    conductance[i, j] = old + value
    conductance[j, i] = old + value
