"""Kinetic Monte Carlo on a CPU: one replica in one compiled loop."""

import numba
import numpy as np

from mfal.oracles.hopping.kmc_lattice import KmcLattice
from mfal.oracles.hopping.network import BOLTZMANN

__all__ = ["equilibrate", "initial_sites", "run_blocks"]


def initial_sites(lattice: KmcLattice, ions: int, temperature: float, seed: int) -> np.ndarray:
    """Sites [ions] int32 to start from: drawn without replacement with Boltzmann's weights.

    Near equilibrium, so that little has to be discarded. The draw takes the largest of log weight
    plus Gumbel noise, which is the same.
    """
    rng = np.random.default_rng(seed)
    keys = -lattice.energy[lattice.kind] / (BOLTZMANN * temperature)
    keys = keys + rng.gumbel(size=len(keys))
    return np.argsort(-keys)[:ions].astype(np.int32)


@numba.njit(cache=True, inline="always")
def _next(state):  # type: ignore[no-untyped-def]
    """One step of xorshift64*: Vigna, ACM Trans. Math. Softw. 42, 30 (2016), 10.1145/2845077."""
    state ^= state >> np.uint64(12)
    state ^= state << np.uint64(25)
    state ^= state >> np.uint64(27)
    return state


@numba.njit(cache=True, inline="always")
def _uniform(state):  # type: ignore[no-untyped-def]
    """A number in [0, 1) from the 53 high bits of the scrambled state."""
    mixed = state * np.uint64(2685821657736338717)
    return np.float64(mixed >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@numba.njit(cache=True, inline="always")
def _change(kind, near, pair, holder, source, goal):  # type: ignore[no-untyped-def]
    """Rise of the repulsion, over kT, when the ion on `source` goes to `goal`."""
    change = 0.0
    to, away = pair[kind[goal]], pair[kind[source]]
    for k in range(near.shape[1]):
        other = near[goal, k]
        if other != source and holder[other] >= 0:
            change += to[k]
        if holder[near[source, k]] >= 0:
            change -= away[k]
    return change


@numba.njit(cache=True, nogil=True)
def equilibrate(kind, energy, near, pair, start, sweeps, seed):  # type: ignore[no-untyped-def]
    """Sites [ions] after `sweeps` attempts an ion to put it on any other site (Metropolis).

    Ions change places over any distance, so that pockets and hollows fill as in equilibrium where
    hops alone would take for ever.

    Args:
      kind: [S], as in `KmcLattice`.
      energy: [B], site energies over kT.
      near: [S, A].
      pair: [B, A], repulsions over kT.
      start: [ions], sites filled at the start.
      sweeps: attempts an ion.
      seed: uint64.
    """
    sites, ions = len(kind), len(start)
    holder = np.full(sites + 1, -1, np.int32)
    place = start.copy()
    for ion in range(ions):
        holder[place[ion]] = ion
    state = np.uint64(seed) | np.uint64(1)
    for _ in range(16):
        state = _next(state)
    for _ in range(sweeps * ions):
        state = _next(state)
        ion = int(_uniform(state) * ions)
        state = _next(state)
        goal = int(_uniform(state) * sites)
        if holder[goal] >= 0:
            continue
        source = place[ion]
        change = energy[kind[goal]] - energy[kind[source]]
        change += _change(kind, near, pair, holder, source, goal)
        if change > 0.0:
            state = _next(state)
            if _uniform(state) >= np.exp(-change):
                continue
        holder[source] = -1
        holder[goal] = ion
        place[ion] = goal
    return place


@numba.njit(cache=True, nogil=True, fastmath=True)
def run_blocks(  # type: ignore[no-untyped-def]
    kind, target, table, step, near, pair, start, by_vacancy, fastest, warm_up, blocks, per_block,
    seed,
):  # fmt: skip
    """Runs one replica.

    Args:
      kind: [S], as in `KmcLattice`, and so the next five.
      target: [S, K].
      table: [B, K], cumulative rates of the hops out, or, by vacancy, of the hops in.
      step: [B, K, 3].
      near: [S, A].
      pair: [B, A], repulsions over kT.
      start: [N], sites filled at the start.
      by_vacancy: whether attempts are drawn over vacancies.
      fastest: largest total rate of a site in `table`, 1/s.
      warm_up: attempts to discard.
      blocks: number of blocks.
      per_block: attempts in a block.
      seed: uint64.

    Returns:
      Sum over ions of dr (x) dr [blocks, 3, 3], sum of dr [blocks, 3], hops and their summed
      squared lengths [blocks, 2].
    """
    sites, ions = len(kind), len(start)
    holder = np.full(sites + 1, -1, np.int32)  # the ion on a site; the last stands for none
    repel = near.shape[1] > 0
    for ion in range(ions):
        holder[start[ion]] = ion
    movers = sites - ions if by_vacancy else ions
    place = np.empty(movers, np.int32)  # site of each mover
    if by_vacancy:
        found = 0
        for site in range(sites):
            if holder[site] < 0:
                place[found] = site
                found += 1
    else:
        place[:] = start
    moved = np.zeros((ions, 3))
    squares = np.zeros((blocks, 3, 3))
    drifts = np.zeros((blocks, 3))
    jumps = np.zeros((blocks, 2))
    sense = -1.0 if by_vacancy else 1.0
    state = np.uint64(seed) | np.uint64(1)
    for _ in range(16):
        state = _next(state)
    hops, length = 0, 0.0
    for block in range(-1, blocks):
        attempts = per_block if block >= 0 else warm_up
        hops, length = 0, 0.0
        moved[:] = 0.0
        for _ in range(attempts):
            state = _next(state)
            # One number serves twice: its whole part picks the mover, the rest the hop.
            pick = _uniform(state) * movers
            mover = int(pick)
            level = (pick - mover) * fastest
            site = place[mover]
            sort = kind[site]
            rates = table[sort]
            if level >= rates[-1]:
                continue
            k = 0
            while level >= rates[k]:
                k += 1
            other = target[site, k]
            if (holder[other] >= 0) != by_vacancy:
                continue
            if repel:
                source, goal = (other, site) if by_vacancy else (site, other)
                change = _change(kind, near, pair, holder, source, goal)
                if change > 0.0:
                    state = _next(state)
                    if _uniform(state) >= np.exp(-change):
                        continue
            if by_vacancy:
                ion = holder[other]
                holder[site] = ion
                holder[other] = -1
            else:
                ion = mover
                holder[other] = ion
                holder[site] = -1
            place[mover] = other
            hops += 1
            dx, dy, dz = step[sort, k, 0], step[sort, k, 1], step[sort, k, 2]
            moved[ion, 0] += sense * dx
            moved[ion, 1] += sense * dy
            moved[ion, 2] += sense * dz
            length += dx * dx + dy * dy + dz * dz
        if block >= 0:
            for ion in range(ions):
                for a in range(3):
                    drifts[block, a] += moved[ion, a]
                    for b in range(3):
                        squares[block, a, b] += moved[ion, a] * moved[ion, b]
            jumps[block, 0] = hops
            jumps[block, 1] = length
    return squares, drifts, jumps
