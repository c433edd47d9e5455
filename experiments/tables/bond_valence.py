"""Build `bond_valence.csv` and `softbv_radii.csv` in `mfal/crystals/tables` from bvlain's tables.

    python experiments/tables/bond_valence.py

The facts are the softBV parameters of Adams & Rao, Phys. Status Solidi A 208, 1746 (2011),
doi:10.1002/pssa.201001116, and Chen, Wong & Adams, Acta Cryst. B 75, 18 (2019),
doi:10.1107/S2052520618015718, as distributed in the Python package bvlain 0.25.1 (MIT licence,
copyright 2023 Artem D. Dembitskiy).

Rows with a negative alpha are left out: a Morse well needs a positive one, and their distances of
least energy (1.06 Å for Be-S) are shorter than the bonds by half an ångström or more.
"""

import csv
import io
import pickle
from importlib.resources import files
from pathlib import Path
from typing import Any

from mfal.crystals.elements import SYMBOLS

TABLES = Path(__file__).resolve().parents[2] / "mfal" / "crystals" / "tables"
SOURCE = """\
# softBV parameters: Adams & Rao (2011), doi:10.1002/pssa.201001116; Chen, Wong & Adams (2019),
# doi:10.1107/S2052520618015718; by way of bvlain 0.25.1 (MIT, (c) 2023 Artem D. Dembitskiy).
"""
PAIRS = SOURCE + "# r_min and r0 in angstrom, alpha in 1/angstrom, d0 in eV.\n"
RADII = (
    SOURCE + "# Covalent radii of ions in angstrom, for the screened repulsion of like charges.\n"
)


def load(name: str) -> dict[int, dict[int, Any]]:
    """One of bvlain's tables, by atomic number and charge."""
    return pickle.loads((files("bvlain") / "data" / name).read_bytes())


def write(name: str, header: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Write rows of plain values below a comment and a line of column names."""
    text = io.StringIO()
    text.write(header)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    (TABLES / name).write_text(text.getvalue())
    print(f"{name}: {len(rows)} rows")


def main() -> None:
    """Write both tables, ordered by atomic numbers and charges."""
    pairs = sorted(
        (int(z), int(charge), int(anion), int(anion_charge), parameters)
        for z, by_charge in load("cation.pkl").items()
        for charge, by_anion in by_charge.items()
        for anion, by_anion_charge in by_anion.items()
        for anion_charge, parameters in by_anion_charge.items()
    )
    names = ["r_min", "alpha", "d0", "r0"]
    write(
        "bond_valence.csv",
        PAIRS,
        ["cation", "cation_charge", "anion", "anion_charge", *names],
        [
            [SYMBOLS[z - 1], q, SYMBOLS[x - 1], p, *(float(row[name]) for name in names)]
            for z, q, x, p, row in pairs
            if row["alpha"] > 0
        ],
    )
    radii = sorted(
        (int(z), int(charge), float(radius))
        for z, by_charge in load("covalent_radii_softvb.pkl").items()
        for charge, radius in by_charge.items()
        if charge
    )
    write(
        "softbv_radii.csv",
        RADII,
        ["symbol", "charge", "radius"],
        [[SYMBOLS[z - 1], charge, radius] for z, charge, radius in radii],
    )


if __name__ == "__main__":
    main()
