"""Build `tests/potentials/chgnet_minima.json`: minima that ASE finds with the chgnet package.

    pip install -e '.[mlip]'
    python experiments/tables/chgnet_minima.py

Twenty ordered embedded crystals of at most 14 atoms, spread over the list, each in its primitive
cell, are relaxed with ASE's L-BFGS on `FrechetCellFilter` and the calculator of chgnet 0.4.2 (B.
Deng et al., Nat. Mach. Intell. 5, 1031 (2023), doi:10.1038/s42256-023-00716-3) until no force is
above 0.01 eV/Å. The file keeps the start and the energy, volume and number of evaluations at the
end, which `tests/potentials/test_relax_chgnet.py` compares with mfal's own relaxation.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from mfal.data import load_embedded

TARGET = Path(__file__).parents[2] / "tests" / "potentials" / "chgnet_minima.json"
NUMBER = 20
SPARE = 2
"""Crystals more, as ASE's L-BFGS wanders about in some."""
MOST_ATOMS = 14


def starts() -> list[Structure]:
    """The crystals, spread evenly over those that will do."""
    found = []
    for structure in load_embedded().structures():
        if structure is not None and structure.is_ordered:
            primitive = structure.get_primitive_structure().remove_oxidation_states()
            if len(primitive) <= MOST_ATOMS:
                found.append(primitive)
    spread = NUMBER + SPARE
    return [found[i * len(found) // spread] for i in range(spread)]


def relaxed(structure: Structure, calculator: Any) -> dict[str, Any]:
    """One crystal's row."""
    from ase.filters import FrechetCellFilter
    from ase.optimize import LBFGS

    atoms = AseAtomsAdaptor.get_atoms(structure)
    atoms.calc = calculator
    before = atoms.get_potential_energy() / len(atoms)
    began = time.perf_counter()
    optimiser = LBFGS(FrechetCellFilter(atoms), logfile=None)
    converged = optimiser.run(fmax=0.01, steps=150)
    seconds = time.perf_counter() - began
    row = {
        "formula": structure.composition.reduced_formula,
        "species": [int(z) for z in structure.atomic_numbers],
        "cell": structure.lattice.matrix.round(6).tolist(),
        "positions": structure.cart_coords.round(6).tolist(),
        "start_energy": round(float(before), 6),
        "energy": round(float(atoms.get_potential_energy()) / len(atoms), 6),
        "volume": round(float(atoms.get_volume()), 4),
        "steps": int(optimiser.nsteps),
        "converged": bool(converged),
    }
    print(
        f"{row['formula']:16} {len(atoms):3} atoms {row['steps']:4} steps {seconds:6.1f} s",
        flush=True,
    )
    return row


def main() -> None:
    """Relax all and write the table."""
    from chgnet.model.dynamics import CHGNetCalculator

    calculator = CHGNetCalculator(use_device="cpu")
    rows = [relaxed(structure, calculator) for structure in starts()]
    rows = [row for row in rows if row.pop("converged")][:NUMBER]
    TARGET.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    main()
