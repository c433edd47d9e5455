"""Multi-fidelity search of synthetic problems by a campaign's rule, all charged, beside botorch.

Methods: ours (`cube.search`: two beliefs weighed by evidence, improvement per cost, greedy batch;
the code that campaigns decide by), the same trusting cheap answers without evidence, the same at
the target fidelity alone, random search, the cheapest source alone, and botorch's single fidelity
log noisy EI and GIBBON and its multi-fidelity GIBBON with the default kernel and with a learned
covariance of the fidelities. All pay the same for their initial design, ask in batches of the same
size at most, have the same number of rounds and the same budget, which nobody exceeds;
multi-fidelity methods start from the very same nested design. Two regrets against cost: simple
(best value asked at the target fidelity) and inference (true target value at the model's
recommendation).

Each (problem, method, seed) is one line of a file; what is there already is not run again, so a run
may be stopped and continued, or spread out.

    python experiments/benchmarks/acquisition.py [--problems NAME ...] [--methods NAME ...]
        [--seeds 10] [--first-seed 0] [--minutes 8] [--out cells.jsonl] [--plot regret.png]

What was measured, and what it says: `experiments/README.md`. A run of ours takes one to two CPU
seconds beside a minute of compilation for each problem, one of botorch's multi-fidelity GIBBON on
Hartmann-6 some fifty.
"""

import argparse
import functools
import json
import platform
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from botorch_parts import botorch_batch, botorch_model, botorch_recommend, fidelity_value
from cube.problems import (
    Problem,
    augmented_branin,
    augmented_hartmann,
    dial,
    reversed_hartmann,
    three_branins,
)
from cube.queries import Asked, ask, cost_of, design
from cube.search import SearchConfig, Turn, search

import mfal

PROBLEMS = {
    p.name.replace(" ", "-"): p
    for p in (
        augmented_hartmann(),
        reversed_hartmann(),
        three_branins(),
        augmented_branin(),
        *(dial(a) for a in (0.0, 0.25, 0.5, 0.75, 1.0)),
    )
}
BUDGET = {2: 16.0, 6: 40.0}
INITIAL = {2: 4.0, 6: 8.0}
BATCH = {2: 4, 6: 8}
LEAST = 1e-3  # regrets to tell apart
ROUNDS = 20  # of fitting and asking: a wall-clock bound, the same for all


class Point(NamedTuple):
    """One point of a regret curve."""

    cost: float
    simple: float
    inference: float


def point(problem: Problem, asked: Asked, best: np.ndarray) -> Point:
    """The regrets now."""
    last = len(problem.costs) - 1
    known = asked.value[asked.fidelity == last]
    truth = problem.evaluate(best[None], last)[0]
    simple = problem.optimum - known.max() if len(known) else np.inf
    return Point(cost_of(problem, asked), float(simple), float(problem.optimum - truth))


def ours(problem: Problem, seed: int, **parts: bool) -> list[Point]:
    """Our method, or parts of it."""
    size = problem.dimension
    config = SearchConfig(batch=BATCH[size], rounds=ROUNDS, **parts)
    turns = search(problem, config, BUDGET[size], INITIAL[size], seed)
    return [point(problem, turn.asked, turn.best) for turn in turns]


def random_search(problem: Problem, seed: int) -> list[Point]:
    """Uniform points at the target fidelity."""
    rng = np.random.default_rng(seed)
    size, last = problem.dimension, len(problem.costs) - 1
    asked, curve = design(problem, rng, INITIAL[size], [last]), []
    while True:
        curve.append(point(problem, asked, asked.x[np.argmax(asked.value)]))
        count = min(BATCH[size], int(BUDGET[size] - cost_of(problem, asked) + 1e-9))
        if count < 1:
            return curve
        asked = ask(problem, asked, rng.uniform(size=(count, size)), np.full(count, last))


def cheapest_only(problem: Problem, seed: int) -> list[Point]:
    """Our search of fidelity 0 as if it were the target, and one target query at the end."""
    size, last = problem.dimension, len(problem.costs) - 1
    cheap = problem._replace(
        costs=(problem.costs[0],), evaluate=lambda x, m: problem.evaluate(x, 0)
    )
    first = min(INITIAL[size], 10 * size * problem.costs[0] + 1e-9)
    config = SearchConfig(batch=BATCH[size], rounds=ROUNDS, joint=False)
    turns = search(cheap, config, BUDGET[size] - problem.costs[last], first, seed)

    def regret(turn: Turn) -> float:
        return float(problem.optimum - problem.evaluate(turn.best[None], last)[0])

    end = Point(turns[-1].cost + problem.costs[last], regret(turns[-1]), regret(turns[-1]))
    return [Point(turn.cost, np.inf, regret(turn)) for turn in turns] + [end]


