"""How well the oracles rank measured conductivities, and what makes them better.

Each structure of OBELiX that has a CIF is scored: Sendek's features and probability (by expectation
and by sampled occupations), the three bond-valence barriers, and the conductivity at 300 K from
the hop network, for free ions and with site exclusion. Ordered structures are scored again after
the positions (which carry the authors' noise) were relaxed with the bond-valence force field.

Printed for each score: Spearman's rho against log10 of the measured conductivity, the area under
the ROC curve at 1e-4 S/cm, and the error of a linear calibration (cross-validated), each with a
bootstrap interval over materials; for all, ordered, disordered, and by the main anion. Then, what
combinations reach in cross-validation: ridge regression on ranks of the scores, folds cut between
materials so that no material is in two of them.

    python experiments/oracles_vs_experiment.py --data OBELIX_FOLDER [--out FOLDER]

Scores are kept in FOLDER/scores.json and read from there the next time.
"""

import argparse
import json
import math
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata, spearmanr

import mfal
from mfal.data import load_obelix
from mfal.oracles.bvse import symmetric_map
from mfal.oracles.conductivity import nernst_einstein, powder_average
from mfal.oracles.framework import framework_of
from mfal.oracles.network import activation_energy, hop_network, mobility_tensor
from mfal.oracles.percolation import percolate
from mfal.oracles.sendek import FEATURES, expected_features, probability, sampled_features
from mfal.oracles.symmetry import symmetric_grid

if TYPE_CHECKING:
    from pymatgen.core import Structure

RESOLUTION = 0.25  # Å
MARGIN = 0.5  # eV
SHALLOW = 0.02  # eV
FAST = -4.0  # log10 S/cm
FLOOR = -20.0  # log10 S/cm; slower is all the same
LARGEST_RELAXED = 128  # sites
BOOTSTRAPS = 500
FOLDS = 10


def score(structure: "Structure") -> dict[str, float]:
    """All scores of one structure; what an oracle can't take is left out."""
    scores: dict[str, float] = {}
    scores["lithium per volume"] = _lithium(structure) / structure.volume
    scores["lithium share"] = _lithium(structure) / sum(
        site.species.num_atoms for site in structure
    )
    scores["volume per anion"] = structure.volume / max(_anions(structure), 1e-9)
    try:
        features = expected_features(structure)
        scores |= {name: float(x) for name, x in zip(FEATURES, features, strict=True)}
        scores["Sendek P"] = float(probability(features))
        scores["Sendek P, sampled"] = sampled_features(structure, max_draws=100).probability
    except mfal.errors.MfalError:
        pass
    try:
        framework = framework_of(structure)
    except mfal.errors.MfalError:
        return scores
    grid = symmetric_grid(framework, RESOLUTION)
    found = percolate(symmetric_map(framework, grid), MARGIN)
    for dimension, barrier in enumerate(found.barrier, start=1):
        scores[f"-E {dimension}D"] = -min(float(barrier), 5.0)
    scores["-E 3D, own minimum"] = -min(float(found.own_barrier[2]), 5.0)
    scores["site energy"] = float(found.site_energy.min())
    network = hop_network(found, framework.lattice, grid.shape, shallow=SHALLOW)
    count, sites = framework.mobile_count, len(network.site_energy)
    scores["sites per lithium"] = sites / count
    free = nernst_einstein(mobility_tensor(network, 300.0, count), framework.volume, 300.0)
    scores["log sigma"] = _log(np.trace(free) / 3)
    principal = np.linalg.eigvalsh(free)
    scores["log sigma, powder"] = _log(powder_average(np.maximum(principal, 0.0)))
    scores["log sigma, slowest axis"] = _log(principal[0])
    scores["log sigma, geometric mean"] = float(np.mean([_log(x) for x in principal]))
    scores["-activation energy"] = -min(activation_energy(network, 300.0), 5.0)
    if count < sites:
        excluded = mobility_tensor(network, 300.0, count, exclusion=True)
        sigma = nernst_einstein(excluded, framework.volume, 300.0)
        scores["log sigma, exclusion"] = _log(np.trace(sigma) / 3)
        powder = powder_average(np.maximum(np.linalg.eigvalsh(sigma), 0.0))
        scores["log sigma, exclusion, powder"] = _log(powder)
    else:
        # Every site is full: nothing can move but by interstitials, of which the map knows none.
        scores["log sigma, exclusion"] = scores["log sigma, exclusion, powder"] = FLOOR
    return scores


def _log(value: float) -> float:
    return max(math.log10(value), FLOOR) if value > 0 else FLOOR


def _lithium(structure: "Structure") -> float:
    return float(structure.composition.get_el_amt_dict().get("Li", 0.0))


ANIONS = ("N", "O", "F", "S", "Cl", "Se", "Br", "Te", "I")


def _anions(structure: "Structure") -> float:
    amounts = structure.composition.get_el_amt_dict()
    return float(sum(amounts.get(symbol, 0.0) for symbol in ANIONS))


