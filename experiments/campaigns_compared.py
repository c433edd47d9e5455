"""How do strategies compare in whole campaigns, at equal CPU time?

Whole campaigns, de novo, every strategy of `mfal discover --strategy` under the same budget, which
pays for the initial data (known crystals), for finding atoms, for the oracles and for what a
strategy itself computes; at the settings of `mfal discover` with `--size whole`, else at smaller
ones. `misled` is the learning strategy with a second fidelity that says the contrary (5 eV minus
the barrier).

The truth is the target oracle, the conductivity at 300 K of the bond-valence hop network (not an
experiment). Compared are the best and the means of the five and ten best proposals that it was
asked about, as the CPU time grows; a place among them that is not yet filled counts as the oracle's
lower bound. Intervals are 90 %, by bootstrap over seeds; differences are paired by seed.

    python experiments/campaigns_compared.py [--size small | --size whole]
"""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from shared import do_pieces, interval, make_parser, parse, save_figure, subplots, write_record

from mfal.campaign.config import NONE, STRATEGIES, CampaignConfig, ProxyConfig, SamplerConfig
from mfal.campaign.folder import CAMPAIGN, read_campaign
from mfal.campaign.ledger.book import Answer
from mfal.campaign.loop import run_campaign
from mfal.campaign.workers.executors import WorkerPool
from mfal.oracles import bvse_oracle, conductivity_oracle, default_oracles
from mfal.oracles.types import Observation, Oracle

if TYPE_CHECKING:
    from pymatgen.core import Structure

SIZES = {
    "small": {"seeds": 4, "budget": 120.0, "rounds": 2},
    "default": {"seeds": 5, "budget": 240.0, "rounds": 3},
    "whole": {"seeds": 10, "budget": CampaignConfig().budget, "rounds": CampaignConfig().rounds},
}
REDUCED = CampaignConfig(
    initial=12, realisations=1, proxy=ProxyConfig(steps=300), sampler=SamplerConfig(steps=150)
)
NUMBERS = (1, 5, 10)  # of the best proposals whose mean is compared
HERE = Path(__file__).stem


# --- oracles, which the workers import from here --------------------------------------------------


def three_oracles() -> tuple[Oracle, ...]:
    """The default ones."""
    return tuple(map(_remembered, default_oracles()))


def contrary_oracles() -> tuple[Oracle, ...]:
    """The default ones, of which the second says the contrary."""
    sendek, bvse, conductivity = default_oracles()
    highest = bvse.bounds[1]

    def evaluate(structures: "Sequence[Structure]") -> list[Observation]:
        return [
            each._replace(value=highest - float(np.clip(each.value, *bvse.bounds)))
            for each in bvse_oracle().evaluate(structures)
        ]

    contrary = bvse._replace(name="contrary", evaluate=evaluate)
    return tuple(map(_remembered, (sendek, contrary, conductivity)))


def _remembered(oracle: Oracle) -> Oracle:
    """The oracle with the answers of this process kept: the known crystals come up again.

    Costs are charged as ever; only the wall time is spared.
    """

    def evaluate(structures: "Sequence[Structure]") -> list[Observation]:
        found = []
        for structure in structures:
            places = np.round(structure.frac_coords, 6), np.round(structure.lattice.matrix, 6)
            species = tuple(str(site.species) for site in structure)
            key = (oracle.name, species, *(array.tobytes() for array in places))
            if key not in _MEMORY:
                _MEMORY[key] = oracle.evaluate([structure])[0]
            found.append(_MEMORY[key])
        return found

    return oracle._replace(evaluate=evaluate)


_MEMORY: dict[tuple[Any, ...], Observation] = {}

VARIANTS: dict[str, tuple[str, str]] = {
    **{name: (f"{HERE}:three_oracles", name) for name in STRATEGIES},
    "misled": (f"{HERE}:contrary_oracles", "learned"),
}
"""Who answers, and who decides."""


# --- campaigns ------------------------------------------------------------------------------------


def campaign(variant: str, config: CampaignConfig, seed: int, executor: Executor) -> dict[str, Any]:
    """What one campaign found at which cost."""
    oracles, name = VARIANTS[variant]
    # What is asked of finalists at the end is no part of a search.
    config = replace(
        config, seed=seed, strategy=name, baseline=NONE, oracles=(oracles,), finalists=0
    )
    start = time.time()
    with tempfile.TemporaryDirectory() as folder:
        run_campaign(Path(folder), config, executor=executor)
        with read_campaign(Path(folder)) as ledger:
            target = max(t.fidelity for t in ledger.tallies())
            answers = ledger.answers(CAMPAIGN)
            initial = sum(answer.query.cost for answer in answers if answer.query.round == 0)
            history = _history(answers, target, ledger.thoughts(CAMPAIGN))
            measured = sum(ledger.measured(CAMPAIGN).values())
    print(f"{variant}, seed {seed}: {time.time() - start:.0f} s", flush=True)
    return {
        "campaign": history,
        "initial": initial,
        "measured": measured,
        "seconds": time.time() - start,
    }


def _history(answers: Sequence[Answer], target: int, thoughts: dict[int, float]) -> list[list[Any]]:
    """(CPU s so far, formula, a proposal's target value or None, fidelity) of each answer."""
    rows, paid, left = [], 0.0, dict(thoughts)
    low, high = conductivity_oracle().bounds
    for answer in answers:
        paid += answer.query.cost + left.pop(answer.query.round, 0.0)
        proposal = answer.query.crystal.structure is None
        value = None
        if proposal and answer.query.fidelity == target and answer.value is not None:
            value = float(np.clip(answer.value, low, high))
        name = f"{answer.query.crystal.formula} ({answer.query.crystal.space_group})"
        rows.append([round(paid, 4), name, value, answer.query.fidelity])
    return rows


