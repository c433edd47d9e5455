"""Both ways to ASE: a potential as an ASE calculator, and any ASE calculator as a potential.

    atoms.calc = as_calculator(chgnet_potential())          # ASE's tools by a potential of ours
    potential = from_calculator(MACECalculator(...))        # our tools by a potential of others

The second is a `Potential` like any other, so relaxation and dynamics take it as they are. Its
energy calls the calculator on the host, one crystal after another: it needs no neighbour tables and
cannot be differentiated twice, so it makes no phonons.
"""

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from mfal.errors import MfalError
from mfal.potentials.neighbours import NeighbourTables, Sizes, neighbour_tables, outdated, sizes_of
from mfal.potentials.types import Array, Potential, energy_forces_stress

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

__all__ = ["as_calculator", "from_calculator"]

_REMEDY = "pip install ase"


def as_calculator(potential: Potential, *, skin: float = 0.5, dtype: Any = None) -> "Calculator":
    """An ASE calculator: energy (eV), forces (eV/Å), stress (eV/Å³, Voigt), magnetic moments.

    It keeps neighbour tables with a skin, and makes new ones where atoms have moved too far. All
    three directions count as periodic; a molecule needs a box with vacuum wider than the cutoff.

    Args:
      potential: an interatomic potential.
      skin: Å, of the neighbour tables.
      dtype: of the computation; by default JAX's float.

    Raises:
      MfalError: where ASE isn't installed.
    """
    try:
        return _calculator_class()(potential, skin, dtype)
    except ImportError as error:
        raise MfalError("ASE isn't installed", _REMEDY) from error


@lru_cache(maxsize=1)
def _calculator_class() -> Any:
    from ase.calculators.calculator import Calculator, all_changes

    class PotentialCalculator(Calculator):
        """A potential's answers about one crystal at a time."""

        implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

        def __init__(self, potential: Potential, skin: float, dtype: Any) -> None:
            super().__init__()
            self.potential, self.skin, self.dtype = potential, skin, dtype
            self.tables: NeighbourTables | None = None
            self.species: np.ndarray = np.zeros(0, int)
            if potential.magnetic_moments is not None:
                own = PotentialCalculator.implemented_properties
                self.implemented_properties = [*own, "magmoms"]

        def calculate(
            self,
            atoms: Any = None,
            properties: Any = ("energy",),
            system_changes: Any = all_changes,
        ) -> None:
            super().calculate(atoms, properties, system_changes)
            dtype = np.dtype(jnp.result_type(float) if self.dtype is None else self.dtype)
            asked: Any = self.atoms  # a copy of what was given, made by ASE
            kinds = np.asarray(asked.numbers)
            crystal = jax.device_put(
                (
                    asked.positions.astype(dtype),
                    asked.cell.array.astype(dtype),
                    kinds.astype(np.int32),
                )
            )
            self.renew(crystal, kinds)
            answer = _answer(self.potential.energy, self.potential.params, *crystal, self.tables)
            energy, forces, stress = (np.asarray(part, np.float64) for part in answer)
            self.results = {
                "energy": float(energy),
                "free_energy": float(energy),
                "forces": forces,
                "stress": stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
            }
            if self.potential.magnetic_moments is not None and "magmoms" in properties:
                moments = _moments(
                    self.potential.magnetic_moments, self.potential.params, *crystal, self.tables
                )
                self.results["magmoms"] = np.asarray(moments, np.float64)

        def renew(self, crystal: Any, kinds: np.ndarray) -> None:
            """Make new tables where the old ones may not hold, at the old sizes if they suffice."""
            positions, cell, species = crystal
            if (
                self.tables is not None
                and np.array_equal(kinds, self.species)
                and self.tables.positions.dtype == positions.dtype
                and not bool(outdated(self.tables, positions, cell))
            ):
                return
            same = self.tables is not None and len(kinds) == len(self.species)
            sizes: Sizes | None = sizes_of(self.tables) if same and self.tables else None
            self.tables = self.potential.neighbours(
                positions, cell, species, skin=self.skin, sizes=sizes
            )
            self.species = kinds.copy()

    return PotentialCalculator


@partial(jax.jit, static_argnums=0)
def _answer(energy: Any, params: Any, *crystal: Any) -> Any:
    return energy_forces_stress(energy, params, *crystal)


@partial(jax.jit, static_argnums=0)
def _moments(moments: Any, params: Any, *crystal: Any) -> Any:
    return moments(params, *crystal)


