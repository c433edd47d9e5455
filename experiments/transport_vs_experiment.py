"""How well molecular dynamics rank measured conductivities, beside every cheaper oracle.

The rows, by a rule that was written down before anything was run:

1. Rows of OBELiX with a CIF, a measured conductivity or a limit, and lithium, whose supercell (all
   widths at least 8 Å) has at most 200 atoms.
2. One row a material: of rows of equal composition (within 0.01 of each fraction) and space group
   the first by the SHA-256 of its id.
3. All ordered ones. Of the disordered ones at most eight of a family (the main anions), the first
   by the SHA-256 of their ids.

No value enters. They are computed by rising number of atoms, a quarter of the disordered ones after
each ordered one, so that a run that isn't finished has small cells of all kinds; the rows that are
done are said, and their decades and families.

Every oracle answers the same rows: Sendek's probability by sampled occupations, the barrier, the
hop network, kinetic Monte Carlo, and dynamics at one temperature. A limit ranks at the limit of all
that have one of its kind: those without a hop are tied below those with fewer than ten, and these
below the measured. What has molten or failed tells nothing and ranks as the median.

Printed: Spearman's rho with log10 of the measured conductivity, the area under the ROC curve at
1e-4 S/cm, and rho inside families (Fisher's mean over families of five rows or more), each with a
90 % bootstrap interval over papers; and the difference of dynamics to the best of the others.

    python experiments/transport_vs_experiment.py --data OBELIX [--minutes N] [--pieces FILE]

Pieces are kept in FILE (default `experiments/pieces/transport.jsonl`), one line for each answer;
the same command does the rest. Simulations go on where they were (`mfal.oracles.dynamics.store`).
"""

import hashlib
import math
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ranking import auc, bootstrap
from scipy.stats import spearmanr
from shared import do_pieces, make_parser, write_record

from mfal.data import load_obelix
from mfal.oracles import Oracle, bvse_oracle, conductivity_oracle, kmc_oracle, sendek_oracle
from mfal.oracles.dynamics import dynamics_oracle, smallest_supercell

if TYPE_CHECKING:
    from pymatgen.core import Structure

WIDTH = 8.0  # Å
LARGEST = 200  # atoms
EACH = 8  # disordered rows of a family
SAME = 0.01  # of each atomic fraction
FAST = -4.0  # log10 S/cm
INSIDE = 5  # rows of a family for a rho inside it
ANIONS = ("N", "O", "S", "Se", "F", "Cl", "Br", "I", "P", "H", "B", "C")
CHEAP: dict[str, Callable[[], Oracle]] = {
    "sendek": lambda: sendek_oracle(sampled=True),
    "bvse": bvse_oracle,
    "conductivity": conductivity_oracle,
    "kmc": kmc_oracle,
}


class Row(NamedTuple):
    """A material that is compared."""

    name: str
    structure: "Structure"
    log10: float
    paper: str
    family: str
    atoms: float


