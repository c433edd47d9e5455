"""How well composition, space group and lattice alone predict OBELiX's conductivities.

Trains on the rows outside `test.csv` and reports on those inside, for the project's models and for
scikit-learn's on the same rows: mean absolute error of log10(sigma), the same on rows with a CIF,
Spearman's rho, CRPS, and the coverage of 90 % intervals (our models': conformal, from five folds of
papers within the training rows). Errors are compared pairwise with bootstrap intervals over test
rows. Then the cheap oracles' values of every row that has a CIF enter as lower fidelities (from a
file of `obelix_oracles.py`, or asked for and kept in the folder of the results); the change in
error comes with a paired bootstrap interval, and the intervals of that model are the ensemble's
own, not conformal.

    python experiments/obelix_regression.py --data OBELIX_FOLDER [--oracles FILE] [--out FOLDER]

Measured (382 rows to train on, 96 to test on, seed 0):

    model                       MAE    w. CIF   rho   CRPS  coverage  width
    ensemble (ours)            1.276   1.623   .752   .946     .95    7.16
    Gaussian process (ours)    1.198   1.527   .775   .898     .88    4.58
    mean of both (ours)        1.230   1.575   .767   .905     .89    5.12
    gradient boosting          1.197   1.547   .790  1.066     .92    8.34
    random forest              1.152   1.470   .828   .983     .91    6.71
    extra trees                1.145   1.435   .813   .980     .90    6.57
    ensemble, multi-fidelity   1.280   1.570   .772   .936     .79    4.48

Our models don't beat the trees in mean error: the process' is +.05 (-.07 to +.19) from extra trees.
Its distributions are better (CRPS, narrower intervals). Within the training rows its intervals
cover .92 of five outer folds of papers. Multi-fidelity changes nothing: +.004 (-.128 to +.126).

Needs scikit-learn. The folder is in the layout of the PyPI package obelix-data.
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
from obelix_oracles import known_or_asked
from scipy.stats import norm, spearmanr

import mfal
from mfal.crystals.types import Crystal
from mfal.data import CONDUCTIVITY, MaterialTable, load_obelix
from mfal.proxies import (
    BELOW,
    EXACT,
    EnsembleConfig,
    GPConfig,
    describe_fidelity,
    explained_variance,
    make_dataset,
    make_ensemble,
    make_gaussian_process,
)
from mfal.proxies.calibration import conformal_factor, crps_gaussian

# Below this nothing is known but that a material insulates; the label is a limit, not a number.
DETECTION = -13.0
LEVELS = np.linspace(0.05, 0.95, 19)


class Rows(NamedTuple):
    """OBELiX as arrays."""

    crystal: Crystal
    value: np.ndarray  # log10 S/cm
    censoring: np.ndarray
    paper: np.ndarray  # int, rows of one publication share it
    with_cif: np.ndarray
    test: np.ndarray


class Forecast(NamedTuple):
    """Predicted distributions of the test rows."""

    mean: np.ndarray
    std: np.ndarray
    half: np.ndarray  # half width of the 90 % interval
    seconds: float


Model = Callable[[Rows, np.ndarray, np.ndarray, int], Forecast]


def read(folder: Path) -> tuple[Rows, MaterialTable]:
    """Reads the folder; one row per entry of all.csv."""
    table = load_obelix(folder)
    labels = table.label_arrays(CONDUCTIVITY)
    papers = [str(d.get("doi") or i) for d, i in zip(table.details, table.ids, strict=True)]
    value = np.log10(labels.value)
    limit = labels.censoring == 1
    rows = Rows(
        Crystal(table.composition, table.space_group_number, table.lattice),
        value,
        np.where(limit | (value < DETECTION), BELOW, EXACT),
        np.unique(papers, return_inverse=True)[1],
        np.array([s is not None for s in table.structure_records]),
        np.array([d.get("split") == "test" for d in table.details]),
    )
    return rows, table


def take(rows: Rows, index: np.ndarray) -> Crystal:
    """Crystals of some rows."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[index], rows.crystal)


def ensemble(rows: Rows, train: np.ndarray, test: np.ndarray, seed: int) -> Forecast:
    """The Flax ensemble on the target fidelity alone."""
    value = np.maximum(rows.value[train], DETECTION)
    data = make_dataset(
        take(rows, train), np.zeros(len(train), int), value, rows.censoring[train],
        group=rows.paper[train],
    )  # fmt: skip
    return _ensemble_forecast(data, 1, take(rows, test), seed)[0]


