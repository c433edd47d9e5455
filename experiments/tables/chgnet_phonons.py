"""Build `chgnet_phonons.json` of tests/potentials: frequencies by phonopy and the chgnet package.

    pip install -e '.[mlip]' phonopy
    python experiments/tables/chgnet_phonons.py

Three embedded crystals as they stand, in their cubic cells; forces of chgnet 0.4.2 (0.3.0 weights)
on supercells with displacements of 0.01 Å along the axes, plus and minus; frequencies at the
commensurate wave vectors. An independent path to what `mfal.potentials.find_phonons` computes. The
direction matters: where bonds make straight angles CHGNet's energy has a kink, so displacements
along a face's diagonal, phonopy's choice in the primitive cell, give an optical mode of LiF that is
0.2 THz lower.
"""

import json
from pathlib import Path

import numpy as np

TARGET = Path(__file__).parents[2] / "tests" / "potentials" / "chgnet_phonons.json"
CRYSTALS = {"LiF": (1, 1, 1), "Li2O": (1, 1, 1), "Li3ClO": (2, 2, 2)}


def main() -> None:
    """Write the table."""
    from chgnet.model import CHGNet
    from chgnet.model.dynamics import CHGNetCalculator
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms
    from pymatgen.core import Structure
    from pymatgen.io.ase import AseAtomsAdaptor
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    from mfal.data import load_embedded

    calculator = CHGNetCalculator(CHGNet.load(model_name="0.3.0"), use_device="cpu")
    table = load_embedded()
    rows = []
    for formula, repeats in CRYSTALS.items():
        index = next(
            i
            for i, each in enumerate(table.structures())
            if each is not None
            and each.is_ordered
            and each.composition.reduced_formula == formula
            and len(each.get_primitive_structure()) <= 5
        )
        structure = table.structure(index)
        assert structure is not None
        cubic = SpacegroupAnalyzer(structure).get_conventional_standard_structure()
        cubic.remove_oxidation_states()
        cell = PhonopyAtoms(
            numbers=cubic.atomic_numbers,
            cell=cubic.lattice.matrix,
            scaled_positions=cubic.frac_coords,
        )
        phonopy = Phonopy(cell, np.diag(repeats), primitive_matrix=np.eye(3))
        phonopy.generate_displacements(distance=0.01, is_plusminus=True, is_diagonal=False)
        forces = []
        for shifted in phonopy.supercells_with_displacements or []:
            atoms = AseAtomsAdaptor.get_atoms(
                Structure(shifted.cell, [int(z) for z in shifted.numbers], shifted.scaled_positions)
            )
            atoms.calc = calculator
            forces.append(atoms.get_forces())
        phonopy.forces = np.array(forces)
        phonopy.produce_force_constants()
        phonopy.symmetrize_force_constants()
        axes = (np.arange(n) / n for n in repeats)
        points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
        phonopy.run_qpoints(points)
        rows.append(
            {
                "id": table.ids[index],
                "repeats": repeats,
                "formula": formula,
                "cell": np.round(cubic.lattice.matrix, 8).tolist(),
                "fractions": np.round(cubic.frac_coords, 8).tolist(),
                "species": list(cubic.atomic_numbers),
                "masses": np.round(phonopy.masses, 6).tolist(),
                "wave_vectors": points.tolist(),
                "frequencies": np.round(phonopy.get_qpoints_dict()["frequencies"], 4).tolist(),
            }
        )
        print(formula, rows[-1]["id"], rows[-1]["frequencies"][0])
    TARGET.write_text(json.dumps({"chgnet": "0.4.2", "crystals": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
