"""A campaign in hindsight: how many of OBELiX's best conductors are found per experiment.

The pool is every row of OBELiX; an experiment reveals the measured conductivity of one row and
costs one. The oracles' values (from `obelix_oracles.py`) are the cheap fidelities; beside a
synthesis and its impedance spectrum they cost next to nothing, so they are known from the start
wherever the row has a CIF; their wall time is charged against --experiment-hours of work each.

Strategies, all from the same random first experiments and in the same batches:

- multi-fidelity: the ensemble over oracles and experiment;
- single-fidelity: the same ensemble on experiments alone;
- greedy: the largest predicted mean of the single-fidelity ensemble;
- random.

The first two choose by Thompson sampling over their members: each place of a batch goes to the best
row in the eyes of one member, which searches for many good rows, not for the one maximum.

    python experiments/retrospective_obelix.py --data OBELIX_FOLDER --oracles FILE [--seeds 20]
"""

import argparse
import json
import platform
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

import mfal
from mfal.crystals.types import Crystal
from mfal.data import CONDUCTIVITY, load_obelix
from mfal.proxies import (
    BELOW,
    EXACT,
    EnsembleConfig,
    describe_fidelity,
    explained_variance,
    make_dataset,
    make_ensemble,
)

DETECTION = -13.0  # log10 S/cm
FIRST, BATCH, LAST = 10, 10, 60


class Pool(NamedTuple):
    """What there is to find."""

    crystal: Crystal
    value: np.ndarray  # [n] log10 S/cm
    censoring: np.ndarray  # [n]
    best: np.ndarray  # [n] bool, top decile
    scores: tuple[tuple[np.ndarray, np.ndarray], ...]  # of each oracle: rows, scores
    oracle_seconds: float  # spent on all of them


def read(data: Path, oracles: Path) -> tuple[Pool, list[str]]:
    """The pool and the names of its fidelities."""
    table = load_obelix(data)
    labels = table.label_arrays(CONDUCTIVITY)
    value = np.log10(labels.value)
    keep = np.flatnonzero(np.isfinite(value))
    table, value = table.select(keep), value[keep]
    censoring = np.where((labels.censoring[keep] == 1) | (value < DETECTION), BELOW, EXACT)
    known = json.loads(oracles.read_text())
    scores = []
    for column in known.values():
        got = column["scores"]
        rows = np.array([i for i, key in enumerate(table.ids) if got.get(key) is not None], int)
        scores.append((rows, np.array([got[table.ids[i]] for i in rows])))
    pool = Pool(
        Crystal(table.composition, table.space_group_number, table.lattice),
        np.maximum(value, DETECTION),
        censoring,
        value >= np.sort(value)[-max(len(value) // 10, 1)],
        tuple(scores),
        sum(column["seconds"] for column in known.values()),
    )
    return pool, [key.split()[0] for key in known]


def members(
    pool: Pool, asked: np.ndarray, multi: bool, key: jax.Array
) -> tuple[np.ndarray, list[str]]:
    """Each member's top-fidelity value of every row [n, E], and what the fidelities explain."""
    scores = pool.scores if multi else ()
    order = np.concatenate([*(rows for rows, _ in scores), asked])
    counts = [*(len(rows) for rows, _ in scores), len(asked)]
    fidelity = np.repeat(np.arange(len(scores) + 1), counts)
    value = np.concatenate([*(s for _, s in scores), pool.value[asked]])
    top = fidelity == len(scores)
    data = make_dataset(
        jax.tree.map(lambda leaf: np.asarray(leaf)[order], pool.crystal),
        fidelity,
        value,
        np.where(top, pool.censoring[order], EXACT),
        capacity=1024 if multi else 64,
    )
    model = make_ensemble(EnsembleConfig(len(scores) + 1, members=BATCH, steps=400))
    key_init, key_fit = jax.random.split(key)
    state = model.fit(model.init(key_init), data, key_fit)
    if multi not in _PREDICT:
        _PREDICT[multi] = jax.jit(jax.vmap(model.predict, in_axes=(None, 0)))
    got = np.asarray(_PREDICT[multi](state, pool.crystal).members)[:, :, -1]
    if not multi:
        return got, []
    explained = explained_variance(data, state.reliability)
    return got, [describe_fidelity(str(k), "experiment", e) for k, e in enumerate(explained)][:-1]


_PREDICT: dict[bool, object] = {}


def run(pool: Pool, strategy: str, seed: int) -> tuple[list[int], list[str]]:
    """Number of top-decile rows found after FIRST, FIRST + BATCH, ... LAST experiments."""
    rng = np.random.default_rng(seed)
    asked = rng.permutation(len(pool.value))[:FIRST]
    found, lines = [int(pool.best[asked].sum())], []
    while len(asked) < LAST:
        left = np.setdiff1d(np.arange(len(pool.value)), asked)
        if strategy == "random":
            picked = rng.permutation(left)[:BATCH]
        else:
            key = jax.random.fold_in(jax.random.key(seed), len(asked))
            values, lines = members(pool, asked, strategy == "multi-fidelity", key)
            if strategy == "greedy":
                picked = left[np.argsort(-values[left].mean(1))[:BATCH]]
            else:
                chosen: list[int] = []
                for member in rng.permutation(values.shape[1])[:BATCH]:
                    ranked = left[np.argsort(-values[left, member])]
                    chosen.append(int(next(i for i in ranked if i not in chosen)))
                picked = np.array(chosen)
        asked = np.concatenate([asked, picked])
        found.append(int(pool.best[asked].sum()))
    return found, lines


def main() -> None:
    """Run all strategies on all seeds, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="OBELiX folder")
    parser.add_argument("--oracles", type=Path, required=True, help="from obelix_oracles.py")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--experiment-hours", type=float, default=40.0)
    parser.add_argument("--out", type=Path, default=Path("retrospective_obelix"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    pool, names = read(options.data, options.oracles)
    charged = pool.oracle_seconds / 3600 / options.experiment_hours
    print(f"{len(pool.value)} rows, {pool.best.sum()} in the top decile; all oracle values "
          f"together cost {charged:.4f} experiments")  # fmt: skip
    grid = list(range(FIRST, LAST + 1, BATCH))
    print(f"{'top-decile rows after':24s} " + " ".join(f"{n:>12d}" for n in grid))
    record = {}
    for strategy in ("multi-fidelity", "single-fidelity", "greedy", "random"):
        runs = [run(pool, strategy, seed) for seed in range(options.seeds)]
        curves = np.array([found for found, _ in runs])
        record[strategy] = curves.tolist()
        low, middle, high = np.quantile(curves, [0.25, 0.5, 0.75], axis=0)
        cells = [f"{m:.0f} [{a:.0f},{b:.0f}]" for a, m, b in zip(low, middle, high, strict=True)]
        print(f"{strategy:24s} " + " ".join(f"{c:>12s}" for c in cells)
              + f"   mean {curves[:, -1].mean():.1f}", flush=True)  # fmt: skip
        if strategy == "multi-fidelity":
            for name, line in zip(names, runs[0][1], strict=False):
                print("  " + line.replace(f"fidelity {names.index(name)}", f"fidelity {name}", 1))
    last = {name: np.mean([c[-1] for c in curves]) for name, curves in record.items()}
    for other in ("random", "single-fidelity"):
        print(f"multi-fidelity / {other}: {last['multi-fidelity'] / last[other]:.2f}")
    (options.out / "curves.json").write_text(json.dumps({
        "mfal": mfal.__version__, "jax": jax.__version__, "python": platform.python_version(),
        "experiments": grid, "found": record,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
