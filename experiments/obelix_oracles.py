"""Evaluate the cheap oracles on every OBELiX row that has a CIF, once, for the other experiments.

    python experiments/obelix_oracles.py --data OBELIX_FOLDER --out oracle_scores.json

Some two minutes of one core. Scripts that are given no such file make theirs by `ask_oracles`.

The file maps "name version" to {"seconds": wall time of all, "scores": {row id: score}}: larger is
better, clipped to the oracle's bounds, null where the oracle failed. It is written as the answers
come; an interrupted run goes on from it.
"""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mfal.data import MaterialTable, load_obelix
from mfal.oracles import Oracle, default_oracles


def ask_oracles(
    table: MaterialTable, oracles: Sequence[Oracle], out: Path
) -> dict[str, dict[str, Any]]:
    """The scores of every row with atoms, read from a file as far as they are there.

    Args:
      table: OBELiX.
      oracles: today's.
      out: the file; written as the answers come.
    """
    record: dict[str, dict[str, Any]] = json.loads(out.read_text()) if out.exists() else {}
    structures = table.structures()
    named = {f"{oracle.name} {oracle.version}": oracle for oracle in oracles}
    for name, oracle in named.items():
        column = record.setdefault(name, {"seconds": 0.0, "scores": {}})
        known = column["scores"]
        low, high = oracle.bounds
        sign = 1.0 if oracle.higher_is_better else -1.0
        for row in np.flatnonzero(table.has_structure):
            identifier = table.ids[row]
            if identifier in known:
                continue
            answer = oracle.evaluate([structures[int(row)]])[0]
            value = answer.value
            column["seconds"] += answer.seconds
            known[identifier] = None if math.isnan(value) else sign * min(max(value, low), high)
            out.write_text(json.dumps(record))
        answered = sum(value is not None for value in known.values())
        print(f"{oracle.name}: {answered} of {len(known)} structures, {column['seconds']:.0f} s")
    return {name: record[name] for name in named}


def known_or_asked(given: Path | None, folder: Path, out: Path) -> dict[str, dict[str, Any]]:
    """The scores of a file that was given; else `ask_oracles`, kept in the folder `out`."""
    if given is not None:
        return json.loads(given.read_text())
    return ask_oracles(load_obelix(folder), default_oracles(), out / "oracle_scores.json")


def main() -> None:
    """Ask, write, count."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="OBELiX folder")
    parser.add_argument("--out", type=Path, default=Path("oracle_scores.json"))
    options = parser.parse_args()
    ask_oracles(load_obelix(options.data), default_oracles(), options.out)


if __name__ == "__main__":
    main()
