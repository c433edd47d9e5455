"""Do composition, space group and lattice parameters define a crystal?

Takes the known ordered crystals of the embedded table (and of OBELiX, if its folder is given),
forgets the atoms, and asks:

1. how often two different structures share one triple;
2. how often the known structure is among those that are realised from its triple, by each route:
   templates alone (other compounds of the group and counts), placement alone, placement on the
   known Wyckoff positions, and everything together; at which cost in CPU time; and whether what is
   not found was missed by the search or ranked too low by its energy;
3. how often the lowest of two realisations, relaxed by CHGNet in positions and cell as a campaign
   does it, is the known structure relaxed likewise, and whether it lies lower where it is not;
4. how much each oracle's answer varies between realisations of one triple, against its variation
   between materials (intraclass correlation of one answer), without and with the known Wyckoff
   positions.

    python experiments/triple_defines_crystal.py [--data OBELIX] [--size small]

"Recovered" means that pymatgen's StructureMatcher (its default tolerances, no scaling) finds the
known structure among the best five. Intervals are 90 %, by bootstrap over materials. A run that was
stopped goes on where it was.
"""

import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from known_crystals import MATCHER, Known, known_crystals, shared_triples
from shared import (
    Interval,
    do_pieces,
    interval,
    make_parser,
    parse,
    save_figure,
    subplots,
    write_record,
)

from mfal.campaign.config import CampaignConfig
from mfal.crystals.contacts import least_distances
from mfal.crystals.placement import assignments
from mfal.crystals.realisation import Realisation, realise
from mfal.crystals.relax import relax
from mfal.crystals.search import VALENCE_WEIGHT
from mfal.crystals.templates import matching_arrangements
from mfal.errors import MfalError
from mfal.oracles import default_oracles
from mfal.oracles.stability.arrangements import lowest_arrangement

SIZES = {
    "small": {"crystals": 24, "seeds": 1, "tries": 128, "oracles": 8, "relaxed": 4},
    "default": {"crystals": 1000, "seeds": 2, "tries": 128, "oracles": 30, "relaxed": 1000},
}
COUNT = 5  # structures that a realisation returns
ANSWERED = 4  # of which are shown to the oracles
ROUTES = ("templates", "placement", "placement on known sites", "all")
LEVEL = 1e-3  # eV per atom, by which energies differ
MOST_WAYS = 2000  # Wyckoff assignments that are counted
ATOMS = ((1, 8), (9, 16), (17, 24), (25, 36), (37, 1000))  # in the cell, told apart


# --- 2 --------------------------------------------------------------------------------------------


def realised(
    known: Known,
    crystals: list[Known],
    route: str,
    seed: int,
    tries: int,
    count: int = COUNT,
) -> Realisation:
    """Structures of a triple by one route; its own formula is never a template."""
    charges = dict(known.prototype.species)
    others = [k.prototype for k in crystals if k.formula != known.formula]
    if route == "templates":
        found = sum(
            1 for _ in matching_arrangements(known.crystal, known.prototype.species, others)
        )
        tries = min(found, 16)
    return realise(
        known.crystal,
        charges,
        seed=seed,
        count=count,
        max_tries=tries,
        templates=others if route in ("templates", "all") else (),
        sites=known.sites if route == "placement on known sites" else None,
    )


