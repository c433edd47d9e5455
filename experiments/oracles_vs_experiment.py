"""How well the oracles rank measured conductivities, and what makes them better.

Each structure of OBELiX that has a CIF is scored: Sendek's features and probability (by expectation
and by sampled occupations), the three bond-valence barriers, and a powder's conductivity at 300 K
from the hop network: of free ions, and step by step as the conductivity oracle has it (sites of a
least depth, exclusion, a least share of vacancies). Partly occupied frameworks are scored a second
time as the mean over ordered decorations, ordered structures after their positions (which carry the
authors' noise) were relaxed with the bond-valence force field.

Printed for each score: Spearman's rho against log10 of the measured conductivity, the area under
the ROC curve at 1e-4 S/cm, and the error of a linear calibration (cross-validated), each with a 90
% bootstrap interval over materials; for all, ordered, disordered, and by the main anion. Then what
each change does to rho, with an interval of the difference on the same rows. Then combinations by
ridge regression in cross-validation over materials; as one of many combinations is the best by
chance, the last lines choose the combination anew inside each fold, on its training rows alone
(nested cross-validation): these are the figures to quote.

    python experiments/oracles_vs_experiment.py --data OBELIX_FOLDER [--out FOLDER]

Scores are kept in FOLDER/scores.json as they come; an interrupted run goes on from them.
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
from ranking import FOLDS, auc, bootstrap, cross_validated, folds, nested, with_curves
from scipy.stats import spearmanr

import mfal
from mfal.data import load_obelix
from mfal.oracles.bond_valence.decorations import sample_decoration
from mfal.oracles.bond_valence.framework import Framework, framework_of
from mfal.oracles.bond_valence.percolation import Percolation, percolate
from mfal.oracles.bond_valence.site_energy import symmetric_map
from mfal.oracles.bond_valence.symmetry import symmetric_grid
from mfal.oracles.hopping.conductivity import conductivity
from mfal.oracles.hopping.network import BOLTZMANN, HopNetwork, hop_network, open_dimensions
from mfal.oracles.hopping.sites import LEAST_VACANCY, LOCALISED
from mfal.oracles.sendek.regression import FEATURES, expected_features, superionic_probability
from mfal.oracles.sendek.sampled import sampled_features

if TYPE_CHECKING:
    from pymatgen.core import Structure

RESOLUTION = 0.25  # Å
MARGIN = 0.5  # eV
SHALLOW = 0.02  # eV
DEEP = LOCALISED * BOLTZMANN * 300.0
DECORATIONS = 2
FAST = -4.0  # log10 S/cm
FLOOR = -20.0  # log10 S/cm; slower is all the same
LARGEST_RELAXED = 128  # sites
REPEATS = 3


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
        scores["Sendek P"] = float(superionic_probability(features))
        scores["Sendek P, sampled"] = sampled_features(structure, max_draws=100).probability
    except mfal.errors.MfalError:
        pass
    try:
        framework = framework_of(structure)
    except mfal.errors.MfalError:
        return scores
    grid, found = sweep(framework)
    for dimension, barrier in enumerate(found.barrier, start=1):
        scores[f"-E {dimension}D"] = -min(float(barrier), 5.0)
    scores["-E 3D, own minimum"] = -min(float(found.own_barrier[2]), 5.0)
    scores["site energy"] = float(found.site_energy.min())
    count = framework.mobile_count
    shallow = hop_network(found, framework.lattice, grid, shallow=SHALLOW)
    deep = hop_network(found, framework.lattice, grid, shallow=DEEP)
    scores["sites per lithium"] = len(deep.site_energy) / count
    free = conductivity(shallow, count)
    scores["log sigma, free, mean"] = _floored(free.log10_mean)
    scores["log sigma, free"] = _floored(free.log10_powder)
    scores["-activation energy"] = -min(free.activation_energy, 5.0)
    scores["log sigma, free, deep sites"] = sigma(deep, count, None)
    scores["log sigma, exclusion"] = sigma(shallow, count, LEAST_VACANCY)
    for vacancy in (1e-4, LEAST_VACANCY, 0.1):
        name = f"log sigma, deep sites, {vacancy:g} vacant"
        scores[name] = sigma(deep, count, vacancy)
    if open_dimensions(deep, DEEP) < 2:
        scores["log sigma, oracle"] = sigma(deep, count, LEAST_VACANCY)
    return scores


def sweep(framework: Framework) -> tuple[tuple[int, int, int], Percolation]:
    """Shape of the map and what the sweep through it found."""
    grid = symmetric_grid(framework, RESOLUTION)
    return grid.shape, percolate(symmetric_map(framework, grid), MARGIN)


def sigma(network: HopNetwork, count: float, vacancy: float | None) -> float:
    """log10 of a powder's conductivity; None lets ions pass through each other."""
    if vacancy is None:
        return _floored(conductivity(network, count).log10_powder)
    result = conductivity(network, count, exclusion=True, least_vacancy=vacancy)
    return _floored(result.log10_powder)


