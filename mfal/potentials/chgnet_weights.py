"""The weights of CHGNet, arranged for products with parts of concatenated features."""

from importlib.resources import files
from pathlib import Path
from typing import IO, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from mfal.errors import MfalError

__all__ = [
    "AtomConvolution",
    "BondConvolution",
    "CHGNetParams",
    "GatedMLP",
    "Half",
    "InteractionBlock",
    "Norm",
    "Shape",
    "read_weights",
]

Linear: TypeAlias = tuple[jax.Array, jax.Array]
"""Weight [in, out] and bias [out]."""
LinearOut: TypeAlias = tuple[jax.Array, jax.Array | None]
"""The same, the bias absent in most versions."""


class Shape(NamedTuple):
    """What is fixed when a program is compiled."""

    cutoff: float
    """Å, of bonds."""
    inner: float
    """Å, of bonds that form angles."""
    envelope: int
    """The exponent p of the envelope."""
    elements: int
    """Atomic numbers known: 1 to this."""


class Norm(NamedTuple):
    """A layer norm's scale and bias, [64] each."""

    scale: jax.Array
    bias: jax.Array


class Half(NamedTuple):
    """The core or the gate of a gated perceptron.

    A layer norm subtracts the mean of what it is given, which here the weights before it have
    subtracted already: their columns add up to zero.
    """

    inputs: tuple[jax.Array, ...]
    """The first layer's weight [64, 64] for each part of the input."""
    bias: jax.Array
    """[64], the first layer's."""
    hidden: Linear | None
    """The second layer; None where there is one layer."""
    norm: Norm | None


class GatedMLP(NamedTuple):
    """silu(core) sigmoid(gate)."""

    core: Half
    gate: Half


class AtomConvolution(NamedTuple):
    """Inputs: own atom, bond, other atom."""

    gate: GatedMLP
    out: LinearOut


class BondConvolution(NamedTuple):
    """Inputs: own bond, other bond, angle, atom."""

    gate: GatedMLP
    out: LinearOut


class InteractionBlock(NamedTuple):
    """One round of updates."""

    atom: AtomConvolution
    bond: BondConvolution
    angle: GatedMLP
    """Inputs as of the bond convolution."""


class CHGNetParams(NamedTuple):
    """All weights. Features are 64 wide."""

    references: jax.Array
    """[elements] eV, added per atom."""
    elements: jax.Array
    """[elements, 64]."""
    frequencies: jax.Array
    """[radial], over the outer cutoff."""
    inner_frequencies: jax.Array
    """[radial], over the inner cutoff."""
    angle_frequencies: jax.Array
    """[angular]."""
    bond_weights: jax.Array
    """[radial, 64]."""
    edge_inputs: jax.Array
    """[radial, 64 (2 + 2 convolutions)], weights of messages and the embedding of bonds, then what
    the first layers of all atom convolutions, core and gate of each in turn, make of the embedding:
    its matrix times theirs."""
    angle_inputs: jax.Array
    """[1 + 2 angular, 128 updates], the same for angles, of bond convolution and angle update in
    turn; the last block's angles are used by nobody."""
    blocks: tuple[InteractionBlock, ...]
    last: AtomConvolution
    moments: Linear
    readout_norm: Norm | None
    readout: tuple[Linear, ...]


def read_weights(path: str | Path | None = None) -> tuple[str, Shape, CHGNetParams]:
    """Version, shape and weights from an `.npz` with the names of chgnet's `state_dict`.

    Args:
      path: a file written by `experiments/tables/chgnet_weights.py`, or None for the embedded one.
    """
    if path is None:
        source = files("mfal.potentials") / "tables" / "chgnet_0.3.0.npz"
        with source.open("rb") as file:
            return _arranged(_read(file, source.name))
    try:
        with Path(path).open("rb") as file:
            return _arranged(_read(file, str(path)))
    except OSError as error:
        raise MfalError(f"{path}: {error.strerror}", "give a file of CHGNet weights") from error


def _read(file: IO[bytes], name: str) -> dict[str, np.ndarray]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            weights = {key: archive[key] for key in archive.files}
    except ValueError as error:
        raise MfalError(
            f"{name}: {error}", "convert weights by experiments/tables/chgnet_weights.py"
        ) from error
    missing = {"version", "cutoff", "inner", "envelope"} - set(weights)
    if missing:
        raise MfalError(
            f"{name}: lacks {', '.join(sorted(missing))}",
            "convert weights by experiments/tables/chgnet_weights.py",
        )
    return weights