def best_so_far(history: list[list[Any]], cost: float, number: int, floor: float) -> float:
    """Mean of the `number` best values found by a cost; places not filled count as the floor."""
    values = sorted(v for paid, _, v, _ in history if v is not None and paid <= cost + 1e-6)[::-1]
    best = values[:number]
    return float(np.mean(best + [floor] * (number - len(best))))


# --- figures --------------------------------------------------------------------------------------


def histories(pieces: dict[str, Any]) -> dict[str, dict[int, list[list[Any]]]]:
    """By strategy and seed."""
    found: dict[str, dict[int, list[list[Any]]]] = {name: {} for name in VARIANTS}
    for name, piece in pieces.items():
        seed, variant = name.split(" ", 1)
        found[variant][int(seed)] = piece["campaign"]
    return {name: by_seed for name, by_seed in found.items() if by_seed}


def show(found: dict[str, dict[int, Any]], costs: Sequence[float], floor: float) -> dict[str, Any]:
    """Prints the tables and returns them."""
    table: dict[str, Any] = {}
    for number in NUMBERS:
        title = "best proposal" if number == 1 else f"mean of the {number} best"
        print(f"\n{title}, log10 S/cm, after CPU seconds of")
        print(f"{'':26s}{'seeds':>6s}" + "".join(f"{cost:>24.0f}" for cost in costs))
        for name, by_seed in found.items():
            cells = [
                interval([best_so_far(h, cost, number, floor) for h in by_seed.values()])
                for cost in costs
            ]
            table.setdefault(name, {})[title] = dict(zip(map(str, costs), cells, strict=True))
            print(f"{name:26s}{len(by_seed):6d}" + "".join(f"{cell!s:>24s}" for cell in cells))
    return table


def conclude(found: dict[str, dict[int, Any]], cost: float, floor: float) -> list[str]:
    """Paired differences at the end, in words."""
    lines = []
    pairs = [("learned", name) for name in (*STRATEGIES[1:], "misled")] + [("misled", "single")]
    for one, other in pairs:
        seeds = sorted(found.get(one, {}).keys() & found.get(other, {}).keys())
        if len(seeds) < 2:
            continue
        for number in NUMBERS:
            change = interval(
                [
                    best_so_far(found[one][s], cost, number, floor)
                    - best_so_far(found[other][s], cost, number, floor)
                    for s in seeds
                ]
            )
            verb = "beats" if change.low > 0 else "loses to" if change.high < 0 else "equals"
            if verb == "equals":
                verb = "is not told apart from"
            what = "best" if number == 1 else f"mean of the {number} best"
            lines.append(f"{one} {verb} {other} by the {what}: {change} ({len(seeds)} seeds)")
    return lines


def figure(
    found: dict[str, dict[int, Any]], start: float, budget: float, floor: float, path: Path
) -> None:
    """Best and ten best against cost, medians with quartiles."""
    whole, axes = subplots(2, (9, 3.4))
    grid = np.linspace(start, budget, 60)
    for axis, number in zip(axes, NUMBERS[::2], strict=True):
        for color, (name, by_seed) in enumerate(found.items()):
            curves = np.array(
                [[best_so_far(h, c, number, floor) for c in grid] for h in by_seed.values()]
            )
            low, middle, high = np.quantile(curves, [0.25, 0.5, 0.75], axis=0)
            axis.plot(grid, middle, label=name, color=f"C{color}")
            axis.fill_between(grid, low, high, color=f"C{color}", alpha=0.1, linewidth=0)
        axis.set(xlabel="CPU time, s")
    axes[0].set_ylabel("best proposal, log10 S/cm")
    axes[1].set_ylabel(f"mean of the {NUMBERS[-1]} best, log10 S/cm")
    axes[0].legend(frameon=False, fontsize=7)
    save_figure(whole, path)


def main() -> None:
    """Run all campaigns, then print, write and plot."""
    parser = make_parser(__doc__, SIZES)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--budget", type=float, help="CPU seconds")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--workers", type=int, default=2)
    options = parse(parser, SIZES)
    start = time.time()

    base = CampaignConfig() if options.size == "whole" else REDUCED
    config = replace(base, budget=options.budget, rounds=options.rounds)

    # The workers find the oracles of this file.
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    one_thread = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
    one_thread["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    pool = WorkerPool(options.workers, timeout=120.0, environment=one_thread)
    try:
        tasks: dict[str, Callable[[], Any]] = {
            f"{seed} {variant}": partial(campaign, variant, config, seed, pool)
            for seed in range(options.first_seed, options.first_seed + options.seeds)
            for variant in options.variants
        }
        kind = f"{options.size}_{options.budget:g}_{options.rounds}"
        pieces = do_pieces(options.out / f"campaigns_compared_{kind}.jsonl", tasks, options.minutes)
    finally:
        pool.shutdown(cancel_futures=True)
    found = histories(pieces)
    floor = conductivity_oracle().bounds[0]
    initial = max(piece["initial"] for piece in pieces.values())
    costs = np.linspace(initial, options.budget, 4)[1:].tolist()
    table = show(found, costs, floor)
    lines = conclude(found, options.budget, floor)
    print("\nAt the end of the budget:\n" + "\n".join(lines))
    print(
        "What would overturn this: another budget (this one buys few proposals), another target\n"
        "oracle (this one over-rates barrierless maps), or cheap oracles cheaper than these."
    )
    write_record(
        options.out / "campaigns_compared.json",
        {"table": table, "conclusions": lines, "campaigns": pieces},
        options,
        time.time() - start,
    )
    figure(found, initial, options.budget, floor, options.out / "campaigns_compared.png")


if __name__ == "__main__":
    main()
