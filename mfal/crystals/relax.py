"""Atoms moved to a minimum of the bond-valence energy, within their space group and cell.

The energy of a cell is the sum over pairs of `mfal.crystals.bond_valence` (Morse wells between
unlike charges, screened repulsion between like ones) up to a cut-off, plus, if asked for, a penalty
on bond-valence sums that differ from the charges:

    E = sum_i [ 1/2 sum_j phi(r_ij) + w (sum_j exp(alpha (r0 - r_ij)) - |q_i|)^2 ]

Everything is a function of the free coordinates of the occupied Wyckoff positions, so symmetry is
kept by construction; the sum over i runs over one atom of each orbit, times its multiplicity. Many
arrangements of the same cell are relaxed at once, by FIRE (Bitzek et al., Phys. Rev. Lett. 97,
170201 (2006), doi:10.1103/PhysRevLett.97.170201) with a fixed number of steps.

Shapes are padded to a few sizes, so that a new crystal rarely compiles anything.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.crystals.bond_valence import PairTable, pair_table
from mfal.crystals.orbits import wyckoff_operations
from mfal.errors import MfalError

__all__ = ["CUTOFF", "Arrangement", "Orbit", "Relaxation", "atoms", "evaluate", "relax"]

CUTOFF = 6.0
"""Å; the energy is switched off smoothly over the last ångström."""

MAX_SPECIES = 12
_ATOM_SIZES = (8, 16, 32, 64, 128, 256, 512)
_ORBIT_SIZES = (8, 16, 32, 64, 128, 256, 512)
_IMAGE_SIZES = (27, 75, 147, 343, 729)
_BATCH_SIZES = (1, 4, 16)
# Pair terms of one batch: bounds memory (some ten arrays of this many float32).
_BATCH_PAIRS = 8_000_000

_MAX_MOVE = 0.15  # Å a step
_MAX_FORCE = 10.0  # eV/Å, so that overlapping atoms do not fly apart


class Orbit(NamedTuple):
    """Atoms of one species on one Wyckoff position."""

    species: int
    """Index into the species that the arrangement is made of."""
    position: int
    """Wyckoff position, 0 for letter a."""
    free: np.ndarray
    """[3] float64, the (x, y, z) of the position's first operation; fixed coordinates count not."""


Arrangement = tuple[Orbit, ...]
"""Contents of a cell, up to its lattice and space group."""


class Relaxation(NamedTuple):
    """Relaxed arrangements, in the order of their starts."""

    arrangements: list[Arrangement]
    energy: np.ndarray
    """[n] float64, eV per conventional cell, without the penalty on valence sums. NaN where the
    arithmetic overflowed."""
    instability: np.ndarray
    """[n] float64, global instability index, valence units: the root mean square over atoms of
    the difference between valence sum and charge (Salinas-Sanchez et al., J. Solid State Chem.
    100, 201 (1992), doi:10.1016/0022-4596(92)90094-C)."""
    force: np.ndarray
    """[n] float64, largest remaining force on an atom, eV/Å, penalty included."""


def atoms(space_group_number: int, arrangement: Arrangement) -> tuple[np.ndarray, np.ndarray]:
    """Species index [N] and fractional coordinates [N, 3] in [0, 1), orbit after orbit."""
    species, coordinates = [], []
    for orbit in arrangement:
        linear, shift = wyckoff_operations(space_group_number, orbit.position)
        coordinates.append((linear @ np.asarray(orbit.free, float) + shift) % 1.0)
        species.append(np.full(len(shift), orbit.species))
    return np.concatenate(species), np.concatenate(coordinates)


