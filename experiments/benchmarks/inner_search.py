"""Who finds the best of an acquisition: a GFlowNet, the whole grid, random points or its gradient.

One acquisition, information about the best value from asking at the target fidelity, of a Gaussian
process fitted to a few random answers of Branin (on a grid of 16 x 16 corners) and of Hartmann-6
(8^6), so that the exact maximum is known. Four ways to find candidates: every corner; as many
random corners as the GFlowNet evaluates; the gradient from random starts, rounded to corners; and
`mfal.gflownet` trained on the acquisition's fourth power, a quarter of each batch led backward from
the best of random corners, which are charged (without them the paths, which start in one corner of
the grid and may stop at each step, never see the far side: seen on seeds 0 to 2, as was that a
reward floor of 1e-4 is too low). From 512 candidates of each, half of them its best and half drawn
from the rest of its finds, a batch is chosen by joint information.

Told for each: the best value and the batch's joint information as shares of those of the whole
grid; the distinct local maxima of the grid under which the batch's members lie, and how many of at
least half the greatest value were found; the mean distance in the batch (unit cube); evaluations;
and processor seconds without compilation. The acquisition is tabulated; each evaluation is charged
at the tabulation's rate.

Measured, seeds 0 to 2 and 600 steps, means (CPU seconds on a busy machine):

    branin            best  batch  modes in batch  distance  evaluations  CPU s
    whole grid       1.000  1.000       4.3          .78          256      .001
    random corners   1.000  1.000       4.3          .78       44,544      .20
    gradient         1.000   .982       4.0          .75       10,240      .02
    GFlowNet         1.000   .913       2.0          .53       44,544     4.9
    hartmann
    whole grid       1.000  1.000       1.0          .22      262,144      .36
    random corners    .724   .694       1.0          .36       44,544      .06
    gradient          .949   .376       1.7          .73       10,240      .02
    GFlowNet         1.000  1.000       1.0          .22       44,544     5.5

So the GFlowNet finds the exact best of Hartmann's grid with a sixth of its evaluations, which
random corners do not. But where an acquisition costs a microsecond and the grid fits into memory,
its training costs fifteen times the whole grid, and its batches are no more diverse.

    python experiments/benchmarks/inner_search.py [--seeds 3] [--steps 600] [--out FILE]
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from cube.information import information_about_maximum
from cube.joint import JointBelief, choose_batch
from cube.maxima import gumbel_maxima
from cube.problems import Problem, augmented_branin, augmented_hartmann
from cube.proposals import climb
from cube.queries import design
from cube.surrogate import Surrogate, fit, moments_at, target_moments

import mfal
from mfal.envs.hypergrid import HypergridSpec, HypergridState, hypergrid
from mfal.gflownet import DataSet, PolicyConfig, TrainConfig, make_trainer

BATCH, POOL = 8, 512
POWER = 4.0  # of the acquisition in the GFlowNet's reward
FLOOR = 1e-2  # of the acquisition in units of its maximum, in the reward
TRAJECTORIES, DRAWS = 64, 2048  # of a training step; after training
SCOUTS, DATA = 4096, 256  # random corners evaluated before, the best of them to train on
STARTS, CLIMBS = 128, 40  # of the gradient
CASES: dict[str, tuple[Problem, int, int]] = {  # problem, side of the grid, answers
    "branin": (augmented_branin(), 16, 12),
    "hartmann": (augmented_hartmann(), 8, 40),
}


class Case(NamedTuple):
    """A fitted surrogate and its acquisition on the grid."""

    surrogate: Surrogate
    maxima: jax.Array
    points: np.ndarray  # [G, D], all corners in the unit cube
    side: int
    value: np.ndarray  # [G], nats
    rate: float  # processor seconds of one evaluation


class Found(NamedTuple):
    """Candidates of a method, as corners."""

    index: np.ndarray
    evaluations: int
    seconds: float


def prepare(problem: Problem, side: int, answers: int, seed: int) -> Case:
    """Fits to random answers of the target and tabulates the acquisition."""
    rng = np.random.default_rng(seed)
    last = len(problem.costs) - 1
    asked = design(problem, rng, float(answers), [last])
    surrogate = fit(problem, asked, joint=False)
    axes = np.meshgrid(*[np.linspace(0, 1, side)] * problem.dimension, indexing="ij")
    points = np.stack([axis.ravel() for axis in axes], axis=1)
    target_moments(surrogate, points[:1])
    start = time.process_time()
    mean, std = target_moments(surrogate, points)
    rate = (time.process_time() - start) / len(points)
    some = rng.choice(len(points), 1024)
    maxima = gumbel_maxima(
        jax.random.key(seed), jnp.asarray(mean[some]), jnp.asarray(std[some]), 10,
        asked.value.max(),
    )  # fmt: skip
    value = jax.vmap(information_about_maximum, in_axes=(None, 0, 0, None))(
        maxima, jnp.asarray(mean), jnp.asarray(std), jnp.ones(())
    )
    return Case(surrogate, maxima, points, side, np.asarray(value), rate)


def whole_grid(case: Case, seed: int, count: int) -> Found:
    """Every corner."""
    del seed, count
    size = len(case.points)
    return Found(np.arange(size), size, case.rate * size)


def random_corners(case: Case, seed: int, count: int) -> Found:
    """`count` corners drawn evenly."""
    index = np.random.default_rng(seed).integers(0, len(case.points), count)
    return Found(index, count, case.rate * count)


def gradient(case: Case, seed: int, count: int) -> Found:
    """Climbs from random starts in the cube; the ends and starts are rounded to corners."""
    del count
    process, state = case.surrogate

    def log_value(x: jax.Array) -> jax.Array:
        return jnp.log(
            information_about_maximum(case.maxima, *moments_at(process, state, x), jnp.ones(()))
            + 1e-12
        )

    @jax.jit
    def climbed(x: jax.Array) -> jax.Array:
        return climb(log_value, x, jnp.geomspace(0.2, 0.004, CLIMBS))

    starts = np.random.default_rng(seed).uniform(size=(STARTS, case.points.shape[1]))
    with jax.enable_x64(True):
        jax.block_until_ready(climbed(jnp.asarray(starts)))
        start = time.process_time()
        ends = np.asarray(climbed(jnp.asarray(starts)))
        seconds = time.process_time() - start
    corners = np.rint(np.concatenate([starts, ends]) * (case.side - 1)).astype(int)
    index = np.ravel_multi_index(tuple(corners.T), (case.side,) * corners.shape[1])
    return Found(index, 2 * STARTS * CLIMBS, seconds)


def make_gflownet(side: int, dimensions: int, steps: int) -> Callable[[Case, int, int], Found]:
    """The trainer on the grid; compiled once for all seeds."""
    shape = (side,) * dimensions
    strides = jnp.asarray([int(np.prod(shape[d + 1 :])) for d in range(dimensions)], jnp.int32)

    def log_reward(table: jax.Array, state: Any) -> jax.Array:
        return table[jnp.sum(state.position * strides)]

    config = TrainConfig(
        batch_size=TRAJECTORIES,
        policy=PolicyConfig(hidden=(256, 256), backward="learned"),
        data_share=0.25,
    )
    trainer = make_trainer(hypergrid(HypergridSpec(dimensions, side)), log_reward, config)

    def run(case: Case, seed: int, count: int) -> Found:
        del count
        scale = case.value.max()
        table = jnp.asarray(POWER * np.log(case.value / scale + FLOOR), jnp.float32)
        key, draw = jax.random.split(jax.random.key(seed))
        scouts = np.random.default_rng(seed).integers(0, len(case.points), SCOUTS)
        best = scouts[np.argsort(-case.value[scouts], kind="stable")[:DATA]]
        positions = np.stack(np.unravel_index(best, shape), axis=1).astype(np.int32)

        def train(steps: int) -> Any:
            corners = HypergridState(jnp.asarray(positions), jnp.ones(DATA, bool))
            state = trainer.init(key, DataSet(corners, jnp.ones(DATA)))
            state, metrics = trainer.run(state, table, steps, bar=False)
            samples = trainer.sample(state, table, draw, DRAWS)
            return jax.block_until_ready((samples, metrics))[0]

        train(2)
        start = time.process_time()
        samples = train(steps)
        evaluations = SCOUTS + steps * TRAJECTORIES + DRAWS
        seconds = time.process_time() - start + case.rate * evaluations
        return Found(np.asarray(samples.states.position @ strides), evaluations, seconds)

    return run


def summits(case: Case) -> np.ndarray:
    """Of each corner, the local maximum that steepest ascent over neighbours leads to, [G]."""
    shape = (case.side,) * case.points.shape[1]
    value = case.value.reshape(shape)
    best, move = value.copy(), np.arange(value.size).reshape(shape)
    index = move.copy()
    for axis in range(len(shape)):
        for shift in (1, -1):
            to, other = [slice(None)] * len(shape), [slice(None)] * len(shape)
            to[axis] = slice(1, None) if shift == 1 else slice(None, -1)
            other[axis] = slice(None, -1) if shift == 1 else slice(1, None)
            higher = value[tuple(other)] > best[tuple(to)]
            best[tuple(to)] = np.where(higher, value[tuple(other)], best[tuple(to)])
            move[tuple(to)] = np.where(higher, index[tuple(other)], move[tuple(to)])
    leads = move.ravel()
    while not np.array_equal(leads, leads[leads]):
        leads = leads[leads]
    return leads


def judge(case: Case, found: Found, leads: np.ndarray) -> dict[str, float]:
    """What the candidates are worth, and the batch chosen from the best of them."""
    distinct = np.unique(found.index)
    order = distinct[np.argsort(-case.value[distinct], kind="stable")]
    rest = np.random.default_rng(0).permutation(order[POOL // 2 :])[: POOL // 2]
    pool = np.concatenate([order[: POOL // 2], rest])
    index = np.resize(pool, POOL)
    process, state = case.surrogate
    mean, covariance = process.joint(state, case.points[index], np.zeros(POOL, int))
    noise = np.exp(np.asarray(state.params.log_noise)[0]) * np.asarray(state.value_scale)[0]
    with jax.enable_x64(True):
        belief = JointBelief(
            mean, jnp.diagonal(covariance), covariance, covariance + noise**2 * jnp.eye(POOL)
        )
        first = jnp.arange(POOL) < len(pool)  # the rest repeats
        batch = choose_batch(belief, case.maxima, jnp.ones(POOL), 1e9, BATCH, available=first)
    chosen = index[np.asarray(batch.indices)]
    apart = np.linalg.norm(case.points[chosen][:, None] - case.points[chosen], axis=-1)
    good = case.value[leads] >= 0.5 * case.value.max()
    return {
        "best": float(case.value[distinct].max()),
        "batch": float(np.asarray(batch.gains).sum()),
        "batch_modes": len(np.unique(leads[chosen])),
        "modes": len(np.unique(leads[distinct[good[distinct]]])),
        "distance": float(apart[np.triu_indices(BATCH, 1)].mean()),
        "evaluations": found.evaluations,
        "seconds": found.seconds,
    }


def main() -> None:
    """All cases and seeds, one table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600, help="of the GFlowNet's training")
    parser.add_argument("--out", type=Path, default=Path("inner_search.json"))
    options = parser.parse_args()
    record: dict[str, Any] = {
        "mfal": mfal.__version__, "jax": jax.__version__, "python": platform.python_version(),
        "seeds": options.seeds, "steps": options.steps, "cases": {},
    }  # fmt: skip
    for name, (problem, side, answers) in CASES.items():
        methods = {
            "whole grid": whole_grid,
            "random corners": random_corners,
            "gradient": gradient,
            "GFlowNet": make_gflownet(side, problem.dimension, options.steps),
        }
        count = SCOUTS + options.steps * TRAJECTORIES + DRAWS
        rows: dict[str, list[dict[str, float]]] = {method: [] for method in methods}
        for seed in range(options.seeds):
            case = prepare(problem, side, answers, seed)
            leads = summits(case)
            for method, run in methods.items():
                row = judge(case, run(case, seed, count), leads)
                exact = rows["whole grid"][seed] if method != "whole grid" else row
                row["best_share"] = row["best"] / exact["best"]
                row["batch_share"] = row["batch"] / exact["batch"]
                rows[method].append(row)
        record["cases"][name] = rows
        print(f"\n{name}, {side}^{problem.dimension} corners, {options.seeds} seeds: means")
        titles = ("best", "batch", "modes in batch", "modes found", "distance", "evals", "CPU s")
        print(f"{'method':16s} " + " ".join(f"{title:>14s}" for title in titles))
        for method, found in rows.items():
            mean = {key: float(np.mean([row[key] for row in found])) for key in found[0]}
            columns = ("best_share", "batch_share", "batch_modes", "modes", "distance",
                       "evaluations", "seconds")  # fmt: skip
            print(f"{method:16s} " + " ".join(f"{mean[c]:14.4g}" for c in columns), flush=True)
    options.out.write_text(json.dumps(record, indent=1) + "\n")
    print(f"\nwritten to {options.out}")


if __name__ == "__main__":
    main()
