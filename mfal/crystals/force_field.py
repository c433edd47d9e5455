"""The bond-valence energy of many arrangements of one cell, and its forces, on the device.

For each atom i (see `mfal.crystals.bond_valence` for the pair functions phi)

    E_i = 1/2 sum_j S(r_ij) phi(r_ij) + w d_i^2
    d_i = sum_j S(r_ij) exp(alpha (r0 - r_ij)) - |q_i|

where S falls smoothly from 1 to 0 over the last ångström before the cut-off and d_i is the defect
of the valence sum. The cell's energy is the sum over orbits of multiplicity times E_i.

Two ways to the same thing: `dense_energy` over all pairs and images, from which derivatives come by
automatic differentiation, and `forces` over neighbour lists, derived by hand. The second is what
relaxation runs on; tests hold it against the first.

Axes: B arrangements, N atoms, R orbits (one atom each is followed), M = B R, T periodic images,
K neighbours. Pairs lie as [K, M], so that sums over neighbours run along the outer axis.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

__all__ = [
    "CUTOFF",
    "Neighbours",
    "Packed",
    "Table",
    "dense_energy",
    "forces",
    "frames",
    "neighbours",
]

CUTOFF = 6.0
"""Å; the energy is switched off smoothly over the last ångström."""

_CLOSEST = 1e-4  # Å, below which a distance counts as this, to keep derivatives finite


class Packed(NamedTuple):
    """Arrangements as padded arrays."""

    linear: jax.Array
    """[B, N, 3, 3], fractional coordinates are linear @ free + shift."""
    shift: jax.Array
    """[B, N, 3]."""
    orbit: jax.Array
    """[B, N] int32, 0 to R - 1."""
    species: jax.Array
    """[B, N] int32; the table's last kind stands for padding and interacts with nothing."""
    first: jax.Array
    """[B, R] int32, the atom of each orbit that is followed."""
    multiplicity: jax.Array
    """[B, R] float32, atoms of each orbit, 0 for padding."""
    scale: jax.Array
    """[B, R, 3, 3], free coordinates per ångström: scale @ u moves the orbit's atoms by |u| Å, in
    the directions that symmetry leaves."""
    free: jax.Array
    """[B, R, 3], the free coordinates."""


class Table(NamedTuple):
    """Pair parameters, [S, S] float32; see `mfal.crystals.bond_valence.PairTable`."""

    depth: jax.Array
    alpha: jax.Array
    r_min: jax.Array
    r0: jax.Array
    bonded: jax.Array
    repulsion: jax.Array
    screening: jax.Array
    charge: jax.Array
    """[S]."""


def _fractional(free: jax.Array, packed: Packed) -> jax.Array:
    """[B, N, 3]."""
    own = jnp.take_along_axis(free, packed.orbit[:, :, None], 1)
    return jnp.einsum("bnij,bnj->bni", packed.linear, own, precision="highest") + packed.shift


def _switch(r: jax.Array) -> tuple[jax.Array, jax.Array]:
    """S(r) and its derivative, 1/Å."""
    x = jnp.clip(CUTOFF - r, 0.0, 1.0)
    return x * x * (3 - 2 * x), -6 * x * (1 - x)


# --- all pairs ------------------------------------------------------------------------------------


def dense_energy(
    free: jax.Array, packed: Packed, cell: jax.Array, translations: jax.Array, table: Table
) -> tuple[jax.Array, jax.Array]:
    """Pair energy of one atom of each orbit [B, R], eV, and the defects of its valence sum [B, R].

    Args:
      free: [B, R, 3]; `packed.free` is not read.
      packed: the arrangements.
      cell: [3, 3] rows a, b, c, Å.
      translations: [T, 3] whole cells, the zero first.
      table: pair parameters.
    """
    square, _ = _squares(free, packed, cell, translations)
    counted = square < CUTOFF**2
    # Where not counted, any distance with finite derivatives will do.
    r = jnp.sqrt(jnp.where(counted, jnp.maximum(square, _CLOSEST**2), CUTOFF**2))
    centre = jnp.take_along_axis(packed.species, packed.first, 1)
    pick = (centre[:, :, None, None], packed.species[:, None, None, :])
    well = table.depth[pick] * ((jnp.exp(table.alpha[pick] * (table.r_min[pick] - r)) - 1) ** 2 - 1)
    repulsion = table.repulsion[pick] / r * jax.lax.erfc(r / table.screening[pick])
    switch = jnp.where(counted, _switch(r)[0], 0.0)
    energy = 0.5 * jnp.sum(switch * (well + repulsion), (2, 3))
    valence = switch * table.bonded[pick] * jnp.exp(table.alpha[pick] * (table.r0[pick] - r))
    return energy, jnp.sum(valence, (2, 3)) - jnp.abs(table.charge[centre])


