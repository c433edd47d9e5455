"""Why the hop network ranks worse than its own barrier, and what mends it.

The rule, written down before any row was looked at:

- Rows are the structures of OBELiX that have a CIF. Papers (DOIs) that share a material, and all
  rows of such papers, are one unit; a row without a DOI goes by its material.
- A unit is *development* where the first byte of the SHA-256 of its name (the least DOI or material
  of the unit) is even, else *confirmation*.
- Causes are looked for, and a mend is chosen, on development rows alone. Confirmation rows are
  scored by the same script and decide whether the mend is kept: it has to be better there in the
  mean, ordered crystals first.
- An oracle that fails gets its lower bound: it has given no reason to make the compound. Cages and
  insulators are at the bound too. So all scores are compared on the same rows.

Printed: Spearman's rho against log10 of the measured conductivity for every variant, on ordered,
disordered and all rows of either part, then what each does to rho against the barrier on the same
rows; 90 % bootstrap intervals over units. Steps from the barrier to the network are variants too:
which directions of the tensor count, how many carriers are assumed, pockets, exclusion, repulsion.

    python experiments/hop_network.py --data OBELIX [--out FOLDER] [--minutes N]

Half an hour of one core, most of it kinetic Monte Carlo. Rows are written as they come; a run that
was stopped goes on.
"""

import hashlib
import math
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ranking import auc, bootstrap
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.stats import spearmanr
from shared import do_pieces, make_parser, write_record

from mfal.data import load_obelix
from mfal.errors import MfalError
from mfal.oracles import bvse_oracle, kmc_oracle, sendek_oracle
from mfal.oracles.bond_valence.maps import DEFAULT_MAP, read_map
from mfal.oracles.hopping.conductivity import conductivity, slowest_axis
from mfal.oracles.hopping.network import HopNetwork
from mfal.oracles.hopping.sites import LEAST_VACANCY, site_network

if TYPE_CHECKING:
    from pymatgen.core import Structure

FLOOR = -20.0  # log10 S/cm, the oracles' lower bound
HIGHEST = 5.0  # eV, likewise
FAST = -4.0  # log10 S/cm
KELVIN = 300.0
SMALL = 40  # atoms: the cells on which a first look saw the difference

SCORES = {
    "regression": "Sendek's probability, sampled occupations",
    "barrier, 1-D": "bond-valence barrier from the own minimum, one dimension",
    "barrier, 2-D": "two dimensions",
    "barrier, 3-D": "three dimensions: the barrier oracle",
    "network, mean": "exclusion, 1 % empty: a third of the trace",
    "network, powder": "effective medium of turned grains: the network oracle up to version 2",
    "network, in series": "harmonic mean of the principal values",
    "network, slowest": "least principal value: the network oracle from version 3",
    "1 % missing, powder": "1 % of the ions missing everywhere, full sites or not",
    "1 % missing, slowest": "",
    "free, powder": "ions that pass through each other",
    "free, slowest": "",
    "own part, slowest": "free, on the part of the network that percolates alone",
    "kmc, slowest": "the kinetic Monte Carlo oracle: repulsion, decorations",
}


def units(papers: Sequence[str], materials: Sequence[str]) -> list[str]:
    """The unit of each row: the least name among the papers and materials that hang together."""
    names = [paper or material for paper, material in zip(papers, materials, strict=True)]
    label, row = np.unique([*names, *materials], return_inverse=True)
    first, second = row[: len(names)], row[len(names) :]
    links = coo_matrix((np.ones(len(names)), (first, second)), shape=(len(label), len(label)))
    _, part = connected_components(links, directed=False)
    least: dict[int, str] = {}
    for name, number in zip(label, part, strict=True):
        least.setdefault(int(number), str(name))  # labels ascend
    return [least[int(part[k])] for k in first]


def is_development(unit: str) -> bool:
    """Whether rows of a unit may be looked at while a mend is sought."""
    return hashlib.sha256(unit.encode()).digest()[0] % 2 == 0


