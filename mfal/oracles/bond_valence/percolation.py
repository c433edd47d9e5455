"""Sites, saddles and percolation thresholds of an energy map on a periodic grid, in one sweep.

Grid points enter in the order of their energy, each joined to those of its 26 neighbours that are
already there. A point without neighbours founds a *basin*: it is a local minimum, a site. Every
other point joins the basin of its lowest neighbour, and carries the *winding* of the path down to
that basin's minimum: the lattice vector (three integers) between the cell the path starts in and
the cell where it ends. Where a point touches two basins, or one basin under two windings, the
lowest such point is the saddle of a *hop*: from site i to site j in the cell `winding` away.

Hops arrive in the order of their energy, so a union-find over basins, each node carrying its
winding to the root, is Kruskal's algorithm for percolation: a hop that closes a loop adds the
loop's winding to the lattice of its component, and the d-dimensional threshold is the energy at
which the rank of some component's lattice first reaches d. This is exact on the grid. It counts
windings in whole numbers, never modulo the size of a supercell, so interpenetrating nets and
tunnels that wind are told apart.
"""

from typing import NamedTuple

import numba
import numpy as np

__all__ = ["CEILING", "Percolation", "percolate"]

CEILING = 10.0
"""eV above the minimum of the map at which the sweep ends: nothing that needs more percolates."""


class Percolation(NamedTuple):
    """What the sweep found; B sites, H hops."""

    threshold: np.ndarray
    """[3] float64, eV on the map's scale: energies at which the 1-, 2- and 3-dimensional networks
    close; infinite where they don't."""
    barrier: np.ndarray
    """[3] float64, eV: thresholds above the lowest minimum of the map."""
    own_barrier: np.ndarray
    """[3] float64, eV: thresholds above the lowest minimum of the component that percolates,
    less than `barrier` where the map's lowest minimum lies in a pocket that takes no part."""
    site: np.ndarray
    """[B] int64, flat grid index of each minimum, ascending in energy."""
    site_energy: np.ndarray
    """[B] float64, eV."""
    hop: np.ndarray
    """[H, 2] int64, sites that a hop joins."""
    winding: np.ndarray
    """[H, 3] int64, cell of the second site seen from the first one's."""
    saddle: np.ndarray
    """[H] int64, flat grid index of the saddle."""
    saddle_energy: np.ndarray
    """[H] float64, eV, ascending."""


def percolate(energy: np.ndarray, margin: float = 0.0, ceiling: float = CEILING) -> Percolation:
    """Sweeps an energy map from its lowest point up.

    Args:
      energy: [n1, n2, n3], eV, periodic, without doubled end planes. Where it is not finite
        nothing passes.
      margin: eV to go on beyond the 3-D threshold; hops that the sweep does not reach are not
        listed. Infinite: all up to the ceiling.
      ceiling: eV above the minimum where the sweep ends in any case.

    >>> energy = np.full((4, 4, 4), np.inf)
    >>> energy[:, 0, 0] = 0.0, 0.3, 0.1, 0.5  # a tunnel along the first axis
    >>> percolate(energy).barrier
    array([0.5, inf, inf])
    """
    shape = np.asarray(energy.shape, np.int64)
    flat = np.ascontiguousarray(energy).ravel()
    if flat.dtype not in (np.float32, np.float64):
        flat = flat.astype(np.float64)
    finite = np.isfinite(flat)
    if not finite.any():
        nowhere = np.full(3, np.inf)
        empty = np.zeros(0, np.int64)
        return Percolation(
            nowhere, nowhere, nowhere, empty, np.zeros(0), np.zeros((0, 2), np.int64),
            np.zeros((0, 3), np.int64), empty, np.zeros(0),
        )  # fmt: skip
    lowest = float(flat[finite].min())
    reachable = np.flatnonzero(finite & (flat <= lowest + ceiling))
    order = reachable[np.argsort(flat[reachable], kind="stable")]
    threshold, component_minimum, site, hop, packed, saddle = _sweep(
        flat, order, shape, float(margin)
    )
    return Percolation(
        threshold,
        threshold - lowest,
        np.where(np.isfinite(threshold), threshold - component_minimum, np.inf),
        site,
        flat[site].astype(np.float64),
        hop,
        _unpack(packed),
        saddle,
        flat[saddle].astype(np.float64),
    )


# A winding is packed into one integer, w1 + w2 2^20 + w3 2^40, so that windings add and compare
# as plain numbers. Components stay far below 2^19: a path can't cross more cells than points.
_BITS = 20


