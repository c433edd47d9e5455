"""Do campaigns beat simpler searches, at equal CPU time?

Whole campaigns of `mfal discover` at its defaults, every strategy under the same budget, which pays
for the initial data (known crystals), for finding and relaxing atoms, for the oracles and for what
a strategy itself computes. Finalists' vibrations and dynamics, which nobody is charged for, are
left out. What was asked depends on nothing but the seed.

Counted are formulas: of each the best answer of the target oracle (the conductivity of the
bond-valence hop network at 300 K, not an experiment) among its crystals that are new and within the
required distance from the hull. Compared is the mean of the ten best; a place that is not filled
counts as the oracle's lower bound. Beside it stand how many crystals were asked about, how many of
these are distinct, new and near a hull that bounds them, and the hull distances of the ten best;
and how many times sooner, in CPU seconds by the ledger, the learning strategy has the mean that
another one ends with than that one itself. Intervals are 90 %, by bootstrap over seeds; differences
and ratios are paired by seed.

    python experiments/campaigns_compared.py [--strategies learned funnel ...] [--seeds 21 22 23]

Each campaign is a folder of --out, STRATEGY-SEED, which `mfal discover --strategy STRATEGY --seed
SEED --out` fills as well: a stopped run goes on where it was.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from shared import Interval, do_pieces, interval, make_parser, save_figure, subplots, write_record

from mfal.campaign.config import NONE, STRATEGIES, CampaignConfig
from mfal.campaign.folder import (
    BASELINE,
    CAMPAIGN,
    LEDGER_NAME,
    read_campaign,
    stored_config,
)
from mfal.campaign.ledger.book import Ledger
from mfal.campaign.loop import run_campaign
from mfal.campaign.standing import counted_as, counts, hull_limit, repeated, standing_of
from mfal.errors import MfalError
from mfal.report.summary import summarise

BEST = 10
NEAR = 0.025  # eV per atom


def campaign(strategy: str, seed: int, config: CampaignConfig, out: Path) -> dict[str, Any]:
    """What a campaign has found; it is run, or goes on, where it hasn't ended.

    One that ran as the baseline of a learning campaign in --out needn't be run again.
    """
    own = replace(config, strategy=strategy, seed=seed, baseline=NONE, finalists=0)
    beside, folder = out / f"learned-{seed}", out / f"{strategy}-{seed}"
    if _ended(beside):
        with read_campaign(beside) as ledger:
            if stored_config(ledger).baseline == strategy:
                return measured(ledger, BASELINE, own)
    if not _ended(folder):
        run_campaign(folder, own)
    with read_campaign(folder) as ledger:
        return measured(ledger, CAMPAIGN, own)


def _ended(folder: Path) -> bool:
    if not (folder / LEDGER_NAME).exists():
        return False
    with read_campaign(folder) as ledger:
        return summarise(ledger).finished


def measured(ledger: Ledger, account: str, config: CampaignConfig) -> dict[str, Any]:
    """The figures of one search."""
    limit, target = hull_limit(config), len(ledger.meta("oracles") or []) - 1
    asked: set[str] = set()
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    best: dict[str, tuple[float, str]] = {}
    course: list[tuple[float, str, float]] = []
    paid, thoughts = 0.0, dict(ledger.thoughts(account))
    for answer in ledger.answers(account):
        paid += thoughts.pop(answer.query.round, 0.0)
        paid += answer.query.cost if answer.kind != "abandoned" else 0.0
        crystal = answer.query.crystal
        if not crystal.proposed:
            continue
        asked.add(crystal.hash)
        if answer.detail.get("relaxation"):
            found.setdefault(crystal.hash, (crystal.formula, answer.detail))
        if answer.query.fidelity == target and answer.value is not None and counts(answer, limit):
            name = counted_as(crystal)
            course.append((paid, name, answer.value))
            best[name] = max(best.get(name, (-np.inf, "")), (answer.value, crystal.hash))
    good = {
        name: (formula, detail)
        for name, (formula, detail) in found.items()
        if standing_of([detail], limit) == "new" and detail["relaxation"].get("hull_bounded")
    }
    again = repeated((name, formula, d["arrangement"]) for name, (formula, d) in good.items())
    ranked = sorted(best.values(), reverse=True)
    ten = [found[name][1]["relaxation"] for _, name in ranked[:BEST]]
    return {
        "values": [value for value, _ in ranked],
        "course": course,
        "asked": len(asked),
        "good": len(good) - len(again),
        "near": sum(
            bool(one.get("hull_bounded")) and one["hull_distance_ev_per_atom"] <= NEAR
            for one in ten
        ),
    }


def mean_of_best(values: list[float], floor: float) -> float:
    """Of the ten best; places that are not filled count as the floor."""
    best = sorted(values, reverse=True)[:BEST]
    return float(np.mean(best + [floor] * (BEST - len(best))))


def seconds_to(level: float, course: Sequence[Sequence[Any]], floor: float) -> float:
    """CPU seconds after which the mean of the ten best is at a level; infinite if it never is.

    Args:
      level: of the mean.
      course: (seconds paid, what the crystal counts as, value) of all answers that count, in order.
      floor: what a place counts as that is not filled.
    """
    best: dict[str, float] = {}
    for paid, name, value in course:
        best[name] = max(best.get(name, -np.inf), value)
        if mean_of_best(list(best.values()), floor) >= level - 1e-9:
            return float(paid)
    return float("inf")


def show(found: dict[str, dict[int, dict[str, Any]]], floor: float) -> dict[str, Any]:
    """Print the tables, and return them."""
    table: dict[str, Any] = {}
    means = {
        name: {seed: mean_of_best(one["values"], floor) for seed, one in by_seed.items()}
        for name, by_seed in found.items()
    }
    print(f"{'':14}{'seeds':>6}{f'mean of the {BEST} best':>25}{'formulas':>10}", end="")
    print(f"{'asked':>7}{'good':>6}{'within .025':>13}")
    for name, by_seed in found.items():
        ones = list(by_seed.values())
        middle = interval(list(means[name].values()))
        row: dict[str, Any] = {"mean": middle, "by_seed": means[name]}
        row["formulas"] = float(np.mean([len(one["values"]) for one in ones]))
        row |= {k: float(np.mean([one[k] for one in ones])) for k in ("asked", "good", "near")}
        table[name] = row
        print(f"{name:14}{len(ones):6}{middle!s:>25}{row['formulas']:10.1f}", end="")
        print(f"{row['asked']:7.1f}{row['good']:6.1f}{row['near']:13.1f}")
    for name in found:
        seeds = sorted(means[name].keys() & means.get("learned", {}).keys())
        if name != "learned" and len(seeds) > 1:
            rise: Interval = interval([means["learned"][s] - means[name][s] for s in seeds])
            table[name]["less"] = rise
            print(f"learned less {name}: {rise} decades ({len(seeds)} seeds)")
            times = np.array(
                [
                    [seconds_to(means[name][s], found[one][s]["course"], floor) for s in seeds]
                    for one in ("learned", name)
                ]
            )
            sooner = [math.log(there / here) for here, there in times.T if math.isfinite(here)]
            ratio = Interval(*np.exp(interval(sooner)))
            table[name]["sooner"] = {"ratio": ratio, "seconds": times.tolist()}
            print(
                f"  has what {name} ends with {ratio} times sooner, in {len(sooner)} of"
                f" {len(seeds)} seeds"
            )
    return table


def main() -> None:
    """Run what is missing, print, write, plot."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES, choices=STRATEGIES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[21, 22, 23, 24, 25])
    parser.add_argument("--budget", type=float, help="CPU seconds")
    options = parser.parse_args()
    start, config = time.time(), CampaignConfig()
    if options.budget is not None:
        config = replace(config, budget=options.budget)
    tasks = {
        f"{strategy} {seed}": partial(campaign, strategy, seed, config, options.out)
        for seed in options.seeds
        for strategy in options.strategies
    }
    try:
        pieces = do_pieces(options.out / "campaigns_compared.jsonl", tasks, options.minutes)
    except MfalError as error:
        raise SystemExit(f"{error}; give another --out") from error
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for name, piece in pieces.items():
        strategy, seed = name.split()
        found.setdefault(strategy, {})[int(seed)] = piece
    from mfal.oracles import default_oracles

    table = show(found, default_oracles()[-1].bounds[0])
    print(
        "What would overturn this: a larger budget (this one buys some forty crystals), another\n"
        "target oracle, another requirement on existence, or more seeds."
    )
    record = {"table": table, "campaigns": pieces}
    write_record(options.out / "campaigns_compared.json", record, options, time.time() - start)
    figure, axis = subplots(1, (6.0, 3.2))
    axis = np.ravel(axis)[0]
    for place, row in enumerate(table.values()):
        axis.plot(list(row["by_seed"].values()), [place] * len(row["by_seed"]), "o", alpha=0.7)
        axis.plot(row["mean"].middle, place, "k|", markersize=14)
    axis.set_yticks(range(len(table)), list(table))
    axis.set_xlabel(f"mean of the {BEST} best formulas, log10 S/cm; a mark each seed")
    save_figure(figure, options.out / "campaigns_compared.png")


if __name__ == "__main__":
    main()
