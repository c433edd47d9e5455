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


class GatedMLP(NamedTuple):
    """Core and gate side by side."""

    inputs: tuple[jax.Array, ...]
    """The first layer's weight [64, core 64 | gate 64] for each part of the input."""
    bias: jax.Array
    """[128], the first layer's."""
    hidden: tuple[Linear, Linear] | None
    """The second layers of core and gate; None where there is one layer."""
    norms: tuple[Norm, Norm] | None
    """Of core and gate."""


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
    bond_embedding: jax.Array
    """[radial, 64]."""
    atom_weights: jax.Array
    """[radial, 64]."""
    bond_weights: jax.Array
    """[radial, 64]."""
    angle_embedding: jax.Array
    """[1 + 2 angular, 64]."""
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

    def gated(name: str, parts: int) -> GatedMLP:
        pair = (f"{name}.mlp_core.layers", f"{name}.mlp_gate.layers")
        # With two layers they are numbers 0 and 3, a single one is number 1.
        first = 0 if f"{pair[0]}.0.weight" in weights else 1
        joint = np.concatenate([weights[f"{half}.{first}.weight"].T for half in pair], 1)
        bias = np.concatenate([weights[f"{half}.{first}.bias"] for half in pair])
        hidden = None if first else (linear(f"{pair[0]}.3"), linear(f"{pair[1]}.3"))
        normed = f"{name}.bn1.weight" in weights
        return GatedMLP(
            tuple(_array(part) for part in np.split(joint, parts)),
            _array(bias),
            hidden,
            (norm(f"{name}.bn1"), norm(f"{name}.bn2")) if normed else None,
        )

    def atom(index: int) -> AtomConvolution:
        name = f"atom_conv_layers.{index}"
        return AtomConvolution(gated(f"{name}.twoBody_atom", 3), out(f"{name}.mlp_out.layers.1"))

    def block(index: int) -> InteractionBlock:
        name = f"bond_conv_layers.{index}"
        bond = BondConvolution(gated(f"{name}.twoBody_bond", 4), out(f"{name}.mlp_out.layers.1"))
        return InteractionBlock(atom(index), bond, gated(f"angle_layers.{index}.twoBody_bond", 4))

    count = sum(name.endswith("mlp_out.layers.1.weight") for name in weights) // 2
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
        bond_embedding=matrix("bond_embedding"),
        atom_weights=matrix("bond_weights_ag"),
        bond_weights=matrix("bond_weights_bg"),
        angle_embedding=matrix("angle_embedding"),
        blocks=tuple(block(index) for index in range(count)),
        last=atom(count),
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


def _array(values: np.ndarray) -> jax.Array:
    return jnp.asarray(values, jnp.float32)