def decorated(structure: "Structure") -> dict[str, float]:
    """Scores of ordered decorations of a partly occupied framework, in the mean."""
    drawn: list[dict[str, float]] = []
    for seed in range(DECORATIONS):
        framework = framework_of(sample_decoration(structure, seed))
        grid, found = sweep(framework)
        deep = hop_network(found, framework.lattice, grid, shallow=DEEP)
        drawn.append(
            {
                "-E 3D, own minimum": -min(float(found.own_barrier[2]), 5.0),
                "log sigma, oracle": sigma(deep, framework.mobile_count, LEAST_VACANCY),
            }
        )
    return {name: float(np.mean([one[name] for one in drawn])) for name in drawn[0]}


def _floored(value: float) -> float:
    return max(value, FLOOR)


def _log(value: float) -> float:
    return _floored(math.log10(value)) if value > 0 else FLOOR


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
    prototype = template(charged, symprec=0.01)
    result = relax(
        prototype.space_group_number, prototype.cell, prototype.species, [prototype.arrangement]
    )
    species, places = atoms(prototype.space_group_number, result.arrangements[0])
    names = [prototype.species[k][0] for k in species]
    return Structure(prototype.cell, names, places)


def all_scores(folder: Path, cache: Path) -> list[dict[str, Any]]:
    """One record for each row of OBELiX with a CIF; those in the cache are not made again."""
    table = load_obelix(folder)
    labels = table.label_arrays()
    known = json.loads(cache.read_text()) if cache.exists() else {}
    cache.parent.mkdir(parents=True, exist_ok=True)
    start = time.time()
    for k, structure in enumerate(table.structures()):
        if structure is None or labels.censoring[k] < 0 or table.ids[k] in known:
            continue
        row: dict[str, Any] = {
            "formula": table.formulas[k],
            "group": table.groups[k],
            # Limits of detection rank at the limit: all below it are tied.
            "log10": _log(float(labels.value[k])),
            "ordered": bool(structure.is_ordered),
            "family": family(structure.composition.get_el_amt_dict()),
        }
        variants: dict[str, Callable[[], dict[str, float]]] = {
            "scores": lambda structure=structure: score(structure)  # type: ignore[misc]
        }
        if structure.is_ordered:
            variants["relaxed"] = lambda structure=structure: score(relaxed(structure))  # type: ignore[misc]
        elif any(s.species.num_atoms < 0.999 or len(s.species) > 1
                 for s in structure if "Li" not in s.species_string):  # fmt: skip
            variants["decorated"] = lambda structure=structure: decorated(structure)  # type: ignore[misc]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, make in variants.items():
                try:
                    row[name] = make()
                except (mfal.errors.MfalError, ValueError) as error:
                    row[f"no {name}"] = str(error)
        known[table.ids[k]] = row
        if len(known) % 10 == 0:
            cache.write_text(json.dumps(known))
            print(f"{len(known)} structures, {time.time() - start:.0f} s", flush=True)
    cache.write_text(json.dumps(known))
    return list(known.values())


def change(
    title: str, first: np.ndarray, second: np.ndarray, target: np.ndarray, groups: np.ndarray
) -> dict[str, Any]:
    """Prints what going from one score to another does to rho, on rows that have both."""
    keep = np.isfinite(first) & np.isfinite(second)
    a, b, target, groups = first[keep], second[keep], target[keep], groups[keep]

    def rise(rows: np.ndarray) -> float:
        return float(spearmanr(b[rows], target[rows])[0] - spearmanr(a[rows], target[rows])[0])

    value, low, high = bootstrap(groups, rise)
    print(f"{title:58s} {len(a):4d}  {value:+5.2f} [{low:+5.2f}, {high:+5.2f}]")
    return {"title": title, "n": len(a), "rise": (value, low, high)}


