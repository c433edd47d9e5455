"""Nequix, an equivariant network in JAX, as a potential.

T. Koker et al., "Training a foundation model for materials on a budget", arXiv:2508.16067 (2025).
The package `nequix` holds the code; its weights are files of their own (`.nqx`), which its users
download. Compiling it takes minutes on a CPU, so it is meant for accelerators.
"""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mfal.errors import MfalError
from mfal.potentials.neighbours import NeighbourTables, Sizes, neighbour_tables
from mfal.potentials.types import Array, Potential

__all__ = ["nequix_potential"]


def nequix_potential(weights: str | Path) -> Potential:
    """Nequix as a potential, in float32.

    Args:
      weights: a `.nqx` file.

    Raises:
      MfalError: where `nequix` isn't installed or the file can't be read.
    """
    try:
        import equinox
        from nequix.model import load_model
    except ImportError as error:
        raise MfalError(f"nequix can't be imported ({error})", "pip install nequix") from error
    try:
        model, config = load_model(str(weights))
        numbers = sorted(int(number) for number in config["atomic_numbers"])
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise MfalError(f"{weights}: no weights of Nequix ({error})", "give a .nqx file") from error
    params, static = equinox.partition(model, equinox.is_array)
    row = np.full(max(numbers) + 1, -1, np.int32)
    row[numbers] = np.arange(len(numbers))
    form = _Form(static, tuple(row.tolist()), float(config["cutoff"]))
    return Potential(
        name="Nequix",
        version=Path(weights).stem,
        params=params,
        energy=partial(_energy, form),
        neighbours=partial(_neighbours, form),
        cutoff=form.cutoff,
    )


class _Form:
    """All of a model but its weights; equal to itself alone, so that `jit` can tell."""

    def __init__(self, static: Any, row: tuple[int, ...], cutoff: float) -> None:
        self.static, self.row, self.cutoff = static, row, cutoff


def _neighbours(
    form: _Form,
    positions: Array,
    cell: Array,
    species: Array,
    *,
    skin: float = 0.0,
    sizes: Sizes | None = None,
) -> NeighbourTables:
    known = [number for number, row in enumerate(form.row) if row >= 0]
    unknown = np.setdiff1d(np.asarray(species), [0, *known])
    if len(unknown):
        raise MfalError(
            f"these weights know no element of number {unknown.tolist()}",
            "leave crystals with other elements out",
        )
    # Nequix has no angles: an inner cutoff that no pair reaches keeps their tables empty.
    return neighbour_tables(
        positions, cell, species, cutoff=form.cutoff, inner=1e-3, skin=skin, sizes=sizes
    )


def _energy(
    form: _Form,
    params: Any,
    positions: jax.Array,
    cell: jax.Array,
    species: jax.Array,
    neighbours: NeighbourTables,
) -> jax.Array:
    import equinox

    model = equinox.combine(params, form.static)
    n = neighbours
    here, there = jnp.concatenate([n.first, n.second]), jnp.concatenate([n.second, n.first])
    image = jnp.concatenate([n.image, -n.image]).astype(cell.dtype)
    real = here < len(positions)
    here, partner = jnp.where(real, here, 0), jnp.where(real, there, 0)
    vectors = positions[partner] + image @ cell - positions[here]
    # An absent edge lies beyond the cutoff, where the network's weights vanish.
    beyond = jnp.array([2 * form.cutoff, 0, 0], positions.dtype)
    vectors = jnp.where(real[:, None], vectors, beyond)
    kinds = jnp.asarray(form.row, jnp.int32)[species]
    site = model.node_energies(vectors, jnp.maximum(kinds, 0), partner, here)[:, 0]
    return jnp.sum(jnp.where(species > 0, site, 0))
