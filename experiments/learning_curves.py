"""Are 40 labelled materials too few, and do cheap fidelities help?

Learning curves on OBELiX. A whole family (NASICON, garnet, ...) is held out; a proxy is fitted to n
measured conductivities of other families, drawn at random, and predicts the held-out family. With
"cheap fidelities" it also knows the oracles' answers (from `obelix_oracles.py`) on every row with a
CIF, the held-out ones included: they need no experiment. Only rows with a CIF take part, so that
all models see the same materials. Two proxies:

- a Gaussian process on the crystal's features, with the cheap answers as further inputs;
- the campaign's ensemble of networks, with the cheap answers as lower fidelities.

Beside the held-out families stands a control: rows held out at random, no publication on both
sides. Errors are mean absolute errors of log10(S/cm), Spearman's rho is over all held-out rows
together, and, apart, inside families. Intervals are 90 %, by bootstrap over families.

    python experiments/learning_curves.py --data OBELIX_FOLDER --oracles oracle_scores.json
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.stats import spearmanr
from shared import Interval, do_pieces, interval, save_figure, write_record

from mfal.crystals.types import Crystal
from mfal.data import CONDUCTIVITY, load_obelix
from mfal.proxies import (
    BELOW,
    EXACT,
    EnsembleConfig,
    GPConfig,
    featurise,
    make_dataset,
    make_ensemble,
    make_gaussian_process,
)

SIZES = {
    "small": {"labels": (10, 40, 120), "repeats": 2},
    "default": {"labels": (10, 20, 40, 80, 160), "repeats": 5},
}
SMALLEST_FAMILY = 8  # rows with a CIF
DETECTION = -13.0  # log10 S/cm
ANSWER_SHARE = 0.3  # weight of the cheap answers in the process' distance
CONTROL = "at random"
MODELS = (
    "median of the labels",
    "process, labels only",
    "process, cheap fidelities",
    "ensemble, labels only",
    "ensemble, cheap fidelities",
)
PAIRS = ((MODELS[2], MODELS[1]), (MODELS[4], MODELS[3]))


class Rows(NamedTuple):
    """Rows of OBELiX with a CIF."""

    crystal: Crystal
    features: np.ndarray  # [n, F]
    value: np.ndarray  # [n] log10 S/cm
    censoring: np.ndarray  # [n]
    family: np.ndarray  # [n] names
    paper: np.ndarray  # [n] int
    answers: np.ndarray  # [n, M] oracle scores, NaN where one failed


def read(folder: Path, oracles: Path) -> Rows:
    """The rows that everything is about."""
    table = load_obelix(folder)
    labels = table.label_arrays(CONDUCTIVITY)
    value = np.log10(labels.value)
    known = json.loads(oracles.read_text())
    keep = np.flatnonzero(np.isfinite(value) & table.has_structure)
    details = [table.details[i] for i in keep]
    papers = [str(d.get("doi") or i) for d, i in zip(details, keep, strict=True)]
    crystal = Crystal(
        *(
            np.asarray(leaf)[keep]
            for leaf in (table.composition, table.space_group_number, table.lattice)
        )
    )
    scores = [[column["scores"].get(table.ids[i]) for column in known.values()] for i in keep]
    limit = (labels.censoring[keep] == 1) | (value[keep] < DETECTION)
    return Rows(
        crystal,
        np.asarray(jax.jit(jax.vmap(featurise))(crystal)),
        np.maximum(value[keep], DETECTION),
        np.where(limit, BELOW, EXACT),
        np.array([str(d.get("family") or "unnamed") for d in details]),
        np.unique(papers, return_inverse=True)[1],
        np.array(scores, float),
    )


def _identity(x: jax.Array) -> jax.Array:
    return x


def process(rows: Rows, train: np.ndarray, test: np.ndarray, cheap: bool) -> np.ndarray:
    """The Gaussian process' means of the test rows."""
    x = rows.features
    if cheap:
        known = np.isfinite(rows.answers)
        middle, spread = np.nanmean(rows.answers, 0), np.nanstd(rows.answers, 0) + 1e-9
        scaled = np.where(known, (rows.answers - middle) / spread, 0.0)
        columns = np.concatenate([scaled, known], axis=1)
        # One length scale serves all columns: repeated, the answers weigh a share of the distance.
        copies = max(int(ANSWER_SHARE * x.shape[1] / columns.shape[1]), 1)
        x = np.concatenate([x, np.tile(columns, (1, copies))], axis=1)
    config = GPConfig(1, smoothness=1.5, relevance=False, steps=40, noise=0.3)
    model = make_gaussian_process(config, _identity, x.shape[1])
    data = make_dataset(
        x[train].astype(np.float32), np.zeros(len(train), int), rows.value[train], capacity=256
    )
    means = model.mean(model.fit(data), x[test].astype(np.float32), np.zeros(len(test), int))
    return np.asarray(means)


