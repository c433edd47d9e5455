"""What the experiments share: options, intervals, work in pieces that survives a stop, the record.

Imported by the scripts beside it, which Python finds because a script's own folder is on its path.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "Interval",
    "do_pieces",
    "interval",
    "make_parser",
    "parse",
    "save_figure",
    "subplots",
    "write_record",
]

RESAMPLES = 2000


def make_parser(text: str, sizes: Mapping[str, Any] | None = None) -> argparse.ArgumentParser:
    """A parser with the options of every experiment: --out, --minutes and, with sizes, --size.

    Args:
      text: the script's docstring, whose first line says what it does.
      sizes: by name, "default" among them.
    """
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    if sizes:
        parser.add_argument("--size", choices=sizes, default="default")
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--minutes", type=float, help="begin nothing new after so long")
    return parser


def parse(
    parser: argparse.ArgumentParser, sizes: Mapping[str, Mapping[str, Any]]
) -> argparse.Namespace:
    """The options; those that were not given have the size's values."""
    options = parser.parse_args()
    for name, value in sizes[options.size].items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


class Interval(NamedTuple):
    """A figure and the 90 % interval around it."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.2f} [{self.low:.2f}, {self.high:.2f}]"


def interval(
    items: Sequence[Any], measure: Callable[[list[Any]], float] | None = None, *, seed: int = 0
) -> Interval:
    """A measure of independent items (their mean if left out), with its bootstrap interval.

    The items are redrawn with replacement; the ends are the 5th and 95th percentile of the measure
    over the redraws (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).
    Redraws where the measure is not a number don't count.
    """
    if not len(items):
        return Interval(float("nan"), float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(items), (RESAMPLES, len(items)))
    if measure is None:
        values = np.asarray(items, float)
        middle, redrawn = float(values.mean()), values[draws].mean(axis=1)
    else:
        middle = measure(list(items))
        redrawn = np.array([measure([items[i] for i in draw]) for draw in draws[:500]])
    redrawn = redrawn[np.isfinite(redrawn)]
    low, high = np.quantile(redrawn, [0.05, 0.95]) if len(redrawn) else (np.nan, np.nan)
    return Interval(middle, float(low), float(high))


def do_pieces(
    path: Path, tasks: Mapping[str, Callable[[], Any]], minutes: float | None = None
) -> dict[str, Any]:
    """Results of the tasks by name, in their order; what an earlier run has done is read back.

    Each result is a line of JSON in `path`, written and flushed as it comes, so that a run that was
    stopped goes on where it was. After `minutes` no new task is begun: run again for the rest.
    """
    done: dict[str, Any] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                name, value = json.loads(line)
            except ValueError:
                continue  # the last line of a run that was killed while it wrote
            done[name] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with path.open("a", encoding="utf-8") as file:
        for name, task in tasks.items():
            if name in done:
                continue
            if minutes is not None and time.monotonic() - start > 60 * minutes:
                break
            # Through JSON, so that a fresh result is what a later run would read.
            text = json.dumps([name, task()])
            done[name] = json.loads(text)[1]
            file.write(f"\n{text}\n")
            file.flush()
            os.fsync(file.fileno())
    finished = {name: done[name] for name in tasks if name in done}
    if len(finished) < len(tasks):
        print(
            f"only {len(finished)} of {len(tasks)} pieces are done; the same command does the rest",
            flush=True,
        )
    return finished


def write_record(path: Path, record: Mapping[str, Any], options: Any, seconds: float) -> None:
    """A JSON file of figures with options (seeds among them), versions and wall time."""
    import jax

    import mfal

    versions = {
        "mfal": mfal.__version__,
        "jax": jax.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    chosen = {name: _plain(value) for name, value in vars(options).items()}
    whole = {"options": chosen, "versions": versions, "seconds": round(seconds, 1), **record}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole, indent=1, default=_plain) + "\n", encoding="utf-8")
    print(f"written: {path}", flush=True)


def subplots(columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure of so many panels side by side, size in inches, drawn without a screen."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    return plt.subplots(1, columns, figsize=size, constrained_layout=True)


def save_figure(figure: Any, path: Path) -> None:
    """A small PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=72)
    print(f"written: {path}", flush=True)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value if isinstance(value, int | float | str | type(None)) else str(value)
