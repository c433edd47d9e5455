"""Build the table of what became of candidates that were relaxed: campaigns begin by learning it.

    python experiments/tables/relaxed_candidates.py [--random 300] [--minutes N]

Candidates of the default space, by turns an exchange of ions in a known crystal (all of them, in an
order that seed 0 gives) and a crystal of random legal actions (the first ones from seed 0). Each is
given atoms and relaxed as a campaign does it, about seven CPU seconds each: a line of JSON in
results/relaxed_candidates.jsonl as soon as it is done, so that a stopped run goes on where it was.
Placed on the hull of competing phases that is embedded when it is written, they make the table
`mfal/campaign/strategy/tables/relaxed_candidates.csv`.
"""

import argparse
import csv
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mfal.campaign.config import CampaignConfig
from mfal.campaign.ledger.records import CrystalRecord, realisation_seed
from mfal.campaign.problem import make_problem
from mfal.campaign.strategy.exchanges import exchanged_crystals
from mfal.campaign.strategy.questions import uniform_records
from mfal.campaign.workers.atoms import candidate_atoms
from mfal.errors import MfalError
from mfal.oracles.stability import hull_distance

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "mfal" / "campaign" / "strategy" / "tables" / "relaxed_candidates.csv"
COLUMNS = (
    *("origin", "cell", "space_group", "cell_parameters", "answered"),
    *("hull_distance_ev_per_atom", "bounded", "known_as"),
)
DRAWS = 256  # random crystals drawn in one dispatch
EXCHANGED = "exchanged"


def candidates(random: int) -> Iterator[tuple[str, CrystalRecord]]:
    """(origin, candidate), by turns."""
    config = CampaignConfig()
    problem = make_problem(config.space, config.oracles)
    children = exchanged_crystals(problem, config.space)
    order = np.random.default_rng(0).permutation(len(children))
    drawn: list[CrystalRecord] = []
    for number in range(-(-random // DRAWS)):
        drawn += uniform_records(problem, jax.random.key(number), DRAWS)
    for i in range(max(len(children), random)):
        if i < len(children):
            yield EXCHANGED, children[order[i]]
        if i < random:
            yield "random", drawn[i]


def relaxed(record: CrystalRecord) -> dict[str, Any]:
    """What became of a candidate."""
    try:
        _, detail = candidate_atoms(
            record,
            seed=realisation_seed(record.hash),
            count=CampaignConfig().realisations,
        )
    except MfalError as error:
        return {"valid": False, "reason": str(error)}
    relaxation = detail.get("relaxation") or {}
    statuses = relaxation.get("statuses", [])
    return {
        "valid": bool(statuses) and statuses[relaxation["lowest"]] == "converged",
        "energy": relaxation.get("energy_ev_per_atom"),
        "known_as": detail.get("known_as", ""),
        "reason": detail.get("reason", ""),
    }


def write_table(rows: list[dict[str, Any]]) -> None:
    """The rows in the order of the candidates, with a b c in Å and angles in degrees."""
    TABLE.parent.mkdir(exist_ok=True)
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            answered = row["valid"] and row["energy"] is not None
            cell = " ".join(f"{s}{n:g}" for s, n in sorted(row["composition"].items()))
            lattice = " ".join(f"{x:.2f}" for x in row["lattice"])
            cells = [row["origin"], cell, row["group"], lattice, "no", "", "no", ""]
            if answered:
                place = hull_distance(row["energy"], row["composition"])
                bounded, known = "yes" if place.bounded else "no", row["known_as"]
                cells[4:] = ["yes", f"{place.distance:.4f}", bounded, known.replace(",", ";")]
            writer.writerow(cells)


def main() -> None:
    """Relax what isn't yet, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--random", type=int, default=300, help="random candidates")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin none after so long")
    parser.add_argument("--out", type=Path, default=Path("results"))
    options = parser.parse_args()
    path = options.out / "relaxed_candidates.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    done: dict[str, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # cut off when the run was stopped
            continue
        done[row["hash"]] = row
    end, kept = time.monotonic() + 60 * options.minutes, []
    with path.open("a", encoding="utf-8") as file:
        for origin, record in candidates(options.random):
            if record.hash not in done and time.monotonic() < end:
                row = {"hash": record.hash, "origin": origin, "group": record.space_group}
                row |= {"composition": record.composition, "lattice": list(record.lattice)}
                row |= relaxed(record)
                done[record.hash] = row
                file.write(json.dumps(row) + "\n")
                file.flush()
                print(f"{len(done)}: {record.formula}", file=sys.stderr, flush=True)
            if record.hash in done:
                kept.append(done[record.hash])
    write_table(kept)


if __name__ == "__main__":
    main()