def _ensemble_forecast(
    data: Any, num_fidelities: int, crystals: Crystal, seed: int
) -> tuple[Forecast, Any]:
    model = make_ensemble(
        EnsembleConfig(num_fidelities, members=20, widths=(64, 64, 64), steps=1000)
    )
    start = time.perf_counter()
    state = model.fit(model.init(jax.random.key(seed)), data, jax.random.key(seed + 1))
    got = jax.jit(jax.vmap(model.predict, in_axes=(None, 0)))(state, crystals)
    members = np.asarray(got.members)[:, :, -1]
    std = np.sqrt(members.var(1, ddof=1) + np.asarray(got.noise)[:, -1] ** 2)
    half = float(state.reliability.interval[-1]) * std
    return Forecast(members.mean(1), std, half, time.perf_counter() - start), state


def gaussian_process(rows: Rows, train: np.ndarray, test: np.ndarray, seed: int) -> Forecast:
    """The exact process with one length for all features; `seed` doesn't matter."""
    del seed
    model = make_gaussian_process(GPConfig(1, smoothness=1.5, relevance=False, steps=40, noise=0.2))
    start = time.perf_counter()
    value = np.maximum(rows.value[train], DETECTION)
    data = make_dataset(take(rows, train), np.zeros(len(train), int), value)
    state = model.fit(data)
    mean, covariance = model.joint(state, take(rows, test), np.zeros(len(test), int))
    noise = np.exp(np.asarray(state.params.log_noise)[0]) * np.asarray(state.value_scale)[0]
    std = np.sqrt(np.diagonal(np.asarray(covariance)) + noise**2)
    return Forecast(np.asarray(mean), std, norm.ppf(0.95) * std, time.perf_counter() - start)


def mixture(*parts: Forecast) -> Forecast:
    """Equal mixture of Gaussians, summarised by its two moments."""
    mean = np.mean([p.mean for p in parts], axis=0)
    second = np.mean([p.std**2 + p.mean**2 for p in parts], axis=0)
    std = np.sqrt(second - mean**2)
    return Forecast(mean, std, norm.ppf(0.95) * std, sum(p.seconds for p in parts))


def forecast_ours(
    models: dict[str, Model], rows: Rows, train: np.ndarray, test: np.ndarray, seed: int
) -> dict[str, Forecast]:
    """Forecasts of our models and of their mixture, with conformal 90 % intervals.

    New rows come from new papers. So whole papers are left out of the training rows, fold by fold,
    the models fitted to the rest, and the errors in units of the predicted deviation ordered: the
    multiple of the deviation that covers 90 % of them is the interval (`conformal_factor`).
    """

    def with_mixture(train: np.ndarray, test: np.ndarray) -> dict[str, Forecast]:
        done = {name: run(rows, train, test, seed) for name, run in models.items()}
        return done | {"mean of both (ours)": mixture(*done.values())}

    surprises: dict[str, list[np.ndarray]] = {}
    for fold_train, fold_test in folds_by_paper(rows, train, 5, seed + 1):
        for name, f in with_mixture(fold_train, fold_test).items():
            error = np.abs(rows.value[fold_test] - f.mean) / f.std
            surprises.setdefault(name, []).append(error)
    done = with_mixture(train, test)
    for name, f in done.items():
        held = jnp.asarray(np.concatenate(surprises[name]))
        factor = float(conformal_factor(held, jnp.ones(len(held), bool), 0.9))
        done[name] = f._replace(half=factor * f.std)
    return done


def baseline(make: Callable[[], Any]) -> Callable[..., Forecast]:
    """A scikit-learn regressor on element fractions, space group number and lattice."""

    def run(rows: Rows, train: np.ndarray, test: np.ndarray, seed: int) -> Forecast:
        from sklearn.model_selection import cross_val_predict

        total = rows.crystal.composition.sum(1, keepdims=True)
        features = np.column_stack(
            [
                rows.crystal.composition / total,
                rows.crystal.space_group_number,
                rows.crystal.lattice,
            ]
        )
        start = time.perf_counter()
        held = cross_val_predict(make(), features[train], rows.value[train], cv=5)
        error = held - rows.value[train]
        mean = make().fit(features[train], rows.value[train]).predict(features[test])
        std = np.full(len(test), error.std())
        half = np.full(len(test), np.quantile(np.abs(error), 0.9))
        return Forecast(mean, std, half, time.perf_counter() - start)

    return run


