"""Record what chgnet 0.4.2 itself answers, for the tests that compare: `chgnet_answers.npz`.

    pip install 'chgnet==0.4.2'
    python experiments/tables/chgnet_answers.py OBELIX_FOLDER

Crystals: embedded ones, P1 decorations of partly occupied ones of OBELiX (CC BY 4.0, Therrien et
al., arXiv:2502.14234), and made-up ones that try the neighbour tables. Positions and lattices are
rounded to float32, so that both sides see the same numbers.

chgnet computes in float32, where its own rounding is up to 2.4e-4 eV/Å: angles near 180° lose half
of their digits. So each crystal is also computed with chgnet's network and graph in float64; those
are the answers to compare with. What it says as it comes stands beside them (`plain_...`).
"""

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from chgnet.graph import converter
from chgnet.model import CHGNet, model
from pymatgen.core import Lattice, Structure

from mfal.data import load_embedded, load_obelix

TARGET = Path(__file__).parents[2] / "tests" / "potentials" / "chgnet_answers.npz"
EMBEDDED = [
    "mp-dielectric-3218",
    "mp-dielectric-3499",
    "obelix-4kt",
    "mp-dielectric-3685",
    "mp-dielectric-4464",
    "mp-dielectric-501",
    "obelix-fwz",
    "isotype-Li3OCl",
    "mp-dielectric-2008",
    "mp-dielectric-4627",
    "mp-dielectric-3575",
    "mp-dielectric-1924",
    "mp-dielectric-4195",
    "mp-dielectric-2910",
    "mp-dielectric-365",
    "obelix-n27",
    "mp-dielectric-1627",
    "mp-dielectric-3435",
    "obelix-y2l",
]
OBELIX = [
    "obelix-oi6",
    "obelix-opo",
    "obelix-uox",
    "obelix-nhq",
    "obelix-e6b",
    "obelix-3nb",
    "obelix-5tl",
    "obelix-ia5",
    "obelix-usu",
    "obelix-hx7",
]
CLOSEST = 1.3
"""Å; of two partly occupied sites nearer than that one stays empty."""


def decorated(structure: Structure, seed: int) -> Structure:
    """One drawing of every partly occupied site, in P1."""
    rng = np.random.default_rng(seed)
    species, places = [], []
    for site in structure:
        kinds = [str(kind.symbol) for kind in site.species.elements]
        shares = list(site.species.values())
        kind = rng.choice([*kinds, ""], p=[*shares, max(0.0, 1 - sum(shares))])
        distances = structure.lattice.get_all_distances([site.frac_coords], places or [[9, 9, 9]])
        if kind and (not places or distances.min() > CLOSEST):
            species.append(kind)
            places.append(site.frac_coords)
    return Structure(structure.lattice, species, places)


def made_up() -> Iterator[tuple[str, Structure]]:
    """What tries the tables: cells below the cutoff, skewed, empty, and many atoms."""
    yield "Cu, one atom", Structure(_fcc(3.6), ["Cu"], [[0, 0, 0]])
    yield "Li, one atom", Structure(_bcc(3.44), ["Li"], [[0.3, 0.1, 0.9]])
    yield "Fe, one atom", Structure(_bcc(2.83), ["Fe"], [[0, 0, 0]])
    salt = Structure(_fcc(4.03), ["Li", "F"], [[0, 0, 0], [0.47, 0.52, 0.5]])
    yield "LiF, two atoms", salt
    shear = np.array([[1, 2, -3], [0, 1, 4], [0, 0, 1]])
    cell = Lattice(shear @ salt.lattice.matrix)
    yield "LiF, skewed", Structure(cell, salt.species, salt.cart_coords, coords_are_cartesian=True)
    long = Lattice([[2.9, 0, 0], [0.4, 3.1, 0], [1.0, 0.7, 25.0]])
    yield "needle", Structure(long, ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.08]])
    box = Lattice.cubic(20)
    yield "Li, isolated", Structure(box, ["Li"], [[0.5, 0.5, 0.5]])
    water = [[0, 0, 0], [0.96, 0.02, 0], [-0.24, 0.93, 0]]
    yield "H2O", Structure(box, ["O", "H", "H"], water, coords_are_cartesian=True)
    yield "LiF, dimer", Structure(box, ["Li", "F"], [[0, 0, 0], [0, 0, 0.08]])
    far = [[0, 0, 0], [0, 0, 5.0], [0, 0.1, 11.5], [9, 9, 9]]
    yield "chain", Structure(box, ["Li", "O", "Li", "Ar"], far, coords_are_cartesian=True)


