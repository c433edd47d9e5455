"""Dynamics' answers about the embedded crystals, computed once and kept with version and protocol.

    python experiments/tables/known_dynamics.py [--minutes N] [--out FILE]

Ordered embedded crystals of at most 60 atoms in the conventional cell, the smallest supercells
first. Each answer is a line of JSON in FILE (default `mfal/oracles/tables/known_dynamics.jsonl`):
the name of the compound and what the oracle said. The same command does the rest; simulations go on
where they were. Answers of another version of the oracle are made anew.
"""

import json
import math
import os
import time
import warnings
from pathlib import Path
from typing import Any

from mfal.crystals.structures import standard_setting
from mfal.data import load_embedded
from mfal.oracles.dynamics import dynamics_oracle, smallest_supercell

ROOT = Path(__file__).parents[2]
LARGEST = 60  # atoms of the conventional cell
PROTOCOL = ("state", "censoring", "atoms", "volume_change", "potential", "temperature")


def main() -> None:
    """Do what is missing."""
    import argparse

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=ROOT / "mfal" / "oracles" / "tables" / "known_dynamics.jsonl"
    )
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin none after so long")
    options = parser.parse_args()
    oracle = dynamics_oracle()
    kept = [json.loads(line) for line in options.out.open()] if options.out.exists() else []
    done = {line["id"] for line in kept if line["version"] == oracle.version}
    table = load_embedded()
    waiting = []
    for name, structure in zip(table.ids, table.structures(), strict=True):
        if structure is None or name in done or not structure.is_ordered:
            continue
        standard = standard_setting(structure)
        if len(standard) <= LARGEST:
            cell = standard.get_primitive_structure().lattice.matrix
            number = abs(round(float(_determinant(smallest_supercell(cell, 8.0)))))
            waiting.append((number * len(standard.get_primitive_structure()), name, standard))
    waiting.sort(key=lambda each: each[:2])
    print(f"{len(done)} are done, {len(waiting)} are left", flush=True)
    start = time.monotonic()
    for atoms, name, structure in waiting:
        if time.monotonic() - start > 60 * options.minutes:
            break
        before = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (found,) = oracle.evaluate([structure])
        record = found.provenance
        line: dict[str, Any] = {
            "id": name,
            "version": oracle.version,
            "value": round(found.value, 4) if math.isfinite(found.value) else None,
            "uncertainty": None if found.uncertainty is None else round(found.uncertainty, 4),
            "status": found.status,
            "cpu": round(time.process_time() - before, 1),
        }
        line |= {key: record[key] for key in PROTOCOL if key in record}
        if "simulated" in record:
            (run,) = record["simulated"]
            line |= {
                key: run[key]
                for key in ("hops_counted", "mobile_ions", "duration_ps", "diffusion_cm2_per_s")
            }
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        print(f"{name}: {atoms} atoms, {line['value']} ({record.get('state')})", flush=True)


def _determinant(matrix: Any) -> float:
    import numpy as np

    return float(np.linalg.det(matrix))


if __name__ == "__main__":
    main()
