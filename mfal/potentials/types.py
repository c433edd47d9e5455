"""What a potential is: a value made of parameters and pure functions, and what is asked of it.

    potential = chgnet_potential()
    positions, cell, species = pad_atoms([(positions, cell, species), ...])     # host
    neighbours = potential.neighbours(positions, cell, species, skin=0.5)       # host
    answer = jax.vmap(partial(energy_forces_stress, potential.energy, potential.params))(
        positions, cell, species, neighbours)                                   # traces

Functions take one crystal; the caller `vmap`s them over several of a common size. Absent atoms
have species 0 and come last; they feel no force and add no energy. Energies are in eV, lengths in
Å, forces in eV/Å, stresses in eV/Å³ (times `GPA` in GPa). Computation is in the dtype of the
positions: float32 by default, float64 under `jax.enable_x64` with float64 positions.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from mfal.errors import MfalError
from mfal.potentials.neighbours import NeighbourTables, Sizes, bucket

__all__ = [
    "GPA",
    "Array",
    "Energy",
    "EnergyForcesStress",
    "MakeNeighbours",
    "Potential",
    "energy_forces_stress",
    "over_crystals",
    "pad_atoms",
]

GPA = 160.2176634
"""GPa in one eV/Å³: the elementary charge, 1.602176634e-19 C exactly in the SI (9th brochure,
2019), times 1e30 m⁻³ and 1e-9."""

Array: TypeAlias = np.ndarray | jax.Array

Energy: TypeAlias = Callable[[Any, jax.Array, jax.Array, jax.Array, NeighbourTables], jax.Array]
"""(params, positions [N, 3], cell [3, 3], species [N], neighbours) -> [] eV."""


class MakeNeighbours(Protocol):
    """Makes the tables that `energy` needs, on the host, in numpy."""

    def __call__(
        self,
        positions: Array,
        cell: Array,
        species: Array,
        *,
        skin: float = 0.0,
        sizes: Sizes | None = None,
    ) -> NeighbourTables:
        """The tables for one crystal, or for a batch at common sizes where there is a batch axis.

        Args:
          positions: [N, 3] or [crystals, N, 3] Å.
          cell: [3, 3] or [crystals, 3, 3] Å, lattice vectors as rows.
          species: [N] or [crystals, N] atomic numbers; 0 marks absent atoms, which come last.
          skin: Å beyond the cutoffs; with it the tables hold for a while
            (`mfal.potentials.neighbours.outdated`).
          sizes: padded sizes to keep where they suffice; larger ones are taken where they don't.

        Raises:
          MfalError: for a cell or positions that make no crystal, or an element that the
            potential doesn't know.
        """


class Potential(NamedTuple):
    """An interatomic potential. Two potentials of one kind share their functions, not `params`."""

    name: str
    version: str
    params: Any
    """The weights, a pytree of arrays: an argument of the functions, so nothing is compiled anew
    for others."""
    energy: Energy
    """Total energy in eV; hashable, so it may be a static argument of `jax.jit`. It can be
    differentiated in reverse mode any number of times."""
    neighbours: MakeNeighbours
    cutoff: float
    """Å."""
    magnetic_moments: Energy | None = None
    """Magnitudes in Bohr magnetons, [N], from the arguments of `energy`; None where the potential
    has none."""


class EnergyForcesStress(NamedTuple):
    """What `energy_forces_stress` returns for one crystal."""

    energy: jax.Array
    """[] eV, of all atoms."""
    forces: jax.Array
    """[N, 3] eV/Å, minus the gradient."""
    stress: jax.Array
    """[3, 3] eV/Å³, dE/dstrain over the volume: positive where the crystal pulls inwards."""


def energy_forces_stress(
    energy: Energy,
    params: Any,
    positions: jax.Array,
    cell: jax.Array,
    species: jax.Array,
    neighbours: NeighbourTables,
) -> EnergyForcesStress:
    """Energy, forces and stress of one crystal, by differentiation. Traces.

    The strain deforms positions and cell together, x (1 + strain).
    """

    def strained(positions: jax.Array, strain: jax.Array) -> jax.Array:
        deformation = jnp.eye(3, dtype=cell.dtype) + strain
        return energy(params, positions @ deformation, cell @ deformation, species, neighbours)

    value, (gradient, by_strain) = jax.value_and_grad(strained, argnums=(0, 1))(
        positions, jnp.zeros_like(cell)
    )
    volume = jnp.abs(jnp.linalg.det(cell))
    return EnergyForcesStress(value, -gradient, (by_strain + by_strain.T) / (2 * volume))


def over_crystals(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of one crystal for a batch of them: a leading axis on arguments and results.

    On accelerators it is `jax.vmap`. A CPU takes one crystal after another, since batched gathers
    cost a third more there than plain ones (42 atoms of Li7P3S11, energy and forces: 48 against
    36 ms of CPU time a step) and several crystals at once gain nothing.
    """
    once = jax.jit(function)  # both ways are traced, whatever the platform: this traces one

    def one_by_one(*batch: Any) -> Any:
        return jax.lax.map(lambda one: once(*one), batch)

    def over(*batch: Any) -> Any:
        if len(jax.tree.leaves(batch)[0]) == 1:
            alone = function(*jax.tree.map(lambda leaf: leaf[0], batch))
            return jax.tree.map(lambda leaf: leaf[None], alone)
        return jax.lax.platform_dependent(*batch, cpu=one_by_one, default=jax.vmap(once))

    return over


def pad_atoms(
    crystals: Sequence[tuple[Array, Array, Array]],
    atoms: int | None = None,
    dtype: Any = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Stack crystals of different sizes into one batch.

    Args:
      crystals: (positions [n, 3] Å, cell [3, 3] Å, species [n] atomic numbers) of each.
      atoms: atoms to pad to; by default the next bucket above the largest crystal.
      dtype: of positions and cells; by default JAX's float.

    Returns:
      Positions [crystals, N, 3], cells [crystals, 3, 3], species [crystals, N] int32.
    """
    if not crystals:
        raise MfalError("no crystal to stack", "give at least one")
    largest = max(len(species) for _, _, species in crystals)
    size = bucket(largest) if atoms is None else atoms
    if size < largest:
        raise MfalError(f"{largest} atoms do not fit into {size}", "pad to more atoms")
    places = np.zeros((len(crystals), size, 3))
    kinds = np.zeros((len(crystals), size), np.int32)
    for row, (positions, _, species) in enumerate(crystals):
        places[row, : len(species)] = positions
        kinds[row, : len(species)] = species
    cells = np.stack([np.asarray(cell, np.float64) for _, cell, _ in crystals])
    dtype = np.dtype(jnp.result_type(float) if dtype is None else dtype)
    return jax.device_put((places.astype(dtype), cells.astype(dtype), kinds))