def chosen(folder: Path) -> list[Row]:
    """The rows by the rule, in the order in which they are computed."""
    table = load_obelix(folder)
    labels = table.label_arrays()
    rows: list[Row] = []
    taken: list[tuple[np.ndarray, int]] = []
    fractions = table.composition / np.maximum(table.composition.sum(1, keepdims=True), 1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        structures = table.structures()
    for k in sorted(range(len(table)), key=lambda k: digest(table.ids[k])):
        structure, group = structures[k], int(table.space_group_number[k])
        if structure is None or labels.censoring[k] < 0 or not labels.value[k] > 0:
            continue
        if "Li" not in structure.composition.get_el_amt_dict():
            continue
        same = any(g == group and np.abs(fractions[k] - f).max() < SAME for f, g in taken)
        atoms = supercell_atoms(structure)
        if same or atoms > LARGEST:
            continue
        taken.append((fractions[k], group))
        rows.append(
            Row(
                table.ids[k],
                structure,
                math.log10(float(labels.value[k])),
                table.labels[k][0].source or table.ids[k],
                family(structure),
                atoms,
            )
        )
    counts: dict[str, int] = defaultdict(int)
    disordered = []
    for row in rows:
        if not row.structure.is_ordered and counts[row.family] < EACH:
            counts[row.family] += 1
            disordered.append(row)
    ordered = sorted((r for r in rows if r.structure.is_ordered), key=lambda row: row.atoms)
    disordered.sort(key=lambda row: row.atoms)
    merged: list[Row] = []
    while ordered or disordered:
        merged += ordered[:4] + disordered[:1]
        ordered, disordered = ordered[4:], disordered[1:]
    return merged


def supercell_atoms(structure: "Structure") -> float:
    """Atoms of the smallest supercell of the primitive cell that is wide enough."""
    import spglib

    contents = [site.species for site in structure]
    kinds = list(dict.fromkeys(contents))
    types = [kinds.index(content) + 1 for content in contents]
    given: Any = (structure.lattice.matrix, structure.frac_coords, types)
    found = spglib.find_primitive(given, symprec=0.01)
    matrix = np.asarray(structure.lattice.matrix if found is None else found[0])
    density = structure.composition.num_atoms / structure.volume
    if density * WIDTH**3 > LARGEST:  # the least volume that is wide enough
        return math.inf
    return density * abs(float(np.linalg.det(smallest_supercell(matrix, WIDTH) @ matrix)))


def digest(name: str) -> str:
    """What rows are ordered by instead of chance."""
    return hashlib.sha256(name.encode()).hexdigest()


def family(structure: "Structure") -> str:
    """The anions, those of a tenth of the atoms or more, or the commonest."""
    amounts = structure.composition.fractional_composition.get_el_amt_dict()
    found = {a: amounts[a] for a in ANIONS if a in amounts}
    central = {"P", "B", "C"} if set(found) & {"O", "S", "Se", "F", "Cl"} else set()
    kept = [a for a, share in found.items() if share > 0.1 and a not in central]
    return "-".join(kept) or max(found, key=lambda a: found[a], default="none")


def ask(oracle: Oracle, structure: "Structure") -> dict[str, Any]:
    """One answer as a piece."""
    start = time.process_time()
    (found,) = oracle.evaluate([structure])
    record = found.provenance
    piece: dict[str, Any] = {
        "version": oracle.version,
        "value": round(found.value, 4) if math.isfinite(found.value) else str(found.value),
        "uncertainty": None if found.uncertainty is None else round(found.uncertainty, 4),
        "status": found.status,
        "cpu": round(time.process_time() - start, 1),
    }
    if "simulated" in record and "state" in record:
        piece |= {name: record[name] for name in ("state", "censoring", "atoms", "occupancy")}
        piece["simulated"] = [
            {
                name: run[name]
                for name in (
                    "temperature", "state", "diffusion_cm2_per_s", "relative_error",
                    "bound_cm2_per_s", "hops_counted", "hops_of_displacement", "mobile_ions",
                    "duration_ps",
                )
            }
            | {"msd_end": run["msd"][-1]}
            for run in record["simulated"]
        ]  # fmt: skip
    return piece


def score(oracle: str, piece: dict[str, Any]) -> float:
    """What an answer ranks by, higher for better conductors; NaN where there is none."""
    if piece["status"] != "ok" or piece.get("state") == "melted":
        return math.nan
    value = float(piece["value"])
    if oracle == "bvse":
        return -min(value, 5.0)
    if oracle == "dynamics" and piece["state"] == "few hops":
        return -8.0 if piece["simulated"][0]["hops_counted"] == 0 else -7.0
    return max(value, -20.0)


def inside(scores: np.ndarray, target: np.ndarray, families: np.ndarray) -> float:
    """Mean rho inside families, by Fisher's z weighted with the number of rows less three."""
    terms = []
    for name in np.unique(families):
        rows = families == name
        if rows.sum() >= INSIDE and len(np.unique(scores[rows])) > 1:
            rho = float(spearmanr(scores[rows], target[rows])[0])
            terms.append((math.atanh(min(max(rho, -0.999), 0.999)), rows.sum() - 3))
    if not terms:
        return math.nan
    z, weight = np.array(terms).T
    return math.tanh(float((z * weight).sum() / weight.sum()))


def report(rows: list[Row], pieces: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Print the table over the rows that all oracles have been asked about."""
    names = [*CHEAP, "dynamics"]
    done = [row for row in rows if all(f"{row.name} {name}" in pieces for name in names)]
    if len(done) < 5:
        print(f"{len(done)} rows are done: too few to compare")
        return {"rows": len(done)}
    target = np.array([row.log10 for row in done])
    papers = np.array([row.paper for row in done])
    families = np.array([row.family for row in done])
    ordered = sum(row.structure.is_ordered for row in done)
    print(
        f"{len(done)} of {len(rows)} rows, {ordered} ordered, of {len(set(papers))} papers and "
        f"{len(set(families))} families, {target.min():.1f} to {target.max():.1f} log10 S/cm"
    )
    scores = {
        name: np.array([score(name, pieces[f"{row.name} {name}"]) for row in done])
        for name in names
    }
    # What has no answer ranks as the median: it tells nothing.
    filled = {name: np.where(np.isfinite(s), s, np.nanmedian(s)) for name, s in scores.items()}
    found: dict[str, Any] = {"rows": len(done), "ordered": ordered, "oracles": {}}
    measures: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "rho": lambda s, r: float(spearmanr(s[r], target[r])[0]),
        "auc": lambda s, r: auc(s[r], target[r] > FAST),
        "inside": lambda s, r: inside(s[r], target[r], families[r]),
    }
    for name, values in filled.items():
        answered = int(np.isfinite(scores[name]).sum())
        line: dict[str, Any] = {"answered": answered}
        for title, measure in measures.items():
            line[title] = bootstrap(papers, lambda r, m=measure, v=values: m(v, r))  # type: ignore[misc]
        found["oracles"][name] = line
        said = ", ".join(
            f"{t} {line[t][0]:.2f} [{line[t][1]:.2f}, {line[t][2]:.2f}]" for t in measures
        )
        print(f"{name:12} {answered:3} answered, {said}")
    best = max(CHEAP, key=lambda name: found["oracles"][name]["rho"][0])
    rise = bootstrap(
        papers, lambda r: measures["rho"](filled["dynamics"], r) - measures["rho"](filled[best], r)
    )
    print(f"dynamics over {best}: rho {rise[0]:+.2f} [{rise[1]:+.2f}, {rise[2]:+.2f}]")
    states: dict[str, int] = defaultdict(int)
    for row in done:
        piece = pieces[f"{row.name} dynamics"]
        states[piece.get("state", "failed")] += 1
    print(f"states: {dict(states)}")
    return found | {"rise": rise, "states": dict(states)}


def main() -> None:
    """Compute what is missing, then compare."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--data", type=Path, required=True, help="folder of OBELiX")
    parser.add_argument(
        "--pieces", type=Path, default=Path(__file__).parent / "pieces" / "transport.jsonl"
    )
    options = parser.parse_args()
    start = time.time()
    rows = chosen(options.data)
    oracles = {name: make() for name, make in CHEAP.items()} | {"dynamics": dynamics_oracle()}
    tasks = {
        f"{row.name} {name}": lambda row=row, oracle=oracle: ask(oracle, row.structure)
        for row in rows
        for name, oracle in oracles.items()
    }
    pieces = do_pieces(options.pieces, tasks, options.minutes)
    found = report(rows, pieces)
    write_record(options.out / "transport_vs_experiment.json", found, options, time.time() - start)


if __name__ == "__main__":
    main()
