"""Train in a folder: a progress bar, metrics on disk, checkpoints, and going on after a kill.

    state = run_in_folder("runs/first", trainer, jax.random.key(0), reward_params, 20_000)

The folder holds `metrics.jsonl`, one line a step, and `checkpoints/`. The same call on the same
folder goes on from the last checkpoint, bit for bit as if nothing had happened.
"""

import json
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax

from mfal.errors import MfalError
from mfal.gflownet.checkpoint import restore, save
from mfal.gflownet.config import DataSet, Metrics, TrainState
from mfal.gflownet.progress import chain, json_lines, progress_bar, tensorboard
from mfal.gflownet.train import Trainer

__all__ = ["METRICS_FILE", "run_in_folder"]

METRICS_FILE = "metrics.jsonl"
"""Name of the metrics within the folder."""


def run_in_folder(
    folder: str | Path,
    trainer: Trainer,
    key: jax.Array,
    reward_params: Any,
    num_steps: int | None,
    *,
    data: DataSet | None = None,
    bar: bool = True,
    log_tensorboard: bool = False,
    checkpoint_every: int = 1000,
    stop: Callable[[int], bool] | None = None,
) -> TrainState:
    """Train until `num_steps` in all, counting those that the folder's last checkpoint has.

    Args:
      folder: made if it doesn't exist.
      trainer: from `make_trainer`.
      key: of a fresh start.
      reward_params: argument of the reward.
      num_steps: training steps in all; None where `stop` alone says when to end.
      data: terminal states to train on, for a fresh start.
      bar: whether to show a progress bar on standard error.
      log_tensorboard: whether to write scalars for TensorBoard, too (the extra `tensorboard`).
      checkpoint_every: steps between checkpoints, rounded up to whole dispatches. One more is
        written at the end.
      stop: asked with the number of steps done after each dispatch; true ends the run early.

    Raises:
      MfalError: if nothing would end the run, the folder can't be written, its checkpoint belongs
        to another configuration, or TensorBoard is asked for and not installed.
    """
    if num_steps is None and stop is None:
        raise MfalError("num_steps None without stop", "give a number of steps, or when to stop")
    if checkpoint_every < 1:
        raise MfalError(f"checkpoint_every {checkpoint_every}", "give a positive number of steps")
    path, stride = Path(folder), trainer.config.steps_per_dispatch
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MfalError(f"folder {folder}: {error.strerror}", "give a writable path") from None
    state = trainer.init(key, data)
    found = _steps_saved(path)
    if found:
        state = restore(_checkpoint(path, found[-1]), state)
    done = found[-1] if found else 0
    saved = done
    _forget_after(path / METRICS_FILE, done)

    with ExitStack() as stack:
        callbacks = [stack.enter_context(json_lines(path / METRICS_FILE))]
        if log_tensorboard:
            callbacks.append(stack.enter_context(tensorboard(path / "tensorboard")))
        if bar:
            batch = trainer.config.batch_size
            callbacks.append(stack.enter_context(progress_bar(num_steps, batch)))
        report = chain(*callbacks)
        late: tuple[int, Metrics] | None = None
        while num_steps is None or done < num_steps:
            count = stride if num_steps is None else min(stride, num_steps - done)
            state, metrics = trainer.run(state, reward_params, count, bar=False)
            # Told one dispatch late: the device works on while the host writes.
            if late is not None:
                report(*late)
            done += count
            late = (done, metrics)
            ended = stop is not None and stop(done)
            if done - saved >= checkpoint_every or done == num_steps or ended:
                report(*late)
                late = None
                save(_checkpoint(path, done), state)
                saved = done
                for old in _steps_saved(path)[:-1]:
                    shutil.rmtree(_checkpoint(path, old))
            if ended:
                break
    return state


def _checkpoint(path: Path, step: int) -> Path:
    return path / "checkpoints" / str(step)


def _steps_saved(path: Path) -> list[int]:
    """Steps of the checkpoints, ascending; half-written ones bear other names."""
    folder = path / "checkpoints"
    if not folder.is_dir():
        return []
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())


def _forget_after(metrics: Path, step: int) -> None:
    """Drop the lines of steps that will be done again."""
    if not metrics.is_file():
        return
    kept = []
    for line in metrics.read_text(encoding="utf-8").splitlines():
        try:
            number = int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            continue  # cut short by a kill
        if number <= step:
            kept.append(line + "\n")
    temporary = metrics.with_suffix(".tmp")
    temporary.write_text("".join(kept), encoding="utf-8")
    temporary.replace(metrics)
