"""Harmonic vibrations: force constants by differentiating forces, and the frequencies they give.

    vibrations = find_phonons(potential, positions, cell, species, masses, repeats=(2, 2, 2))
    vibrations.frequencies, vibrations.imaginary

Force constants are central differences of the forces in a supercell for displacements of `STEP`. At
the wave vectors q that are commensurate with the supercell the dynamical matrix follows without any
interpolation,

    D_ij(q) = sum_l Phi(0i, lj) exp(2 pi i q.l) / sqrt(m_i m_j),     D(q) e = (2 pi f)^2 e,

with l the lattice vectors of the supercell and m the masses (M. Born and K. Huang, Dynamical Theory
of Crystal Lattices, Oxford 1954, ch. V). Meant for relaxed crystals: a frequency squared below zero
says that the crystal lowers its energy by following that mode.

Why not exact second derivatives, which JAX would give? CHGNet's angles are arccos((1 - 1e-6) u.v):
at a straight angle, as in rock salt, the energy has a kink that is rounded over some thousandths of
an Å, so its curvature at the very minimum says nothing of any vibration. In LiF it makes the
optical mode at q = 0 imaginary (-1.2 THz); differences over 0.01 Å, phonopy's default, give 7.0.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.crystals.operations import Operations, no_symmetry
from mfal.errors import MfalError
from mfal.potentials.phonon_symmetry import find_equivalence, spread
from mfal.potentials.types import Array, Energy, Potential, pad_atoms
from mfal.potentials.units import ACCELERATION

__all__ = ["STEP", "Phonons", "find_phonons", "repeats_for_width"]

STEP = 0.01
"""Å by which each atom is moved, to either side."""


class Phonons(NamedTuple):
    """Vibrations of a crystal at the wave vectors of a supercell. Arrays of numpy, float64."""

    wave_vectors: np.ndarray
    """[Q, 3] in reciprocal lattice vectors, each component in [0, 1); the first is zero."""
    frequencies: np.ndarray
    """[Q, 3 n] THz, rising at each wave vector; negative where they are imaginary."""
    modes: np.ndarray
    """[Q, 3 n, n, 3] complex: of each frequency the displacements times the root of the masses."""
    force_constants: np.ndarray
    """[n, 3, L, n, 3] eV/Å², of atoms of the first cell with those of all L cells."""
    repeats: tuple[int, int, int]

    @property
    def imaginary(self) -> int:
        """How many frequencies are imaginary, see `count_imaginary`."""
        return self.count_imaginary()

    def count_imaginary(self, tolerance: float = 0.1) -> int:
        """How many frequencies lie below -tolerance (THz).

        Translations have frequency zero but for rounding, so the tolerance leaves them out.
        """
        return int(np.sum(self.frequencies < -tolerance))


def repeats_for_width(cell: Array, width: float = 8.0) -> tuple[int, int, int]:
    """How often to repeat a cell so that each of its three widths, across its faces, is enough.

    Args:
      cell: [3, 3] Å, lattice vectors as rows.
      width: Å.
    """
    # The width across two faces is the reciprocal of the reciprocal vector's length.
    widths = 1 / np.linalg.norm(np.linalg.inv(np.asarray(cell, np.float64)), axis=0)
    a, b, c = (int(np.ceil(width / own - 1e-9)) for own in widths)
    return a, b, c


def find_phonons(
    potential: Potential,
    positions: Array,
    cell: Array,
    species: Array,
    masses: Array,
    *,
    repeats: tuple[int, int, int] | None = None,
    operations: Operations | None = None,
    dtype: Any = np.float64,
    report: Callable[[int, int], None] | None = None,
) -> Phonons:
    """Frequencies of a crystal at the wave vectors of a supercell.

    Args:
      potential: an interatomic potential.
      positions: [n, 3] Å, relaxed.
      cell: [3, 3] Å, lattice vectors as rows.
      species: [n] atomic numbers.
      masses: [n] u.
      repeats: cells of the supercell along each lattice vector; by default enough for a width of
        8 Å (`repeats_for_width`).
      operations: of the crystal's space group (`mfal.crystals.operations.find_operations`): then
        one atom of each kind of site is displaced and stands for the others.
      dtype: of the forces; their differences near zero need float64.
      report: called with atoms done and atoms in all.

    Raises:
      MfalError: for masses or repeats that make no sense, or a crystal that the potential refuses.
    """
    atoms = len(species)
    if repeats is None:
        repeats = repeats_for_width(cell)
    if np.shape(masses) != (atoms,) or not np.all(np.asarray(masses) > 0):
        raise MfalError(
            f"masses of shape {np.shape(masses)} for {atoms} atoms", "give a positive one for each"
        )
    if min(repeats) < 1:
        raise MfalError(f"repeats {repeats}", "give positive numbers of cells")
    symmetry = no_symmetry(atoms) if operations is None else operations
    equivalence = find_equivalence(symmetry, repeats)
    chosen = equivalence.representatives
    rows = _force_constants(
        potential, *_supercell(positions, cell, species, repeats), chosen, dtype, report
    )
    constants = spread(
        dict(zip(chosen, rows, strict=True)),
        equivalence,
        symmetry,
        np.asarray(positions, np.float64),
        np.asarray(cell, np.float64),
        repeats,
    )
    lattice = _cells(repeats)
    # From rows (l, j) to l and j.
    constants = constants.reshape(atoms, 3, len(lattice), atoms, 3)
    constants = _symmetric(constants, repeats)
    wave_vectors = lattice / np.array(repeats)
    phases = np.exp(2j * np.pi * wave_vectors @ lattice.T)
    roots = np.sqrt(np.asarray(masses, np.float64))
    matrices = np.einsum("ql,ialjb->qiajb", phases, constants)
    matrices = matrices / (roots[:, None, None, None] * roots[:, None])
    matrices = matrices.reshape(len(wave_vectors), 3 * atoms, 3 * atoms)
    # The transposed constants are equal up to rounding, which eigh must not see.
    matrices = (matrices + np.conj(np.swapaxes(matrices, 1, 2))) / 2
    values, vectors = np.linalg.eigh(matrices)
    angular = np.sqrt(np.abs(values) * ACCELERATION)
    frequencies = np.sign(values) * angular / (2 * np.pi) * 1e3
    modes = np.swapaxes(vectors, 1, 2).reshape(len(wave_vectors), 3 * atoms, atoms, 3)
    return Phonons(wave_vectors, frequencies, modes, constants, repeats)


def _cells(repeats: tuple[int, int, int]) -> np.ndarray:
    """[L, 3] int, the lattice vectors of the cells, the last component fastest."""
    axes = np.meshgrid(*(np.arange(n) for n in repeats), indexing="ij")
    return np.stack(axes, -1).reshape(-1, 3)


def _supercell(
    positions: Array, cell: Array, species: Array, repeats: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, cell and species of the supercell, cell by cell, the first at the origin."""
    cell = np.asarray(cell, np.float64)
    shifts = _cells(repeats) @ cell
    places = (shifts[:, None] + np.asarray(positions, np.float64)).reshape(-1, 3)
    return places, np.array(repeats)[:, None] * cell, np.tile(np.asarray(species), len(shifts))


