"""How long dynamics must be for its ranks to stand, and what that costs.

The rows are embedded crystals that are named (by default a choice of small cells, of conductors
and of those that are none), or with --data the rows of `transport_vs_experiment.py` that have been
simulated for the longest of the lengths. A shorter run is the beginning of a longer one, which the
cache folder keeps, so asking for it costs its analysis. For each length: how many crystals have ten
hops and how many melt, Spearman's rho of the answers with those of the whole runs (limits tied,
melts as the median), how far coefficients are from the whole run's (root mean square over those
that both measure, in decades), and the CPU seconds that the simulation takes, of the whole run's by
its share of the steps.

    python experiments/dynamics_length.py [--embedded Li3YCl6 ...] [--lengths 2 4 6 9 12]
    python experiments/dynamics_length.py --data OBELIX

The beginning of a run is part of the whole, so that rho is too good near the end of the table.
Simulations go on where they were (`mfal.oracles.dynamics.store`), and answers are kept in --pieces.
"""

import argparse
import json
import math
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import spearmanr
from shared import do_pieces, make_parser, write_record
from transport_vs_experiment import ask, chosen, score

from mfal.data import load_embedded
from mfal.oracles.dynamics import DynamicsOptions, dynamics_oracle

if TYPE_CHECKING:
    from pymatgen.core import Structure

EMBEDDED = ("Li3YCl6", "Li7P3S11", "Li3BrO", "LiI", "Li3N", "Li6PS5Cl", "Li3ErCl6", "Li3P")
PIECES = Path(__file__).parent / "pieces"


def lasting(length: float) -> DynamicsOptions:
    """Runs of so many ps, also of cells with many ions."""
    return DynamicsOptions(length=length, ion_time=math.inf)


def embedded(options: argparse.Namespace) -> tuple[list["Structure"], list[float]]:
    """The crystals named that are simulated, and the CPU seconds that each took."""
    table = load_embedded()
    structures: dict[str, Structure] = {}
    for structure in table.structures():
        if structure is not None and structure.is_ordered:
            structures.setdefault(structure.composition.reduced_formula, structure)
    oracle = dynamics_oracle(lasting(max(options.lengths)))
    tasks = {
        f"{name} dynamics {max(options.lengths):g} ps": partial(ask, oracle, structures[name])
        for name in options.embedded
    }
    done = do_pieces(options.pieces or PIECES / "dynamics_length.jsonl", tasks, options.minutes)
    names = [
        (name, done[task])
        for name, task in zip(options.embedded, tasks, strict=True)
        if task in done
    ]
    kept = [(structures[name], piece["cpu"]) for name, piece in names if piece["status"] == "ok"]
    return [structure for structure, _ in kept], [cpu for _, cpu in kept]


def of_obelix(options: argparse.Namespace) -> tuple[list["Structure"], list[float]]:
    """The rows that `transport_vs_experiment.py` has simulated for long enough, and CPU seconds."""
    done: dict[str, dict[str, Any]] = {}
    path = options.pieces or PIECES / "transport.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            name, piece = json.loads(line)
            done[name] = piece
    found = []
    for row in chosen(options.data):
        piece = done.get(f"{row.name} dynamics", {})
        runs = piece.get("simulated", [])
        if runs and min(run["duration_ps"] for run in runs) > max(options.lengths) - 0.2:
            found.append((row.structure, piece["cpu"]))
    return [structure for structure, _ in found], [cpu for _, cpu in found]


def ranked_by(answers: list[dict[str, Any]]) -> np.ndarray:
    """Scores; what has molten ranks as the median, as it tells nothing."""
    scores = np.array([score("dynamics", one) for one in answers])
    return np.where(np.isfinite(scores), scores, np.nanmedian(scores))


def main() -> None:
    """Ask for each length, print the table."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--data", type=Path, help="folder of OBELiX")
    parser.add_argument("--embedded", nargs="+", default=EMBEDDED, metavar="FORMULA")
    parser.add_argument("--lengths", type=float, nargs="+", default=[2.0, 3.0, 5.0, 8.0, 12.0])
    parser.add_argument("--pieces", type=Path, help="JSON lines, default in experiments/pieces")
    options = parser.parse_args()
    start = time.time()
    structures, seconds = of_obelix(options) if options.data else embedded(options)
    if len(structures) < 3:
        print(f"{len(structures)} crystals are simulated: too few to compare")
        return
    answers: dict[float, list[dict[str, Any]]] = {}
    for length in sorted(options.lengths):
        oracle = dynamics_oracle(lasting(length))
        found = oracle.evaluate(structures)
        answers[length] = [
            {"status": one.status, "value": one.value, **one.provenance} for one in found
        ]
    whole = answers[max(answers)]
    reference = ranked_by(whole)
    table = []
    for length, found in answers.items():
        scores = ranked_by(found)
        both = [
            (a["value"], b["value"])
            for a, b in zip(found, whole, strict=True)
            if a["state"] == b["state"] == "diffusing"
        ]
        apart = math.sqrt(np.mean([(a - b) ** 2 for a, b in both])) if both else math.nan
        measured = [one["simulated"][0]["duration_ps"] for one in found]
        full = [one["simulated"][0]["duration_ps"] for one in whole]
        cpu = [
            whole_run * (1 + a) / (1 + b)
            for whole_run, a, b in zip(seconds, measured, full, strict=True)
        ]
        line = {
            "length": length,
            "diffusing": sum(one["state"] == "diffusing" for one in found),
            "melted": sum(one["state"] == "melted" for one in found),
            "rows": len(found),
            "rho": float(spearmanr(scores, reference)[0]),
            "decades": apart,
            "cpu_median": float(np.median(cpu)),
        }
        table.append(line)
        print(
            f"{length:5g} ps: {line['diffusing']} of {len(found)} hop, {line['melted']} melt, rho "
            f"{line['rho']:.2f} with the longest, {apart:.2f} decades, "
            f"{line['cpu_median']:.0f} CPU s"
        )
    record = {"table": table}
    write_record(options.out / "dynamics_length.json", record, options, time.time() - start)


if __name__ == "__main__":
    main()