def crystals(folder: Path) -> Iterator[tuple[str, Structure]]:
    """All of them, every other perturbed."""
    for wanted, table in ((OBELIX, load_obelix(folder)), (EMBEDDED, load_embedded())):
        found = dict(zip((row.id for row in table), table.structures(), strict=True))
        for number, name in enumerate(wanted):
            structure = found[name].copy()
            if structure.is_ordered:
                structure.remove_oxidation_states()
            else:
                structure = decorated(structure, number)
            if number % 2:
                structure.perturb(0.05, seed=number)
            yield name, structure
    yield from made_up()
    large = dict(zip((row.id for row in table), table.structures(), strict=True))[
        "mp-dielectric-406"
    ]
    large = large.copy().remove_oxidation_states().make_supercell([2, 2, 2])
    yield "Li2CO3, supercell", large.perturb(0.05, seed=0)


def _fcc(a: float) -> Lattice:
    return Lattice(a / 2 * (1 - np.eye(3)))


def _bcc(a: float) -> Lattice:
    return Lattice(a / 2 * (1 - 2 * np.eye(3)))


def answers(net: CHGNet, structures: list[Structure]) -> list[dict[str, np.ndarray]]:
    """Energy per atom, forces, stress in GPa, magnetic moments."""
    net.graph_converter.set_isolated_atom_response("ignore")
    found = []
    for structure in structures:
        found.append(net.predict_structure(structure))
        print(structure.composition.reduced_formula, end=" ", flush=True)
    return found


def main(folder: Path) -> None:
    """Compute and write."""
    names, structures = zip(*crystals(folder), strict=True)
    cells = np.array([s.lattice.matrix for s in structures], np.float32)
    places = [np.array(s.cart_coords, np.float32) for s in structures]
    kinds = [np.array(s.atomic_numbers, np.uint8) for s in structures]
    rounded = [
        Structure(cell.astype(float), kind.tolist(), place.astype(float), coords_are_cartesian=True)
        for cell, kind, place in zip(cells, kinds, places, strict=True)
    ]
    net = CHGNet.load(use_device="cpu", verbose=False)
    plain = answers(net, rounded)
    # Its graphs and its network in float64; the elements' reference energies stay as they are.
    torch.set_default_dtype(torch.float64)
    converter.TORCH_DTYPE = model.TORCH_DTYPE = torch.float64
    net = net.double()
    net.composition_model.float()
    exact = answers(net, rounded)
    errors = [
        [np.abs(a[key] - b[key]).max(initial=0) for key in "efsm"]
        for a, b in zip(plain, exact, strict=True)
    ]
    for name, structure, row in zip(names, rounded, errors, strict=True):
        print(f"{name:20} {len(structure):4}", *(f"{error:.1e}" for error in row))
    np.savez_compressed(
        TARGET,
        names=np.array(names),
        atoms=np.array([len(kind) for kind in kinds]),
        species=np.concatenate(kinds),
        positions=np.concatenate(places),
        cells=cells,
        energies=np.array([row["e"] for row in exact], np.float64),
        forces=np.concatenate([row["f"] for row in exact]).astype(np.float32),
        stresses=np.array([row["s"] for row in exact], np.float64),
        moments=np.concatenate([row["m"] for row in exact]).astype(np.float32),
        plain_energies=np.array([row["e"] for row in plain], np.float64),
        plain_forces=np.concatenate([row["f"] for row in plain]).astype(np.float32),
        plain_stresses=np.array([row["s"] for row in plain], np.float32),
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