def baselines(seed: int) -> dict[str, Callable[..., Forecast]]:
    """The three that do best on this data set, with default settings."""
    from sklearn.ensemble import (
        ExtraTreesRegressor,
        HistGradientBoostingRegressor,
        RandomForestRegressor,
    )

    return {
        "gradient boosting": baseline(lambda: HistGradientBoostingRegressor(random_state=seed)),
        "random forest": baseline(lambda: RandomForestRegressor(200, random_state=seed)),
        "extra trees": baseline(lambda: ExtraTreesRegressor(200, random_state=seed)),
    }


def multi_fidelity(
    rows: Rows, table: MaterialTable, scores: dict[str, dict[str, float | None]], seed: int
) -> tuple[Forecast, list[str]]:
    """The ensemble with every oracle's values as lower fidelities, on train and test rows alike."""
    train = np.flatnonzero(~rows.test)
    index, fidelity, value = [train], [np.full(len(train), len(scores))], [rows.value[train]]
    for k, known in enumerate(scores.values()):
        have = [i for i, key in enumerate(table.ids) if known.get(key) is not None]
        index.append(np.array(have, int))
        fidelity.append(np.full(len(have), k))
        value.append(np.array([known[table.ids[i]] for i in have]))
    order = np.concatenate(index)
    target = np.concatenate(fidelity) == len(scores)
    data = make_dataset(
        take(rows, order),
        np.concatenate(fidelity),
        np.where(target, np.maximum(np.concatenate(value), DETECTION), np.concatenate(value)),
        np.where(target, rows.censoring[order], EXACT),
        group=rows.paper[order],
    )
    crystals = take(rows, np.flatnonzero(rows.test))
    forecast, state = _ensemble_forecast(data, len(scores) + 1, crystals, seed)
    names = [key.split()[0] for key in scores]
    explained = explained_variance(data, state.reliability)
    pairs = zip(names, explained, strict=False)
    return forecast, [describe_fidelity(name, "experiment", e) for name, e in pairs]


def summary(rows: Rows, test: np.ndarray, forecast: Forecast) -> dict[str, float]:
    """The figures of the table."""
    truth = rows.value[test]
    error = np.abs(forecast.mean - truth)
    rho = spearmanr(forecast.mean, truth)[0] if np.ptp(forecast.mean) > 0 else np.nan
    return {
        "mae": float(error.mean()),
        "mae_with_cif": float(error[rows.with_cif[test]].mean()),
        "rho": float(rho),
        "crps": float(np.mean(crps_gaussian(truth, forecast.mean, jnp.asarray(forecast.std)))),
        "coverage_90": float(np.mean(error <= forecast.half)),
        "width_90": float(np.mean(2 * forecast.half)),
        "seconds": forecast.seconds,
    }