def recover(known: Known, crystals: list[Known], seeds: int, tries: int) -> dict[str, Any]:
    """What each route makes of a triple, and how the known structure's own score compares."""
    charges = dict(known.prototype.species)
    counts = known.prototype.counts
    own = relax(
        known.prototype.space_group_number,
        known.prototype.cell,
        known.prototype.species,
        [known.prototype.arrangement],
        valence_weight=VALENCE_WEIGHT,
    )
    ways = assignments(
        known.prototype.space_group_number,
        counts,
        num=MOST_WAYS,
        rng=np.random.default_rng(0),
        cell=known.prototype.cell,
        least=least_distances(known.prototype.species),
    )
    record: dict[str, Any] = {
        "formula": known.formula,
        "group": known.prototype.space_group_number,
        "atoms": sum(counts),
        "orbits": len(known.sites),
        "elements": sorted(charges),
        "ways": len(ways),
        "own score": float(own.energy[0] / sum(counts) + VALENCE_WEIGHT * own.instability[0] ** 2),
    }
    for route in ROUTES:
        among, first, seconds, scores, rms = [], [], [], [], []
        for seed in range(seeds):
            start = time.process_time()
            found = realised(known, crystals, route, seed, tries)
            seconds.append(time.process_time() - start)
            plain = [s.copy().remove_oxidation_states() for s in found.structures]
            hits = [bool(MATCHER.fit(known.structure, s)) for s in plain]
            among.append(any(hits))
            first.append(hits[:1] == [True])
            score = found.energies + VALENCE_WEIGHT * found.instabilities**2
            scores.append(float(score.min()) if len(score) else None)
            if any(hits):
                rms.append(MATCHER.get_rms_dist(known.structure, plain[hits.index(True)])[0])
        record[route] = {
            "among five": float(np.mean(among)),
            "first": float(np.mean(first)),
            "rms": float(np.mean(rms)) if rms else None,
            "best scores": scores,
            # The quickest: the first seed may have waited for the compiler.
            "seconds": float(np.min(seconds)),
        }
    return record


def why_missed(record: dict[str, Any], route: str) -> str:
    """What failed: "search" where the known structure scores better than all found, or "energy"."""
    scores = [score for score in record[route]["best scores"] if score is not None]
    return "search" if record["own score"] < min(scores, default=np.inf) - 1e-3 else "energy"


# --- 3 --------------------------------------------------------------------------------------------


def relax_both(known: Known, crystals: list[Known], tries: int) -> dict[str, Any]:
    """The known structure and the lowest realisation of its triple, relaxed as candidates are."""
    record: dict[str, Any] = {
        "atoms": sum(known.prototype.counts),
        "same as measured": False,
        "recovered": False,
    }
    try:
        own = lowest_arrangement([known.structure])
        record["same as measured"] = bool(MATCHER.fit(own.structure, known.structure))
        start = time.process_time()
        count = CampaignConfig().realisations
        found = realised(known, crystals, "all", 0, tries, count).structures
        lowest = lowest_arrangement([s.copy().remove_oxidation_states() for s in found])
    except MfalError as error:
        return record | {"reason": error.what}
    return record | {
        "recovered": bool(MATCHER.fit(own.structure, lowest.structure)),
        "above known": lowest.energy - own.energy,
        "seconds": time.process_time() - start,
    }


# --- 4 --------------------------------------------------------------------------------------------


def answers(known: Known, crystals: list[Known], tries: int) -> dict[str, Any]:
    """Each oracle's answers: of the known structure, then of its triple's realisations."""
    charged = known.structure.copy().add_oxidation_state_by_element(dict(known.prototype.species))
    values: dict[str, Any] = {}
    for route in ("placement", "placement on known sites"):
        found = realised(known, crystals, route, 0, tries).structures[:ANSWERED]
        for oracle in default_oracles():
            observations = oracle.evaluate([charged, *found])
            values[f"{oracle.name}, {route}"] = [
                float(np.clip(each.value, *oracle.bounds)) if each.ok else None
                for each in observations
            ]
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


# --- report ---------------------------------------------------------------------------------------