def network_scores(structure: "Structure") -> dict[str, float]:
    """log10 of the conductivity by the variants of the exact network."""
    network, count, _ = site_network(structure, DEFAULT_MAP, KELVIN)
    scores = {}
    sites = len(network.site_energy)
    for name, ions, exclusion in (
        ("network", min(count, (1 - LEAST_VACANCY) * sites), True),
        ("1 % missing", (1 - LEAST_VACANCY) * min(count, sites), True),
        ("free", count, False),
    ):
        result = conductivity(network, ions, KELVIN, exclusion)
        scores[f"{name}, mean"] = result.log10_mean
        scores[f"{name}, powder"] = result.log10_powder
        scores[f"{name}, slowest"] = _log(slowest_axis(result.principal))
        with np.errstate(divide="ignore"):
            scores[f"{name}, in series"] = -_log(float((1 / result.principal).mean()))
    own = percolating_part(network, structure)
    if own is not None:
        result = conductivity(own, count, KELVIN)
        scores["own part, slowest"] = _log(slowest_axis(result.principal))
    return scores


def percolating_part(network: HopNetwork, structure: "Structure") -> HopNetwork | None:
    """The sites that hang together where the 3-D network closes; None where it never does."""
    _, _, found = read_map(structure, DEFAULT_MAP)
    low = np.flatnonzero(network.saddle_energy <= found.threshold[2])
    if not np.isfinite(found.threshold[2]) or not len(low):
        return None
    sites = len(network.site_energy)
    links = coo_matrix((np.ones(len(low)), network.hop[low].T), shape=(sites, sites))
    _, part = connected_components(links, directed=False)
    # The sweep goes up in energy: the last hop below the threshold closed the net.
    last = low[np.argmax(network.saddle_energy[low])]
    inside = part == part[network.hop[last, 0]]
    number = np.cumsum(inside) - 1
    hops = inside[network.hop].all(axis=1)
    return HopNetwork(
        network.lattice, network.position[inside], network.site_energy[inside],
        number[network.hop[hops]], network.winding[hops], network.saddle_energy[hops],
    )  # fmt: skip


def score(structure: "Structure") -> dict[str, Any]:
    """All scores of a row but the simulated; what failed is not in it, and said."""
    scores: dict[str, float] = {}
    failed: dict[str, str] = {}
    regression = sendek_oracle(sampled=True).evaluate([structure])[0]
    barriers = bvse_oracle().evaluate([structure])[0]
    if regression.ok:
        scores["regression"] = regression.value
    else:
        failed["regression"] = regression.status
    if barriers.ok:
        for dimension, barrier in enumerate(barriers.provenance["own_barriers"], start=1):
            scores[f"barrier, {dimension}-D"] = -min(float(barrier), HIGHEST)
    else:
        failed["barrier"] = barriers.status
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores |= network_scores(structure)
    except MfalError as error:
        failed["network"] = str(error)
    return {"scores": plain(scores), "failed": failed}


def simulated(structure: "Structure") -> dict[str, Any]:
    """The score by kinetic Monte Carlo, its error, and what it took."""
    start = time.process_time()
    answer = kmc_oracle().evaluate([structure])[0]
    seconds = time.process_time() - start
    scores: dict[str, float] = {}
    if answer.ok:
        scores["kmc, slowest"] = answer.value
        scores["kmc error"] = answer.uncertainty if answer.uncertainty is not None else math.nan
    failed = {} if answer.ok else {"kmc": answer.status}
    return {"scores": plain(scores), "failed": failed, "kmc_seconds": seconds}


def plain(scores: dict[str, float]) -> dict[str, float]:
    """For JSON, which has no infinities; all below the oracles' floor is the same."""
    return {name: max(x, -1e3) for name, x in scores.items() if not math.isnan(x)}


def _log(value: float) -> float:
    return math.log10(value) if value > 0 else -math.inf


def column(rows: Sequence[dict[str, Any]], name: str) -> np.ndarray:
    """A score of all rows; failures at the bound."""
    bound = 0.0 if name == "regression" else -HIGHEST if name.startswith("barrier") else FLOOR
    return np.array([max(row["scores"].get(name, bound), bound) for row in rows])


