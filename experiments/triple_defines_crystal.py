"""Do composition, space group and lattice parameters define a crystal?

Takes the known ordered crystals of the embedded table (and of OBELiX, if its folder is given),
forgets the atoms, and asks:

1. how often two different structures share one triple;
2. how often the known structure is among those that are realised from its triple, by each route:
   templates alone (other compounds of the group and counts), placement alone, placement on the
   known Wyckoff positions, and everything together; at which cost in CPU time;
3. how much each oracle's answer varies between realisations of one triple, against its variation
   between materials (intraclass correlation of one answer).

    python experiments/triple_defines_crystal.py [--data OBELIX_FOLDER] [--out FOLDER]

"Recovered" means that pymatgen's StructureMatcher (its default tolerances, no scaling) finds the
known structure among the best five. Intervals are 90 %, by bootstrap over materials.
"""

import argparse
import json
import platform
import time
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

import mfal
from mfal.crystals.elements import SYMBOLS
from mfal.crystals.groups import wyckoff_letters
from mfal.crystals.realise import Realisation, realise
from mfal.crystals.structures import conventional_structure, crystal_from_structure
from mfal.crystals.templates import Template, arrangement_of, matching_arrangements, template
from mfal.crystals.types import Crystal
from mfal.data import load_embedded, load_obelix
from mfal.errors import MfalError
from mfal.oracles import default_oracles

COUNT = 5  # structures that a realisation returns
ROUTES = ("templates", "placement", "placement on known sites", "all")
SAME_CELL = (0.03, 3.0)  # relative difference of lengths, degrees
MATCHER = StructureMatcher(scale=False)


class Known(NamedTuple):
    """A crystal with its atoms, and what remains when they are forgotten."""

    name: str
    formula: str
    structure: Structure
    crystal: Crystal
    mould: Template
    sites: list[tuple[str, str]]


def known_crystals(folder: Path | None, max_atoms: int) -> list[Known]:
    """Ordered crystals with charges, at most `max_atoms` in the conventional cell, each once."""
    tables = [load_embedded()] + ([load_obelix(folder)] if folder else [])
    found: list[Known] = []
    by_formula: dict[str, list[Structure]] = defaultdict(list)
    for table in tables:
        for name, structure in zip(table.ids, table.structures(), strict=True):
            if structure is None or not structure.is_ordered or "Li" not in structure.composition:
                continue
            plain = structure.copy().remove_oxidation_states()
            formula = plain.composition.reduced_formula
            if any(MATCHER.fit(plain, other) for other in by_formula[formula]):
                continue
            try:
                mould = template(plain, name=name)
            except MfalError as error:
                print(f"left out: {error}")
                continue
            if sum(mould.counts) > max_atoms:
                continue
            by_formula[formula].append(plain)
            found.append(
                Known(
                    name=name,
                    formula=formula,
                    structure=conventional_structure(plain),
                    crystal=crystal_from_structure(plain),
                    mould=mould,
                    sites=occupied_sites(plain),
                )
            )
    return found


def occupied_sites(structure: Structure) -> list[tuple[str, str]]:
    """(element, Wyckoff letter) of every orbit."""
    number, _, symbols, arrangement = arrangement_of(structure)
    letters = wyckoff_letters(number)
    return [(symbols[orbit.species], letters[orbit.position]) for orbit in arrangement]


# --- 1 --------------------------------------------------------------------------------------------


def shared_triples(crystals: list[Known]) -> list[tuple[str, str]]:
    """Pairs of different structures with one composition, group, and cell to within `SAME_CELL`."""
    pairs = []
    for i, a in enumerate(crystals):
        for b in crystals[:i]:
            one, two = a.crystal, b.crystal
            cells = np.asarray(one.lattice), np.asarray(two.lattice)
            if (
                int(one.space_group_number) == int(two.space_group_number)
                and np.array_equal(one.composition, two.composition)
                and np.abs(np.log(cells[0][:3] / cells[1][:3])).max() < SAME_CELL[0]
                and np.abs(cells[0][3:] - cells[1][3:]).max() < SAME_CELL[1]
            ):
                pairs.append((b.name, a.name))
    return pairs


# --- 2 --------------------------------------------------------------------------------------------


def realised(known: Known, crystals: list[Known], route: str, seed: int, tries: int) -> Realisation:
    """Structures of a triple by one route; its own formula is never a template."""
    charges = dict(known.mould.species)
    others = [k.mould for k in crystals if k.formula != known.formula]
    if route == "templates":
        found = sum(1 for _ in matching_arrangements(known.crystal, known.mould.species, others))
        tries = min(found, 16)
    return realise(
        known.crystal,
        charges,
        seed=seed,
        count=COUNT,
        max_tries=tries,
        templates=others if route in ("templates", "all") else (),
        sites=known.sites if route == "placement on known sites" else None,
    )


