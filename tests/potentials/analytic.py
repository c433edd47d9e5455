"""Potentials with closed forms, as values of the same type as CHGNet."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from mfal.potentials.neighbours import NeighbourTables, neighbour_tables
from mfal.potentials.types import Potential

__all__ = ["argon", "free", "lennard_jones", "oscillators"]


def _distances(positions: jax.Array, cell: jax.Array, n: NeighbourTables) -> jax.Array:
    """[P] Å; beyond any cutoff where there is no pair."""
    first, second = (
        jnp.take(positions, ends, axis=0, mode="fill", fill_value=0) for ends in (n.first, n.second)
    )
    vectors = second + n.image.astype(cell.dtype) @ cell - first
    real = (n.first < len(positions))[:, None]
    vectors = jnp.where(real, vectors, jnp.array([1e3, 0, 0], cell.dtype))
    return jnp.sqrt(jnp.sum(vectors**2, -1))


def _lennard_jones(cutoff, params, positions, cell, species, neighbours):
    """Sum over pairs of 4 epsilon ((sigma/r)^12 - (sigma/r)^6) (1 - (r/R)^2)^3."""
    epsilon, sigma = params
    r = _distances(positions, cell, neighbours)
    sixth = (sigma / r) ** 6
    fade = jnp.where(r < cutoff, (1 - (r / cutoff) ** 2) ** 3, 0)
    return 4 * jnp.sum(epsilon * (sixth**2 - sixth) * fade)


def lennard_jones(epsilon: float, sigma: float, cutoff: float) -> Potential:
    tables = partial(neighbour_tables, cutoff=cutoff, inner=0.1)
    energy = partial(_lennard_jones, cutoff)
    return Potential("Lennard-Jones", "1", (epsilon, sigma), energy, tables, cutoff)


def _no_pairs(positions, cell, species, *, skin=0.0, sizes=None):
    """Tables for potentials without pairs, which never grow old."""
    tables = neighbour_tables(positions, cell, species, cutoff=0.01, inner=0.01, sizes=sizes)
    return tables._replace(skin=jnp.full_like(tables.skin, 1e6))


def _oscillators(params, positions, cell, species, neighbours):
    """k/2 times the squared distances from sites, drift apart."""
    stiffness, sites = params
    present = species[:, None] > 0
    moved = jnp.where(present, positions - sites, 0)
    moved = jnp.where(present, moved - jnp.sum(moved, 0) / jnp.sum(present), 0)
    return stiffness / 2 * jnp.sum(moved**2)


def oscillators(stiffness: float, sites: np.ndarray) -> Potential:
    """Independent oscillators about sites [N, 3], in eV/Å²."""
    return Potential("oscillators", "1", (stiffness, sites), _oscillators, _no_pairs, 0.01)


def _free(params, positions, cell, species, neighbours):
    return jnp.sum(positions * 0)


def free() -> Potential:
    """No forces at all."""
    return Potential("free", "1", (), _free, _no_pairs, 0.01)


def argon(repeats: int, constant: float = 5.3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A cube of face-centred argon: positions, cell, species."""
    cells = np.stack(np.meshgrid(*[np.arange(repeats)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    positions = ((cells + basis) * constant).reshape(-1, 3)
    return positions, np.eye(3) * constant * repeats, np.full(len(positions), 18)