def paired_interval(first: np.ndarray, second: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Mean difference first - second with its 90 % bootstrap interval."""
    difference = first - second
    rng = np.random.default_rng(seed)
    means = [rng.choice(difference, len(difference)).mean() for _ in range(4000)]
    low, high = np.quantile(means, [0.05, 0.95])
    return float(difference.mean()), float(low), float(high)


def folds_by_paper(
    rows: Rows, train: np.ndarray, count: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds of some rows, no paper in two of them."""
    papers = np.random.default_rng(seed).permutation(np.unique(rows.paper))
    fold = np.empty(papers.max() + 1, int)
    fold[papers] = np.arange(len(papers)) % count
    return [(train[fold[rows.paper[train]] != k], train[fold[rows.paper[train]] == k])
            for k in range(count)]  # fmt: skip


def plot(rows: Rows, test: np.ndarray, forecasts: dict[str, Forecast], path: Path) -> None:
    """Reliability: observed against predicted quantiles."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(4.5, 4.5))
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for name, f in forecasts.items():
        quantile = norm.cdf((rows.value[test] - f.mean) / f.std)
        observed = np.mean(quantile[:, None] <= np.asarray(LEVELS), axis=0)
        axes.plot(LEVELS, observed, marker=".", label=name)
    axes.set(xlabel="predicted quantile", ylabel="share of test rows below it", xlim=(0, 1))
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def show(title: str, figures: dict[str, dict[str, float]]) -> None:
    """Prints one table."""
    print(f"\n{title}")
    print(f"{'model':28s} {'MAE':>6s} {'w. CIF':>7s} {'rho':>6s} {'CRPS':>6s} {'cover':>6s} "
          f"{'width':>6s} {'s':>6s}")  # fmt: skip
    for name, row in figures.items():
        print(f"{name:28s} {row['mae']:6.3f} {row['mae_with_cif']:7.3f} {row['rho']:6.3f} "
              f"{row['crps']:6.3f} {row['coverage_90']:6.2f} {row['width_90']:6.2f} "
              f"{row['seconds']:6.1f}")  # fmt: skip


def main() -> None:
    """Fit, predict, report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="OBELiX folder")
    parser.add_argument("--out", type=Path, default=Path("obelix_regression"), help="for results")
    parser.add_argument("--oracles", type=Path, help="from obelix_oracles.py, else asked here")
    parser.add_argument("--single", action="store_true", help="leave multi-fidelity training out")
    parser.add_argument("--folds", type=int, default=0, help="also cross-validate by paper")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows, table = read(options.data)
    train, test = np.flatnonzero(~rows.test), np.flatnonzero(rows.test)
    if not len(test):
        parser.error(f"{options.data} names no rows to test on: give it a test.csv with their ids")
    print(f"{len(train)} rows to train on, {len(test)} to test on "
          f"({rows.with_cif[test].sum()} with CIF)")  # fmt: skip

    own: dict[str, Model] = {
        "ensemble (ours)": ensemble,
        "Gaussian process (ours)": gaussian_process,
    }

    def run_all(train: np.ndarray, test: np.ndarray) -> dict[str, Forecast]:
        centre = np.full(len(test), np.median(rows.value[train]))
        wide = np.full(len(test), rows.value[train].std())
        done = {"median": Forecast(centre, wide, norm.ppf(0.95) * wide, 0.0)}
        done |= forecast_ours(own, rows, train, test, options.seed)
        others = baselines(options.seed)
        return done | {name: run(rows, train, test, options.seed) for name, run in others.items()}

    forecasts = run_all(train, test)
    figures = {name: summary(rows, test, f) for name, f in forecasts.items()}
    record: dict[str, Any] = {
        "seed": options.seed, "mfal": mfal.__version__, "jax": jax.__version__,
        "python": platform.python_version(), "rows": [len(train), len(test)],
    }  # fmt: skip
    if not options.single:
        columns = known_or_asked(options.oracles, options.data, options.out)
        scores = {name: column["scores"] for name, column in columns.items()}
        multi, lines = multi_fidelity(rows, table, scores, options.seed)
        figures["ensemble, multi-fidelity"] = summary(rows, test, multi)
        single = np.abs(forecasts["ensemble (ours)"].mean - rows.value[test])
        record["multi_minus_single"] = paired_interval(
            np.abs(multi.mean - rows.value[test]), single, options.seed
        )
        record["fidelities"] = lines
    show("Test rows", figures)
    record["figures"] = figures
    print("\nDifference of absolute errors, ours less theirs, with 90 % intervals over test rows")
    for name in (name for name in forecasts if name.endswith("(ours)")):
        for other in baselines(options.seed):
            errors = [np.abs(forecasts[n].mean - rows.value[test]) for n in (name, other)]
            found = paired_interval(errors[0], errors[1], options.seed)
            record.setdefault("ours_minus_theirs", {})[f"{name} - {other}"] = found
            print(f"{name:28s} {other:20s} {found[0]:+.3f} ({found[1]:+.3f} to {found[2]:+.3f})")
    if not options.single:
        print("\n" + "\n".join(record["fidelities"]))
        change, low, high = record["multi_minus_single"]
        verdict = "improves" if high < 0 else "worsens" if low > 0 else "does not change"
        print(f"Multi-fidelity training {verdict} the error: {change:+.3f} ({low:+.3f} to "
              f"{high:+.3f}, 90 %)")  # fmt: skip
    if options.folds:
        parts: list[dict[str, dict[str, float]]] = []
        for fold_train, fold_test in folds_by_paper(rows, train, options.folds, options.seed):
            done = run_all(fold_train, fold_test)
            parts.append({name: summary(rows, fold_test, f) for name, f in done.items()})
        record["folds"] = {
            name: {key: float(np.mean([p[name][key] for p in parts])) for key in parts[0][name]}
            for name in parts[0]
        }
        show(f"Mean over {options.folds} folds of unseen papers", record["folds"])
    (options.out / "figures.json").write_text(json.dumps(record, indent=1))
    plot(rows, test, forecasts, options.out / "reliability.png")
    print(f"\nwritten to {options.out}")


if __name__ == "__main__":
    main()