def relax(
    space_group_number: int,
    cell: np.ndarray,
    species: Sequence[tuple[str, float]],
    arrangements: Sequence[Arrangement],
    *,
    steps: int = 120,
    valence_weight: float = 0.0,
) -> Relaxation:
    """Relax the free coordinates of each arrangement, its cell held.

    Args:
      space_group_number: 1 to 230; the Wyckoff positions are its.
      cell: [3, 3] rows a, b, c, Å, of the standard conventional cell.
      species: (symbol, charge) of each kind of ion, at most `MAX_SPECIES`.
      arrangements: the starts; any number of orbits each.
      steps: of FIRE; 0 only evaluates.
      valence_weight: w in the penalty on valence sums, eV.

    Raises:
      MfalError: when a cell holds more atoms than the largest padded size.
    """
    if not arrangements:
        return Relaxation([], *(np.zeros(0) for _ in range(3)))
    table = _padded(pair_table(species))
    translations = _translations(np.asarray(cell, float))
    counts = [_counts(space_group_number, arrangement) for arrangement in arrangements]
    num_atoms = _size(max(n for n, _ in counts), _ATOM_SIZES, "atoms")
    num_orbits = _size(max(r for _, r in counts), _ORBIT_SIZES, "orbits")
    pairs = num_atoms * num_orbits * len(translations)
    wanted = min(len(arrangements), max(_BATCH_PAIRS // pairs, 1))
    size = max((s for s in _BATCH_SIZES if s <= wanted), default=1)
    if len(arrangements) > size and 4 * size > len(arrangements) and size < _BATCH_SIZES[-1]:
        bigger = next(s for s in _BATCH_SIZES if s > size)
        size = bigger if bigger * pairs <= _BATCH_PAIRS else size

    packed = [
        _pack(space_group_number, cell, arrangement, num_atoms, num_orbits)
        for arrangement in arrangements
    ]
    results = []
    for start in range(0, len(packed), size):
        chunk = packed[start : start + size]
        chunk += [chunk[-1]] * (size - len(chunk))
        batch = jax.tree.map(lambda *leaves: np.stack(leaves), *chunk)
        out = _relax_batch(
            batch,
            np.asarray(cell, np.float32),
            translations,
            table,
            np.float32(valence_weight),
            np.int32(steps),
        )
        results.append(jax.device_get(out))
    free, energy, instability, force = (
        np.concatenate(leaves)[: len(arrangements)].astype(float)
        for leaves in zip(*results, strict=True)
    )
    relaxed = [
        tuple(orbit._replace(free=free[i, r]) for r, orbit in enumerate(arrangement))
        for i, arrangement in enumerate(arrangements)
    ]
    return Relaxation(relaxed, energy, instability, force)


def evaluate(
    space_group_number: int,
    cell: np.ndarray,
    species: Sequence[tuple[str, float]],
    arrangements: Sequence[Arrangement],
) -> Relaxation:
    """Energy, instability and forces of arrangements as they are; see `relax`."""
    return relax(space_group_number, cell, species, arrangements, steps=0)


# --- on the host ----------------------------------------------------------------------------------


class _Packed(NamedTuple):
    """One arrangement as padded arrays: N atoms, R orbits."""

    linear: np.ndarray  # [N, 3, 3]
    shift: np.ndarray  # [N, 3]
    orbit: np.ndarray  # [N]
    species: np.ndarray  # [N], the last kind for padding, which interacts with nothing
    first: np.ndarray  # [R], one atom of each orbit
    multiplicity: np.ndarray  # [R], 0 for padding
    precondition: np.ndarray  # [R, 3, 3], turns a gradient into a move like a Cartesian one
    free: np.ndarray  # [R, 3]


def _counts(number: int, arrangement: Arrangement) -> tuple[int, int]:
    num = sum(len(wyckoff_operations(number, orbit.position)[1]) for orbit in arrangement)
    return num, len(arrangement)


def _size(needed: int, sizes: tuple[int, ...], what: str) -> int:
    for size in sizes:
        if needed <= size:
            return size
    raise MfalError(
        f"a cell with {needed} {what} is too large to relax", f"keep below {sizes[-1]} {what}"
    )


def _pack(
    number: int, cell: np.ndarray, arrangement: Arrangement, num_atoms: int, num_orbits: int
) -> _Packed:
    gram = np.asarray(cell, float) @ np.asarray(cell, float).T
    linear = np.zeros((num_atoms, 3, 3), np.float32)
    shift = np.zeros((num_atoms, 3), np.float32)
    orbit_of = np.zeros(num_atoms, np.int32)
    species = np.full(num_atoms, MAX_SPECIES, np.int32)
    first = np.zeros(num_orbits, np.int32)
    multiplicity = np.zeros(num_orbits, np.float32)
    precondition = np.zeros((num_orbits, 3, 3), np.float32)
    free = np.zeros((num_orbits, 3), np.float32)
    start = 0
    for r, orbit in enumerate(arrangement):
        matrices, shifts = wyckoff_operations(number, orbit.position)
        stop = start + len(shifts)
        linear[start:stop], shift[start:stop] = matrices, shifts
        orbit_of[start:stop], species[start:stop] = r, orbit.species
        first[r], multiplicity[r] = start, len(shifts)
        # |move of the first atom|^2 = dx^T (W^T G W) dx
        precondition[r] = np.linalg.pinv(matrices[0].T @ gram @ matrices[0], rcond=1e-9)
        free[r] = orbit.free
        start = stop
    return _Packed(linear, shift, orbit_of, species, first, multiplicity, precondition, free)


def _padded(table: PairTable) -> "_Table":
    """Float32 arrays for `MAX_SPECIES` species and one that interacts with nothing."""
    used = len(table.charge)
    if used > MAX_SPECIES:
        raise MfalError(f"{used} kinds of ions in one crystal", f"give at most {MAX_SPECIES}")
    extra = MAX_SPECIES + 1 - used

    def grow(array: np.ndarray, fill: float) -> np.ndarray:
        return np.pad(array, [(0, extra)] * array.ndim, constant_values=fill).astype(np.float32)

    return _Table(
        depth=grow(table.depth, 0),
        alpha=grow(table.alpha, 1),
        r_min=grow(table.r_min, 1),
        r0=grow(table.r0, 1),
        bonded=grow(table.bonded, 0),
        repulsion=grow(table.repulsion, 0),
        screening=grow(table.screening, 1),
        charge=grow(table.charge, 0),
    )


def _translations(cell: np.ndarray) -> np.ndarray:
    """[T, 3] float32 whole cells that may bring an atom within the cut-off, the zero first.

    Differences of coordinates are taken in [-1/2, 1/2], so an image n cells off along an axis is
    at least (|n| - 1/2) plane spacings away. Padded with images far outside.
    """
    spacing = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    reach = np.floor(CUTOFF / spacing + 0.5).astype(int)
    axes = [np.arange(-n, n + 1) for n in reach]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    grid = grid[np.argsort((grid**2).sum(1), kind="stable")]
    size = _size(len(grid), _IMAGE_SIZES, "periodic images")
    # Each padding image far away, along a direction that no cell makes short.
    far = np.zeros((size - len(grid), 3))
    far[:, 0] = 100 * (reach[0] + 1)
    return np.concatenate([grid, far]).astype(np.float32)


# --- on the device --------------------------------------------------------------------------------


class _Table(NamedTuple):
    """`PairTable` padded, float32."""

    depth: np.ndarray
    alpha: np.ndarray
    r_min: np.ndarray
    r0: np.ndarray
    bonded: np.ndarray
    repulsion: np.ndarray
    screening: np.ndarray
    charge: np.ndarray


def _terms(
    free: jax.Array, packed: _Packed, cell: jax.Array, translations: jax.Array, table: _Table
) -> tuple[jax.Array, jax.Array]:
    """Pair energy [R] of one atom of each orbit (half of each pair), and its valence defect [R]."""
    fractional = (
        jnp.einsum("nij,nj->ni", packed.linear, free[packed.orbit], precision="highest")
        + packed.shift
    )
    gap = fractional[None, :] - fractional[packed.first][:, None]  # [R, N, 3]
    gap = gap - jax.lax.stop_gradient(jnp.round(gap))
    vector = jnp.einsum("rni,ij->rnj", gap, cell, precision="highest")
    offset = jnp.einsum("ti,ij->tj", translations, cell, precision="highest")
    square = jnp.sum((vector[None] + offset[:, None, None]) ** 2, -1)  # [T, R, N]

    itself = packed.first[:, None] == jnp.arange(packed.orbit.shape[0])
    itself = itself[None] & (jnp.arange(translations.shape[0]) == 0)[:, None, None]
    counted = ~itself & (square < CUTOFF**2)
    # Where not counted, any distance with finite derivatives will do.
    r = jnp.sqrt(jnp.where(counted, jnp.maximum(square, 1e-8), CUTOFF**2))
    pick = (packed.species[packed.first][:, None], packed.species[None, :])
    kind = jax.tree.map(lambda leaf: leaf[pick], table._replace(charge=table.depth))

    well = kind.depth * ((jnp.exp(kind.alpha * (kind.r_min - r)) - 1) ** 2 - 1)
    repulsion = kind.repulsion / r * jax.lax.erfc(r / kind.screening)
    x = jnp.clip(CUTOFF - r, 0.0, 1.0)
    switch = jnp.where(counted, x * x * (3 - 2 * x), 0.0)
    energy = 0.5 * jnp.sum(switch * (well + repulsion), (0, 2))
    valence = jnp.sum(switch * kind.bonded * jnp.exp(kind.alpha * (kind.r0 - r)), (0, 2))
    defect = valence - jnp.abs(table.charge[packed.species[packed.first]])
    return energy, defect


class _Fire(NamedTuple):
    free: jax.Array
    velocity: jax.Array
    gradient: jax.Array
    step: jax.Array
    mixing: jax.Array
    downhill: jax.Array


def _relax_one(
    packed: _Packed,
    cell: jax.Array,
    translations: jax.Array,
    table: _Table,
    valence_weight: jax.Array,
    steps: jax.Array,
) -> tuple[jax.Array, ...]:
    weight = packed.multiplicity

    def objective(free: jax.Array) -> jax.Array:
        energy, defect = _terms(free, packed, cell, translations, table)
        return jnp.sum(weight * (energy + valence_weight * defect**2))

    gradient_of = jax.grad(objective)
    per_atom = 1 / jnp.maximum(weight, 1)[:, None]

    def force(gradient: jax.Array) -> jax.Array:
        # [R, 3], change of the free coordinates that moves each atom along its force
        return -jnp.einsum("rij,rj->ri", packed.precondition, gradient * per_atom)

    def length(gradient: jax.Array, move: jax.Array) -> jax.Array:
        # |force| in eV/Å of each orbit's atoms
        return jnp.sqrt(jnp.maximum(-jnp.sum(gradient * per_atom * move, -1), 0.0))

    frames = jnp.einsum("rij,ik->rjk", packed.linear[packed.first], cell)  # [R, free, Cartesian]

    def speed(move: jax.Array) -> jax.Array:
        # |displacement| in Å of each orbit's atoms
        return jnp.sqrt(jnp.sum(jnp.einsum("rj,rjk->rk", move, frames) ** 2, -1))

    def body(_: jax.Array, state: _Fire) -> _Fire:
        push = force(state.gradient)
        size = length(state.gradient, push)
        push = push * jnp.minimum(1.0, _MAX_FORCE / jnp.maximum(size, 1e-6))[:, None]
        power = -jnp.sum(state.velocity * state.gradient)
        norm_v = jnp.sqrt(jnp.sum(weight * speed(state.velocity) ** 2))
        norm_f = jnp.sqrt(jnp.sum(weight * speed(push) ** 2))
        good = power >= 0
        mixed = (1 - state.mixing) * state.velocity
        mixed = mixed + state.mixing * push * norm_v / jnp.maximum(norm_f, 1e-12)
        downhill = jnp.where(good, state.downhill + 1, 0)
        faster = downhill > 5
        step = jnp.where(good, jnp.where(faster, state.step * 1.1, state.step), state.step * 0.5)
        step = jnp.clip(step, 0.01, 0.3)
        mixing = jnp.where(good & faster, state.mixing * 0.99, jnp.where(good, state.mixing, 0.1))
        velocity = jnp.where(good, mixed, 0.0) + step * push
        move = step * velocity
        move = move * jnp.minimum(1.0, _MAX_MOVE / jnp.maximum(speed(move), 1e-9))[:, None]
        free = state.free + move
        return _Fire(free, velocity, gradient_of(free), step, mixing, downhill)

    initial = jnp.asarray(packed.free)
    start = _Fire(
        free=initial,
        velocity=jnp.zeros_like(initial),
        gradient=gradient_of(initial),
        step=jnp.float32(0.1),
        mixing=jnp.float32(0.1),
        downhill=jnp.int32(0),
    )
    end = jax.lax.fori_loop(0, steps, body, start)
    energy, defect = _terms(end.free, packed, cell, translations, table)
    total = jnp.sum(weight * energy)
    instability = jnp.sqrt(jnp.sum(weight * defect**2) / jnp.sum(weight))
    strongest = jnp.max(length(end.gradient, force(end.gradient)))
    return end.free, total, instability, strongest


@jax.jit
def _relax_batch(
    packed: _Packed,
    cell: jax.Array,
    translations: jax.Array,
    table: _Table,
    valence_weight: jax.Array,
    steps: jax.Array,
) -> tuple[jax.Array, ...]:
    one = jax.vmap(_relax_one, in_axes=(0, None, None, None, None, None))
    return one(packed, cell, translations, table, valence_weight, steps)
