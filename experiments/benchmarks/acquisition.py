"""Multi-fidelity search on synthetic problems, everything charged.

Methods: ours (joint Gaussian process, information per cost, guard), the same without the guard, the
same at the top fidelity alone, random search and the cheapest source alone. All get the same cost
for their initial design, the same batch and the same budget. Two regrets against cost: simple (best
value asked at the top) and inference (true top value at the model's recommendation).

    python experiments/benchmarks/acquisition.py [--problems NAME ...] [--seeds 10] [--out FOLDER]
"""

import argparse
import functools
import json
import platform
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import mfal
from mfal.acquisition import (
    GuardConfig,
    JointBelief,
    choose_batch,
    guard,
    gumbel_maxima,
    held_out_score,
)
from mfal.acquisition.problems import (
    Problem,
    augmented_branin,
    augmented_hartmann,
    dial,
    reversed_hartmann,
    three_branins,
)
from mfal.proxies import GaussianProcess, GPConfig, GPState, make_dataset, make_gaussian_process

PROBLEMS = {
    p.name.replace(" ", "-"): p
    for p in (
        three_branins(),
        augmented_branin(),
        augmented_hartmann(),
        reversed_hartmann(),
        *(dial(a) for a in (0.0, 0.25, 0.5, 0.75, 1.0)),
    )
}
BUDGET = {2: 16.0, 6: 40.0}
INITIAL = {2: 4.0, 6: 8.0}
POOL, LOCAL = 128, 128
MAX_ROUNDS = 20  # of fitting and asking: a wall-clock bound, the same for all
MARGIN = 0.1  # nats per held-out observation by which one model must beat the other


class Data(NamedTuple):
    """What has been asked so far."""

    x: np.ndarray
    fidelity: np.ndarray
    value: np.ndarray


class Point(NamedTuple):
    """One point of a regret curve."""

    cost: float
    simple: float
    inference: float


def identity(x: jax.Array) -> jax.Array:
    """The featuriser of a point of the cube."""
    return x


@functools.cache
def process(num_fidelities: int, dimension: int) -> GaussianProcess:
    """One compiled process a shape."""
    return make_gaussian_process(GPConfig(num_fidelities, steps=60), identity, dimension)


def fit(problem: Problem, data: Data, top_only: bool) -> GPState:
    """Fits to all fidelities, or to the top alone (as the only fidelity)."""
    top = len(problem.costs) - 1
    keep = data.fidelity == top if top_only else np.ones(len(data.value), bool)
    rows = make_dataset(
        data.x[keep].astype(np.float32),
        np.zeros(keep.sum(), int) if top_only else data.fidelity[keep],
        data.value[keep],
    )
    return process(1 if top_only else top + 1, problem.dimension).fit(rows)


def extend(problem: Problem, data: Data, x: np.ndarray, fidelity: np.ndarray) -> Data:
    """Asks the problem and appends the answers."""
    value = np.array(
        [problem.evaluate(p[None], int(m))[0] for p, m in zip(x, fidelity, strict=True)]
    )
    return Data(
        np.concatenate([data.x, x]),
        np.concatenate([data.fidelity, fidelity]),
        np.concatenate([data.value, value]),
    )


def spent(problem: Problem, data: Data) -> float:
    """Cost of all queries."""
    return float(np.asarray(problem.costs)[data.fidelity].sum())


