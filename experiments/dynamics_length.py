"""How long dynamics must be for its ranks to stand, and what that costs.

The rows are those of `transport_vs_experiment.py` that have been simulated, in the same order; a
shorter run is the beginning of a longer one, which the cache folder keeps, so asking for it costs
its analysis. For each length: how many crystals have ten hops, how many are bounded, Spearman's rho
of the answers with those of the whole runs (limits tied), how far coefficients are from the whole
run's (root mean square over those that both measure, in decades), and the CPU seconds that the
simulation takes, of the whole run's by its share of the steps.

    python experiments/dynamics_length.py --data OBELIX [--lengths 2 4 6 9 12]

The beginning of a run is part of the whole, so that rho is too good near the end of the table.
"""

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from shared import make_parser, write_record
from transport_vs_experiment import chosen, score

from mfal.oracles.dynamics import DynamicsOptions, dynamics_oracle


def main() -> None:
    """Ask for each length, print the table."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--data", type=Path, required=True, help="folder of OBELiX")
    parser.add_argument("--lengths", type=float, nargs="+", default=[2.0, 3.0, 5.0, 8.0, 12.0])
    parser.add_argument(
        "--pieces", type=Path, default=Path(__file__).parent / "pieces" / "transport.jsonl"
    )
    options = parser.parse_args()
    start = time.time()
    done: dict[str, dict[str, Any]] = {}
    for line in options.pieces.read_text(encoding="utf-8").splitlines():
        if line.strip():
            name, piece = json.loads(line)
            done[name] = piece
    rows = [
        row
        for row in chosen(options.data)
        if done.get(f"{row.name} dynamics", {}).get("status") == "ok"
    ]
    answers: dict[float, list[dict[str, Any]]] = {}
    for length in sorted(options.lengths):
        oracle = dynamics_oracle(DynamicsOptions(length=length))
        found = oracle.evaluate([row.structure for row in rows])
        answers[length] = [
            {"status": one.status, "value": one.value, **one.provenance} for one in found
        ]
    whole = answers[max(answers)]
    reference = np.array([score("dynamics", one) for one in whole])
    table = []
    for length, found in answers.items():
        scores = np.array([score("dynamics", one) for one in found])
        both = [
            (a["value"], b["value"])
            for a, b in zip(found, whole, strict=True)
            if a["state"] == b["state"] == "diffusing"
        ]
        apart = math.sqrt(np.mean([(a - b) ** 2 for a, b in both])) if both else math.nan
        measured = [one["simulated"][0]["duration_ps"] for one in found]
        full = [one["simulated"][0]["duration_ps"] for one in whole]
        cpu = [
            done[f"{row.name} dynamics"]["cpu"] * (1 + a) / (1 + b)
            for row, a, b in zip(rows, measured, full, strict=True)
        ]
        line = {
            "length": length,
            "diffusing": sum(one["state"] == "diffusing" for one in found),
            "rows": len(rows),
            "rho": float(spearmanr(scores, reference)[0]),
            "decades": apart,
            "cpu_median": float(np.median(cpu)),
        }
        table.append(line)
        print(
            f"{length:5g} ps: {line['diffusing']} of {len(rows)} hop, rho {line['rho']:.2f} "
            f"with the longest, {apart:.2f} decades, {line['cpu_median']:.0f} CPU s"
        )
    record = {"table": table}
    write_record(options.out / "dynamics_length.json", record, options, time.time() - start)


if __name__ == "__main__":
    main()
