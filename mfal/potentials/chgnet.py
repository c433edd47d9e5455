"""CHGNet: a charge-informed graph network for energies, forces, stresses and magnetic moments.

B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023), doi:10.1038/s42256-023-00716-3. The equations
below are those of the paper in the form that the published weights of `chgnet` 0.4.2 want.

Radial functions of a distance r, with learned frequencies f_n and a cutoff R:

    B_n(r) = env(r / R) sqrt(2 / R) sin(f_n r / R) / r,
    env(x) = 1 - (p+1)(p+2)/2 x^p + p(p+2) x^(p+1) - p(p+1)/2 x^(p+2)   for x < 1, else 0.

Bonds carry features e = W_e B and weights, all linear in B and so zero from the cutoff on; angles
theta between two bonds of one atom, both within an inner cutoff, carry features W_theta F(theta)
with F a Fourier series of learned frequencies. Three times over,

    a_i     += W sum_j          gMLP(a_i, e_ij, a_j) w_ij           (atoms)
    e_ij    += W sum_k          gMLP(e_ij, e_ik, theta_jik, a_i) w'_ij w'_ik     (bonds, both ends)
    theta   +=                  gMLP(e_ij, e_ik, theta_jik, a_i)    (angles)

then once more for atoms, and a perceptron gives each atom's energy, to which that of its element
is added. gMLP(z) = silu(LN(core(z))) sigmoid(LN(gate(z))).

How it is computed: a product with concatenated features is a sum of products, so each part is
multiplied where it lives (atoms, bonds, angles) and only the products are gathered. Bonds beyond
the inner cutoff never change, so all that evolves is kept on the few bonds within it.
"""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.errors import MfalError
from mfal.potentials.chgnet_weights import (
    AtomConvolution,
    CHGNetParams,
    GatedMLP,
    Half,
    Norm,
    Shape,
    read_weights,
)
from mfal.potentials.gather import at_both_ends, collect, gather
from mfal.potentials.memory import keep_freed_memory
from mfal.potentials.neighbours import NeighbourTables, Sizes, neighbour_tables
from mfal.potentials.types import Potential

__all__ = ["chgnet_potential"]

keep_freed_memory()


@lru_cache(maxsize=8)
def chgnet_potential(weights: str | Path | None = None) -> Potential:
    """CHGNet as a potential.

    Args:
      weights: an `.npz` written by `experiments/tables/chgnet_weights.py`; by default the embedded
        weights of version 0.3.0, trained on the relaxations of the Materials Project, with
        energies that are compatible with its corrected ones.

    Importing this module asks the C library to keep freed memory, which halves the time of a call
    (`mfal.potentials.memory`).
    """
    version, shape, params = read_weights(weights)
    energy, moments, neighbours = _functions(shape)
    return Potential("CHGNet", version, params, energy, neighbours, shape.cutoff, moments)


@lru_cache(maxsize=8)
def _functions(shape: Shape) -> tuple:
    """The same functions for all weights of one shape, so that `jit` knows them again."""
    return partial(_energy, shape), partial(_magnetic_moments, shape), partial(_neighbours, shape)


def _neighbours(
    shape: Shape,
    positions: np.ndarray | jax.Array,
    cell: np.ndarray | jax.Array,
    species: np.ndarray | jax.Array,
    *,
    skin: float = 0.0,
    sizes: Sizes | None = None,
) -> NeighbourTables:
    unknown = np.setdiff1d(np.asarray(species), np.arange(shape.elements + 1))
    if len(unknown):
        raise MfalError(
            f"CHGNet knows the elements 1 to {shape.elements}, not {unknown.tolist()}",
            "leave crystals with other elements out",
        )
    return neighbour_tables(
        positions, cell, species, cutoff=shape.cutoff, inner=shape.inner, skin=skin, sizes=sizes
    )


def _energy(
    shape: Shape,
    params: CHGNetParams,
    positions: jax.Array,
    cell: jax.Array,
    species: jax.Array,
    neighbours: NeighbourTables,
) -> jax.Array:
    params = _cast(params, positions.dtype)
    _, atoms = _atom_features(shape, params, positions, cell, species, neighbours)
    if params.readout_norm is not None:
        atoms = _layer_norm(atoms, params.readout_norm)
    for weight, bias in params.readout[:-1]:
        atoms = jax.nn.silu(_dot(atoms, weight) + bias)
    weight, bias = params.readout[-1]
    site = (_dot(atoms, weight) + bias)[:, 0] + params.references[jnp.maximum(species - 1, 0)]
    return jnp.sum(jnp.where(species > 0, site, 0))


def _magnetic_moments(
    shape: Shape,
    params: CHGNetParams,
    positions: jax.Array,
    cell: jax.Array,
    species: jax.Array,
    neighbours: NeighbourTables,
) -> jax.Array:
    params = _cast(params, positions.dtype)
    atoms, _ = _atom_features(shape, params, positions, cell, species, neighbours)
    weight, bias = params.moments
    return jnp.where(species > 0, jnp.abs(_dot(atoms, weight) + bias)[:, 0], 0)