def initial(problem: Problem, rng: np.random.Generator, fidelities: list[int]) -> Data:
    """A design of given cost: half of it at the top, the rest shared by the lower fidelities."""
    cost, top = INITIAL[problem.dimension], len(problem.costs) - 1
    lower = [m for m in fidelities if m != top]
    data = Data(np.zeros((0, problem.dimension)), np.zeros(0, int), np.zeros(0))
    plan = {top: int(cost // (2 if lower else 1))} if top in fidelities else {}
    left = cost - sum(plan.values())
    for m in lower:
        plan[m] = min(int(left / len(lower) / problem.costs[m] + 1e-9), 10 * problem.dimension)
    for m, count in plan.items():
        data = extend(
            problem, data, rng.uniform(size=(count, problem.dimension)), np.full(count, m)
        )
    return data


def candidates(
    model: GaussianProcess, state: GPState, top: int, data: Data, rng: np.random.Generator
) -> np.ndarray:
    """Uniform points, and points around where the model expects the best."""
    dimension = data.x.shape[1]
    uniform = rng.uniform(size=(POOL, dimension))
    seeds = np.concatenate([rng.uniform(size=(512, dimension)), data.x])
    order = np.argsort(-_means(model, state, seeds, top))
    centres = seeds[order[rng.integers(0, 6, LOCAL)]]
    width = rng.choice([0.01, 0.03, 0.1], (LOCAL, 1))
    return np.concatenate(
        [uniform, np.clip(centres + width * rng.normal(size=centres.shape), 0, 1)]
    )


def _means(model: GaussianProcess, state: GPState, x: np.ndarray, top: int) -> np.ndarray:
    """Top means, in blocks of one shape so that nothing recompiles."""
    padded = np.concatenate([x, np.zeros((-len(x) % 512, x.shape[1]))])
    fidelity = np.full(512, top)
    parts = [
        np.asarray(model.mean(state, padded[i : i + 512], fidelity))
        for i in range(0, len(padded), 512)
    ]
    return np.concatenate(parts)[: len(x)]


def recommend(
    model: GaussianProcess, state: GPState, top: int, data: Data, rng: np.random.Generator
) -> np.ndarray:
    """The point of greatest posterior mean at the top, by shrinking local search."""
    pool = np.concatenate([rng.uniform(size=(1024, data.x.shape[1])), data.x])
    for width in (0.1, 0.03, 0.01, 0.003, 0.001):
        means = _means(model, state, pool, top)
        best = pool[np.argsort(-means)[:4]]
        moved = np.repeat(best, 127, 0) + width * rng.normal(size=(508, data.x.shape[1]))
        pool = np.concatenate([best, np.clip(moved, 0, 1)])
    return np.asarray(pool[np.argmax(_means(model, state, pool, top))])


choose = jax.jit(choose_batch, static_argnums=4)


def propose(
    problem: Problem,
    data: Data,
    state: GPState,
    top_only: bool,
    left: float,
    batch: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Greedy batch by joint information per cost: points, fidelities, first gain per cost."""
    last = len(problem.costs) - 1
    levels = 1 if top_only else last + 1
    model = process(levels, problem.dimension)
    x = candidates(model, state, levels - 1, data, rng)
    fidelity = np.repeat(np.arange(levels), len(x))
    mean, covariance = (
        np.asarray(a) for a in model.joint(state, np.tile(x, (levels, 1)), fidelity)
    )
    noise = (np.exp(np.asarray(state.params.log_noise)) * np.asarray(state.value_scale))[fidelity]
    top = (levels - 1) * len(x) + np.tile(np.arange(len(x)), levels)
    variance = np.maximum(np.diagonal(covariance)[top], 1e-12)
    known = data.value[data.fidelity == last]
    seen = known.max() if len(known) else -np.inf
    with jax.enable_x64(True):
        maxima = gumbel_maxima(
            jax.random.key(int(rng.integers(2**31))),
            jnp.asarray(mean[top[: len(x)]]),
            jnp.asarray(np.sqrt(variance[: len(x)])),
            10,
            seen,
        )
        belief = JointBelief(
            jnp.asarray(mean[top]),
            jnp.asarray(variance),
            jnp.asarray(covariance[top]),
            jnp.asarray(covariance + np.diag(noise**2)),
        )
        costs = np.array(problem.costs if not top_only else problem.costs[-1:])[fidelity]
        picked = choose(belief, maxima, jnp.asarray(costs), left, batch)
        indices, gains = np.asarray(picked.indices), np.asarray(picked.gains)
    chosen = indices[indices >= 0]
    rate = float(gains[0] / costs[chosen[0]]) if len(chosen) else 0.0
    return (
        x[chosen % len(x)],
        fidelity[chosen] if not top_only else np.full(len(chosen), last),
        rate,
    )


def top_score(problem: Problem, data: Data, state: GPState, top_only: bool) -> float:
    """Held-out log density of the top observations."""
    last = len(problem.costs) - 1
    model = process(1 if top_only else last + 1, problem.dimension)
    rows = data.fidelity == last
    index = np.arange(rows.sum()) if top_only else np.flatnonzero(rows)
    mean, std = (np.asarray(a)[index] for a in model.leave_one_out(state))
    return float(held_out_score(data.value[rows], mean, std, jnp.ones(len(mean), bool)))


def search(
    problem: Problem, seed: int, batch: int, *, joint: bool = True, guarded: bool = True
) -> list[Point]:
    """Our method, or parts of it."""
    rng = np.random.default_rng(seed)
    last = len(problem.costs) - 1
    budget = BUDGET[problem.dimension]
    data = initial(problem, rng, list(range(last + 1)) if joint else [last])
    curve: list[Point] = []
    while len(curve) < MAX_ROUNDS:
        # The last query asks the recommendation at the top: its cost stays in reserve.
        left = budget - spent(problem, data) - problem.costs[last]
        single = fit(problem, data, True) if guarded or not joint else None
        both = fit(problem, data, False) if joint else None
        trusted = joint
        if joint and guarded:
            scores = [top_score(problem, data, s, o) for s, o in ((both, False), (single, True))]
            trusted = scores[0] >= scores[1] - MARGIN
        model = process(last + 1 if trusted else 1, problem.dimension)
        best = recommend(model, both if trusted else single, last if trusted else 0, data, rng)
        curve.append(_point(problem, data, best))
        if left < min(problem.costs if joint else problem.costs[-1:]) - 1e-9:
            break
        if not joint:
            x, fidelity, _ = propose(problem, data, single, True, left, batch, rng)
        else:
            x, fidelity, rate = propose(problem, data, both, False, left, batch, rng)
            if guarded and left >= 1:
                x, fidelity = _guarded(problem, data, (both, single), scores, (x, fidelity, rate),
                                       left, batch, rng)  # fmt: skip
        if not len(x):
            break
        data = extend(problem, data, x, fidelity)
    if spent(problem, data) + problem.costs[last] <= budget + 1e-9:
        data = extend(problem, data, best[None], np.array([last]))
        curve.append(_point(problem, data, best))
    return curve


def _guarded(problem, data, states, scores, proposal, left, batch, rng):  # type: ignore[no-untyped-def]
    """The joint proposal where the guard lets it pass, else the top-only one."""
    last = len(problem.costs) - 1
    x_top, at_top, _ = propose(problem, data, states[1], True, left, batch, rng)
    belief = process(last + 1, problem.dimension).posterior(states[0], x_top[0])
    scale = data.value[data.fidelity == last].std()
    verdict = guard(
        GuardConfig(max_loss=MARGIN),
        np.sqrt(np.asarray(belief.covariance)[-1, -1]),
        scale,
        jnp.asarray(proposal[2]),
        scores[0],
        scores[1],
    )
    # A joint model that predicts the top better than the top's own has earned its trust; one that
    # is merely not worse must know the point which the other would ask.
    proven = scores[0] > scores[1] + MARGIN
    follow = bool(verdict.calibrated & verdict.worthwhile) and (proven or bool(verdict.sure))
    return proposal[:2] if follow else (x_top, at_top)


def _point(problem: Problem, data: Data, best: np.ndarray) -> Point:
    last = len(problem.costs) - 1
    known = data.value[data.fidelity == last]
    truth = problem.evaluate(best[None], last)[0]
    simple = problem.optimum - known.max() if len(known) else np.inf
    return Point(spent(problem, data), float(simple), float(problem.optimum - truth))


def random_search(problem: Problem, seed: int, batch: int) -> list[Point]:
    """Uniform points at the top."""
    rng = np.random.default_rng(seed)
    last = len(problem.costs) - 1
    data = initial(problem, rng, [last])
    curve = []
    while True:
        best = data.x[np.argmax(data.value)]
        curve.append(_point(problem, data, best))
        count = min(batch, int(BUDGET[problem.dimension] - spent(problem, data) + 1e-9))
        if count < 1:
            return curve
        x = rng.uniform(size=(count, problem.dimension))
        data = extend(problem, data, x, np.full(count, last))


def cheapest_only(problem: Problem, seed: int, batch: int) -> list[Point]:
    """Bayesian optimisation of fidelity 0 as if it were the top, and one top query at the end."""
    cheap = problem._replace(
        costs=(problem.costs[0],), evaluate=lambda x, m: problem.evaluate(x, 0)
    )
    rng = np.random.default_rng(seed)
    last = len(problem.costs) - 1
    count = min(int(INITIAL[problem.dimension] / problem.costs[0] + 1e-9), 10 * problem.dimension)
    empty = Data(np.zeros((0, problem.dimension)), np.zeros(0, int), np.zeros(0))
    data = extend(cheap, empty, rng.uniform(size=(count, problem.dimension)), np.zeros(count, int))
    curve = []
    for _ in range(20):
        state = fit(cheap, data, True)
        best = recommend(process(1, problem.dimension), state, 0, data, rng)
        regret = problem.optimum - problem.evaluate(best[None], last)[0]
        curve.append(Point(spent(cheap, data), np.inf, float(regret)))
        left = BUDGET[problem.dimension] - spent(cheap, data) - problem.costs[last]
        x, fidelity, _ = propose(cheap, data, state, True, left, batch, rng)
        if not len(x):
            break
        data = extend(cheap, data, x, fidelity)
    curve.append(Point(spent(cheap, data) + problem.costs[last], float(regret), float(regret)))
    return curve


METHODS: dict[str, Callable[[Problem, int, int], list[Point]]] = {
    "ours": search,
    "ours, no guard": functools.partial(search, guarded=False),
    "ours, top alone": functools.partial(search, joint=False),
    "random": random_search,
    "cheapest alone": cheapest_only,
}


def at_cost(curve: list[Point], cost: float, field: str) -> float:
    """A regret at the last point of the curve that costs no more."""
    reached = [p for p in curve if p.cost <= cost + 1e-9]
    return getattr(reached[-1], field) if reached else float("nan")


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--problems", nargs="*", default=sorted(PROBLEMS), choices=sorted(PROBLEMS))
    parser.add_argument("--methods", nargs="*", default=None)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("acquisition_benchmark"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    record: dict[str, dict[str, dict[str, list[list[float]]]]] = {}
    for key in options.problems:
        problem, record[key] = PROBLEMS[key], {}
        budget = BUDGET[problem.dimension]
        print(f"\n{key}, costs {problem.costs}, budget {budget:g}, batch {options.batch}, "
              f"{options.seeds} seeds: median [quartiles]")  # fmt: skip
        print(
            f"{'method':34s} {'simple regret':28s} {'inference regret':28s} {'half budget':>12s} s"
        )
        for name, run in METHODS.items():
            if options.methods and name not in options.methods:
                continue
            start = time.perf_counter()
            seeds = [zlib.crc32(f"{key} {i}".encode()) for i in range(options.seeds)]
            curves = [run(problem, seed, options.batch) for seed in seeds]
            record[key][name] = [[list(p) for p in curve] for curve in curves]
            texts = []
            for field in ("simple", "inference"):
                values = [at_cost(c, budget, field) for c in curves]
                low, middle, high = np.nanquantile(values, [0.25, 0.5, 0.75])
                texts.append(f"{middle:.4f} [{low:.4f}, {high:.4f}]")
            half = np.nanmedian([at_cost(c, budget / 2, "inference") for c in curves])
            seconds = (time.perf_counter() - start) / options.seeds
            print(
                f"{name:34s} {texts[0]:28s} {texts[1]:28s} {half:12.4f} {seconds:.0f}", flush=True
            )
            (options.out / "curves.json").write_text(json.dumps({
                "mfal": mfal.__version__, "jax": jax.__version__,
                "python": platform.python_version(), "batch": options.batch, "curves": record,
            }))  # fmt: skip


if __name__ == "__main__":
    main()