def report(title: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Prints and returns one table: every score's rho, and its rise against the barrier's."""
    target = np.array([row["log10"] for row in rows])
    unit = np.array([row["unit"] for row in rows])
    barrier = column(rows, "barrier, 3-D")
    print(f"\n{title}: {len(rows)} rows, {len(set(unit))} units")
    print(f"{'score':22s} rho                   rise over the barrier    AUC 1e-4  failed")
    lines = {}
    for name in SCORES:
        pending = name.startswith("kmc") and not all("kmc_seconds" in row for row in rows)
        if pending or not any(name in row["scores"] for row in rows):
            continue
        values = column(rows, name)

        def rho(chosen: np.ndarray, values: np.ndarray = values) -> float:
            return float(spearmanr(values[chosen], target[chosen])[0])

        def rise(chosen: np.ndarray, values: np.ndarray = values) -> float:
            return rho(chosen, values) - rho(chosen, barrier)

        figures = bootstrap(unit, rho), bootstrap(unit, rise)
        area = auc(values, target >= FAST)
        failed = sum(name not in row["scores"] for row in rows)
        cells = ["{:5.2f} [{:5.2f}, {:5.2f}]".format(*one) for one in figures]
        print(f"{name:22s} {cells[0]}   {cells[1]}   {area:5.2f}    {failed:3d}")
        lines[name] = {"rho": figures[0], "rise": figures[1], "auc": area, "failed": failed}
    return {"rows": len(rows), "units": len(set(unit)), "scores": lines}


def main() -> None:
    """Score every row, print the tables, write the record."""
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of OBELiX")
    parser.add_argument(
        "--development", action="store_true", help="leave the confirmation rows unscored"
    )
    options = parser.parse_args()
    start = time.monotonic()
    table = load_obelix(options.data)
    labels, structures = table.label_arrays(), table.structures()
    chosen = [int(k) for k in np.flatnonzero(table.has_structure)]
    papers = [str(table.details[k].get("doi", "")) for k in chosen]
    names = units(papers, [table.groups[k] for k in chosen])
    facts: dict[str, dict[str, Any]] = {}
    tasks: dict[str, Callable[[], Any]] = {}
    simulations: dict[str, Callable[[], Any]] = {}
    for k, unit in zip(chosen, names, strict=True):
        structure = structures[k]
        if structure is None or (options.development and not is_development(unit)):
            continue
        facts[table.ids[k]] = {
            "unit": unit,
            "development": is_development(unit),
            "ordered": bool(structure.is_ordered),
            "atoms": len(structure),
            "formula": table.formulas[k],
            # A limit of detection ranks at the limit.
            "log10": math.log10(float(labels.value[k])),
        }
        tasks[table.ids[k]] = partial(score, structure)
        simulations[f"{table.ids[k]} kmc"] = partial(simulated, structure)
    # The dear pieces come last, ordered crystals before the others.
    first = sorted(simulations, key=lambda name: not facts[name.split()[0]]["ordered"])
    tasks |= {name: simulations[name] for name in first}
    done = do_pieces(options.out / "hop_network.jsonl", tasks, options.minutes)
    rows = []
    for name in facts:
        if name in done:
            parts = [done[piece] for piece in (name, f"{name} kmc") if piece in done]
            row = facts[name] | {"scores": {}, "failed": {}}
            for part in parts:
                row |= part | {key: {**row[key], **part[key]} for key in ("scores", "failed")}
            rows.append(row)
    record: dict[str, Any] = {"scores": SCORES}
    halves = {"development": True, "confirmation": False, "all": None}
    for half, development in halves.items():
        for title, wanted in (
            ("ordered", lambda row: row["ordered"]),
            (f"ordered, at most {SMALL} atoms, all answered", small),
            ("disordered", lambda row: not row["ordered"]),
            ("all", lambda row: True),
        ):
            inside = [r for r in rows if development in (None, r["development"]) and wanted(r)]
            if len(inside) >= 10:
                record[f"{half}, {title}"] = report(f"{half}, {title}", inside)
    times = [row["kmc_seconds"] for row in rows if "kmc_seconds" in row]
    if times:
        print(f"\nkmc: CPU s, median {np.median(times):.2f}, longest {max(times):.1f}")
        record["kmc_cpu_seconds"] = {"median": float(np.median(times)), "longest": max(times)}
    record["rows"] = rows
    write_record(options.out / "hop_network.json", record, options, time.monotonic() - start)


def small(row: dict[str, Any]) -> bool:
    """Whether a row is of the kind of the first look: ordered, small, answered by both."""
    answered = {"barrier, 3-D", "network, powder"} <= row["scores"].keys()
    return bool(row["ordered"]) and row["atoms"] <= SMALL and answered


if __name__ == "__main__":
    main()