def _force_constants(
    potential: Potential,
    positions: np.ndarray,
    cell: np.ndarray,
    species: np.ndarray,
    atoms: Sequence[int],
    dtype: Any,
    report: Callable[[int, int], None] | None,
) -> np.ndarray:
    """[len(atoms), 3, N, 3] float64 eV/Å², of some atoms with all."""
    rows = []
    with jax.enable_x64(np.dtype(dtype) == np.float64):
        places, box, kinds = (
            part[0] for part in pad_atoms([(positions, cell, species)], dtype=dtype)
        )
        tables = potential.neighbours(places, box, kinds, skin=3 * STEP)
        for done, atom in enumerate(atoms, 1):
            made = _differences(
                potential.energy, potential.params, places, box, kinds, tables, jnp.asarray(atom)
            )
            rows.append(np.asarray(made, np.float64)[:, : len(species)])
            if report is not None:
                report(done, len(atoms))
    return np.stack(rows)


@partial(jax.jit, static_argnames="energy")
def _differences(
    energy: Energy,
    params: Any,
    positions: jax.Array,
    cell: jax.Array,
    species: jax.Array,
    neighbours: Any,
    atom: jax.Array,
) -> jax.Array:
    """[3, N, 3] eV/Å², how the gradient changes as an atom moves in each direction."""

    def gradient(move: tuple[jax.Array, jax.Array]) -> jax.Array:
        direction, sign = move
        moved = positions.at[atom, direction].add(sign * STEP)
        return jax.grad(energy, argnums=1)(params, moved, cell, species, neighbours)

    directions, signs = jnp.tile(jnp.arange(3), 2), jnp.repeat(jnp.array([1.0, -1.0]), 3)
    # One after the other: 180 atoms at once take over 4 GiB in double precision.
    found = jax.lax.map(gradient, (directions, signs.astype(positions.dtype)))
    return (found[:3] - found[3:]) / (2 * STEP)


def _symmetric(constants: np.ndarray, repeats: tuple[int, int, int]) -> np.ndarray:
    """The nearest constants that are symmetric and don't resist a shift of the whole crystal.

    Forces sum to zero, so what is left to take away, evenly, is what a shift of all atoms would
    change of one atom's force; then Phi(0i, lj) and Phi(0j, -li) get their mean.
    """
    atoms, _, cells = constants.shape[:3]
    rows = np.einsum("ialjb->iab", constants)[:, :, None, None, :]
    constants = constants - rows / (atoms * cells)
    columns = np.einsum("ialjb->ajb", constants)[None, :, None]
    constants = constants - columns / (atoms * cells)
    opposite = np.ravel_multi_index(tuple((-_cells(repeats) % np.array(repeats)).T), repeats)
    return (constants + np.einsum("ialjb->jblia", constants)[:, :, opposite]) / 2
