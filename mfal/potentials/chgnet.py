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

from functools import lru_cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from mfal.errors import MfalError
from mfal.potentials.chgnet_weights import (
    AtomConvolution,
    CHGNetParams,
    GatedMLP,
    Norm,
    Shape,
    read_weights,
)
from mfal.potentials.gather import collect, gather
from mfal.potentials.memory import keep_freed_memory
from mfal.potentials.neighbours import NeighbourTables, Sizes, neighbour_tables
from mfal.potentials.types import Potential

__all__ = ["chgnet_potential"]


@lru_cache(maxsize=8)
def chgnet_potential(weights: str | Path | None = None) -> Potential:
    """CHGNet as a potential.

    Args:
      weights: an `.npz` written by `experiments/tables/chgnet_weights.py`; by default the embedded
        weights of version 0.3.0, trained on the relaxations of the Materials Project, with
        energies that are compatible with its corrected ones.

    Loading it asks the C library to keep freed memory, which halves the time of a single call
    (`mfal.potentials.memory`).
    """
    keep_freed_memory()
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
    atoms_count, width = n.neighbour.shape
    near = n.bond.shape[-1]
    real = n.neighbour < atoms_count
    there = gather(positions, n.neighbour, n.reverse)
    vectors = there + _dot(n.image.astype(cell.dtype), cell) - positions[:, None]
    # Where there is no neighbour the vector must not be zero, whose length has no derivative.
    vectors = jnp.where(real[..., None], vectors, jnp.array([2 * shape.cutoff, 0, 0], cell.dtype))
    distances = jnp.sqrt(jnp.sum(vectors**2, -1))
    basis = _radial(distances, params.frequencies, shape.cutoff, shape.envelope)
    weights = _dot(basis, params.atom_weights)

    # Bonds within the inner cutoff, and their angles.
    bond_vectors = gather(vectors[:, :near].reshape(-1, 3), n.bond_slot, n.bond.reshape(-1, 1))
    bond_real = n.bond_slot < atoms_count * near
    far = jnp.array([2 * shape.cutoff, 0, 0], cell.dtype)
    bond_vectors = jnp.where(bond_real[:, None], bond_vectors, far)
    lengths = jnp.sqrt(jnp.sum(bond_vectors**2, -1))
    directions = bond_vectors / lengths[:, None]
    bond_basis = _radial(lengths, params.frequencies, shape.cutoff, shape.envelope)
    inner_basis = _radial(lengths, params.inner_frequencies, shape.inner, shape.envelope)
    bond_weights = _dot(inner_basis, params.bond_weights)
    first = partial(gather, index=n.angle_first, inverse=n.angles_of_first)
    second = partial(gather, index=n.angle_second, inverse=n.angles_of_second)
    angle_real = n.angle_first < len(n.bond_slot)
    fourier = _fourier(
        _angles(first(directions), second(directions), angle_real), params.angle_frequencies
    )
    angles = _dot(fourier, params.angle_embedding)
    angle_weights = first(bond_weights) * second(bond_weights)
    has_angles = jnp.any(angle_weights != 0)

    atoms = params.elements[jnp.maximum(species - 1, 0)]
    embedded = _dot(bond_basis, params.bond_embedding)
    bonds, offset = embedded, jnp.zeros_like(embedded[0])

    def convolve(layer: AtomConvolution, atoms: jax.Array) -> jax.Array:
        own, between, other = layer.gate.inputs
        products = _dot(basis, _dot(params.bond_embedding, between))
        change = gather(_dot(bonds - embedded - offset, between), n.bond, n.bond_slot[:, None])
        change = jnp.pad(change, ((0, 0), (0, width - near), (0, 0)))
        constant = layer.gate.bias + _dot(offset, between)
        products += change + (_dot(atoms, own) + constant)[:, None]
        products += gather(_dot(atoms, other), n.neighbour, n.reverse)
        messages = _gated(layer.gate, products) * weights
        return atoms + _linear(layer.out, messages.sum(1))

    centre_slots = n.bond_slot // near
    for block in params.blocks:
        atoms = convolve(block.atom, atoms)
        gate = block.bond.gate
        own = gather(_dot(atoms, gate.inputs[3]) + gate.bias, centre_slots, n.bond)
        products = first(_dot(bonds, gate.inputs[0]) + own) + second(_dot(bonds, gate.inputs[1]))
        products += _dot(angles, gate.inputs[2])
        messages = _gated(gate, products) * angle_weights
        sums = collect(messages, n.angles_of_first, n.angle_first)
        sums += gather(sums, n.bond_reverse, n.bond_reverse[:, None])
        update = _linear(block.bond.out, sums)
        bonds = bonds + jnp.where(has_angles, update, 0)
        if block.bond.out[1] is not None:
            # A bias is added to every bond, also to those beyond the inner cutoff.
            offset = offset + jnp.where(has_angles, block.bond.out[1], 0)
        gate = block.angle
        own = gather(_dot(atoms, gate.inputs[3]) + gate.bias, centre_slots, n.bond)
        products = first(_dot(bonds, gate.inputs[0]) + own) + second(_dot(bonds, gate.inputs[1]))
        angles = angles + _gated(gate, products + _dot(angles, gate.inputs[2]))
    return atoms, convolve(params.last, atoms)


def _gated(gate: GatedMLP, products: jax.Array) -> jax.Array:
    """silu(LN(core)) sigmoid(LN(gate)) of first-layer products [..., core | gate]."""
    core, gated = jnp.split(products, 2, axis=-1)
    if gate.hidden is not None:
        (core_weight, core_bias), (gate_weight, gate_bias) = gate.hidden
        core = _dot(jax.nn.silu(core), core_weight) + core_bias
        gated = _dot(jax.nn.silu(gated), gate_weight) + gate_bias
    if gate.norms is not None:
        core = _layer_norm(core, gate.norms[0])
        gated = _layer_norm(gated, gate.norms[1])
    return jax.nn.silu(core) * jax.nn.sigmoid(gated)


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
    scale = jnp.where(x < 1, envelope, 0) * np.sqrt(2 / cutoff) / r
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
    return jnp.concatenate([constant, jnp.sin(phases), jnp.cos(phases)], -1) / np.sqrt(np.pi)


def _linear(layer: tuple[jax.Array, jax.Array | None], x: jax.Array) -> jax.Array:
    weight, bias = layer
    product = _dot(x, weight)
    return product if bias is None else product + bias


def _dot(x: jax.Array, weight: jax.Array) -> jax.Array:
    """A product in full precision: accelerators would round float32 to bfloat16 or TF32."""
    return jnp.matmul(x, weight, precision=jax.lax.Precision.HIGHEST)


def _cast(params: CHGNetParams, dtype: jnp.dtype) -> CHGNetParams:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)
