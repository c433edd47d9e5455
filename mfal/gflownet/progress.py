"""Callbacks for `Trainer.run`: a progress bar, JSON lines, TensorBoard.

    with progress_bar(1000) as bar, json_lines("metrics.jsonl") as log:
        state, metrics = trainer.run(state, reward_params, 1000, chain(bar, log))

A callback is called for each dispatch with the number of steps done and that dispatch's metrics.
`mfal.gflownet.runner.run_in_folder` puts them together.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mfal.errors import MfalError
from mfal.gflownet.config import Metrics
from mfal.numbers import finite_or_none

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Callback", "bar_on_terminal", "chain", "json_lines", "progress_bar", "tensorboard"]

Callback = Callable[[int, Metrics], None]
"""Called for each dispatch with the number of steps done and that dispatch's metrics."""


def chain(*callbacks: Callback) -> Callback:
    """One callback that calls several in order."""

    def call(done: int, metrics: Metrics) -> None:
        for callback in callbacks:
            callback(done, metrics)

    return call


@contextmanager
def progress_bar(
    num_steps: int | None, batch_size: int = 0, console: "Console | None" = None
) -> Iterator[Callback]:
    """A bar with steps, loss, log Z, trajectories a second and the time left.

    Args:
      num_steps: of the run; where it isn't known, the time spent is shown instead.
      batch_size: trajectories a step; 0 leaves their rate out.
      console: where to draw; standard error by default. Without a terminal nothing is animated.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        # Short enough for a terminal of 80 columns.
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        *(
            (TextColumn("spent"), TimeElapsedColumn())
            if num_steps is None
            else (TextColumn("left"), TimeRemainingColumn())
        ),
    )
    with Progress(*columns, console=console or Console(stderr=True)) as progress:
        task = progress.add_task("training", total=num_steps, note="compiling")
        last = [time.perf_counter()]

        def call(done: int, metrics: Metrics) -> None:
            loss, log_z = np.asarray(metrics.loss), np.asarray(metrics.log_z)
            now = time.perf_counter()
            note = f"loss {loss.mean():.3g}  log Z {log_z[-1]:.2f}"
            if batch_size:
                note += f"  {batch_size * len(loss) / max(now - last[0], 1e-9):,.0f} traj/s"
            last[0] = now
            progress.update(task, completed=done, note=note)

        yield call


@contextmanager
def bar_on_terminal(
    num_steps: int, batch_size: int = 0, console: "Console | None" = None
) -> Iterator[Callback | None]:
    """`progress_bar` where the console is a terminal; None where it isn't."""
    from rich.console import Console

    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with progress_bar(num_steps, batch_size, console) as bar:
        yield bar


@contextmanager
def json_lines(path: str | Path, every: int = 1) -> Iterator[Callback]:
    """Append one line of JSON for each `every`-th step: step, seconds and all metrics.

    Raises:
      MfalError: if the file can't be written.
    """
    if every < 1:
        raise MfalError(f"every {every}", "give a positive number of steps")
    try:
        file = Path(path).open("a", encoding="utf-8")  # noqa: SIM115  # closed below
    except OSError as error:
        raise MfalError(f"metrics file {path}: {error.strerror}", "give a writable path") from None
    start = time.perf_counter()
    with file:

        def call(done: int, metrics: Metrics) -> None:
            columns = {name: np.asarray(leaf) for name, leaf in metrics._asdict().items()}
            count = len(columns["loss"])
            seconds = round(time.perf_counter() - start, 3)
            for row in range(count):
                step = done - count + row + 1
                if step % every:
                    continue
                line: dict[str, Any] = {"step": step, "seconds": seconds}
                for name, column in columns.items():
                    line[name] = finite_or_none(float(column[row]))
                file.write(json.dumps(line) + "\n")
            file.flush()

        yield call


@contextmanager
def tensorboard(folder: str | Path) -> Iterator[Callback]:
    """Write scalars for TensorBoard; needs the package `tensorboardX`.

    Raises:
      MfalError: if the package isn't installed.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise MfalError(
            "TensorBoard logging needs tensorboardX", "run: pip install tensorboardX"
        ) from None
    writer = SummaryWriter(str(folder))

    def call(done: int, metrics: Metrics) -> None:
        for name, leaf in metrics._asdict().items():
            column = np.asarray(leaf)
            writer.add_scalar(f"gflownet/{name}", float(column[-1]), done)

    try:
        yield call
    finally:
        writer.close()