def ensemble(rows: Rows, train: np.ndarray, test: np.ndarray, cheap: bool, seed: int) -> np.ndarray:
    """The ensemble's means of the test rows at the target fidelity."""
    index = [train]
    levels = rows.answers.shape[1] if cheap else 0
    fidelity, value = [np.full(len(train), levels)], [rows.value[train]]
    for level in range(levels):
        have = np.flatnonzero(np.isfinite(rows.answers[:, level]))
        index.append(have)
        fidelity.append(np.full(len(have), level))
        value.append(rows.answers[have, level])
    order, at = np.concatenate(index), np.concatenate(fidelity)
    crystal = jax.tree.map(lambda leaf: leaf[order], rows.crystal)
    data = make_dataset(
        crystal,
        at,
        np.concatenate(value),
        np.where(at == levels, rows.censoring[order], EXACT),
        group=rows.paper[order],
        capacity=1024 if cheap else 256,
    )
    model = make_ensemble(EnsembleConfig(levels + 1, members=8, steps=400))
    state = model.fit(model.init(jax.random.key(seed)), data, jax.random.key(seed + 1))
    asked = jax.tree.map(lambda leaf: leaf[test], rows.crystal)
    got = jax.vmap(model.predict, in_axes=(None, 0))(state, asked)
    return np.asarray(got.members)[:, :, -1].mean(1)


