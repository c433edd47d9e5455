"""Is the logistic regression too low a fidelity, and is softBV with hops reliable?

The answers of the campaign's three oracles on OBELiX (written by `obelix_oracles.py`) against the
measured conductivities, each alone and every combination: Spearman's rho, the area under the ROC
curve at 1e-4 S/cm, the share of the variance of log10(S/cm) that a linear calibration of the
scores' ranks explains in cross-validation (no publication on both sides), and that share for each
unit of cost; for all, by order, by family. `oracles_vs_experiment.py` compares far more scores and
corrections; this is what a campaign gets.

Intervals are 90 %, by bootstrap over publications. "Chance" is Fisher's exact test of "score above
its median" against "fast".

    python experiments/oracle_worth.py --data OBELIX_FOLDER --oracles oracle_scores.json
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import fisher_exact, rankdata, spearmanr
from shared import Interval, interval, save_figure, subplots, write_record

from mfal.data import CONDUCTIVITY, load_obelix
from mfal.oracles import default_oracles

FAST = -4.0  # log10 S/cm
DETECTION = -13.0  # log10 S/cm; slower is all the same
FOLDS = 10
FEWEST = 12  # rows of a subset
MOST_NOISE = 50  # rows below which no calibration is judged
HEAD = ("rho", "AUC", "R2", "R2 / cost")


class Rows(NamedTuple):
    """OBELiX' rows with a CIF."""

    value: np.ndarray  # [n] log10 S/cm
    paper: np.ndarray  # [n] int
    family: np.ndarray  # [n] names
    ordered: np.ndarray  # [n] bool
    answers: dict[str, np.ndarray]  # by oracle, [n], larger is better, NaN where it failed


def read(folder: Path, oracles: Path) -> Rows:
    """The rows that everything is about."""
    table = load_obelix(folder)
    labels = table.label_arrays(CONDUCTIVITY)
    value = np.log10(labels.value)
    keep = np.flatnonzero(np.isfinite(value) & table.has_structure)
    details = [table.details[i] for i in keep]
    structures = table.structures()
    ordered = [structure is not None and structure.is_ordered for structure in structures]
    papers = [str(d.get("doi") or i) for d, i in zip(details, keep, strict=True)]
    known = json.loads(oracles.read_text())
    answers = {
        name.split()[0]: np.array([column["scores"].get(table.ids[i]) for i in keep], float)
        for name, column in known.items()
    }
    return Rows(
        np.maximum(value[keep], DETECTION),
        np.unique(papers, return_inverse=True)[1],
        np.array([str(d.get("family") or "unnamed") for d in details]),
        np.array(ordered)[keep],
        answers,
    )


def area(score: np.ndarray, fast: np.ndarray) -> float:
    """Chance that a fast material scores above a slow one."""
    n, m = int(fast.sum()), int((~fast).sum())
    if not n or not m:
        return float("nan")
    return float((rankdata(score)[fast].sum() - n * (n + 1) / 2) / (n * m))


def calibrated(columns: np.ndarray, value: np.ndarray, paper: np.ndarray) -> np.ndarray:
    """Predictions of rows by linear regression on the others' [n, k] columns, papers kept apart."""
    fold = np.random.default_rng(0).permutation(paper.max() + 1)[paper] % FOLDS
    design = np.column_stack([columns, np.ones(len(columns))])
    found = np.empty(len(value))
    for k in range(FOLDS):
        train, test = fold != k, fold == k
        if test.any():
            found[test] = design[test] @ np.linalg.lstsq(design[train], value[train], rcond=None)[0]
    return found


def explained(predicted: np.ndarray, value: np.ndarray) -> float:
    """1 - residual over total sum of squares; negative where the mean does better."""
    return float(1 - ((value - predicted) ** 2).sum() / ((value - value.mean()) ** 2).sum())


def worth(rows: Rows, names: Sequence[str], mask: np.ndarray, cost: float) -> dict[str, Any] | None:
    """The figures of a combination on a subset of rows where all its oracles answered."""
    columns = np.column_stack([rows.answers[name] for name in names])
    use = np.flatnonzero(mask & np.isfinite(columns).all(1))
    value, paper = rows.value[use], np.unique(rows.paper[use], return_inverse=True)[1]
    fast = value >= FAST
    if len(use) < FEWEST or np.ptp(value) == 0:
        return None
    ranks = np.apply_along_axis(rankdata, 0, columns[use]) / len(use)
    predicted = calibrated(ranks, value, paper)
    # A single oracle ranks as it is: calibration within folds would only add noise.
    score = columns[use][:, 0] if len(names) == 1 else predicted
    members = [np.flatnonzero(paper == p) for p in range(paper.max() + 1)]

    def over(measure: Callable[[np.ndarray], float]) -> Interval:
        return interval(members, lambda drawn: measure(np.concatenate(drawn)))

    share = over(lambda i: explained(predicted[i], value[i]))
    high = score > np.median(score)
    table = [[int((high & fast).sum()), int((high & ~fast).sum())],
             [int((~high & fast).sum()), int((~high & ~fast).sum())]]  # fmt: skip
    nothing = Interval(float("nan"), float("nan"), float("nan"))
    # Within small families a calibration is noise.
    share = share if len(use) >= MOST_NOISE else nothing
    return {
        "n": len(use),
        "rho": over(lambda i: float(spearmanr(score[i], value[i])[0])),
        "AUC": over(lambda i: area(score[i], fast[i])),
        "R2": share,
        "R2 / cost": Interval(*(end / cost for end in share)),
        "chance": float(fisher_exact(table, alternative="greater")[1]),
    }