def recovery_table(records: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Prints the recovery by route and by size, and returns it."""
    summary: dict[str, Any] = {}
    print(
        f"\n{'route':26s} {'among five':>20s} {'first':>20s} {'CPU s':>7s} {'rms':>6s}  missed by"
    )
    for route in ROUTES:
        rows = [record[route] for record in records.values()]
        among = interval([row["among five"] for row in rows])
        first = interval([row["first"] for row in rows])
        seconds = float(np.median([row["seconds"] for row in rows]))
        rms = float(np.mean([row["rms"] for row in rows if row["rms"] is not None] or [np.nan]))
        missed = [why_missed(r, route) for r in records.values() if r[route]["among five"] == 0]
        why = {kind: missed.count(kind) for kind in ("search", "energy")}
        summary[route] = {"among five": among, "first": first, "seconds": seconds, "missed": why}
        print(
            f"{route[:26]:26s} {among!s:>20s} {first!s:>20s} {seconds:7.2f} {rms:6.3f}"
            f"  search {why['search']}, energy {why['energy']}"
        )
    print(f"\n{'atoms':>9s} {'n':>4s}" + "".join(f" {route[:20]:>21s}" for route in ROUTES))
    for low, high in ATOMS:
        rows = [record for record in records.values() if low <= record["atoms"] <= high]
        if rows:
            cells = [interval([row[route]["among five"] for row in rows]) for route in ROUTES]
            summary[f"{low} to {high} atoms"] = dict(zip(ROUTES, cells, strict=True))
            print(f"{low:4d}-{high:<4d} {len(rows):4d}" + "".join(f" {c!s:>21s}" for c in cells))
    return summary


def relaxed_table(records: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Prints the recovery after relaxation by the potential and returns it."""
    rows = list(records.values())
    if not rows:
        return {}
    summary: dict[str, Any] = {"recovered": interval([float(r["recovered"]) for r in rows])}
    print(
        f"\nrelaxed by CHGNet, the lowest is the known one: {summary['recovered']} of {len(rows)}"
    )
    for low, high in ATOMS:
        some = [float(r["recovered"]) for r in rows if low <= r["atoms"] <= high]
        if some:
            summary[f"{low} to {high} atoms"] = interval(some)
            print(f"  {low} to {high} atoms: {interval(some)} of {len(some)}")
    others = [r["above known"] for r in rows if not r["recovered"] and "above known" in r]
    lower = sum(energy < -LEVEL for energy in others)
    higher = [energy for energy in others if energy > LEVEL]
    none = sum("reason" in r for r in rows)
    stays = interval([float(r["same as measured"]) for r in rows])
    seconds = float(np.median([r["seconds"] for r in rows if "seconds" in r] or [np.nan]))
    print(
        f"  of {len(others)} others {lower} lie lower than the known one, {len(higher)} higher, "
        f"by {np.median(higher or [np.nan]):.3f} eV per atom in the median; {none} have no atoms\n"
        f"  the known ones stay what was measured: {stays}; {seconds:.1f} CPU s each"
    )
    counts = {"others": len(others), "lower": lower, "higher": len(higher), "none": none}
    return summary | counts | {"stays": stays, "seconds": seconds}


def intraclass_table(values: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Prints each oracle's intraclass correlation and returns it."""
    summary: dict[str, Any] = {}
    print(f"\n{'oracle, route':40s} {'materials':>9s} {'intraclass corr.':>20s} sd within  between")
    for name in next(iter(values.values()), {}):
        groups = [
            np.array([x for x in answered[name][1:] if x is not None])
            for answered in values.values()
        ]
        groups = [group for group in groups if len(group) > 1]
        if len(groups) < 3:
            continue
        found = interval(groups, intraclass)
        within = float(np.sqrt(np.mean([group.var(ddof=1) for group in groups])))
        between = float(np.std([group.mean() for group in groups], ddof=1))
        summary[name] = {"icc": found, "within": within, "between": between, "n": len(groups)}
        print(f"{name:40s} {len(groups):9d} {found!s:>20s} {within:10.3g} {between:8.3g}")
    return summary


def figure(recovered: dict[str, Any], correlated: dict[str, Any], path: Path) -> None:
    """Recovery by route, and the intraclass correlation of each oracle."""
    whole, axes = subplots(2, (10, 3.2))
    bars = (
        {route: recovered[route]["among five"] for route in ROUTES},
        {name: found["icc"] for name, found in correlated.items()},
    )
    titles = ("known structure among the best five", "share of variance between materials")
    for axis, found, title in zip(axes, bars, titles, strict=True):
        axis.set_title(title, fontsize=10)
        if not found:
            continue
        middle, low, high = np.array(list(found.values())).T
        # The middle of a skewed bootstrap can lie outside its own interval.
        spread = np.maximum([middle - low, high - middle], 0)
        axis.barh(list(found), middle, xerr=spread, color="tab:blue", alpha=0.7)
        axis.set_xlim(min(0.0, float(low.min())), 1)
        axis.invert_yaxis()
    save_figure(whole, path)


def main() -> None:
    """Run the four parts and print, save and plot them."""
    parser = make_parser(__doc__, SIZES)
    parser.add_argument("--data", type=Path, help="folder in the layout of obelix-data")
    parser.add_argument("--max-atoms", type=int, default=36, help="in the conventional cell")
    parser.add_argument("--crystals", type=int, help="use only so many, drawn at random")
    parser.add_argument("--seeds", type=int, help="realisations of each triple and route")
    parser.add_argument("--tries", type=int, help="arrangements relaxed per triple")
    parser.add_argument("--oracles", type=int, help="materials whose realisations are scored")
    parser.add_argument("--relaxed", type=int, help="crystals that are relaxed by the potential")
    options = parse(parser, SIZES)
    warnings.simplefilter("ignore")
    start = time.time()

    crystals = known_crystals(options.data, options.max_atoms)
    print(f"{len(crystals)} known crystals of at most {options.max_atoms} atoms")
    pairs = shared_triples(crystals)
    print(f"pairs of different structures that share a triple: {len(pairs)} {pairs}")
    order = np.random.default_rng(0).permutation(len(crystals))[: options.crystals]
    tasks: dict[str, Callable[[], Any]] = {}
    for known in (crystals[number] for number in order):
        tasks[f"recover {known.name}"] = partial(
            recover, known, crystals, options.seeds, options.tries
        )
    for known in (crystals[number] for number in order[: options.relaxed]):
        tasks[f"relax {known.name}"] = partial(relax_both, known, crystals, options.tries)
    for known in (crystals[number] for number in order[: options.oracles]):
        tasks[f"answer {known.name}"] = partial(answers, known, crystals, options.tries)
    kind = f"{options.max_atoms}_{options.seeds}_{options.tries}"
    pieces = do_pieces(options.out / f"triple_defines_crystal_{kind}.jsonl", tasks, options.minutes)
    records = {n.split()[1]: r for n, r in pieces.items() if n.startswith("recover ")}
    values = {n.split()[1]: r for n, r in pieces.items() if n.startswith("answer ")}
    relaxed = {n.split()[1]: r for n, r in pieces.items() if n.startswith("relax ")}
    recovered, after = recovery_table(records), relaxed_table(relaxed)
    correlated = intraclass_table(values)
    conclude(records, recovered, correlated, len(pairs))
    write_record(
        options.out / "triple_defines_crystal.json",
        {
            "recovery": recovered,
            "relaxed": after,
            "relaxed records": relaxed,
            "intraclass": correlated,
            "shared triples": pairs,
            "records": records,
            "answers": values,
        },
        options,
        time.time() - start,
    )
    figure(recovered, correlated, options.out / "triple_defines_crystal.png")


def conclude(
    records: dict[str, Any], recovered: dict[str, Any], correlated: dict[str, Any], shared: int
) -> None:
    """The answer in words."""
    every: Interval = recovered["all"]["among five"]
    first: Interval = recovered["all"]["first"]
    gain = interval(
        [
            r["placement on known sites"]["among five"] - r["placement"]["among five"]
            for r in records.values()
        ]
    )
    ways = np.median([record["ways"] for record in records.values()])
    print(
        f"\nOf {len(records)} known crystals, {every.middle:.0%} ({every.low:.0%} to "
        f"{every.high:.0%}) are among the five best structures realised\nfrom their triples and "
        f"{first.middle:.0%} ({first.low:.0%} to {first.high:.0%}) are the best. A triple leaves "
        f"{ways:.0f} ways to fill the Wyckoff\npositions (median, {MOST_WAYS} at most counted); "
        f"to know which changes the share by placement by {gain.middle:+.0%}\n({gain.low:+.0%} to "
        f"{gain.high:+.0%}). {shared} pairs of different known structures share a triple."
    )
    for name, found in correlated.items():
        icc = found["icc"]
        says = "fixed" if icc.low > 0.75 else "not fixed" if icc.high < 0.75 else "perhaps fixed"
        print(f"{name}: {says} by the triple (the bar: three quarters of the variance)")
    lost = [n for n, record in records.items() if record["all"]["among five"] == 0]
    print(f"Not recovered: {', '.join(lost) or 'none'}.")
    print(
        "What would overturn this: larger or less symmetric cells than these, relaxed rather than\n"
        "measured lattices, and tolerances of the matcher other than its defaults."
    )


if __name__ == "__main__":
    main()
