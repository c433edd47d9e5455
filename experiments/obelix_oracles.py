"""Evaluate the cheap oracles on every OBELiX row that has a CIF, once, for the other experiments.

    python experiments/obelix_oracles.py --data OBELIX_FOLDER --out oracle_scores.json

The file maps "name version" to {"seconds": wall time of all, "scores": {row id: score}}: larger is
better, clipped to the oracle's bounds, null where the oracle failed. It is written as the answers
come; an interrupted run goes on from it.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np

from mfal.data import load_obelix
from mfal.oracles import default_oracles


def main() -> None:
    """Ask, write, count."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="OBELiX folder")
    parser.add_argument("--out", type=Path, default=Path("oracle_scores.json"))
    options = parser.parse_args()
    table = load_obelix(options.data)
    record = json.loads(options.out.read_text()) if options.out.exists() else {}
    structures = table.structures()
    for oracle in default_oracles():
        column = record.setdefault(
            f"{oracle.name} {oracle.version}", {"seconds": 0.0, "scores": {}}
        )
        known = column["scores"]
        low, high = oracle.bounds
        sign = 1.0 if oracle.higher_is_better else -1.0
        for row in np.flatnonzero(table.has_structure):
            identifier = table.ids[row]
            if identifier in known:
                continue
            answer = oracle.evaluate([structures[row]])[0]
            value = answer.value
            column["seconds"] += answer.seconds
            known[identifier] = None if math.isnan(value) else sign * min(max(value, low), high)
            options.out.write_text(json.dumps(record))
        answered = sum(value is not None for value in known.values())
        print(f"{oracle.name}: {answered} of {len(known)} structures, {column['seconds']:.0f} s")


if __name__ == "__main__":
    main()