def from_calculator(
    calculator: "Calculator", name: str | None = None, version: str = "unknown"
) -> Potential:
    """A potential that asks an ASE calculator, on the host.

    Args:
      calculator: one that gives energies, forces and, for cells to relax, stresses: of MACE,
        SevenNet, ORB, a DFT code.
      name: by default the calculator's class.
      version: for records.

    Raises:
      MfalError: where ASE isn't installed, here or when it is asked.
    """
    try:
        import ase  # noqa: F401
    except ImportError as error:
        raise MfalError("ASE isn't installed", _REMEDY) from error
    return Potential(
        name=type(calculator).__name__ if name is None else name,
        version=version,
        params=(),
        energy=partial(_host_energy, _Asked(calculator)),
        neighbours=_no_tables,
        cutoff=0.0,
    )


class _Asked:
    """A calculator and how it is asked; equal to itself alone, so that `jit` can tell."""

    def __init__(self, calculator: "Calculator") -> None:
        self.calculator = calculator

    def __call__(
        self, positions: np.ndarray, cell: np.ndarray, species: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Energy [] eV, forces [N, 3] eV/Å and stress [3, 3] eV/Å³ in the positions' dtype."""
        from ase import Atoms
        from ase.calculators.calculator import PropertyNotImplementedError

        positions, cell, species = (np.asarray(part) for part in (positions, cell, species))
        dtype, present = positions.dtype, species > 0
        forces, stress = np.zeros(positions.shape), np.zeros((3, 3))
        if not present.any():
            return np.zeros((), dtype), forces.astype(dtype), stress.astype(dtype)
        atoms = Atoms(
            numbers=species[present],
            positions=positions[present].astype(np.float64),
            cell=cell.astype(np.float64),
            pbc=True,
        )
        atoms.calc = self.calculator
        energy = atoms.get_potential_energy()
        forces[present] = atoms.get_forces()
        try:
            stress = atoms.get_stress(voigt=False)
        except (PropertyNotImplementedError, NotImplementedError):
            # Only a relaxation of the cell needs it, and that must not go on without.
            stress = np.full((3, 3), np.nan)
        return np.asarray(energy, dtype), forces.astype(dtype), np.asarray(stress, dtype)


def _no_tables(
    positions: Array,
    cell: Array,
    species: Array,
    *,
    skin: float = 0.0,
    sizes: Sizes | None = None,
) -> NeighbourTables:
    """Tables of nobody, which hold for ever: calculators find neighbours themselves."""
    none = np.zeros_like(np.asarray(species))
    tables = neighbour_tables(positions, cell, none, cutoff=1e-3, inner=1e-3, sizes=sizes)
    return tables._replace(skin=jnp.full_like(tables.skin, jnp.inf))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _host_energy(
    asked: _Asked,
    params: Any,
    positions: jax.Array,
    cell: jax.Array,
    species: jax.Array,
    neighbours: NeighbourTables,
) -> jax.Array:
    return _call(asked, positions, cell, species)[0]


def _call(
    asked: _Asked, positions: jax.Array, cell: jax.Array, species: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    shapes = tuple(
        jax.ShapeDtypeStruct(shape, positions.dtype) for shape in ((), positions.shape, (3, 3))
    )
    return jax.pure_callback(asked, shapes, positions, cell, species, vmap_method="sequential")


def _host_forward(
    asked: _Asked,
    params: Any,
    positions: jax.Array,
    cell: jax.Array,
    species: jax.Array,
    neighbours: NeighbourTables,
) -> Any:
    energy, forces, stress = _call(asked, positions, cell, species)
    return energy, (params, positions, cell, species, neighbours, forces, stress)


def _host_backward(asked: _Asked, kept: Any, cotangent: jax.Array) -> Any:
    """The gradient for positions, and for the cell at fixed positions.

    The energy depends on a strain of everything by V sigma = x^T dE/dx + h^T dE/dh, with lattice
    vectors h as rows; so dE/dh = h^-T (V sigma - x^T dE/dx). It is symmetric as energies don't
    change in a rotation.
    """
    params, positions, cell, species, neighbours, forces, stress = kept
    volume = jnp.abs(jnp.linalg.det(cell))
    by_cell = jnp.linalg.inv(cell).T @ (volume * stress + positions.T @ forces)
    return (
        *(jax.tree.map(jnp.zeros_like, params),),
        -cotangent * forces,
        cotangent * by_cell,
        np.zeros(species.shape, jax.dtypes.float0),
        jax.tree.map(_no_gradient, neighbours),
    )


def _no_gradient(leaf: jax.Array) -> Any:
    if jnp.issubdtype(leaf.dtype, jnp.floating):
        return jnp.zeros_like(leaf)
    return np.zeros(leaf.shape, jax.dtypes.float0)


_host_energy.defvjp(_host_forward, _host_backward)