def botorch_search(problem: Problem, seed: int, *, acquisition: str, kernel: str) -> list[Point]:
    """Botorch's models, acquisitions and optimisers in the same loop."""
    import torch

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    size, last = problem.dimension, len(problem.costs) - 1
    multi, batch = kernel != "single", BATCH[size]
    asked = design(problem, rng, INITIAL[size], list(range(last + 1)) if multi else [last])
    curve: list[Point] = []
    model = None
    while len(curve) < ROUNDS:
        model = botorch_model(problem, asked, kernel, before=model)
        best = botorch_recommend(model, size, fidelity_value(kernel, last, last))
        curve.append(point(problem, asked, best))
        left = BUDGET[size] - cost_of(problem, asked) - problem.costs[last]
        if left < min(problem.costs if multi else problem.costs[-1:]) - 1e-9:
            break
        x = botorch_batch(problem, model, asked, acquisition, kernel, batch)
        fidelity = np.full(len(x), last)
        if multi:
            values = [fidelity_value(kernel, m, last) for m in range(last + 1)]
            fidelity = np.abs(x[:, -1:] - values).argmin(1)
        affordable = 0
        for k, m in enumerate(fidelity):
            cheapest = 0 if multi else last
            fidelity[k] = m if problem.costs[m] <= left + 1e-9 else cheapest
            left -= problem.costs[fidelity[k]]
            if left < -1e-9:
                break
            affordable += 1
        asked = ask(problem, asked, x[:affordable, :size], fidelity[:affordable])
    if cost_of(problem, asked) + problem.costs[last] <= BUDGET[size] + 1e-9:
        asked = ask(problem, asked, best[None], np.array([last]))
        model = botorch_model(problem, asked, kernel, before=model)
        best = botorch_recommend(model, size, fidelity_value(kernel, last, last))
        curve.append(point(problem, asked, best))
    return curve


METHODS: dict[str, Callable[[Problem, int], list[Point]]] = {
    "ours": ours,
    "ours, target alone": functools.partial(ours, joint=False),
    "random": random_search,
    "cheapest alone": cheapest_only,
    "ours, trusting": functools.partial(ours, distrust=False),
    "botorch SF LogNEI": functools.partial(botorch_search, acquisition="LogNEI", kernel="single"),
    "botorch SF GIBBON": functools.partial(botorch_search, acquisition="GIBBON", kernel="single"),
    "botorch MF-GIBBON": functools.partial(botorch_search, acquisition="GIBBON", kernel="default"),
    "botorch MF-GIBBON, learned covariance": functools.partial(
        botorch_search, acquisition="GIBBON", kernel="learned"
    ),
}

SEE_THE_TOP_ALONE = (
    "ours, target alone",
    "random",
    "botorch SF LogNEI",
    "botorch SF GIBBON",
)


def at_cost(curve: Iterable[Point], cost: float, field: str) -> float:
    """A regret at the last point of the curve that costs no more."""
    reached = [p for p in curve if p.cost <= cost + 1e-9]
    return float(getattr(reached[-1], field)) if reached else float("nan")


