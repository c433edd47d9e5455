"""Kinetic Monte Carlo in JAX: all replicas at once, one attempt of each a step.

Meant for accelerators, where thousands of replicas fill the vector units; on a CPU the loop of
`mfal.oracles.hopping.kmc_kernel` is far ahead. The two share nothing but the tables, and are tested
against each other.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.oracles.hopping.kmc_lattice import KmcLattice

__all__ = ["run_replicas"]


class _Tables(NamedTuple):
    kind: jax.Array
    target: jax.Array
    table: jax.Array  # cumulative rates over the fastest site's total
    step: jax.Array
    adjacent: jax.Array
    repulsion: jax.Array


class _State(NamedTuple):
    holder: jax.Array  # [S], ion on a site or -1
    place: jax.Array  # [M], sites of the movers
    moved: jax.Array  # [N, 3]
    jumps: jax.Array  # [2]


def run_replicas(
    lattice: KmcLattice,
    starts: np.ndarray,
    by_vacancy: bool,
    fastest: float,
    warm_up: int,
    blocks: int,
    per_block: int,
    repulsion: float,
    seed: int,
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """As `run_blocks`, for starts [R, N]; one tuple for each replica.

    float32: displacements are reset with each block, and stay exact to some 1e-6.
    """
    replicas, ions = starts.shape
    sites = len(lattice.kind)
    holder = np.full((replicas, sites), -1, np.int32)
    np.put_along_axis(holder, starts, np.arange(ions, dtype=np.int32)[None], axis=1)
    place = starts
    if by_vacancy:
        place = np.stack([np.flatnonzero(row < 0) for row in holder]).astype(np.int32)
    rates = (lattice.back if by_vacancy else lattice.out) / fastest
    tables = _Tables(
        jnp.asarray(lattice.kind),
        jnp.asarray(lattice.target),
        jnp.asarray(rates, jnp.float32),
        jnp.asarray(lattice.step, jnp.float32) * (-1.0 if by_vacancy else 1.0),
        jnp.asarray(lattice.adjacent),
        jnp.float32(repulsion),
    )
    state = _State(
        jnp.asarray(holder),
        jnp.asarray(place),
        jnp.zeros((replicas, ions, 3), jnp.float32),
        jnp.zeros((replicas, 2), jnp.float32),
    )
    keys = jax.random.split(jax.random.key(seed), blocks + 1)
    repel = repulsion != 0.0
    results = []
    for block in range(blocks + 1):
        attempts = warm_up if block == 0 else per_block
        if attempts:
            block_keys = jax.random.split(keys[block], replicas)
            state = _run(tables, state, block_keys, attempts, by_vacancy, repel)
        moved = np.asarray(state.moved, np.float64)
        squares = np.einsum("rna,rnb->rab", moved, moved)
        results.append((squares, moved.sum(axis=1), np.asarray(state.jumps, np.float64)))
        state = state._replace(moved=jnp.zeros_like(state.moved), jumps=jnp.zeros_like(state.jumps))
    squares, drifts, jumps = (np.stack([r[k] for r in results[1:]], axis=1) for k in range(3))
    return [(squares[r], drifts[r], jumps[r]) for r in range(replicas)]


@partial(jax.jit, static_argnames=("by_vacancy", "repel"))
def _run(
    tables: _Tables,
    state: _State,
    keys: jax.Array,
    attempts: int,
    by_vacancy: bool,
    repel: bool,
) -> _State:
    def replica(state: _State, key: jax.Array) -> _State:
        def attempt(number: jax.Array, state: _State) -> _State:
            return _attempt(tables, state, jax.random.fold_in(key, number), by_vacancy, repel)

        return jax.lax.fori_loop(0, attempts, attempt, state)

    return jax.vmap(replica)(state, keys)


def _attempt(
    tables: _Tables, state: _State, key: jax.Array, by_vacancy: bool, repel: bool
) -> _State:
    """One attempt of one replica."""
    which, level, luck = jax.random.uniform(key, (3,))
    mover = jnp.minimum((which * len(state.place)).astype(jnp.int32), len(state.place) - 1)
    site = state.place[mover]
    kind = tables.kind[site]
    rates = tables.table[kind]
    k = jnp.minimum((level >= rates).sum(), len(rates) - 1)
    other = tables.target[site, k]
    possible = (level < rates[-1]) & ((state.holder[other] >= 0) == by_vacancy)
    if repel:
        source, goal = (other, site) if by_vacancy else (site, other)

        def pairs(at: jax.Array, without: jax.Array) -> jax.Array:
            near = tables.adjacent[at]
            return ((near >= 0) & (near != without) & (state.holder[near] >= 0)).sum()

        change = pairs(goal, source) - pairs(source, goal)
        possible &= luck < jnp.exp(-tables.repulsion * change)
    ion = state.holder[other] if by_vacancy else mover
    from_, to = (other, site) if by_vacancy else (site, other)
    step = jnp.where(possible, tables.step[kind, k], 0.0)
    holder = state.holder.at[from_].set(jnp.where(possible, -1, state.holder[from_]))
    holder = holder.at[to].set(jnp.where(possible, ion, state.holder[to]))
    ion = jnp.maximum(ion, 0)  # an attempt that fails moves no ion; any row will do
    jump = jnp.stack([possible.astype(jnp.float32), (step**2).sum()])
    return _State(
        holder,
        state.place.at[mover].set(jnp.where(possible, other, site)),
        state.moved.at[ion].add(step),
        state.jumps + jump,
    )