def _squares(
    free: jax.Array, packed: Packed, cell: jax.Array, translations: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Squared distances [B, R, T, N] in Å^2, an atom's own infinite; whole cells [B, R, N, 3]."""
    fractional = _fractional(free, packed)
    centre = jnp.take_along_axis(fractional, packed.first[:, :, None], 1)
    gap = fractional[:, None, :] - centre[:, :, None]
    whole = jax.lax.stop_gradient(jnp.round(gap))
    vector = jnp.einsum("brni,ij->brnj", gap - whole, cell, precision="highest")
    offset = jnp.einsum("ti,ij->tj", translations, cell, precision="highest")
    square = jnp.sum((vector[:, :, None] + offset[:, None]) ** 2, -1)
    itself = packed.first[:, :, None] == jnp.arange(fractional.shape[1])
    itself = itself[:, :, None] & (jnp.arange(translations.shape[0]) == 0)[:, None]
    return jnp.where(itself, jnp.inf, square), whole


# --- neighbour lists ------------------------------------------------------------------------------


class Neighbours(NamedTuple):
    """The nearest atoms of each followed atom, and the parameters of the pairs; all [K, M]."""

    atom: jax.Array
    """int32, into the B N atoms."""
    orbit: jax.Array
    """int32, into the M orbits."""
    offset: tuple[jax.Array, jax.Array, jax.Array]
    """Å, to be added to the atom's position."""
    depth: jax.Array
    """0 where there is no neighbour."""
    alpha: jax.Array
    r_min: jax.Array
    valence: jax.Array
    """exp(alpha (r0 - r_min)), the bond's valence at r_min; 0 between like charges."""
    repulsion: jax.Array
    inverse_screening: jax.Array


def neighbours(
    free: jax.Array,
    packed: Packed,
    cell: jax.Array,
    translations: jax.Array,
    table: Table,
    num: int,
) -> Neighbours:
    """The `num` nearest atoms of each orbit's first atom; arguments as in `dense_energy`."""
    square, whole = _squares(free, packed, cell, translations)
    batch, orbits, images, atoms = square.shape
    # Padding must not take the places of neighbours.
    padding = packed.species == table.charge.shape[0] - 1
    square = jnp.where(padding[:, None, None, :], jnp.inf, square)
    nearest, index = jax.lax.top_k(-square.reshape(batch * orbits, images * atoms), num)
    index, nearest = index.T, nearest.T
    image, atom = index // atoms, index % atoms  # [K, M]
    of_batch = jnp.repeat(jnp.arange(batch), orbits)
    own_cell = whole.reshape(batch * orbits, atoms, 3)[jnp.arange(batch * orbits), atom]
    offset = (translations[image] - own_cell) @ cell
    centre = jnp.take_along_axis(packed.species, packed.first, 1).reshape(-1)
    atom = atom + atoms * of_batch
    kind = (centre, packed.species.reshape(-1)[atom])
    # One may have moved inside by the time the list is renewed, so the margin is generous.
    near = nearest > -((CUTOFF + 3.0) ** 2)
    bonded = jnp.where(near, table.bonded[kind], 0.0)
    return Neighbours(
        atom=atom,
        orbit=packed.orbit.reshape(-1)[atom] + orbits * of_batch,
        offset=(offset[..., 0], offset[..., 1], offset[..., 2]),
        depth=jnp.where(near, table.depth[kind], 0.0),
        alpha=table.alpha[kind],
        r_min=table.r_min[kind],
        valence=bonded * jnp.exp(table.alpha[kind] * (table.r0[kind] - table.r_min[kind])),
        repulsion=jnp.where(near, table.repulsion[kind], 0.0),
        inverse_screening=1 / table.screening[kind],
    )


def frames(packed: Packed, cell: jax.Array) -> jax.Array:
    """How the followed atoms move with their free coordinates, [B, R, free, Cartesian], Å."""
    first = jnp.take_along_axis(packed.linear, packed.first[:, :, None, None], 1)
    return jnp.einsum("brij,ik->brjk", first, cell, precision="highest")


def forces(
    free: jax.Array,
    packed: Packed,
    cell: jax.Array,
    table: Table,
    near: Neighbours,
    valence_weight: jax.Array,
) -> jax.Array:
    """Minus the derivative of the cell's energy by the place of one atom of each orbit, [B, R, 3].

    In eV/Å, Cartesian. With every other atom of the orbit moved along by symmetry, the cell's
    energy falls by the orbit's multiplicity times this.
    """
    batch, orbits, _ = free.shape
    place = (_fractional(free, packed).reshape(-1, 3)) @ cell  # [B N, 3]
    atoms = packed.orbit.shape[1]
    centre = (packed.first + atoms * jnp.arange(batch)[:, None]).reshape(-1)
    gap = [place[:, k][near.atom] + near.offset[k] - place[centre, k] for k in range(3)]
    r = jnp.sqrt(jnp.maximum(gap[0] ** 2 + gap[1] ** 2 + gap[2] ** 2, _CLOSEST**2))

    switch, slope = _switch(r)
    decay = jnp.exp(near.alpha * (near.r_min - r))
    z = r * near.inverse_screening
    coulomb = near.repulsion / r * jax.lax.erfc(z)
    phi = near.depth * ((decay - 2) * decay) + coulomb
    gauss = (2 / math.sqrt(math.pi)) * near.repulsion * near.inverse_screening * jnp.exp(-z * z)
    phi_slope = -2 * near.depth * near.alpha * (decay - 1) * decay - (coulomb + gauss) / r
    valence = near.valence * decay
    valence_slope = (slope - near.alpha * switch) * valence

    species = jnp.take_along_axis(packed.species, packed.first, 1).reshape(-1)
    defect = jnp.sum(switch * valence, 0) - jnp.abs(table.charge[species])
    pull = slope * phi + switch * phi_slope
    pull = pull + 2 * valence_weight * (defect + defect[near.orbit]) * valence_slope
    pull = pull / r
    return jnp.stack([jnp.sum(pull * g, 0) for g in gap], -1).reshape(batch, orbits, 3)
