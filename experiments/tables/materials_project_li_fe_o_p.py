"""Build `materials_project_li_fe_o_p.json`: computed energies of one system.

    python experiments/tables/materials_project_li_fe_o_p.py [FOLDER]

The source distribution of reaction-network 4.0.0 carries, for its tests, the Materials Project's
entries of the system Li-Fe-O-P (GGA and GGA+U, MP2020 corrections). The Materials Project's data
are under CC BY 4.0: A. Jain et al., APL Materials 1, 011002 (2013), doi:10.1063/1.4812323. Of
each formula the entry of lowest corrected energy is kept; others can't change a convex hull.
"""

import gzip
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from pymatgen.core import Composition

TABLES = Path(__file__).parents[2] / "mfal" / "oracles" / "stability" / "tables"
MEMBER = "tests/test_files/Fe_Li_O_P_entries.json.gz"


def per_atom(entry: dict[str, Any]) -> float:
    """Corrected energy, eV per atom."""
    return (entry["energy"] + entry["correction"]) / sum(entry["composition"].values())


def main(folder: Path) -> None:
    """Download, keep the lowest entry of each formula, write."""
    package = "reaction-network==4.0.0"
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), package],
        check=True,
    )
    with tarfile.open(next(folder.glob("reaction*network-4.0.0.tar.gz"))) as archive:
        member = archive.extractfile(next(n for n in archive.getnames() if n.endswith(MEMBER)))
        assert member is not None
        entries = json.loads(gzip.decompress(member.read()))
    lowest: dict[str, dict[str, Any]] = {}
    for entry in entries:
        formula = Composition(entry["composition"]).reduced_formula
        if formula not in lowest or per_atom(entry) < per_atom(lowest[formula]):
            lowest[formula] = entry
    rows = [
        json.dumps(
            {
                "entry_id": entry["entry_id"],
                "composition": entry["composition"],
                "energy": entry["energy"],
                "correction": entry["correction"],
                "parameters": {"run_type": entry["parameters"]["run_type"]},
            }
        )
        for _, entry in sorted(lowest.items())
    ]
    target = TABLES / "materials_project_li_fe_o_p.json"
    target.write_text("[\n" + ",\n".join(rows) + "\n]\n")
    print(f"{len(entries)} entries read, {len(rows)} formulas kept")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