def family(composition: dict[str, float]) -> str:
    """The most frequent anion's family."""
    most = max(ANIONS, key=lambda symbol: composition.get(symbol, 0.0))
    if most in ("F", "Cl", "Br", "I"):
        return "halides"
    return {"O": "oxides", "S": "sulfides", "N": "nitrides"}.get(most, "selenides, tellurides")


def relaxed(structure: "Structure") -> "Structure":
    """The structure with free coordinates relaxed in the bond-valence force field."""
    from pymatgen.core import Structure

    from mfal.crystals.charges import balanced_charges
    from mfal.crystals.relax import atoms, relax
    from mfal.crystals.templates import template

    if len(structure) > LARGEST_RELAXED:
        raise mfal.errors.MfalError(f"{len(structure)} sites are too many to relax")
    charged = structure.copy()
    charged.add_oxidation_state_by_element(
        balanced_charges(structure.composition.get_el_amt_dict())
    )
    mould = template(charged, symprec=0.01)
    result = relax(mould.space_group_number, mould.cell, mould.species, [mould.arrangement])
    species, places = atoms(mould.space_group_number, result.arrangements[0])
    names = [mould.species[k][0] for k in species]
    return Structure(mould.cell, names, places)


def all_scores(folder: Path, cache: Path) -> list[dict[str, Any]]:
    """One record for each row of OBELiX with a CIF; from the cache where that exists."""
    if cache.exists():
        return list(json.loads(cache.read_text())["rows"])
    table = load_obelix(folder)
    labels = table.label_arrays()
    rows = []
    start = time.time()
    for k, structure in enumerate(table.structures()):
        if structure is None or labels.censoring[k] < 0:
            continue
        row: dict[str, Any] = {
            "id": table.ids[k],
            "formula": table.formulas[k],
            "group": table.groups[k],
            # Limits of detection rank at the limit: all below it are tied.
            "log10": _log(float(labels.value[k])),
            "ordered": bool(structure.is_ordered),
            "family": family(structure.composition.get_el_amt_dict()),
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            row["scores"] = score(structure)
            if structure.is_ordered:
                try:
                    row["relaxed"] = score(relaxed(structure))
                except (mfal.errors.MfalError, ValueError) as error:
                    row["not relaxed"] = str(error)
        rows.append(row)
        if len(rows) % 20 == 0:
            print(f"{len(rows)} structures, {time.time() - start:.0f} s", flush=True)
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text(json.dumps({"rows": rows, "seconds": time.time() - start}, indent=1))
    return rows


def auc(scores: np.ndarray, fast: np.ndarray) -> float:
    """Chance that a fast material scores higher than a slow one."""
    n, m = int(fast.sum()), int((~fast).sum())
    if n == 0 or m == 0:
        return math.nan
    return float((rankdata(scores)[fast].sum() - n * (n + 1) / 2) / (n * m))


def bootstrap(
    groups: np.ndarray, measure: Callable[[np.ndarray], float], seed: int = 0
) -> tuple[float, float, float]:
    """A measure on all rows and its 90 % interval, whole materials redrawn."""
    rng = np.random.default_rng(seed)
    names, number = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(number == k) for k in range(len(names))]
    values = []
    for _ in range(BOOTSTRAPS):
        rows = np.concatenate([members[k] for k in rng.integers(0, len(names), len(names))])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values.append(measure(rows))
    low, high = np.nanquantile(values, [0.05, 0.95])
    return measure(np.arange(len(groups))), float(low), float(high)


def folds(groups: np.ndarray, seed: int = 0) -> np.ndarray:
    """Fold of each row, materials kept together."""
    names, number = np.unique(groups, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(names)) % FOLDS)[number]