def main() -> None:
    """Compare, print, write, plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="OBELiX folder")
    parser.add_argument("--oracles", type=Path, required=True, help="from obelix_oracles.py")
    parser.add_argument("--out", type=Path, default=Path("results"))
    options = parser.parse_args()
    start = time.time()
    rows = read(options.data, options.oracles)
    costs = {oracle.name: oracle.cost for oracle in default_oracles()}
    names = [name for name in costs if name in rows.answers]
    sets = [s for k in range(1, len(names) + 1) for s in itertools.combinations(names, k)]
    families, counts = np.unique(rows.family, return_counts=True)
    subsets = {"all": np.ones(len(rows.value), bool)}
    subsets |= {"ordered": rows.ordered, "disordered": ~rows.ordered}
    subsets |= {name: rows.family == name for name in families[counts >= FEWEST]}
    table: dict[str, dict[str, Any]] = {}
    for title, mask in subsets.items():
        print(f"\n{title}\n{'':28s}{'n':>5s}{'cost':>6s}" + "".join(f"{h:>22s}" for h in HEAD)
              + f"{'chance':>9s}")  # fmt: skip
        # Combinations where there are rows for them; single oracles elsewhere.
        for chosen in sets if title in ("all", "ordered", "disordered") else sets[: len(names)]:
            cost = sum(costs[name] for name in chosen)
            found = worth(rows, chosen, mask, cost)
            if found is None:
                continue
            label = " + ".join(chosen)
            table.setdefault(title, {})[label] = found | {"cost": cost}
            print(f"{label:28s}{found['n']:5d}{cost:6.2f}"
                  + "".join(f"{found[h]!s:>22s}" for h in HEAD)
                  + f"{found['chance']:9.1e}")  # fmt: skip
    lines = conclude(table, names)
    print("\n" + "\n".join(lines))
    print("What would overturn this: positions without the data set's noise, measurements of one\n"
          "laboratory, single crystals.")  # fmt: skip
    write_record(options.out / "oracle_worth.json", {"table": table, "conclusions": lines},
                 options, time.time() - start)  # fmt: skip
    figure(table, names, options.out / "oracle_worth.png")


def conclude(table: dict[str, Any], names: Sequence[str]) -> list[str]:
    """In words."""
    lines = []
    for name in names:
        found = table["all"][name]
        inside = [t for t in table if t not in ("all", "ordered", "disordered")]
        ranked = [t for t in inside if name in table[t] and table[t][name]["rho"].low > 0]
        asked = [t for t in inside if name in table[t]]
        lines.append(
            f"{name}: rho {found['rho']}, explains {found['R2'].middle:.0%} "
            f"({found['R2'].low:.0%} to {found['R2'].high:.0%}) of the variance; ranks inside "
            f"{len(ranked)} of {len(asked)} families{': ' + ', '.join(ranked) if ranked else ''}"
        )
    whole = " + ".join(names)
    lines.append(f"all together: rho {table['all'][whole]['rho']}, R2 {table['all'][whole]['R2']}")
    best = max(table["all"], key=lambda label: table["all"][label]["R2 / cost"].middle)
    lines.append(f"most variance explained for its cost: {best} {table['all'][best]['R2 / cost']}")
    return lines


def figure(table: dict[str, Any], names: Sequence[str], path: Path) -> None:
    """Rho of each oracle in each subset."""
    whole, axis = subplots(1, (7, 0.35 * len(table) + 1))
    for shift, name in enumerate(names):
        for place, (_, found) in enumerate(table.items()):
            if name not in found:
                continue
            middle, low, high = found[name]["rho"]
            bars = [[max(middle - low, 0)], [max(high - middle, 0)]]
            axis.errorbar([middle], [place + 0.2 * (shift - 1)], xerr=bars, fmt="o", markersize=4,
                          color=f"C{shift}", label=name if place == 0 else None)  # fmt: skip
    axis.axvline(0, color="0.7", linewidth=1)
    axis.set_yticks(range(len(table)), table)
    axis.invert_yaxis()
    axis.set_xlabel("Spearman's rho with the measured conductivity")
    axis.legend(frameon=False, fontsize=8)
    save_figure(whole, path)


if __name__ == "__main__":
    main()