def read(path: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    """The cells of a file."""
    lines = path.read_text().splitlines() if path.exists() else []
    cells = [json.loads(line) for line in lines]
    return {(cell["problem"], cell["method"], cell["seed"]): cell for cell in cells}


def run_cell(key: str, method: str, seed: int) -> dict[str, Any]:
    """One line of the file."""
    start, used = time.perf_counter(), time.process_time()
    curve = METHODS[method](PROBLEMS[key], zlib.crc32(f"{key} {seed}".encode()))
    assert curve[-1].cost <= BUDGET[PROBLEMS[key].dimension] + 1e-9
    return {
        "problem": key, "method": method, "seed": seed, "curve": [list(p) for p in curve],
        "seconds": round(time.perf_counter() - start, 2),
        "cpu_seconds": round(time.process_time() - used, 2),
        "mfal": mfal.__version__, "jax": jax.__version__, "python": platform.python_version(),
    }  # fmt: skip


def show(cells: dict[tuple[str, str, int], dict[str, Any]]) -> None:
    """Median and quartiles of both regrets at the budget, and the inference regret on the way."""
    for key, problem in PROBLEMS.items():
        budget = BUDGET[problem.dimension]
        found = {m: [c for (p, n, _), c in cells.items() if (p, n) == (key, m)] for m in METHODS}
        if not any(found.values()):
            continue
        initial = INITIAL[problem.dimension]
        print(f"\n{key}: costs {problem.costs}, budget {budget:g} of which {initial:g} initial, "
              f"batch {BATCH[problem.dimension]}; median [quartiles]")  # fmt: skip
        print(f"{'method':38s} seeds {'simple regret':26s} {'inference regret':26s} "
              f"{'at 1/3':>7s} {'at 1/2':>7s} {'CPU s':>6s}")  # fmt: skip
        for name, rows in found.items():
            if not rows:
                continue
            curves = [[Point(*p) for p in row["curve"]] for row in rows]
            texts = []
            for field in ("simple", "inference"):
                values = [at_cost(c, budget, field) for c in curves]
                low, middle, high = np.nanquantile(values, [0.25, 0.5, 0.75])
                texts.append(f"{middle:.4f} [{low:.4f}, {high:.4f}]")
            way = [np.nanmedian([at_cost(c, budget / k, "inference") for c in curves])
                   for k in (3, 2)]  # fmt: skip
            seconds = np.median([row["cpu_seconds"] for row in rows])
            print(f"{name:38s} {len(rows):5d} {texts[0]:26s} {texts[1]:26s} {way[0]:7.3f} "
                  f"{way[1]:7.3f} {seconds:6.1f}")  # fmt: skip


def decades(cells: dict[tuple[str, str, int], dict[str, Any]], key: str, method: str) -> np.ndarray:
    """Common logarithm of the final inference regrets, [n]; `LEAST` where they are smaller."""
    ends = [cell["curve"][-1][2] for (p, m, _), cell in cells.items() if (p, m) == (key, method)]
    return np.log10(np.maximum(np.array(ends, float), LEAST))


def compare(cells: dict[tuple[str, str, int], dict[str, Any]]) -> None:
    """Ours against each other method, problem by problem and in all.

    Methods that see the target alone share it here among problems of equal dimension (Hartmann-6,
    Branin): their runs on all of them are one sample, and a far steadier one than seed by seed.
    """
    rng = np.random.default_rng(0)

    def mean_of_redrawn(values: np.ndarray) -> float:
        return float(rng.choice(values, len(values)).mean())

    for reference in METHODS:
        pooled = reference in SEE_THE_TOP_ALONE
        rows: dict[str, tuple[float, list[float], int, int]] = {}
        for key, problem in PROBLEMS.items():
            alike = [k for k, p in PROBLEMS.items() if p.dimension == problem.dimension]
            ours_ = decades(cells, key, "ours")
            other = np.concatenate(
                [decades(cells, k, reference) for k in (alike if pooled else [key])]
            )
            if reference == "ours" or not (len(ours_) and len(other)):
                continue
            redrawn = [mean_of_redrawn(ours_) - mean_of_redrawn(other) for _ in range(2000)]
            rows[key] = (ours_.mean() - other.mean(), redrawn, len(ours_), len(other))
        if not rows:
            continue
        print(f"\nours less {reference!r}: decades of inference regret (least {LEAST:g}), "
              "difference of means, 90 % bootstrap interval, runs")  # fmt: skip
        for key, (middle, redrawn, count, others) in rows.items():
            low, high = np.quantile(redrawn, [0.05, 0.95])
            print(f"{key:20s} {middle:+.2f} ({low:+.2f} to {high:+.2f})  {count}, {others}")
        middle = float(np.mean([row[0] for row in rows.values()]))
        print(f"{'mean of all':20s} {middle:+.2f}")


def plot(cells: dict[tuple[str, str, int], dict[str, Any]], path: Path) -> None:
    """Median inference regret against cost, one panel a problem."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    keys = [key for key in PROBLEMS if any(cell[0] == key for cell in cells)]
    columns = min(3, len(keys))
    figure, axes = plt.subplots(
        -(-len(keys) // columns), columns, figsize=(4 * columns, 9), squeeze=False
    )
    for key, ax in zip(keys, axes.flat, strict=False):
        budget = BUDGET[PROBLEMS[key].dimension]
        grid = np.linspace(INITIAL[PROBLEMS[key].dimension], budget, 60)
        for k, method in enumerate(METHODS):
            curves = [[Point(*p) for p in cell["curve"]] for (p, m, _), cell in cells.items()
                      if (p, m) == (key, method)]  # fmt: skip
            if curves:
                values = [[at_cost(c, g, "inference") for g in grid] for c in curves]
                middle = np.maximum(np.nanmedian(np.array(values, float), axis=0), LEAST)
                style = {"color": "black", "lw": 2} if method == "ours" else {"color": f"C{k}"}
                ax.plot(grid, middle, label=method, **style)
        ax.set(yscale="log", title=key)
    for ax in axes[-1]:
        ax.set_xlabel("cost")
    for ax in axes[:, 0]:
        ax.set_ylabel("median inference regret")
    drawn = {line.get_label(): line for ax in axes.flat for line in ax.get_lines()}
    names = [method for method in METHODS if method in drawn]
    figure.legend(
        [drawn[name] for name in names],
        names,
        fontsize=8,
        frameon=False,
        ncol=4,
        loc="lower center",
    )
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(path, dpi=80)


def main() -> None:
    """Run what is missing, print all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--problems", nargs="*", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e9, help="start no cell after this long")
    parser.add_argument("--out", type=Path, default=Path("acquisition_cells.jsonl"))
    parser.add_argument("--plot", type=Path, help="write the regret curves here")
    options = parser.parse_args()
    cells, start = read(options.out), time.perf_counter()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    wanted = [(p, m, s) for s in seeds for p in options.problems
              for m in options.methods]  # fmt: skip
    for cell in wanted:
        if cell in cells or time.perf_counter() - start > 60 * options.minutes:
            continue
        cells[cell] = run_cell(*cell)
        with options.out.open("a") as file:
            file.write(json.dumps(cells[cell]) + "\n")
    missing = sum(cell not in cells for cell in wanted)
    show(cells)
    compare(cells)
    if options.plot:
        plot(cells, options.plot)
    print(f"\n{len(wanted) - missing} of {len(wanted)} cells are in {options.out}")


if __name__ == "__main__":
    main()
