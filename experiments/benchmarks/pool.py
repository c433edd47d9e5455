"""How long a campaign takes to its first proposals from a large pool, and how much memory.

Makes a table of as many rows as asked for (embedded compounds with all but lithium exchanged for
other elements and the cell scaled, formula, group, cell and formula units, as CSV), reads it as a
campaign does, and decides the first round with the default proxy. The answers of the initial data
are made up: what is timed is the campaign's own work.

    python experiments/benchmarks/pool.py --rows 1000000 --out FOLDER
    python experiments/benchmarks/pool.py --rows 19000 --atoms --out FOLDER

With `--atoms` the rows are embedded and substituted compounds drawn at random, their cells strained
by a per cent or so and scaled in volume by .6 to 1.7, with atoms; they are read only, which is
where the same materials are found.

Measured for 10^6 rows, of which 506,721 are left as different: read in 142.5 CPU s, first proposals
after 45.1 more, what needs compiling taken from the cache; 1.21 GiB at most. With `--atoms`: 5.1,
12.4 and 31.3 CPU s for 1,000, 2,000 and 4,000 rows (24, 90 and 295 repeat another).
"""

import argparse
import csv
import json
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mfal.campaign.config import CampaignConfig
from mfal.campaign.ledger.book import Answer
from mfal.campaign.ledger.records import Query
from mfal.campaign.pool import open_pool, prepare_pool
from mfal.campaign.pool.store import POOL_NAME
from mfal.campaign.problem import make_problem
from mfal.campaign.strategy.informed import make_strategy
from mfal.campaign.strategy.types import Round
from mfal.data import MaterialTable, load_embedded, save_json
from mfal.data.named import open_table
from mfal.data.table import Material, load_structure

CATIONS = ("Na", "Mg", "Al", "Si", "P", "K", "Ca", "Sc", "Ti", "V", "Mn", "Fe", "Zn", "Ga", "Ge",
           "As", "Y", "Zr", "Nb", "In", "Sn", "Sb", "La", "Hf", "Ta")  # fmt: skip
ANIONS = ("N", "O", "F", "S", "Cl", "Se", "Br", "I")


def write_table(path: Path, number: int) -> None:
    """Rows without atoms."""
    rng = np.random.default_rng(0)
    table = load_embedded()
    whole = [
        i
        for i in np.flatnonzero(table.has_crystal)
        if np.abs(table.composition[i] - np.round(table.composition[i])).max() < 1e-3
    ]
    parents = [table.row(int(i)) for i in whole]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["id", "formula", "space_group_number", *("a", "b", "c", "alpha", "beta", "gamma"),
             "formula_units"]
        )  # fmt: skip
        for n in range(number):
            parent = parents[int(rng.integers(len(parents)))]
            counts: dict[str, int] = {}
            for symbol, amount in parent.composition.items():
                choice = ("Li",) if symbol == "Li" else ANIONS if symbol in ANIONS else CATIONS
                name = choice[int(rng.integers(len(choice)))]
                counts[name] = counts.get(name, 0) + round(amount)
            scale = 0.9 + 0.3 * rng.random()
            cell = [*(round(x * scale, 4) for x in parent.lattice[:3]), *parent.lattice[3:]]
            formula = "".join(f"{symbol}{count}" for symbol, count in counts.items())
            writer.writerow([f"row-{n}", formula, parent.space_group_number, *cell, 1])


def write_structures(path: Path, number: int) -> None:
    """Rows with atoms, of which many are alike."""
    rng = np.random.default_rng(0)
    parents = [row for name in ("embedded", "pool") for row in open_table(name) if row.structure]

    def rows() -> Iterator[Material]:
        for n in range(number):
            parent = parents[int(rng.integers(len(parents)))]
            structure = load_structure(parent.structure, parent.id)
            assert structure is not None
            scale = float(rng.uniform(0.6, 1.7)) ** (1 / 3)
            structure.apply_strain(scale * (1 + rng.uniform(-0.01, 0.01, 3)) - 1)
            # As a database keeps it, without the charges that made it.
            structure.remove_oxidation_states()
            record = structure.as_dict()
            yield Material(f"row-{n}", "", {}, structure=record)

    save_json(MaterialTable.from_rows(rows()), path)


def timed(what: str, work: Callable[[], Any], record: dict[str, float]) -> Any:
    """Do it, and print what it took of wall and CPU time, and the process's greatest memory."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    record |= {f"{what} CPU s": cpu, f"{what} wall s": wall, f"{what} peak GiB": peak}
    print(f"{what:18s} {wall:7.1f} s, {cpu:7.1f} CPU s, {peak:5.2f} GiB at most", flush=True)
    return found


def main() -> None:
    """Write, read, decide."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--atoms", action="store_true", help="rows with atoms, which are read only")
    parser.add_argument("--out", type=Path, default=Path("pool-benchmark"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    source = options.out / f"rows-{options.rows}.{'json' if options.atoms else 'csv'}"
    if not source.exists():
        (write_structures if options.atoms else write_table)(source, options.rows)
    config = CampaignConfig(pool=(str(source),))
    record: dict[str, float] = {}
    if not (options.out / POOL_NAME).exists():
        facts = timed("read", lambda: prepare_pool(options.out, config), record)
        print(facts.sentence())
    if options.atoms:
        return
    pool = timed("open", lambda: open_pool(options.out), record)
    problem = make_problem(config.space, config.oracles, generate=False)
    strategy = make_strategy(problem._replace(pool=pool), config)
    told: list[Answer] = []

    def round_of(number: int) -> Round:
        return Round(number, 7, told, [], [], 300.0, (300.0,) * len(problem.oracles),
                     lambda hashes: set(), lambda *event: None)  # fmt: skip

    first = timed("initial data", lambda: strategy.initial(round_of(0)), record)
    rng = np.random.default_rng(1)
    for n, p in enumerate(first.proposals, 1):
        low, high = (max(-20.0, x) if x < 0 else min(x, 5.0) for x in problem.oracles[0].bounds)
        query = Query(n, "campaign", 0, p.crystal, p.fidelity, p.oracle, p.oracle_version, p.cost,
                      p.structures, n, {}, ())  # fmt: skip
        told.append(Answer(query, "observed", low + (high - low) * rng.random(), None, 1.0, {}))
    decision = timed("first proposals", lambda: strategy.propose(round_of(1)), record)
    print(f"{len(decision.proposals)} questions among {len(pool)} candidates")
    again = timed("next proposals", lambda: strategy.propose(round_of(1)), record)
    assert [p.crystal.hash for p in again.proposals] == [p.crystal.hash for p in decision.proposals]
    (options.out / "pool.json").write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