def _atom_features(
    shape: Shape,
    params: CHGNetParams,
    positions: jax.Array,
    cell: jax.Array,
    species: jax.Array,
    neighbours: NeighbourTables,
) -> tuple[jax.Array, jax.Array]:
    """[N, 64] before and after the last convolution."""
    n = neighbours
    near = n.angles_of.shape[0] // 2
    edges, corners = (
        _incidence(n.first, n.second, n.edges_of),
        _incidence(n.angle_first, n.angle_second, n.angles_of),
    )
    # Where there is no neighbour the vector must not be zero, whose length has no derivative.
    beyond = jnp.array([2 * shape.cutoff, 0, 0], cell.dtype)
    here, there = edges.own(positions)
    vectors = there - here + _dot(n.image.astype(cell.dtype), cell)
    vectors = jnp.where((n.first < len(positions))[:, None], vectors, beyond)
    distances = jnp.sqrt(jnp.sum(vectors**2, -1))
    basis = _radial(distances, params.frequencies, shape.cutoff, shape.envelope)

    # Bonds are the pairs within the inner cutoff, and each has two directions.
    lengths = distances[:near]
    directions = vectors[:near] / lengths[:, None]
    inner_basis = _radial(lengths, params.inner_frequencies, shape.inner, shape.envelope)
    bond_weights = _dot(inner_basis, params.bond_weights)
    first, second = corners.own(jnp.concatenate([directions, -directions]))
    fourier = _fourier(_angles(first, second, n.angle_first < 2 * near), params.angle_frequencies)
    first, second = corners.own(_flat(at_both_ends(bond_weights)))
    angle_weights = first * second
    has_angles = jnp.any(angle_weights != 0)

    atoms = params.elements[jnp.maximum(species - 1, 0)]
    # What bonds have become beyond their embedding: all of them by the offset, those within the
    # inner cutoff by the change too. Angles likewise.
    of_edges = _each(basis, params.edge_inputs, atoms.shape[1])
    weights, embedded = next(of_edges), next(of_edges)[:near]
    change, offset = jnp.zeros_like(embedded), jnp.zeros_like(embedded[0])
    angle_change: jax.Array | None = None

    of_angles = _each(fourier, params.angle_inputs, atoms.shape[1])

    def convolve(layer: AtomConvolution, atoms: jax.Array) -> jax.Array:
        def first_layer(half: Half) -> jax.Array:
            own, between, other = half.inputs
            shared = next(of_edges)
            start = shared[:near] + _dot(change, between)
            shared = jax.lax.dynamic_update_slice(shared, start, (0, 0))
            products = edges.own(_dot(atoms, own) + (half.bias + _dot(offset, between)))
            return products + edges.other(_dot(atoms, other)) + at_both_ends(shared)

        messages = _gated(layer.gate, first_layer) * at_both_ends(weights)
        return atoms + _linear(layer.out, edges.collect(messages))

    def turn(gate: GatedMLP) -> jax.Array:
        """The gated perceptron of [2, A] angles."""

        def first_layer(half: Half) -> jax.Array:
            own, other, between, centre = half.inputs
            bonds = embedded + change + offset
            here = gather(_dot(atoms, centre) + half.bias, bond_starts, bonds_of)
            rows = here + _flat(at_both_ends(_dot(bonds, own)))
            partners = _flat(at_both_ends(_dot(bonds, other)))
            products = corners.own(rows) + corners.other(partners)
            products += at_both_ends(next(of_angles))
            return products if angle_change is None else products + _dot(angle_change, between)

        return _gated(gate, first_layer)

    bond_starts = jnp.concatenate([n.first[:near], n.second[:near]])
    bonds_of = _bonds_of(n)
    for number, block in enumerate(params.blocks, 1):
        atoms = convolve(block.atom, atoms)
        sums = corners.collect(turn(block.bond.gate) * at_both_ends(angle_weights))
        update = _linear(block.bond.out, sums[:near] + sums[near:])
        change = change + jnp.where(has_angles, update, 0)
        if block.bond.out[1] is not None:
            # A bias is added to every bond, also to those beyond the inner cutoff.
            bias = jnp.where(has_angles, block.bond.out[1], 0)
            change, offset = change - bias, offset + bias
        if number == len(params.blocks):
            break
        turned = turn(block.angle)
        angle_change = turned if angle_change is None else angle_change + turned
    return atoms, convolve(params.last, atoms)