def recovery(crystals: list[Known], seeds: int, tries: int) -> list[dict[str, Any]]:
    """One record a crystal and route: shares of seeds that recover it, CPU seconds."""
    records = []
    for number, known in enumerate(crystals):
        for route in ROUTES:
            among, first, rms, seconds = [], [], [], []
            for seed in range(seeds):
                # Once for the compiler, so that its time is not counted.
                if seed == 0:
                    realised(known, crystals, route, seed, tries)
                start = time.process_time()
                found = realised(known, crystals, route, seed, tries)
                seconds.append(time.process_time() - start)
                plain = [s.copy().remove_oxidation_states() for s in found.structures]
                hits = [MATCHER.fit(known.structure, s) for s in plain]
                among.append(any(hits))
                first.append(bool(hits[:1] == [True]))
                if any(hits):
                    rms.append(MATCHER.get_rms_dist(known.structure, plain[hits.index(True)])[0])
            records.append(
                {
                    "name": known.name,
                    "formula": known.formula,
                    "group": int(known.crystal.space_group_number),
                    "atoms": sum(known.mould.counts),
                    "orbits": len(known.sites),
                    "route": route,
                    "among five": float(np.mean(among)),
                    "first": float(np.mean(first)),
                    "rms": float(np.mean(rms)) if rms else None,
                    "seconds": float(np.mean(seconds)),
                }
            )
        if (number + 1) % 10 == 0:
            print(f"{number + 1} of {len(crystals)} crystals", flush=True)
    return records


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and 90 % bootstrap interval."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (2000, len(values)))].mean(1)
    return float(values.mean()), *(float(q) for q in np.quantile(means, [0.05, 0.95]))


# --- 3 --------------------------------------------------------------------------------------------


def answers(crystals: list[Known], tries: int) -> dict[str, dict[str, list[float]]]:
    """Each oracle's answers for the realisations of each triple, and for the known structure."""
    oracles = default_oracles()
    values: dict[str, dict[str, list[float]]] = {oracle.name: {} for oracle in oracles}
    for known in crystals:
        found = realised(known, crystals, "placement", 0, tries)
        if len(found.structures) < 2:
            continue
        charged = known.structure.copy().add_oxidation_state_by_element(dict(known.mould.species))
        for oracle in oracles:
            observations = oracle.evaluate([charged, *found.structures])
            if all(each.ok for each in observations):
                clipped = np.clip([each.value for each in observations], *oracle.bounds)
                values[oracle.name][known.name] = clipped.tolist()
    return values


def intraclass(groups: list[np.ndarray]) -> float:
    """ICC(1) of a one-way layout: share of the variance that lies between the groups.

    (MSB - MSW) / (MSB + (k - 1) MSW) with k the mean size corrected for unequal sizes (Shrout &
    Fleiss, Psychol. Bull. 86, 420 (1979), doi:10.1037/0033-2909.86.2.420).
    """
    sizes = np.array([len(g) for g in groups])
    total = sizes.sum()
    means = np.array([g.mean() for g in groups])
    grand = (sizes * means).sum() / total
    between = (sizes * (means - grand) ** 2).sum() / (len(groups) - 1)
    within = sum(((g - g.mean()) ** 2).sum() for g in groups) / (total - len(groups))
    size = (total - (sizes**2).sum() / total) / (len(groups) - 1)
    return float((between - within) / (between + (size - 1) * within))


def intraclass_interval(groups: list[np.ndarray]) -> tuple[float, float, float]:
    """ICC and its 90 % bootstrap interval over materials."""
    rng = np.random.default_rng(0)
    draws = [
        intraclass([groups[k] for k in rng.integers(0, len(groups), len(groups))])
        for _ in range(500)
    ]
    return intraclass(groups), *(float(q) for q in np.nanquantile(draws, [0.05, 0.95]))


# --- report ---------------------------------------------------------------------------------------


