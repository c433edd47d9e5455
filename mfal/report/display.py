"""What a running campaign shows: a live panel on a terminal, plain lines anywhere else."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mfal.campaign.config import CampaignConfig
from mfal.campaign.events import Best, Event, Notify, Progress
from mfal.oracles.types import Oracle

__all__ = ["describe_best", "show_progress"]

_STAGES = {
    "start": "start",
    "initial": "known crystals",
    "baseline": "random search",
    "fit": "fit",
    "train": "train",
    "choose": "choose",
    "query": "ask",
    "final": "rank",
    "done": "done",
}
_PLAIN_PAUSE = 10.0
"""Seconds between plain lines of one stage."""


@contextmanager
def show_progress(
    console: Console, config: CampaignConfig, oracles: Sequence[Oracle], folder: Path
) -> Iterator[Notify]:
    """A function to tell events to, for as long as the context lasts."""
    _print_head(console, config, oracles, folder)
    if console.is_terminal:
        panel = _Panel(console)
        with Live(panel, console=console, refresh_per_second=8, transient=True):
            yield panel.tell
    else:
        yield _Lines(console).tell


def describe_best(best: Best | None) -> str:
    """One phrase for the best answer so far."""
    if best is None:
        return "none yet"
    whose = " (known crystal)" if best.known else ""
    return f"{best.formula} (no. {best.space_group}) {best.value:.3g} {best.unit}{whose}"


def _print_head(
    console: Console, config: CampaignConfig, oracles: Sequence[Oracle], folder: Path
) -> None:
    elements = " ".join(config.space.elements)
    lines = [
        f"mfal discover: budget {config.budget:g}, seed {config.seed}, folder {folder}",
        f"  space: up to {config.space.max_atoms} atoms of {elements}",
        "  oracles: "
        + "; ".join(f"{o.name} ({o.unit}) at {o.cost:.3g} an evaluation" for o in oracles),
    ]
    for line in lines:
        console.print(Text(line), soft_wrap=True)


class _Lines:
    """One line at each change of stage, and now and then within a long one."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stage: tuple[str, int] | None = None
        self._start = time.monotonic()
        self._last = 0.0

    def tell(self, event: Event) -> None:
        stage, now = (event.stage, event.round), time.monotonic()
        changed = stage != self._stage
        finished = event.total > 0 and event.done == event.total
        if not (changed or finished or now - self._last >= _PLAIN_PAUSE):
            return
        self._stage, self._last = stage, now
        stage_name = _STAGES.get(event.stage, event.stage)
        parts = [f"{now - self._start:4.0f} s [{event.round}/{event.rounds}] {stage_name}:"]
        if event.total and event.done:
            parts.append(f"{event.done}/{event.total},")
        parts.append(event.text)
        if event.progress is not None and (changed or finished):
            account = event.progress.account
            parts.append(
                f"| spent {account.spent:.4g} of {account.budget:g},"
                f" best {describe_best(event.progress.best)}"
            )
        self._console.print(Text(" ".join(parts)), soft_wrap=True)


class _Panel:
    """A live view: stage with its bar, budget, fidelity mix, best so far, rate and time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._event: Event | None = None
        self._start = self._stage_start = time.monotonic()
        self._spent_before: float | None = None

    def tell(self, event: Event) -> None:
        before = self._event
        if before is None or (before.stage, before.round) != (event.stage, event.round):
            self._stage_start = time.monotonic()
            stage = _STAGES.get(event.stage, event.stage)
            self._console.print(
                Text(f"[{event.round}/{event.rounds}] {stage}: {event.text}", style="dim")
            )
        if self._spent_before is None and event.progress is not None:
            self._spent_before = event.progress.account.spent
        self._event = event

    def __rich__(self) -> RenderableType:
        event = self._event
        if event is None:
            return Text("starting")
        rows: list[RenderableType] = [self._stage_line(event)]
        if event.progress is not None:
            rows.append(self._budget_line(event.progress))
            rows.append(_answers_line(event.progress))
        return Group(*rows)

    def _stage_line(self, event: Event) -> RenderableType:
        grid = _grid()
        stage = f"round {event.round}/{event.rounds}  {_STAGES.get(event.stage, event.stage)}"
        bar = ProgressBar(total=max(event.total, 1), completed=event.done, width=30)
        if not event.total:
            bar = ProgressBar(total=None, pulse=True, width=30)
        seconds = time.monotonic() - self._stage_start
        speed = f"{event.done / seconds:.1f}/s" if event.done and seconds > 0.5 else ""
        count = f"{event.done}/{event.total} {speed}" if event.total else f"{seconds:.0f} s"
        grid.add_row(Text(stage, style="bold"), bar, Text(count))
        return Group(grid, Text("  " + event.text, style="dim", overflow="ellipsis", no_wrap=True))

    def _budget_line(self, progress: Progress) -> RenderableType:
        account = progress.account
        grid = _grid()
        bar = ProgressBar(total=account.budget, completed=account.spent, width=30)
        text = f"{account.spent:.4g} of {account.budget:g} spent"
        if account.reserved:
            text += f", {account.reserved:.3g} reserved"
        grid.add_row(
            Text("budget"), bar, Text(text + self._time_left(account.spent, account.budget))
        )
        return grid

    def _time_left(self, spent: float, budget: float) -> str:
        """From the spending of this run; rough, as rounds differ."""
        gained = spent - (self._spent_before or 0.0)
        elapsed = time.monotonic() - self._start
        if gained <= 0 or elapsed < 5:
            return ""
        left = elapsed / gained * (budget - spent)
        return f", about {left:.0f} s left" if left < 120 else f", about {left / 60:.0f} min left"


def _answers_line(progress: Progress) -> RenderableType:
    mix = "  ".join(
        f"{name} {number}" for name, number in zip(progress.oracles, progress.answered, strict=True)
    )
    failed = f"  ({progress.failed} failed)" if progress.failed else ""
    grid = Table.grid(padding=(0, 2))
    grid.add_row(Text("answers"), Text(mix + failed))
    grid.add_row(Text("best"), Text(describe_best(progress.best), style="green"))
    return grid


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(min_width=28)
    grid.add_column()
    grid.add_column()
    return grid