def _each(basis: jax.Array, inputs: jax.Array, features: int) -> Iterator[jax.Array]:
    """First layers [rows, features] of one basis after the other, all from one product."""
    return iter(jnp.split(_dot(basis, inputs), inputs.shape[1] // features, axis=-1))


class _Incidence(NamedTuple):
    """Pairs [P] of rows [M], and which of the 2 P ends each row is."""

    ends: jax.Array
    """[2, P], the rows of a pair."""
    of: jax.Array
    """[M, K], the flat numbers of the ends that a row is."""
    opposite: jax.Array
    """[M, K], those of the ends opposite to them."""

    def own(self, rows: jax.Array) -> jax.Array:
        """[2, P, F], the row at each end."""
        return gather(rows, self.ends, self.of)

    def other(self, rows: jax.Array) -> jax.Array:
        """[2, P, F], the row at the opposite end."""
        return gather(rows, self.ends[::-1], self.opposite)

    def collect(self, values: jax.Array) -> jax.Array:
        """[M, F], the sums of values [2, P, F] at the ends of each row."""
        return collect(values, self.of, self.ends)


def _incidence(first: jax.Array, second: jax.Array, of: jax.Array) -> _Incidence:
    pairs = len(first)
    opposite = jnp.where(of < pairs, of + pairs, jnp.where(of < 2 * pairs, of - pairs, of))
    return _Incidence(jnp.stack([first, second]), of, opposite)


def _flat(both: jax.Array) -> jax.Array:
    """[2 P, F] of [2, P, F]."""
    return both.reshape(-1, both.shape[-1])


def _bonds_of(n: NeighbourTables) -> jax.Array:
    """[N, D + 1], the bonds that start from an atom; 2 Q where there is none."""
    pairs, near = len(n.first), n.angles_of.shape[0] // 2
    # Of an atom's edges the bonds come first, and each forms an angle with every other one.
    edges = n.edges_of[:, : n.angles_of.shape[1] + 1]
    pair = jnp.where(edges < pairs, edges, edges - pairs)
    return jnp.where(pair < near, pair + jnp.where(edges < pairs, 0, near), 2 * near)


def _gated(gate: GatedMLP, first_layer: Callable[[Half], jax.Array]) -> jax.Array:
    """silu(core) sigmoid(gate), each a perceptron of which the first layer is given."""
    core, gated = (_rest(half, first_layer(half)) for half in gate)
    return jax.nn.silu(core) * jax.nn.sigmoid(gated)


def _rest(half: Half, products: jax.Array) -> jax.Array:
    if half.hidden is not None:
        weight, bias = half.hidden
        products = _dot(jax.nn.silu(products), weight) + bias
    if half.norm is not None:
        variance = jnp.square(products).mean(-1, keepdims=True)
        products = products * jax.lax.rsqrt(variance + 1e-5) * half.norm.scale + half.norm.bias
    return products


def _layer_norm(x: jax.Array, norm: Norm) -> jax.Array:
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * norm.scale + norm.bias


def _radial(r: jax.Array, frequencies: jax.Array, cutoff: float, p: int) -> jax.Array:
    """[..., radial functions] of distances [...]."""
    x = r / cutoff
    # env(x) = (1 - x)^3 (1 + 3 x + 6 x^2 + ... + p(p+1)/2 x^(p-1)): the published form cancels to
    # nothing near the cutoff, which costs float32 half of its digits in the energy.
    series = jnp.zeros_like(x)
    for k in range(p, 0, -1):
        series = series * x + k * (k + 1) / 2
    envelope = (1 - x) ** 3 * series
    scale = jnp.where(x < 1, envelope, 0) * math.sqrt(2 / cutoff) / r
    return scale[..., None] * jnp.sin(frequencies * x[..., None])


def _angles(first: jax.Array, second: jax.Array, real: jax.Array) -> jax.Array:
    """arccos((1 - 1e-6) u·v) of unit vectors [..., 3], right angles where not real.

    By half the angle: 1 -+ u·v = |u -+ v|² / 2 keep their digits at straight angles, where those
    of the cosine are lost and forces in float32 would be wrong by some 3e-4 eV/Å.
    """
    shortening = 1e-6 * jnp.sum(first * second, -1)
    opposite = jnp.sum((first - second) ** 2, -1) / 2 + shortening
    adjacent = jnp.sum((first + second) ** 2, -1) / 2 - shortening
    opposite, adjacent = jnp.where(real, opposite, 1), jnp.where(real, adjacent, 1)
    return 2 * jnp.arctan2(jnp.sqrt(opposite), jnp.sqrt(adjacent))


def _fourier(angles: jax.Array, frequencies: jax.Array) -> jax.Array:
    """[..., 1 + 2 frequencies] of angles [...]."""
    phases = angles[..., None] * frequencies
    constant = jnp.full_like(angles, np.sqrt(0.5))[..., None]
    return jnp.concatenate([constant, jnp.sin(phases), jnp.cos(phases)], -1) / math.sqrt(math.pi)


def _linear(layer: tuple[jax.Array, jax.Array | None], x: jax.Array) -> jax.Array:
    weight, bias = layer
    product = _dot(x, weight)
    return product if bias is None else product + bias


def _dot(x: jax.Array, weight: jax.Array) -> jax.Array:
    """A product in full precision: accelerators would round float32 to bfloat16 or TF32."""
    return jnp.matmul(x, weight, precision=jax.lax.Precision.HIGHEST)


def _cast(params: CHGNetParams, dtype: jnp.dtype) -> CHGNetParams:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)