def figure(summary: dict[str, Any], path: Path) -> None:
    """Recovery by route, and the intraclass correlation of each oracle."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    _, axes = plt.subplots(1, 2, figsize=(9, 3.2), constrained_layout=True)
    for axis, key, title in (
        (axes[0], "recovery", "known structure among the best five"),
        (axes[1], "intraclass", "share of variance between materials"),
    ):
        names = list(summary[key])
        middle, low, high = np.array([summary[key][name][:3] for name in names]).T
        axis.barh(names, middle, xerr=[middle - low, high - middle], color="tab:blue", alpha=0.7)
        axis.set_xlim(min(0.0, float(low.min())), 1)
        axis.set_title(title, fontsize=10)
        axis.invert_yaxis()
    plt.savefig(path, dpi=150)


def main() -> None:
    """Run the three parts and print, save and plot them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder in the layout of obelix-data")
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--max-atoms", type=int, default=36, help="in the conventional cell")
    parser.add_argument("--limit", type=int, help="use only so many crystals, drawn at random")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--tries", type=int, default=128, help="arrangements relaxed per triple")
    parser.add_argument("--oracle-materials", type=int, default=25)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    start = time.time()

    crystals = known_crystals(options.data, options.max_atoms)
    print(f"{len(crystals)} known crystals of at most {options.max_atoms} atoms")
    pairs = shared_triples(crystals)
    print(f"pairs of different structures that share a triple: {len(pairs)} {pairs}")
    if options.limit and options.limit < len(crystals):
        chosen = np.random.default_rng(0).permutation(len(crystals))[: options.limit]
        subset = [crystals[i] for i in sorted(chosen)]
    else:
        subset = crystals
    records = recovery(subset, options.seeds, options.tries)

    summary: dict[str, Any] = {"recovery": {}, "intraclass": {}, "shared triples": pairs}
    print(f"\n{'route':26s} {'among five':>22s} {'first':>8s} {'CPU s':>8s} {'rms':>6s}")
    for route in ROUTES:
        rows = [r for r in records if r["route"] == route]
        middle, low, high = interval(np.array([r["among five"] for r in rows]))
        first = float(np.mean([r["first"] for r in rows]))
        seconds = float(np.median([r["seconds"] for r in rows]))
        rms = float(np.mean([r["rms"] for r in rows if r["rms"] is not None] or [np.nan]))
        summary["recovery"][route] = (middle, low, high, first, seconds)
        print(
            f"{route:26s} {middle:6.2f} ({low:.2f} to {high:.2f}) {first:8.2f} {seconds:8.2f} "
            f"{rms:6.3f}"
        )
    for low, high in ((0, 12), (13, 24), (25, options.max_atoms)):
        rows = [r for r in records if r["route"] == "all" and low <= r["atoms"] <= high]
        if rows:
            share = np.mean([r["among five"] for r in rows])
            print(f"all routes, {low} to {high} atoms: {share:.2f} of {len(rows)}")

    values = answers(subset[: options.oracle_materials], options.tries)
    print(f"\n{'oracle':16s} {'materials':>10s} {'intraclass correlation':>24s}")
    for name, by_material in values.items():
        groups = [np.array(v[1:]) for v in by_material.values()]
        if len(groups) < 3:
            continue
        middle, low, high = intraclass_interval(groups)
        summary["intraclass"][name] = (middle, low, high)
        print(f"{name:16s} {len(groups):10d} {middle:10.2f} ({low:.2f} to {high:.2f})")

    alone = [r["name"] for r in records if r["route"] == "all" and r["among five"] == 0]
    share, low, high = summary["recovery"]["all"][:3]
    gain = summary["recovery"]["placement on known sites"][0] - summary["recovery"]["placement"][0]
    print(
        f"\nOf {len(subset)} known crystals, {share:.0%} ({low:.0%} to {high:.0%}) are among the "
        f"five best structures realised from\ntheir triples. Knowing the Wyckoff positions changes "
        f"the share by placement by {gain:+.0%}.\n{len(pairs)} pairs of different known structures "
        f"share a triple. Not recovered: {', '.join(alone) or 'none'}."
    )
    print(
        "What would overturn this: larger or less symmetric cells than these, relaxed rather than\n"
        "measured lattices, and tolerances of the matcher other than its defaults."
    )
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / "triple_defines_crystal.json"
    target.write_text(
        json.dumps(
            {
                "summary": summary,
                "records": records,
                "answers": values,
                "options": {k: str(v) for k, v in vars(options).items()},
                "versions": {"mfal": mfal.__version__, "python": platform.python_version()},
                "elements": sorted(
                    {s for k in subset for s, _ in k.mould.species}, key=SYMBOLS.index
                ),
                "seconds": time.time() - start,
            },
            indent=1,
        )
    )
    if summary["intraclass"]:
        figure(summary, options.out / "triple_defines_crystal.png")
    print(f"written: {target} ({time.time() - start:.0f} s)")


if __name__ == "__main__":
    main()