def _arranged(weights: dict[str, np.ndarray]) -> tuple[str, Shape, CHGNetParams]:
    def matrix(name: str) -> jax.Array:
        return _array(weights[f"{name}.weight"].T)

    def linear(name: str) -> Linear:
        return matrix(name), _array(weights[f"{name}.bias"])

    def out(name: str) -> LinearOut:
        bias = weights.get(f"{name}.bias")
        return matrix(name), None if bias is None else _array(bias)

    def norm(name: str) -> Norm:
        return Norm(_array(weights[f"{name}.weight"]), _array(weights[f"{name}.bias"]))

    def half(name: str, norm_name: str, parts: int) -> Half:
        # With two layers they are numbers 0 and 3, a single one is number 1.
        single = f"{name}.0.weight" not in weights
        first, second = f"{name}.{int(single)}", f"{name}.3"
        normed = f"{norm_name}.weight" in weights
        weight, bias = weights[f"{first}.weight"].T, weights[f"{first}.bias"]
        if normed and single:
            weight, bias = _centred(weight), _centred(bias)
        hidden = None
        if not single:
            hidden_weight, hidden_bias = weights[f"{second}.weight"].T, weights[f"{second}.bias"]
            if normed:
                hidden_weight, hidden_bias = _centred(hidden_weight), _centred(hidden_bias)
            hidden = (_array(hidden_weight), _array(hidden_bias))
        return Half(
            tuple(_array(part) for part in np.split(weight, parts)),
            _array(bias),
            hidden,
            norm(norm_name) if normed else None,
        )

    def gated(name: str, parts: int) -> GatedMLP:
        return GatedMLP(
            half(f"{name}.mlp_core.layers", f"{name}.bn1", parts),
            half(f"{name}.mlp_gate.layers", f"{name}.bn2", parts),
        )

    def atom(index: int) -> AtomConvolution:
        name = f"atom_conv_layers.{index}"
        return AtomConvolution(gated(f"{name}.twoBody_atom", 3), out(f"{name}.mlp_out.layers.1"))

    def block(index: int) -> InteractionBlock:
        name = f"bond_conv_layers.{index}"
        bond = BondConvolution(gated(f"{name}.twoBody_bond", 4), out(f"{name}.mlp_out.layers.1"))
        return InteractionBlock(atom(index), bond, gated(f"angle_layers.{index}.twoBody_bond", 4))

    count = sum(name.endswith("mlp_out.layers.1.weight") for name in weights) // 2
    blocks, last = tuple(block(index) for index in range(count)), atom(count)
    embedding = matrix("bond_embedding")
    convolutions = [block.atom.gate for block in blocks] + [last.gate]
    turns = [gate for block in blocks for gate in (block.bond.gate, block.angle)][:-1]
    readout = sorted(
        int(name.split(".")[2]) for name in weights if name.startswith("mlp.") and "weight" in name
    )
    basis = "bond_basis_expansion.rbf_expansion"
    params = CHGNetParams(
        references=_array(weights["composition_model.fc.weight"][0]),
        elements=_array(weights["atom_embedding.embedding.weight"]),
        frequencies=_array(weights[f"{basis}_ag.frequencies"]),
        inner_frequencies=_array(weights[f"{basis}_bg.frequencies"]),
        angle_frequencies=_array(weights["angle_basis_expansion.fourier_expansion.frequencies"]),
        bond_weights=matrix("bond_weights_bg"),
        edge_inputs=jnp.concatenate(
            [matrix("bond_weights_ag"), embedding, _through(embedding, convolutions, 1)], 1
        ),
        angle_inputs=_through(matrix("angle_embedding"), turns, 2),
        blocks=blocks,
        last=last,
        moments=linear("site_wise"),
        readout_norm=norm("readout_norm") if "readout_norm.weight" in weights else None,
        readout=tuple(linear(f"mlp.layers.{index}") for index in readout),
    )
    shape = Shape(
        float(weights["cutoff"]),
        float(weights["inner"]),
        int(weights["envelope"]),
        len(params.elements),
    )
    return str(weights["version"]), shape, params


def _through(embedding: jax.Array, gates: list[GatedMLP], part: int) -> jax.Array:
    """An embedding's matrix times one part of the first layers of core and gate of each."""
    layers = [np.asarray(half.inputs[part], np.float64) for gate in gates for half in gate]
    return _array(np.asarray(embedding, np.float64) @ np.concatenate(layers, 1))


def _centred(values: np.ndarray) -> np.ndarray:
    """Less their mean along the last axis."""
    exact = np.asarray(values, np.float64)
    return exact - exact.mean(-1, keepdims=True)


def _array(values: np.ndarray) -> jax.Array:
    return jnp.asarray(values, jnp.float32)
