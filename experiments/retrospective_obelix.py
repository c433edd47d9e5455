"""A campaign in hindsight: how many of OBELiX's best conductors do fifty experiments find?

The pool is every row of OBELiX that is given; an experiment reveals the measured conductivity of
one row. What is looked for is the best twentieth by conductivity. There are fifty experiments in
ten rounds of five. An experiment costs 10^6 CPU seconds, the price that campaigns put on one, and
the cheap oracles theirs, for every row that has a CIF.

Strategies; the belief of the first four is one Gaussian process of the crystal's features, their
choice an upper confidence bound whose batch is chosen with the variance conditioned on what is in
it already:

- nothing: from the experiments alone; the first five are drawn at random;
- cheap oracles: the target is moreover a linear function of the cheap answers with shrunken slopes
  (the autoregressive form of Kennedy & O'Hagan, Biometrika 87, 1 (2000), for cheap answers known
  beforehand), which also picks the first five;
- prior: the conductors of Sendek's 40-set whose cells are known are labels from the start;
- prior and cheap oracles: both;
- family order: families in the order in which a chemist would try them, at random within each;
- forest: scikit-learn's random forest on element fractions, space group and lattice, mean plus the
  trees' standard deviation; the first five at random; conductivities below 1e-5 S/cm count as
  1e-5, as for the processes;
- plain forest: the same on all values as they are;
- random.

Then by date: labels published up to a year are known, and the fifty experiments are for what was
published after it. Years are read from DOIs, where they tell one.

    python experiments/retrospective_obelix.py --data OBELIX_FOLDER [--oracles FILE] [--by-date]

Each run is a line of a file; what is there already is not run again.

Measured: 478 rows, 24 to be found, 9 of them in the 40-set, of which 28 have a cell; seeds 500 to
519, named before the runs. Found after so many experiments (means; 90 % interval over seeds):

                              10    20    30    40   50                   not in the 40-set
    nothing                  1.2   4.0   6.7   8.2   10.2 (6.7 to 13.7)    6.1
    cheap oracles            0.0   1.0   1.0   6.0   14.0                  9.0
    prior                    9.0  15.0  17.0  21.0   21.0                 12.0
    prior and cheap oracles 10.0  17.0  20.0  20.0   21.0                 12.0
    family order             5.9  10.8  16.3  19.1   19.2 (19.1 to 19.4)  11.2
    forest                   1.4   3.9   6.5   9.3   11.2 (7.8 to 14.7)    6.8
    plain forest             1.5   2.9   5.4   7.5    9.6 (6.7 to 12.7)    6.2
    random                   0.6   0.9   1.2   1.6    2.1 (1.6 to 2.6)     1.2

Where nothing is drawn at random all seeds are one run. All cheap answers together cost .00015
experiments. With a prior seven in eight of the best are found (the best published with one: 22 of
30 among all 599 rows, a fifth of which are not given here). From nothing the process is no better
than a forest that is told the same floor, and the cheap oracles' first choices are wrong: thirty
experiments go by before they pay.

By date (444 of the rows are dated), recall of what fifty experiments can find:

    known up to     labels  later  best   nothing  cheap oracles  forest  family order  random
    2010               198    246    22       .09            .09     .09           .79     .20
    2015               321    123    10      1.00            .90     .97           .78     .36

Up to 2010 no fast sulfide of the LGPS kind was known, and what is learned from the labels asks
NASICONs for ever: two of them are found (Li1.3Al0.3Ti1.7P3O12 and its neighbour), and random is
better. Up to 2015 they were, and all LGPS relatives and Li6.7P0.3Ge0.7S5I of later years are found.
(The order of families is today's, no one's of 2010; fifty of 123 at random are .41.)

Needs scikit-learn. The settings of the process and its slopes were chosen on seeds 0 to 5 of
another protocol (ten first experiments, batches of ten, the best tenth), and kept.
"""

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from obelix_oracles import known_or_asked
from obelix_years import year_of

import mfal
from mfal.crystals.types import Crystal
from mfal.data import CONDUCTIVITY, MaterialTable, composition_groups, load_obelix, load_set40
from mfal.proxies import GPConfig, featurise, make_dataset, make_gaussian_process

