"""Relax the atoms of Li7P3S11 in its measured cell, for the entry in `li_published.json`.

    pip install -e '.[mlip]'
    python experiments/tables/li7p3s11.py

The crystal was solved by Yamane et al., Solid State Ionics 178, 1163 (2007), and no open source
gives the refined positions. Its cell is known (Sendek et al. 2017, OBELiX). Its arrangement can be
had: the glass models of Feugmo-Group/torchdisorder (MIT licence) were made from a supercell of the
computed crystal by moving lithium at random and rebuilding some of the thiophosphate groups.
Sites averaged over six to eight images each, inversion symmetry imposed, give `START`, off by 0.1
to 0.3 Å. CHGNet 0.4.2 (Deng et al., Nat. Mach. Intell. 5, 1031 (2023)) takes them to the nearest
minimum with the cell held; symmetry stays, as forces have it. The result is a computed
arrangement in a measured cell, not a refinement.
"""

import json

import numpy as np
import spglib
from pymatgen.core import Lattice, Structure

from mfal.oracles.stability.potential_energy import load_calculator

CELL = (12.5009, 6.0316, 12.5303, 102.845, 113.2024, 74.467)
"""Å and degrees; row 33 of the 40-set, OBELiX mdp."""
START = {
    "Li": (
        (0.137, 0.792, 0.625),
        (0.321, 0.190, 0.825),
        (0.344, 0.417, 0.396),
        (0.632, 0.025, 0.387),
        (0.650, 0.221, 0.985),
        (0.822, 0.962, 0.800),
        (0.961, 0.317, 0.741),
    ),
    "P": ((0.217, 0.426, 0.035), (0.535, 0.448, 0.223), (0.833, 0.795, 0.561)),
    "S": (
        (0.034, 0.087, 0.296),
        (0.171, 0.230, 0.894),
        (0.191, 0.396, 0.182),
        (0.385, 0.325, 0.058),
        (0.501, 0.756, 0.196),
        (0.508, 0.411, 0.374),
        (0.676, 0.256, 0.181),
        (0.680, 0.954, 0.585),
        (0.820, 0.869, 0.397),
        (0.837, 0.216, 0.979),
        (0.849, 0.459, 0.559),
    ),
}
FORCE = 0.02
"""eV/Å, the largest left."""
BOND = 2.6
"""Å, what counts as a P-S bond."""


def start() -> Structure:
    """All 42 atoms: each of the 21 and its image in the inversion centre."""
    species = [symbol for symbol, sites in START.items() for _ in sites]
    positions = np.array([position for sites in START.values() for position in sites])
    return Structure(
        Lattice.from_parameters(*CELL), species * 2, np.concatenate([positions, -positions]) % 1
    )


def relax(structure: Structure) -> Structure:
    """Atoms at rest in the cell as it is."""
    from ase.optimize import FIRE
    from pymatgen.io.ase import AseAtomsAdaptor

    atoms = AseAtomsAdaptor.get_atoms(structure)
    atoms.calc = load_calculator("chgnet")
    if not FIRE(atoms, logfile=None).run(fmax=FORCE, steps=1000):
        raise SystemExit(f"forces are still over {FORCE} eV/Å after 1000 steps")
    return AseAtomsAdaptor.get_structure(atoms)


def main() -> None:
    """Relax, check, and print the sites as `li_published.json` has them."""
    found = relax(start())
    cell = (found.lattice.matrix, found.frac_coords, [site.specie.Z for site in found])
    print(spglib.get_spacegroup(cell, symprec=1e-3))
    for site in found:
        if site.specie.symbol == "P":
            bonds = sorted(float(n.nn_distance) for n in found.get_neighbors(site, BOND))
            print("P-S, Å:", ", ".join(f"{bond:.3f}" for bond in bonds))
    half = len(found) // 2
    # the mean of an atom and its inverted partner, which float32 forces leave apart a little
    shift = found.frac_coords[:half] + found.frac_coords[half:]
    positions = found.frac_coords[:half] - (shift - np.round(shift)) / 2
    for site, position in zip(found[:half], positions % 1, strict=True):
        print(json.dumps([[[site.specie.symbol, 1]], [round(float(x), 5) for x in position]]))


if __name__ == "__main__":
    main()
