"""Build `mfal/crystals/tables/elements.json` from the tables of pymatgen and ase.

    python experiments/tables/elements.py

Sources of the facts:
- masses (IUPAC), Pauling electronegativities, oxidation states: as tabulated by pymatgen;
- covalent radii: Cordero et al., Dalton Trans. 2832 (2008), doi:10.1039/B801115J, as in ase;
- ionic radii: Shannon, Acta Cryst. A 32, 751 (1976), doi:10.1107/S0567739476001551, by pymatgen;
- principal quantum numbers: the period, which is what softBV's table holds for all its elements.
"""

import json
import math
import re
import warnings
from pathlib import Path
from typing import Any

from ase.data import covalent_radii
from pymatgen.core import Element

TARGET = Path(__file__).parents[2] / "mfal" / "crystals" / "tables" / "elements.json"
ROMAN = {"I": 1, "V": 5, "X": 10}
PREFERRED_COORDINATION = 6
LAST_COVALENT = 96
"""Cordero et al. end with curium; ase fills in a constant beyond."""


def coordination_number(label: str) -> int:
    """The number in a label like "VIII", "IVSQ" or "IIIPY" (square, pyramidal)."""
    digits = [ROMAN[c] for c in re.match("[IVX]+", label)[0]]  # type: ignore[index]
    pairs = zip(digits, [*digits[1:], 0], strict=True)
    return sum(-value if value < after else value for value, after in pairs)


def shannon_radius(by_coordination: dict[str, Any]) -> float:
    """Radius in Å at the coordination nearest to six, high spin where spins are told apart."""

    def distance(label: str) -> tuple[int, int, int]:
        number = coordination_number(label)
        # The larger of two coordinations equally far, and the plain geometry before the special.
        return (abs(number - PREFERRED_COORDINATION), -number, len(label))

    by_spin = by_coordination[min(by_coordination, key=distance)]
    spin = "High Spin" if "High Spin" in by_spin else next(iter(by_spin))
    return by_spin[spin]["ionic_radius"]


def row(number: int) -> dict[str, Any]:
    """All that the table holds of one element."""
    element = Element.from_Z(number)
    radius = float(covalent_radii[number])
    # One entry of europium lacks its charge.
    shannon = {
        charge: radii for charge, radii in element.data.get("Shannon radii", {}).items() if charge
    }
    return {
        "symbol": element.symbol,
        "mass": float(element.atomic_mass),
        "electronegativity": None if math.isnan(element.X) else float(element.X),
        "covalent_radius": radius if number <= LAST_COVALENT else None,
        "principal_quantum_number": int(element.row),
        "oxidation_states": [int(q) for q in element.common_oxidation_states if q],
        "ionic_radii": {
            str(int(charge)): shannon_radius(radii)
            for charge, radii in sorted(shannon.items(), key=lambda item: int(item[0]))
        },
    }


def main() -> None:
    """Write the table, one element a line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = [json.dumps(row(number)) for number in range(1, 104)]
    TARGET.write_text("[\n" + ",\n".join(rows) + "\n]\n")
    print(f"{TARGET.name}: {len(rows)} elements")


if __name__ == "__main__":
    main()