def report_line(
    name: str, scores: np.ndarray, target: np.ndarray, groups: np.ndarray, predicted: bool = False
) -> dict[str, Any]:
    """Prints one score's worth and returns it."""
    keep = np.isfinite(scores)
    scores, target, groups = scores[keep], target[keep], groups[keep]
    if len(scores) < 10:
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
NETWORK = ["log sigma, free", "log sigma, exclusion", "log sigma, oracle", "sites per lithium"]
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
        "Sendek P", "-E 3D", "-E 3D, own minimum", "log sigma, free", "log sigma, oracle",
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

    changes = [
        ("Sendek: expectation -> sampled occupations", "Sendek P", "Sendek P, sampled"),
        ("barrier: 1-D -> 3-D", "-E 1D", "-E 3D"),
        ("3-D barrier: lowest minimum -> own minimum", "-E 3D", "-E 3D, own minimum"),
        ("free ions: mean of the tensor -> powder", "log sigma, free, mean", "log sigma, free"),
        ("free ions -> sites at least 4 kT deep", "log sigma, free", "log sigma, free, deep sites"),
        ("free ions -> exclusion, 1 % vacant", "log sigma, free", "log sigma, exclusion"),
        ("free ions -> both", "log sigma, free", "log sigma, deep sites, 0.01 vacant"),
        ("1 % -> 0.01 % vacant", "log sigma, deep sites, 0.01 vacant",
         "log sigma, deep sites, 0.0001 vacant"),
        ("1 % -> 10 % vacant", "log sigma, deep sites, 0.01 vacant",
         "log sigma, deep sites, 0.1 vacant"),
        ("own 3-D barrier -> conductivity oracle", "-E 3D, own minimum", "log sigma, oracle"),
        ("Sendek -> conductivity oracle", "Sendek P", "log sigma, oracle"),
    ]  # fmt: skip
    print(f"\n{'change':58s}    n  rise of rho on the same rows")
    figures["changes"] = [
        change(title, column(rows, one), column(rows, two), target, groups)
        for title, one, two in changes
    ]
    for title, key, names in (
        ("occupancy weights -> decorations", "decorated", main_scores[2:5:2]),
        ("as published -> relaxed", "relaxed", main_scores),
    ):
        for name in names:
            one, two = column(rows, name), column(rows, name, key)
            figures["changes"].append(change(f"{name}: {title}", one, two, target, groups))

    print(f"\ncombined by ridge regression, {FOLDS}-fold cross-validation over materials\n{HEADER}")
    figures["combined"] = []
    candidates: dict[str, np.ndarray] = {}
    for title, chosen in COMBINATIONS.items():
        features = np.stack([column(rows, name) for name in chosen], axis=1)
        candidates |= {title: features, f"{title}, curved": with_curves(features)}
    for title, inputs in candidates.items():
        predicted = cross_validated(inputs, target, folds(groups))
        figures["combined"].append(report_line(title, predicted, target, groups, predicted=True))

    print(f"\nthe combination chosen inside each fold (nested cross-validation)\n{HEADER}")
    figures["nested"] = []
    draws = []
    for seed in range(REPEATS):
        predicted, chosen = nested(candidates, target, groups, seed)
        draws.append(predicted)
        line = report_line(f"folds drawn with seed {seed}", predicted, target, groups, True)
        figures["nested"].append(line | {"chosen": chosen})
        print(f"    chosen: {', '.join(f'{name} ({n})' for name, n in chosen.items())}")
    for title, mask in subsets.items():
        mean = np.mean(draws, axis=0)[mask]
        line = report_line(f"mean over seeds, {title}", mean, target[mask], groups[mask], True)
        figures["nested"].append(line)
    path = options.out / "figures.json"
    path.write_text(json.dumps(figures, indent=1))
    print(f"\nwritten: {path}")


if __name__ == "__main__":
    main()
