"""Build `mfal/crystals/tables/bond_valence.csv` from the table that bvlain carries.

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

from mfal.crystals.elements import SYMBOLS

TARGET = Path(__file__).parents[2] / "mfal" / "crystals" / "tables" / "bond_valence.csv"
HEADER = """\
# softBV parameters: Adams & Rao (2011), doi:10.1002/pssa.201001116; Chen, Wong & Adams (2019),
# doi:10.1107/S2052520618015718; by way of bvlain 0.25.1 (MIT, (c) 2023 Artem D. Dembitskiy).
# r_min and r0 in angstrom, alpha in 1/angstrom, d0 in eV; from experiments/tables/bond_valence.py
"""


def main() -> None:
    """Write the table, one pair of ions a line, ordered by atomic numbers and charges."""
    data = pickle.loads((files("bvlain") / "data" / "cation.pkl").read_bytes())
    pairs = [
        (int(z), int(charge), int(anion), int(anion_charge), parameters)
        for z, by_charge in data.items()
        for charge, by_anion in by_charge.items()
        for anion, by_anion_charge in by_anion.items()
        for anion_charge, parameters in by_anion_charge.items()
    ]
    text = io.StringIO()
    text.write(HEADER)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["cation", "cation_charge", "anion", "anion_charge", "r_min", "alpha", "d0", "r0"]
    )
    faulty = 0
    for z, charge, anion, anion_charge, row in sorted(pairs, key=lambda pair: pair[:4]):
        if row["alpha"] <= 0:
            faulty += 1
            continue
        values = [float(row[name]) for name in ("r_min", "alpha", "d0", "r0")]
        writer.writerow([SYMBOLS[z - 1], charge, SYMBOLS[anion - 1], anion_charge, *values])
    TARGET.write_text(text.getvalue())
    print(f"{TARGET.name}: {len(pairs) - faulty} pairs, {faulty} faulty ones left out")


if __name__ == "__main__":
    main()