BATCH, QUESTIONS = 5, 50
BEST = 0.05
EXPERIMENT_SECONDS = 1e6
FIRST_SEED = 500  # named before the runs
CUT_OFFS = (2010, 2015)
# Slower than this is all the same to a search for the best; left in, differences between
# insulators would make up most of the variance that a model explains.
FLOOR = -5.0  # log10 S/cm
# A cheap score is made to rise with the target: its slope is expected to explain a little, and that
# counts for so many observations.
SLOPE, SLOPE_ROWS = 0.2, 10.0  # SLOPE in target standard deviations per one of the score
PRIOR_SPREAD = 2.5  # decades by which measured conductivities differ, before any is known
OPTIMISM = 0.5  # standard deviations
TREES = 200
FAMILIES = (
    *("LGPS", "argyrodites", "argyrodite", "thio-LISICON", "thio-phosphate", "sulfides"),
    *("garnet", "garnet-like", "halides", "chlorides", "NASICON", "perovskites"),
    *("antiperovskite", "hydrides", "LISICON", "phosphates", "oxides"),
)
"""Written down before any run: sulfides, then garnets and halides, then the other oxides."""


class Pool(NamedTuple):
    """What there is to find."""

    table: MaterialTable
    value: np.ndarray  # [n] log10 S/cm, a detection limit where that is all
    best: np.ndarray  # [n] bool
    features: np.ndarray  # [n, F]
    answers: np.ndarray  # [n, M] standardised cheap answers, zero where unknown
    year: np.ndarray  # [n] int, 0 where unknown
    prior_features: np.ndarray  # [k, F], of the 40-set
    prior_value: np.ndarray  # [k]
    in_prior: np.ndarray  # [n] bool, whether the 40-set has the material

    def select(self, rows: np.ndarray) -> "Pool":
        """A part of the pool."""
        return self._replace(
            table=self.table.select(rows),
            value=self.value[rows],
            best=self.best[rows],
            features=self.features[rows],
            answers=self.answers[rows],
            year=self.year[rows],
            in_prior=self.in_prior[rows],
        )


def read(data: Path, known: dict[str, dict[str, Any]]) -> Pool:
    """The pool with its features and the oracles' answers."""
    table, value = _measured(load_obelix(data))
    prior, prior_value = _measured(load_set40())
    answers = np.zeros((len(value), len(known)))
    for column, scores in zip(answers.T, known.values(), strict=True):
        got = [scores["scores"].get(key) for key in table.ids]
        rows = np.array([i for i, score in enumerate(got) if score is not None], int)
        seen = np.array([got[i] for i in rows])
        column[rows] = (seen - seen.mean()) / (seen.std() + 1e-9)
    both = composition_groups(np.concatenate([table.composition, load_set40().composition]))
    return Pool(
        table,
        value,
        value >= np.sort(value)[-int(np.ceil(BEST * len(value)))],
        features_of(table),
        answers,
        np.array([year_of(str(details.get("doi", ""))) for details in table.details]),
        features_of(prior),
        prior_value,
        np.isin(both[: len(value)], both[len(value) :]),
    )


def _measured(table: MaterialTable) -> tuple[MaterialTable, np.ndarray]:
    """The rows with a cell and a conductivity, and its logarithm."""
    value = np.log10(table.label_arrays(CONDUCTIVITY).value)
    keep = np.isfinite(value) & table.has_crystal
    return table.select(keep), value[keep]


def features_of(table: MaterialTable) -> np.ndarray:
    """[n, F], of the crystals."""
    crystals = Crystal(table.composition, table.space_group_number, table.lattice)
    return np.asarray(jax.jit(jax.vmap(featurise))(crystals))


