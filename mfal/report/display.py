"""What a running campaign shows: a live panel on a terminal, plain lines anywhere else."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mfal.campaign.config import COMMON_ELEMENTS, COMMON_MAX_ATOMS, CampaignConfig
from mfal.campaign.events import Best, Event, Notify, Progress
from mfal.oracles.types import Oracle

__all__ = ["Lines", "Panel", "show_progress"]

_STAGES = {
    "read": "reading",
    "pool": "pool",
    "start": "start",
    "initial": "initial data",
    "fit": "fit",
    "train": "train",
    "choose": "choose",
    "query": "ask",
    "final": "rank",
    "finalists": "vibrations",
    "motion": "dynamics",
    "done": "done",
}
_PLAIN_PAUSE = 10.0
"""Seconds between plain lines of one stage."""


@contextmanager
def show_progress(
    console: Console, config: CampaignConfig, oracles: Sequence[Oracle], folder: Path
) -> Iterator[Notify]:
    """A function that shows events, for as long as the context lasts."""
    _print_head(console, config, oracles, folder)
    if console.is_terminal:
        panel = Panel(console)
        with Live(panel, console=console, refresh_per_second=8, transient=True):
            yield panel.show
    else:
        yield Lines(console).show


def _describe_best(best: Best | None) -> str:
    """One phrase for the best answer so far."""
    if best is None:
        return "none yet"
    whose = " (known crystal)" if best.known else ""
    return f"{best.formula} (no. {best.space_group}) {best.value:.3g} {best.unit}{whose}"


def _print_head(
    console: Console, config: CampaignConfig, oracles: Sequence[Oracle], folder: Path
) -> None:
    lines = [
        f"mfal discover: budget {config.budget:g} CPU s, seed {config.seed}, folder {folder}",
        *_describe_candidates(config),
        "  oracles: "
        + "; ".join(f"{o.name} ({o.unit}) at {o.cost:.3g} CPU s an evaluation" for o in oracles),
    ]
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _describe_candidates(config: CampaignConfig) -> list[str]:
    """Where candidates come from, a line each."""
    space, lines = config.space, []
    if config.pool:
        lines.append(f"  pool: {', '.join(config.pool)}")
    if config.generate or not config.pool:
        elements = " ".join(COMMON_ELEMENTS if space.elements is None else space.elements)
        atoms = COMMON_MAX_ATOMS if space.max_atoms is None else space.max_atoms
        lines.append(f"  space: up to {atoms} atoms of {elements}")
    return lines


class _Pace:
    """How fast a campaign goes, and when it may be over."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._start = self._stage_start = clock()
        self._event: Event | None = None
        self._round_starts: list[float] = []
        """Of the rounds that this run has seen, the initial data aside."""

    def see(self, event: Event) -> bool:
        """Takes note of an event; returns whether a stage begins with it."""
        before, self._event = self._event, event
        changed = before is None or (before.stage, before.round) != (event.stage, event.round)
        if changed:
            self._stage_start = self._clock()
        if event.round > (before.round if before else 0):
            self._round_starts.append(self._clock())
        return changed

    def seconds(self) -> float:
        """Seconds since the start of this run."""
        return self._clock() - self._start

    def stage_seconds(self) -> float:
        """Seconds since the stage began."""
        return self._clock() - self._stage_start

    def rate(self) -> str:
        """Steps of the stage a second; nothing before there is something to tell."""
        seconds, event = self.stage_seconds(), self._event
        return f"{event.done / seconds:.3g}/s" if event and event.done and seconds > 0.5 else ""

    def left(self) -> str:
        """Time to the end, from the rounds that this run has finished; before, to the stage's."""
        event = self._event
        if event is None or event.stage == "done":
            return ""
        finished = len(self._round_starts) - 1
        if finished > 0:
            first, last = self._round_starts[0], self._round_starts[-1]
            each = (last - first) / finished
            # A round that takes longer than those before is taken to be about to end.
            own = max(each - (self._clock() - last), 0.0)
            return f"about {_duration(own + each * (event.rounds - event.round))} left"
        if 0 < event.done < event.total and self.rate():
            own = self.stage_seconds() / event.done * (event.total - event.done)
            return f"about {_duration(own)} left of this stage"
        return ""


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


class Lines:
    """One line at each change of stage, and now and then within a long one."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._pace = _Pace(clock)
        self._last = 0.0

    def show(self, event: Event) -> None:
        """Print a line, if it is time for one."""
        changed, now = self._pace.see(event), self._pace.seconds()
        finished = event.total > 0 and event.done == event.total
        if not (changed or finished or now - self._last >= _PLAIN_PAUSE):
            return
        self._last = now
        stage = _STAGES.get(event.stage, event.stage)
        line = f"{now:4.0f} s [{event.round}/{event.rounds}] {stage}:"
        if event.total and event.done:
            rate = self._pace.rate()
            line += f" {event.done}/{event.total}" + (f" at {rate}," if rate else ",")
        line += f" {event.text.removeprefix(f'{stage}: ')}"
        facts = []
        if event.progress is not None and (changed or finished):
            account = event.progress.account
            facts.append(f"spent {account.spent:.4g} of {account.budget:g} CPU s")
            facts.append(f"best {_describe_best(event.progress.best)}")
        facts.append(self._pace.left())
        told = ", ".join(filter(None, facts))
        self._console.print(Text(line + (f" | {told}" if told else "")), soft_wrap=True)


class Panel:
    """A live view: stage with its bar, budget, fidelity mix, best so far, rate and time left."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._event: Event | None = None
        self._pace = _Pace(clock)

    def show(self, event: Event) -> None:
        """Show an event; a line stays where a stage begins."""
        if self._pace.see(event):
            stage = _STAGES.get(event.stage, event.stage)
            text = event.text.removeprefix(f"{stage}: ")
            self._console.print(
                Text(f"[{event.round}/{event.rounds}] {stage}: {text}", style="dim")
            )
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
        count = f"{self._pace.stage_seconds():.0f} s"
        if event.total:
            count = f"{event.done}/{event.total} {self._pace.rate()}"
        grid.add_row(Text(stage, style="bold"), bar, Text(count))
        return Group(grid, Text("  " + event.text, style="dim", overflow="ellipsis", no_wrap=True))

    def _budget_line(self, progress: Progress) -> RenderableType:
        account = progress.account
        grid = _grid()
        bar = ProgressBar(total=account.budget, completed=account.spent, width=30)
        text = f"{account.spent:.4g} of {account.budget:g} CPU s spent"
        if account.reserved:
            text += f", {account.reserved:.3g} reserved"
        if left := self._pace.left():
            text += f", {left}"
        grid.add_row(Text("budget"), bar, Text(text))
        return grid


def _answers_line(progress: Progress) -> RenderableType:
    mix = "  ".join(
        f"{name} {number}" for name, number in zip(progress.oracles, progress.answered, strict=True)
    )
    failed = f"  ({progress.failed} failed)" if progress.failed else ""
    grid = Table.grid(padding=(0, 2))
    grid.add_row(Text("answers"), Text(mix + failed))
    grid.add_row(Text("best"), Text(_describe_best(progress.best), style="green"))
    return grid


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(min_width=28)
    grid.add_column()
    grid.add_column()
    return grid
