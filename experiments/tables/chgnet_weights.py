"""Build `mfal/potentials/tables/chgnet_0.3.0.npz`: the weights of CHGNet, from its wheel.

    python experiments/tables/chgnet_weights.py [--version 0.2.0 --output chgnet_0.2.0.npz]

Downloads the wheel of chgnet 0.4.2 by pip, without its dependencies, and reads the checkpoint in
it without torch: a zip of one pickle and one file of raw float32 per tensor. The pickle is read by
an unpickler that knows three names and refuses any other. The weights and this package's copy are
under the modified BSD licence of chgnet, which is copied beside them.

`mfal.potentials.chgnet_potential(path)` reads what is written. Other versions: 0.2.0, r2scan.
"""

import argparse
import io
import pickle
import subprocess
import sys
import tempfile
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

PACKAGE = "chgnet==0.4.2"
TABLES = Path(__file__).parents[2] / "mfal" / "potentials" / "tables"
LICENCE = "chgnet-0.4.2.dist-info/licenses/LICENSE"
SAVED_ARGUMENTS = {"cutoff": "atom_graph_cutoff", "inner": "bond_graph_cutoff"}


class Weights(pickle.Unpickler):
    """Reads tensors of a torch checkpoint as numpy arrays and refuses everything else."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        names = archive.namelist()
        pickled = next(name for name in names if name.endswith("/data.pkl"))
        super().__init__(io.BytesIO(archive.read(pickled)))
        self.archive = archive
        self.folder = pickled.removesuffix("data.pkl")

    def find_class(self, module: str, name: str) -> Any:
        """The three names that a checkpoint of float32 tensors needs."""
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch", "FloatStorage"): np.dtype("<f4"),
            ("torch._utils", "_rebuild_tensor_v2"): rebuild,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} is not expected in weights")
        return known[module, name]

    def persistent_load(self, reference: tuple) -> np.ndarray:
        """A tensor's raw numbers."""
        _, dtype, key, _, count = reference
        return np.frombuffer(self.archive.read(f"{self.folder}data/{key}"), dtype, count)


def rebuild(storage: np.ndarray, offset: int, size: tuple, stride: tuple, *_: object) -> np.ndarray:
    """A tensor from its storage."""
    strides = [step * storage.itemsize for step in stride]
    view = np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False)
    return view.copy()


def convert(checkpoint: bytes, version: str) -> dict[str, np.ndarray]:
    """The arrays to write, under the names of chgnet's `state_dict`."""
    with zipfile.ZipFile(io.BytesIO(checkpoint)) as archive:
        model = Weights(archive).load()["model"]
    arguments = model["model_args"]
    values = {name: np.float64(arguments[key]) for name, key in SAVED_ARGUMENTS.items()}
    values["envelope"] = np.int64(arguments["cutoff_coeff"])
    values["version"] = np.str_(version)
    biased = version == "0.2.0"  # chgnet itself drops the biases of the others' output layers
    for name, tensor in model["state_dict"].items():
        if biased or not name.endswith("mlp_out.layers.1.bias"):
            values[name] = tensor
    return values


def main(version: str, output: Path) -> None:
    """Download, convert, write."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder]
        # The weights are the same in every wheel; one that needs no compiler is taken.
        command += ["--only-binary", ":all:", "--platform", "manylinux_2_17_x86_64"]
        command += ["--python-version", "3.11", PACKAGE]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(next(Path(folder).glob("chgnet-*.whl"))) as wheel:
            start = f"chgnet/pretrained/{version}/"
            inside = [name for name in wheel.namelist() if name.startswith(start)]
            checkpoint = next(name for name in inside if name.endswith(".pth.tar"))
            values = convert(wheel.read(checkpoint), version)
            licence = wheel.read(LICENCE)
    np.savez(output, **values)
    output.with_suffix(".LICENSE").write_bytes(licence)
    print(f"{output}: {sum(value.size for value in values.values())} numbers")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--version", default="0.3.0", choices=("0.3.0", "0.2.0", "r2scan"))
    parser.add_argument("--output", type=Path, help="the .npz to write")
    options = parser.parse_args()
    main(options.version, options.output or TABLES / f"chgnet_{options.version}.npz")
