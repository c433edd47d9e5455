"""Build `formation_enthalpies.csv`: measured enthalpies of formation of solids, to compare with.

    python experiments/tables/formation_enthalpies.py [FOLDER]

From the CRC Handbook of Chemistry and Physics, 95th ed. (2014), section 5, as the package chemicals
1.5.2 carries it: standard enthalpies of formation of crystalline inorganic compounds at 298.15 K,
in kJ per mole of the reduced formula, of two to four of the elements of `thermochemistry.py`. Of
several modifications the one of lowest enthalpy is kept; what lies below every known compound is a
misprint (TiO).
"""

import csv
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import thermochemistry
from pymatgen.core import Composition

TARGET = Path(__file__).parent / "formation_enthalpies.csv"
PACKAGE = "chemicals==1.5.2"
LOWEST = -500.0
"""kJ per mole of atoms; the fluorides of the rare earths have some -430."""
MEMBER = "Heat Capacity/CRC Standard Thermodynamic Properties of Chemical Substances.tsv"


def main(folder: Path) -> None:
    """Download, read, write."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
    subprocess.run([*command, PACKAGE], check=True)
    lowest: dict[str, float] = {}
    with zipfile.ZipFile(next(folder.glob("chemicals-1.5.2*.whl"))) as wheel:
        formulas = dict(thermochemistry.identifiers(wheel))
        for row in thermochemistry.tsv(wheel, MEMBER):
            key = thermochemistry.reduced(formulas.get(row["CAS"], ""))
            if key is None or not row["Hfs"]:
                continue
            formula, count = key
            enthalpy = float(row["Hfs"]) / 1000 / count
            if enthalpy < LOWEST * Composition(formula).num_atoms:
                continue
            lowest[formula] = min(enthalpy, lowest.get(formula, enthalpy))
    with TARGET.open("w", newline="", encoding="utf8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["formula", "dhf_kj_per_mol"])
        writer.writerows([formula, f"{lowest[formula]:.1f}"] for formula in sorted(lowest))
    print(f"{len(lowest)} compounds -> {TARGET}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