def predict(rows: Rows, family: str, labels: tuple[int, ...], repeat: int) -> dict[str, Any]:
    """Truth and predictions of one held-out family at each number of labels."""
    rng = np.random.default_rng([repeat, len(family), *family.encode()])
    if family == CONTROL:
        papers = rng.permutation(np.unique(rows.paper))
        held = np.isin(rows.paper, papers[: len(papers) // 5])
    else:
        held = rows.family == family
        # A publication's rows resemble each other: none of it on both sides.
        held |= np.isin(rows.paper, rows.paper[held])
    test = np.flatnonzero(held if family == CONTROL else rows.family == family)
    pool = rng.permutation(np.flatnonzero(~held))
    result: dict[str, Any] = {"truth": rows.value[test].tolist(), "predicted": {}}
    for count in labels:
        train = pool[:count]
        if len(train) < count:
            continue
        made = (
            np.full(len(test), np.median(rows.value[train])),
            process(rows, train, test, cheap=False),
            process(rows, train, test, cheap=True),
            ensemble(rows, train, test, False, repeat),
            ensemble(rows, train, test, True, repeat),
        )
        result["predicted"][str(count)] = {
            name: np.round(mean, 4).tolist() for name, mean in zip(MODELS, made, strict=True)
        }
    return result


# --- figures --------------------------------------------------------------------------------------


def errors(pieces: list[dict[str, Any]], count: int, model: str) -> list[float]:
    """Mean absolute error of each piece that reached `count` labels."""
    return [
        float(np.abs(np.subtract(p["predicted"][str(count)][model], p["truth"])).mean())
        for p in pieces
        if str(count) in p["predicted"]
    ]


def pooled_rank(pieces: list[dict[str, Any]], count: int, model: str) -> float:
    """Spearman's rho over the rows of all pieces together."""
    pairs = [
        (p["predicted"][str(count)][model], p["truth"])
        for p in pieces
        if str(count) in p["predicted"]
    ]
    if not pairs:
        return float("nan")
    predicted, truth = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return float(spearmanr(predicted, truth)[0]) if np.ptp(predicted) > 0 else float("nan")


def inner_rank(pieces: list[dict[str, Any]], count: int, model: str) -> list[float]:
    """Spearman's rho of each piece."""
    found = [pooled_rank([p], count, model) for p in pieces]
    return [rho for rho in found if np.isfinite(rho)]


def curves(by_family: dict[str, list[dict[str, Any]]], labels: tuple[int, ...]) -> dict[str, Any]:
    """Error, change of error and rank correlation at each number of labels, with intervals."""
    families = list(by_family.values())
    table: dict[str, Any] = {}
    for count in labels:
        reached = [f for f in families if errors(f, count, MODELS[0])]
        for model in MODELS:
            table.setdefault(model, {})[count] = {
                "mae": interval([np.mean(errors(f, count, model)) for f in reached]),
                "rho": interval(
                    reached,
                    lambda some, n=count, m=model: pooled_rank([p for f in some for p in f], n, m),
                ),
                "rho inside": interval(
                    [np.mean(inner_rank(f, count, model)) for f in reached if len(f)]
                    if model != MODELS[0]
                    else []
                ),
            }
        for with_, without in PAIRS:
            change = [
                np.mean(errors(f, count, with_)) - np.mean(errors(f, count, without))
                for f in reached
            ]
            table.setdefault(f"{with_}, change of error", {})[count] = interval(change)
        for model in MODELS[1:]:
            gain = [
                np.mean(errors(f, count, model)) - np.mean(errors(f, count, MODELS[0]))
                for f in reached
            ]
            table.setdefault(f"{model}, error less the median's", {})[count] = interval(gain)
    return table


def show(title: str, table: dict[str, Any], labels: tuple[int, ...]) -> None:
    """Prints one table."""
    for key, text in (
        ("mae", "mean absolute error, decades"),
        ("rho", "Spearman's rho, all held-out rows together"),
        ("rho inside", "Spearman's rho inside families, mean"),
    ):
        print(f"\n{title}: {text}\n{'labels':28s}" + "".join(f"{n:>22d}" for n in labels))
        for model in MODELS:
            if key != "mae" and model == MODELS[0]:
                continue
            print(f"{model:28s}" + "".join(f"{table[model][n][key]!s:>22s}" for n in labels))
        if key == "mae":
            for with_, _ in PAIRS:
                cells = table[f"{with_}, change of error"]
                print(f"{'  change by cheap':28s}" + "".join(f"{cells[n]!s:>22s}" for n in labels))


def conclude(table: dict[str, Any], labels: tuple[int, ...]) -> list[str]:
    """The answers in words."""
    forty = min(labels, key=lambda n: abs(n - 40))
    last = labels[-1]
    lines = []
    for model in MODELS[1:]:
        at, end = table[model][forty]["mae"], table[model][last]["mae"]
        rank: Interval = table[model][forty]["rho"]
        ranks = "ranks" if rank.low > 0 else "does not rank"
        lines.append(
            f"{model}: with {forty} labels it {ranks} held-out families (rho {rank}), error "
            f"{at.middle:.2f}; with {last}, {end.middle:.2f} decades, {table[model][last]['rho']}."
        )
        gain: Interval = table[f"{model}, error less the median's"][forty]
        told = "is told apart" if gain.high < 0 else "is not told apart"
        lines.append(f"  with {forty} its error {told} from that of the labels' median: {gain}.")
    for with_, without in PAIRS:
        for count in labels:
            change = table[f"{with_}, change of error"][count]
            verb = (
                "lower"
                if change.high < 0
                else "raise"
                if change.low > 0
                else "leave (as far as is seen)"
            )
            lines.append(f"{without}, {count} labels: cheap fidelities {verb} the error: {change}.")
    return lines


def figure(table: dict[str, Any], labels: tuple[int, ...], path: Path) -> None:
    """Error and rank correlation against the number of labels."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    whole, axes = plt.subplots(1, 2, figsize=(9, 3.4), constrained_layout=True)
    for axis, key in zip(axes, ("mae", "rho"), strict=True):
        for number, model in enumerate(MODELS):
            if key == "rho" and number == 0:
                continue
            middle, low, high = np.array([table[model][n][key] for n in labels]).T
            axis.plot(labels, middle, marker="o", label=model, color=f"C{number}")
            axis.fill_between(labels, low, high, alpha=0.12, color=f"C{number}", linewidth=0)
        axis.set(xscale="log", xlabel="measured conductivities")
    axes[0].set_ylabel("MAE of log10(S/cm), held-out families")
    axes[1].set_ylabel("Spearman's rho, held-out families")
    axes[0].legend(frameon=False, fontsize=7)
    save_figure(whole, path)


def main() -> None:
    """Fit all, then print, write and plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="OBELiX folder")
    parser.add_argument("--oracles", type=Path, required=True, help="from obelix_oracles.py")
    parser.add_argument("--size", choices=SIZES, default="default")
    parser.add_argument("--repeats", type=int, help="draws of the labels")
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--minutes", type=float, help="begin nothing new after so long")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    start = time.time()
    labels = SIZES[options.size]["labels"]
    options.repeats = options.repeats or SIZES[options.size]["repeats"]

    rows = read(options.data, options.oracles)
    names, counts = np.unique(rows.family, return_counts=True)
    families = [*names[counts >= SMALLEST_FAMILY].tolist(), CONTROL]
    print(f"{len(rows.value)} rows with a CIF; held out: " + ", ".join(families))
    tasks: dict[str, Callable[[], Any]] = {
        f"{repeat} {family}": partial(predict, rows, family, labels, repeat)
        for repeat in range(options.repeats)
        for family in families
    }
    pieces = do_pieces(
        options.out / f"learning_curves_{options.size}.jsonl", tasks, options.minutes
    )
    by_family: dict[str, list[dict[str, Any]]] = {}
    for name, piece in pieces.items():
        by_family.setdefault(name.split(" ", 1)[1], []).append(piece)
    control = by_family.pop(CONTROL, [])
    table = curves(by_family, labels)
    show("held-out families", table, labels)
    # The control's repeats overlap, so that its interval shows the draw of rows alone.
    beside = curves({str(k): [piece] for k, piece in enumerate(control)}, labels)
    show("rows held out at random", beside, labels)
    lines = conclude(table, labels)
    print("\n" + "\n".join(lines))
    print(
        "What would overturn this: cheap oracles that rank within families, another split of the\n"
        "families, or labels chosen rather than drawn at random."
    )
    write_record(
        options.out / "learning_curves.json",
        {"held-out families": table, "at random": beside, "conclusions": lines},
        options,
        time.time() - start,
    )
    figure(table, labels, options.out / "learning_curves.png")


if __name__ == "__main__":
    main()