def _unpack(packed: np.ndarray) -> np.ndarray:
    """Packed windings [H] as integers [H, 3]."""
    half, size = 1 << (_BITS - 1), 1 << _BITS
    first = (packed + half) % size - half
    rest = (packed - first) >> _BITS
    second = (rest + half) % size - half
    return np.stack([first, second, (rest - second) >> _BITS], axis=-1)


@numba.njit(cache=True)
def _sweep(flat, order, shape, margin):  # type: ignore[no-untyped-def]
    n1, n2, n3 = shape[0], shape[1], shape[2]
    basin = np.full(len(flat), -1, np.int32)
    down = np.zeros(len(flat), np.int64)  # packed winding from a point to its basin's minimum
    # Sites and hops, grown as needed.
    site = np.empty(256, np.int64)
    sites = 0
    hop = np.empty((1024, 2), np.int64)
    winding = np.empty(1024, np.int64)
    saddle = np.empty(1024, np.int64)
    hops = 0
    table = np.full(4096, -1, np.int64)  # open addressing over the hops known
    # Union-find over sites; roots know the rank and basis of their lattice of loops.
    parent = np.empty(256, np.int64)
    to_parent = np.empty(256, np.int64)
    minimum = np.empty(256, np.float64)
    rank = np.zeros(256, np.int64)
    basis = np.zeros((256, 3, 3), np.int64)
    threshold = np.full(3, np.inf)
    component_minimum = np.full(3, np.nan)
    reached = 0
    stop = np.inf
    touching = np.empty(26, np.int64)
    wrap = np.empty(26, np.int64)
    for v in order:
        energy = flat[v]
        if energy > stop:
            break
        i = v // (n2 * n3)
        j = (v // n3) % n2
        k = v % n3
        found = 0
        lowest = -1
        for di in range(-1, 2):
            ui = i + di
            wi = 0
            if ui < 0:
                ui += n1
                wi = -1
            elif ui >= n1:
                ui -= n1
                wi = 1
            for dj in range(-1, 2):
                uj = j + dj
                wj = 0
                if uj < 0:
                    uj += n2
                    wj = -1
                elif uj >= n2:
                    uj -= n2
                    wj = 1
                for dk in range(-1, 2):
                    uk = k + dk
                    wk = 0
                    if uk < 0:
                        uk += n3
                        wk = -1
                    elif uk >= n3:
                        uk -= n3
                        wk = 1
                    u = (ui * n2 + uj) * n3 + uk
                    if basin[u] < 0 or (di == 0 and dj == 0 and dk == 0):
                        continue
                    touching[found] = u
                    wrap[found] = wi + (wj << 20) + (wk << 40)
                    if lowest < 0 or flat[u] < flat[touching[lowest]]:
                        lowest = found
                    found += 1
        if found == 0:
            if sites == len(site):
                site = _grow(site)
                parent = _grow(parent)
                to_parent = _grow(to_parent)
                minimum = _grow(minimum)
                rank = _grow(rank)
                basis = _grow(basis)
            site[sites] = v
            parent[sites] = sites
            to_parent[sites] = 0
            minimum[sites] = energy
            rank[sites] = 0
            basin[v] = sites
            sites += 1
            # Along an axis of one point a cell is its own neighbour: a loop at the site itself.
            for axis in range(3):
                if shape[axis] == 1:
                    w = np.int64(1) << (20 * axis)
                    if hops == len(hop):
                        hop, winding, saddle = _grow(hop), _grow(winding), _grow(saddle)
                        table = _rehash(2 * len(table), hop, winding, hops)
                    if _insert(table, hop, winding, hops, basin[v], basin[v], w):
                        saddle[hops] = v
                        hops += 1
                        reached, stop = _join(
                            parent, to_parent, minimum, rank, basis, basin[v], basin[v], w,
                            energy, threshold, component_minimum, reached, stop, margin,
                        )  # fmt: skip
            continue
        own = basin[touching[lowest]]
        own_down = down[touching[lowest]] + wrap[lowest]
        basin[v] = own
        down[v] = own_down
        for t in range(found):
            u = touching[t]
            other = basin[u]
            w = down[u] + wrap[t] - own_down
            if other == own and w == 0:
                continue
            a, b = np.int64(own), np.int64(other)
            if a > b:
                a, b, w = b, a, -w
            elif a == b and w < 0:
                w = -w
            if hops == len(hop):
                hop, winding, saddle = _grow(hop), _grow(winding), _grow(saddle)
                table = _rehash(2 * len(table), hop, winding, hops)
            if _insert(table, hop, winding, hops, a, b, w):
                saddle[hops] = v
                hops += 1
                reached, stop = _join(
                    parent, to_parent, minimum, rank, basis, a, b, w,
                    energy, threshold, component_minimum, reached, stop, margin,
                )  # fmt: skip
    return (
        threshold,
        component_minimum,
        site[:sites].copy(),
        hop[:hops].copy(),
        winding[:hops].copy(),
        saddle[:hops].copy(),
    )


@numba.njit(cache=True)
def _grow(array):  # type: ignore[no-untyped-def]
    """The same array with room for twice as much."""
    grown = np.empty((2 * array.shape[0], *array.shape[1:]), array.dtype)
    grown[: array.shape[0]] = array
    return grown


@numba.njit(cache=True)
def _slot(size, a, b, w):  # type: ignore[no-untyped-def]
    """Where the search for a hop begins; multipliers as in Fibonacci hashing."""
    mixed = a * np.int64(-7046029254386353131) + b * np.int64(-4417276706812531889)
    mixed += w * np.int64(1609587929392839161)
    mixed ^= mixed >> 29
    return mixed & (size - 1)


@numba.njit(cache=True)
def _insert(table, hop, winding, hops, a, b, w):  # type: ignore[no-untyped-def]
    """Writes the hop at row `hops` unless it is known; whether it was new."""
    slot = _slot(len(table), a, b, w)
    while table[slot] >= 0:
        known = table[slot]
        if hop[known, 0] == a and hop[known, 1] == b and winding[known] == w:
            return False
        slot = (slot + 1) & (len(table) - 1)
    table[slot] = hops
    hop[hops, 0] = a
    hop[hops, 1] = b
    winding[hops] = w
    return True


@numba.njit(cache=True)
def _rehash(size, hop, winding, hops):  # type: ignore[no-untyped-def]
    table = np.full(size, -1, np.int64)
    for row in range(hops):
        slot = _slot(size, hop[row, 0], hop[row, 1], winding[row])
        while table[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        table[slot] = row
    return table


@numba.njit(cache=True)
def _root(parent, to_parent, node):  # type: ignore[no-untyped-def]
    """Root of a node and the packed winding from the node to it; shortens the path."""
    total = np.int64(0)
    root = node
    while parent[root] != root:
        total += to_parent[root]
        root = parent[root]
    rest = total
    while parent[node] != root and node != root:
        above, step = parent[node], to_parent[node]
        parent[node] = root
        to_parent[node] = rest
        rest -= step
        node = above
    return root, total


@numba.njit(cache=True)
def _join(  # type: ignore[no-untyped-def]
    parent, to_parent, minimum, rank, basis, a, b, w,
    energy, threshold, component_minimum, reached, stop, margin,
):  # fmt: skip
    """One step of Kruskal's algorithm: takes the hop a -> b + w into the components."""
    root_a, down_a = _root(parent, to_parent, a)
    root_b, down_b = _root(parent, to_parent, b)
    # b's minimum in cell w reaches its root in cell w + down_b; a's reaches its own in down_a.
    loop = w + down_b - down_a
    if root_a == root_b:
        root = root_a
        if loop != 0:
            _add_to_lattice(rank, basis, root, loop)
    else:
        root = root_a
        parent[root_b] = root_a
        to_parent[root_b] = -loop
        minimum[root_a] = min(minimum[root_a], minimum[root_b])
        for row in range(rank[root_b]):
            x, y, z = basis[root_b, row]
            packed = x + (y << 20) + (z << 40)
            _add_to_lattice(rank, basis, root_a, packed)
    while reached < rank[root]:
        threshold[reached] = energy
        component_minimum[reached] = minimum[root]
        reached += 1
        if reached == 3:
            stop = energy + margin
    return reached, stop


@numba.njit(cache=True)
def _add_to_lattice(rank, basis, root, packed):  # type: ignore[no-untyped-def]
    """Keeps up to three linearly independent windings of a component."""
    if rank[root] == 3:
        return
    x = ((packed + (1 << 19)) & ((1 << 20) - 1)) - (1 << 19)
    rest = (packed - x) >> 20
    y = ((rest + (1 << 19)) & ((1 << 20) - 1)) - (1 << 19)
    z = (rest - y) >> 20
    rows = basis[root]
    if rank[root] == 1:
        a, b, c = rows[0, 0], rows[0, 1], rows[0, 2]
        if a * y == b * x and a * z == c * x and b * z == c * y:
            return
    elif rank[root] == 2:
        normal_x = rows[0, 1] * rows[1, 2] - rows[0, 2] * rows[1, 1]
        normal_y = rows[0, 2] * rows[1, 0] - rows[0, 0] * rows[1, 2]
        normal_z = rows[0, 0] * rows[1, 1] - rows[0, 1] * rows[1, 0]
        if normal_x * x + normal_y * y + normal_z * z == 0:
            return
    rows[rank[root], 0] = x
    rows[rank[root], 1] = y
    rows[rank[root], 2] = z
    rank[root] += 1