def cross_validated(features: np.ndarray, target: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Ridge regression's predictions for rows it was not fitted on.

    Missing scores take the median of the training rows and add an indicator. The penalty is chosen
    by the closed-form leave-one-out error on the training rows.
    """
    predictions = np.empty(len(target))
    for k in range(FOLDS):
        train, test = fold != k, fold == k
        if not test.any():
            continue
        middle = np.nanmedian(features[train], axis=0)
        missing = np.isnan(features)
        filled = np.where(missing, middle, features)
        indicators = missing[:, missing[train].any(axis=0)]
        inputs = np.concatenate([filled, indicators], axis=1)
        mean, std = inputs[train].mean(axis=0), inputs[train].std(axis=0) + 1e-9
        inputs = np.clip((inputs - mean) / std, -3, 3)
        centre = target[train].mean()
        u, s, vt = np.linalg.svd(inputs[train], full_matrices=False)
        projected = u.T @ (target[train] - centre)
        best = (np.inf, np.zeros(inputs.shape[1]))
        for penalty in np.logspace(-1, 4, 16):
            shrink = s**2 / (s**2 + penalty)
            leverage = (u**2) @ shrink
            residual = (target[train] - centre - u @ (shrink * projected)) / (1 - leverage)
            error = float((residual**2).mean())
            if error < best[0]:
                best = (error, vt.T @ (s / (s**2 + penalty) * projected))
        predictions[test] = centre + inputs[test] @ best[1]
    return predictions


def with_curves(features: np.ndarray) -> np.ndarray:
    """Scores, their squares and their products: ridge regression then bends and combines them."""
    middle, spread = np.nanmedian(features, axis=0), np.nanstd(features, axis=0) + 1e-9
    scaled = np.clip((features - middle) / spread, -2.5, 2.5)
    i, j = np.triu_indices(features.shape[1])
    return np.concatenate([scaled, scaled[:, i] * scaled[:, j]], axis=1)


def report_line(
    name: str, scores: np.ndarray, target: np.ndarray, groups: np.ndarray, predicted: bool = False
) -> dict[str, Any]:
    """Prints one score's worth and returns it."""
    keep = np.isfinite(scores)
    scores, target, groups = scores[keep], target[keep], groups[keep]
    if len(scores) < 15:
        return {"name": name, "n": len(scores)}
    fast = target >= FAST
    rho = bootstrap(groups, lambda rows: float(spearmanr(scores[rows], target[rows])[0]))
    area = bootstrap(groups, lambda rows: auc(scores[rows], fast[rows]))
    if not predicted:
        scores = cross_validated(scores[:, None], target, folds(groups))
    error = bootstrap(groups, lambda rows: float(np.abs(scores - target)[rows].mean()))
    cells = [f"{value:5.2f} [{low:5.2f}, {high:5.2f}]" for value, low, high in (rho, area, error)]
    print(f"{name:34s} {len(scores):4d}  " + "  ".join(cells), flush=True)
    return {"name": name, "n": len(scores), "rho": rho, "auc": area, "mae": error}


def column(rows: Sequence[dict[str, Any]], name: str, key: str = "scores") -> np.ndarray:
    """One score of all rows, NaN where there is none."""
    return np.array([row.get(key, {}).get(name, math.nan) for row in rows])


HEADER = (
    f"{'score':34s}    n  {'Spearman rho':20s}  {'AUC at 1e-4 S/cm':20s}  MAE of log10, calibrated"
)

SENDEK = [*FEATURES, "Sendek P"]
BARRIERS = ["-E 1D", "-E 2D", "-E 3D", "-E 3D, own minimum", "site energy"]
NETWORK = ["log sigma", "log sigma, powder", "log sigma, exclusion", "sites per lithium"]
CONTENT = ["lithium per volume", "lithium share", "volume per anion"]
COMBINATIONS = {
    "lithium content and volume": CONTENT,
    "Sendek's features": SENDEK,
    "all barriers": BARRIERS,
    "network": NETWORK,
    "barriers + network": BARRIERS + NETWORK,
    "barriers + content": BARRIERS + CONTENT,
    "Sendek + barriers + network": SENDEK + BARRIERS + NETWORK,
    "Sendek + barriers + network + content": SENDEK + BARRIERS + NETWORK + CONTENT,
}


def main() -> None:
    """Score, compare, combine, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of OBELiX")
    parser.add_argument("--out", type=Path, default=Path("oracles_vs_experiment"))
    options = parser.parse_args()
    rows = all_scores(options.data, options.out / "scores.json")
    target = np.array([row["log10"] for row in rows])
    groups = np.array([row["group"] for row in rows])
    ordered = np.array([row["ordered"] for row in rows])
    families = np.array([row["family"] for row in rows])
    names = list(dict.fromkeys(name for row in rows for name in row["scores"]))
    figures: dict[str, Any] = {"rows": len(rows), "mfal": mfal.__version__}
    figures["python"] = platform.python_version()

    main_scores = [
        "Sendek P", "-E 3D", "-E 3D, own minimum", "log sigma", "log sigma, powder",
        "log sigma, exclusion, powder",
    ]  # fmt: skip
    subsets = {"all": np.ones(len(rows), bool), "ordered": ordered, "disordered": ~ordered}
    subsets |= {name: families == name for name in sorted(set(families))}
    for title, mask in subsets.items():
        print(f"\n{title}: {mask.sum()} structures\n{HEADER}")
        figures[title] = [
            report_line(name, column(rows, name)[mask], target[mask], groups[mask])
            for name in (names if title == "all" else main_scores)
        ]

    both = np.array(["relaxed" in row for row in rows])
    print(f"\nordered, before and after relaxing the positions: {both.sum()} structures\n{HEADER}")
    figures["relaxed"] = []
    for name in main_scores:
        for label, key in (("as published", "scores"), ("relaxed", "relaxed")):
            values = column(rows, name, key)[both]
            line = report_line(f"{name}, {label}", values, target[both], groups[both])
            figures["relaxed"].append(line)

    print(f"\ncombined by ridge regression, {FOLDS}-fold cross-validation over materials\n{HEADER}")
    figures["combined"] = []
    fold = folds(groups)
    for title, chosen in COMBINATIONS.items():
        features = np.stack([column(rows, name) for name in chosen], axis=1)
        for suffix, inputs in (("", features), (", curved", with_curves(features))):
            predicted = cross_validated(inputs, target, fold)
            figures["combined"].append(
                report_line(title + suffix, predicted, target, groups, predicted=True)
            )
    path = options.out / "figures.json"
    path.write_text(json.dumps(figures, indent=1))
    print(f"\nwritten: {path}")


if __name__ == "__main__":
    main()
