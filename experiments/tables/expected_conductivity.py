"""Measure how far oracles' values are from measured conductivities; build the table that says so.

    python experiments/tables/expected_conductivity.py results/hop_network.json

Reads the scores that `experiments/hop_network.py` wrote for all structures of OBELiX. For each
oracle a straight line from its value to log10 of the measured conductivity is drawn by least
squares; papers and materials that hang together are a unit. Ten folds of whole units:
the line of nine is asked about the tenth, and the two-thirds quantile of the absolute errors of all
such answers is the range that is stored. Printed beside it: the share of crystals inside when the
range, too, comes from the other nine folds alone, with its 90 % bootstrap interval over units, and
the same for ordered and disordered crystals; and the range of guessing the mean of the other folds.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from ranking import bootstrap, folds

from mfal.oracles import Oracle, bvse_oracle, conductivity_oracle, kmc_oracle, sendek_oracle

TABLE = Path(__file__).parents[2] / "mfal" / "oracles" / "tables" / "expected_conductivity.json"
SHARE = 2 / 3
FEWEST = 60
"""Rows without which an oracle gets no line."""

SCORES = {
    "regression": (sendek_oracle(sampled=True), 1.0),
    "barrier, 3-D": (bvse_oracle(), -1.0),
    "network, slowest": (conductivity_oracle(), 1.0),
    "kmc, slowest": (kmc_oracle(), 1.0),
}
"""Name of the score in the record: the oracle, and the sign that makes it the oracle's value."""


def held_out(values: np.ndarray, target: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Errors of lines for the rows that they were not drawn through."""
    errors = np.empty(len(target))
    for k in np.unique(fold):
        slope, intercept = line(values[fold != k], target[fold != k])
        errors[fold == k] = (intercept + slope * values - target)[fold == k]
    return errors


def line(values: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """Slope and intercept by least squares; a level where all values are the same."""
    if np.ptp(values) == 0:
        return 0.0, float(target.mean())
    slope, intercept = np.polyfit(values, target, 1)
    return float(slope), float(intercept)


def covered(values: np.ndarray, target: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Whether each row lies inside the range that the other folds alone would have stored."""
    inside = np.zeros(len(target), bool)
    for k in np.unique(fold):
        rest = fold != k
        errors = held_out(values[rest], target[rest], fold[rest])
        slope, intercept = line(values[rest], target[rest])
        own = np.abs(intercept + slope * values - target)
        inside[~rest] = own[~rest] <= np.quantile(np.abs(errors), SHARE)
    return inside


def measure(oracle: Oracle, sign: float, name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of one oracle; prints what it is worth."""
    known = [row for row in rows if name in row["scores"]]
    if len(known) < FEWEST:
        return {}
    values = np.clip([sign * row["scores"][name] for row in known], *oracle.bounds)
    target = np.array([row["log10"] for row in known])
    unit = np.array([row["unit"] for row in known])
    ordered = np.array([row["ordered"] for row in known])
    fold = folds(unit)
    slope, intercept = line(values, target)
    errors = np.abs(held_out(values, target, fold))
    decades = float(np.quantile(errors, SHARE))
    guess = float(np.quantile(np.abs(held_out(np.zeros(len(target)), target, fold)), SHARE))
    inside = covered(values, target, fold)
    share = bootstrap(unit, lambda chosen: float(inside[chosen].mean()))
    print(
        f"{oracle.name:13s} {oracle.version:22s} n {len(known):3d}, {len(set(unit))} units: "
        f"{intercept:6.2f} {slope:+6.2f} x, within {decades:.2f} decades (guessing {guess:.2f}); "
        f"inside {share[0]:.2f} [{share[1]:.2f}, {share[2]:.2f}], "
        f"ordered {inside[ordered].mean():.2f}, disordered {inside[~ordered].mean():.2f}"
    )
    return {
        "slope": round(slope, 4),
        "intercept": round(intercept, 4),
        "range": [round(float(values.min()), 4), round(float(values.max()), 4)],
        "decades": round(decades, 2),
        "rows": len(known),
        "units": len(set(unit)),
    }


def main() -> None:
    """Measure every oracle, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record", type=Path, help="what hop_network.py wrote")
    options = parser.parse_args()
    rows = json.loads(options.record.read_text(encoding="utf-8"))["rows"]
    table = {
        f"{oracle.name} {oracle.version}": measure(oracle, sign, name, rows)
        for name, (oracle, sign) in SCORES.items()
    }
    source = "OBELiX, Therrien et al., arXiv:2502.14234 (2025), CC BY 4.0"
    text = json.dumps(
        {"source": source, "oracles": {k: v for k, v in table.items() if v}}, indent=1
    )
    TABLE.write_text(text + "\n", encoding="utf-8")
    print(f"written: {TABLE}")


if __name__ == "__main__":
    main()