def slopes(value: np.ndarray, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression of values [k] on answers [k, M]: slopes [M] and their covariance [M, M]."""
    deviation = value - value.mean()
    precision = answers.T @ answers + SLOPE_ROWS * np.eye(answers.shape[1])
    prior = np.full(answers.shape[1], SLOPE * (value.std() + 1e-9))
    slope = prior + np.linalg.solve(precision, answers.T @ (deviation - answers @ prior))
    return slope, np.linalg.inv(precision) * np.mean((deviation - answers @ slope) ** 2)


def _identity(x: jax.Array) -> jax.Array:
    return x


def belief(
    pool: Pool, asked: np.ndarray, *, cheap: bool, prior: bool, capacity: int = 96
) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean [n] and covariance [n, n] of all rows' values, and the noise variance."""
    x, value = pool.features, np.maximum(pool.value[asked], FLOOR)
    linear, uncertain = np.zeros(len(x)), np.zeros((len(x), len(x)))
    if cheap and len(asked):
        slope, covariance = slopes(value, pool.answers[asked])
        linear = pool.answers @ slope
        uncertain = pool.answers @ covariance @ pool.answers.T
    elif cheap:
        linear = pool.answers @ np.full(pool.answers.shape[1], SLOPE * PRIOR_SPREAD)
    rows, seen = x[asked], value - linear[asked]
    if prior:
        rows = np.concatenate([pool.prior_features, rows])
        seen = np.concatenate([np.maximum(pool.prior_value, FLOOR), seen])
    if not len(rows):
        return linear, np.eye(len(x)) * PRIOR_SPREAD**2, 1.0
    config = GPConfig(1, smoothness=1.5, relevance=False, steps=40, noise=0.3)
    model = make_gaussian_process(config, _identity, x.shape[1])
    data = make_dataset(rows.astype(np.float32), np.zeros(len(rows), int), seen, capacity=capacity)
    state = model.fit(data)
    mean, covariance = model.joint(state, x, np.zeros(len(x), int))
    noise = np.exp(np.asarray(state.params.log_noise)[0]) * np.asarray(state.value_scale)[0]
    return np.asarray(mean) + linear, np.asarray(covariance) + uncertain, float(noise) ** 2


def choose(
    mean: np.ndarray, covariance: np.ndarray, noise: float, left: np.ndarray, optimism: float
) -> np.ndarray:
    """A batch by upper confidence bound, the covariance conditioned on each pick."""
    picked: list[int] = []
    for _ in range(min(BATCH, len(left))):
        std = np.sqrt(np.maximum(np.diagonal(covariance), 0))
        value = np.where(np.isin(np.arange(len(mean)), left), mean + optimism * std, -np.inf)
        value[picked] = -np.inf
        best = int(np.argmax(value))
        picked.append(best)
        column = covariance[:, best]
        covariance = covariance - np.outer(column, column) / (column[best] + noise)
    return np.array(picked)


def forest(pool: Pool, asked: np.ndarray, seed: int, floor: float) -> np.ndarray:
    """Mean plus standard deviation over the trees, [n]; smaller values count as the floor."""
    from sklearn.ensemble import RandomForestRegressor

    composition = pool.table.composition
    fractions = composition / composition.sum(1, keepdims=True)
    x = np.column_stack([fractions, pool.table.space_group_number, pool.table.lattice])
    model = RandomForestRegressor(TREES, random_state=seed)
    model.fit(x[asked], np.maximum(pool.value[asked], floor))
    trees = np.stack([tree.predict(x) for tree in model.estimators_])
    return trees.mean(0) + trees.std(0)


def family_order(pool: Pool, rng: np.random.Generator) -> np.ndarray:
    """All rows, families in turn."""
    place = {name: i for i, name in enumerate(FAMILIES)}
    families = [str(details.get("family", "")) for details in pool.table.details]
    rank = np.array([place.get(name, len(place)) for name in families])
    return np.lexsort((rng.random(len(rank)), rank))


PROCESSES = {
    "nothing": {"cheap": False, "prior": False},
    "cheap oracles": {"cheap": True, "prior": False},
    "prior": {"cheap": False, "prior": True},
    "prior and cheap oracles": {"cheap": True, "prior": True},
}
STRATEGIES = (*PROCESSES, "family order", "forest", "plain forest", "random")


def run(pool: Pool, strategy: str, seed: int, known: np.ndarray | None = None) -> list[int]:
    """The rows asked, in order; `known` rows are labels from the start and aren't asked."""
    rng = np.random.default_rng(seed)
    known = np.zeros(0, int) if known is None else known
    every = np.arange(len(pool.value))
    fixed = family_order(pool, rng) if strategy == "family order" else rng.permutation(every)
    fixed = fixed[~np.isin(fixed, known)]
    capacity = 96 + -(-len(known) // 64) * 64  # a few sizes, so that little compiles
    asked: list[int] = []
    while len(asked) < QUESTIONS:
        seen = np.concatenate([known, asked]).astype(int)
        left = np.setdiff1d(every, seen)
        informed = len(seen) or any(PROCESSES.get(strategy, {}).values())
        if strategy in ("family order", "random") or not informed:
            picked = fixed[len(asked) : len(asked) + BATCH]
        elif strategy.endswith("forest"):
            floor = FLOOR if strategy == "forest" else -np.inf
            merit = forest(pool, seen, seed + len(asked), floor)
            picked = left[np.argsort(-merit[left], kind="stable")[:BATCH]]
        else:
            mean, covariance, noise = belief(pool, seen, **PROCESSES[strategy], capacity=capacity)
            picked = choose(mean, covariance, noise, left, OPTIMISM)
        if not len(picked):
            break
        asked += np.asarray(picked).tolist()
    return asked


class Runs:
    """Runs in a file, each made once.

    Args:
      path: of the file, a run a line.
      pool: all rows.
      minutes: after so many nothing is begun.
    """

    def __init__(self, path: Path, pool: Pool, minutes: float) -> None:
        self.path, self.pool = path, pool
        self.deadline = time.perf_counter() + 60 * minutes
        lines = path.read_text().splitlines() if path.exists() else []
        self.found = {
            (c["strategy"], c["seed"], c.get("cut_off", 0)): c["asked"]
            for c in map(json.loads, lines)
        }

    def asked(self, strategy: str, seed: int, cut_off: int = 0) -> list[int] | None:
        """The rows asked, in order; None where there was no time. After a cut-off, of the dated."""
        cell = strategy, seed, cut_off
        if cell in self.found:
            return self.found[cell]
        if time.perf_counter() > self.deadline:
            return None
        if cut_off:
            part = dated(self.pool)
            self.found[cell] = run(part, strategy, seed, np.flatnonzero(part.year <= cut_off))
        else:
            self.found[cell] = run(self.pool, strategy, seed)
        record = {"strategy": strategy, "seed": seed, "cut_off": cut_off}
        record |= {"asked": self.found[cell], "mfal": mfal.__version__}
        with self.path.open("a") as file:
            file.write(json.dumps(record | {"python": platform.python_version()}) + "\n")
        return self.found[cell]


def dated(pool: Pool) -> Pool:
    """The rows whose year is known."""
    return pool.select(np.flatnonzero(pool.year > 0))


def by_date(runs: Runs, cut_off: int, seeds: range) -> list[str]:
    """What fifty experiments find of what was published after a year, a line a strategy."""
    part = dated(runs.pool)
    later = np.flatnonzero(part.year > cut_off)
    goals = later[part.best[later]]
    lines = [
        f"up to {cut_off}: {len(part.year) - len(later)} labels known, {len(later)} rows later,"
        f" {len(goals)} of the best among them"
    ]
    expected = min(QUESTIONS / len(later), 1.0)
    lines.append(f"  {QUESTIONS} of them at random are expected to find {expected:.2f}")
    for strategy in ("nothing", "cheap oracles", "forest", "family order", "random"):
        # With labels known nothing is drawn at random by the processes.
        asked = [
            runs.asked(strategy, seed, cut_off)
            for seed in (seeds[:1] if strategy in PROCESSES else seeds)
        ]
        hits = [np.isin(goals, rows) for rows in asked if rows is not None]
        if not hits:
            continue
        often = np.mean(hits, axis=0) >= 0.5
        names = dict.fromkeys(part.table.formulas[i] for i in goals[often])
        lines.append(
            f"  {strategy:16s} recall {np.mean(hits):.2f} over {len(hits)}; in half of the runs or"
            f" more: {', '.join(names) or 'none'}"
        )
    return lines


def interval(values: np.ndarray) -> str:
    """Mean with its 90 % bootstrap interval over seeds."""
    draws = np.random.default_rng(0).integers(0, len(values), (4000, len(values)))
    low, high = np.quantile(values[draws].mean(1), [0.05, 0.95])
    return f"{values.mean():5.1f} ({low:.1f} to {high:.1f})"


def main() -> None:
    """Run what is missing, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="OBELiX folder")
    parser.add_argument("--oracles", type=Path, help="from obelix_oracles.py, else asked here")
    parser.add_argument("--by-date", action="store_true", help="the part by date alone")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--minutes", type=float, default=1e9, help="start no run after this long")
    parser.add_argument("--out", type=Path, default=Path("retrospective_obelix"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    oracles = known_or_asked(options.oracles, options.data, options.out)
    pool = read(options.data, oracles)
    charged = sum(column["seconds"] for column in oracles.values()) / EXPERIMENT_SECONDS
    print(f"{len(pool.value)} rows, {pool.best.sum()} to be found, {pool.in_prior[pool.best].sum()}"
          f" of them in the 40-set ({len(pool.prior_value)} of it have a cell); all cheap answers"
          f" together cost {charged:.5f} experiments")  # fmt: skip
    runs = Runs(options.out / "runs.jsonl", pool, options.minutes)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    if options.by_date:
        print("\n".join(line for cut_off in CUT_OFFS for line in by_date(runs, cut_off, seeds)))
        return
    done = [s for s in seeds if all(runs.asked(name, s) is not None for name in STRATEGIES)]
    print(f"{len(done)} of {options.seeds} seeds are complete")
    if not done:
        return
    print(f"{'found after':24s} {'10':>5s} {'20':>5s} {'30':>5s} {'40':>5s}  50 (90 %)"
          "           not in the 40-set")  # fmt: skip
    for strategy in STRATEGIES:
        asked = np.array([runs.asked(strategy, seed) for seed in done])
        hits = pool.best[asked]
        new = hits & ~pool.in_prior[asked]
        curve = " ".join(f"{hits[:, :n].sum(1).mean():5.1f}" for n in (10, 20, 30, 40))
        print(f"{strategy:24s} {curve}  {interval(hits.sum(1)):20s} {new.sum(1).mean():5.1f}")
    if len(done) == options.seeds:
        sys.stdout.flush()
        for cut_off in CUT_OFFS:
            print("\n".join(by_date(runs, cut_off, seeds)), flush=True)


if __name__ == "__main__":
    main()
