"""Energies, forces and stresses of crystals as they stand, from the host."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from mfal.potentials.neighbours import NeighbourTables, bucket
from mfal.potentials.types import (
    Array,
    Energy,
    Potential,
    energy_forces_stress,
    over_crystals,
    pad_atoms,
)

__all__ = ["Evaluation", "evaluate_crystals"]


class Evaluation(NamedTuple):
    """What a potential says about one crystal; numpy, absent atoms cut off."""

    energy: float
    """eV, of all atoms."""
    forces: np.ndarray
    """[N, 3] eV/Å."""
    stress: np.ndarray
    """[3, 3] eV/Å³; positive where the crystal pulls inwards."""
    magnetic_moments: np.ndarray | None
    """[N] Bohr magnetons, magnitudes; None where the potential has none."""


def evaluate_crystals(
    potential: Potential,
    crystals: Sequence[tuple[Array, Array, Array]],
    dtype: Any = None,
) -> list[Evaluation]:
    """Evaluate crystals, those of about one size in one call.

    Args:
      potential: for example `chgnet_potential()`.
      crystals: (positions [N, 3] Å, cell [3, 3] Å, species [N] atomic numbers) of each.
      dtype: float32, or float64 under `jax.enable_x64`; by default JAX's float.

    Returns:
      An evaluation of each, in order.
    """
    groups: dict[int, list[int]] = {}
    for index, (_, _, species) in enumerate(crystals):
        groups.setdefault(bucket(len(species)), []).append(index)
    found: dict[int, Evaluation] = {}
    for atoms, members in groups.items():
        batch = pad_atoms([crystals[index] for index in members], atoms, dtype)
        tables = potential.neighbours(*batch)
        answers = jax.tree.map(
            np.asarray,
            _evaluate(
                potential.energy, potential.magnetic_moments, potential.params, *batch, tables
            ),
        )
        for row, index in enumerate(members):
            count = len(crystals[index][2])
            (energy, forces, stress), moments = jax.tree.map(
                lambda leaf, row=row: leaf[row], answers
            )
            found[index] = Evaluation(
                float(energy),
                forces[:count],
                stress,
                None if moments is None else moments[:count],
            )
    return [found[index] for index in range(len(crystals))]


@partial(jax.jit, static_argnums=(0, 1))
def _evaluate(
    energy: Energy,
    moments: Energy | None,
    params: Any,
    positions: jax.Array,
    cells: jax.Array,
    species: jax.Array,
    neighbours: NeighbourTables,
) -> tuple:
    def one(*crystal: Any) -> tuple:
        answer = energy_forces_stress(energy, params, *crystal)
        return tuple(answer), None if moments is None else moments(params, *crystal)

    return over_crystals(one)(positions, cells, species, neighbours)
