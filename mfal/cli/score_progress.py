"""How far long oracles are: a bar for each structure, or without a terminal a line now and then."""

import time
from collections.abc import Callable
from typing import NamedTuple

from rich.progress import Progress, ProgressColumn, Task, TaskID
from rich.text import Text

from mfal.durations import show_duration

__all__ = ["LongWork", "RateColumn"]

_PAUSE = 30.0
"""Seconds between lines about a structure, where less than a tenth of it has been done."""
_SHORT = 1.0
"""Seconds within which no rate can be told."""


class RateColumn(ProgressColumn):
    """Steps a second of work that has a rate to tell."""

    def render(self, task: Task) -> Text:
        """See `rich.progress.ProgressColumn`."""
        tells = task.fields.get("rate") and task.speed
        return Text(f"{task.speed:.3g} steps/s" if tells else "")


class _Stage(NamedTuple):
    began: float
    """When it was first heard of."""
    first: int
    """Steps that were done then, by an earlier run."""
    total: int
    said: tuple[str, int]
    """What the last line was about: stage and tenth."""
    last: float
    """When that line was printed."""


class LongWork:
    """Listens to `report_progress`: a subject, before the colon, has a bar or lines of its own."""

    def __init__(
        self,
        progress: Progress | None,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._progress, self._say, self._clock = progress, say, clock
        self._bars: dict[str, TaskID] = {}
        self._stages: dict[str, _Stage] = {}

    def report(self, what: str, done: int, total: int, note: str = "") -> None:
        """Show a step; see `mfal.oracles.progress`."""
        subject = what.partition(":")[0]
        stage = self._stages.get(subject)
        fresh = stage is None or stage.total != total or done < stage.first
        if stage is None or fresh:
            stage = _Stage(self._clock(), done, total, ("", -1), -_PAUSE)
            self._stages[subject] = stage
        if self._progress is not None:
            self._bar(self._progress, subject, fresh, what, done, total, note)
            return
        tenth, now = 10 * done // max(total, 1), self._clock()
        if stage.said == (what, tenth) and now - stage.last < _PAUSE:
            return
        self._stages[subject] = stage._replace(said=(what, tenth), last=now)
        share = f"{100 * done // max(total, 1)} %"
        self._say(f"{what}: " + ", ".join(filter(None, [share, note, *self._pace(stage, done)])))

    def _pace(self, stage: _Stage, done: int) -> list[str]:
        """Rate and time left, where there is something to tell."""
        seconds, steps = self._clock() - stage.began, done - stage.first
        if seconds < _SHORT or steps <= 0:
            return []
        left = (stage.total - done) * seconds / steps
        return [f"{steps / seconds:.3g} steps/s"] + (
            [f"about {show_duration(left)} left"] if left else []
        )

    def _bar(
        self,
        progress: Progress,
        subject: str,
        fresh: bool,
        what: str,
        done: int,
        total: int,
        note: str,
    ) -> None:
        words = f"{what}, {note}" if note else what
        if subject not in self._bars:
            self._bars[subject] = progress.add_task(words, total=total, rate=True)
        bar = self._bars[subject]
        if fresh:  # what an earlier run has done is no work of this one
            progress.reset(bar, total=total, completed=done)
        progress.update(bar, description=words, completed=done, visible=done < total or total <= 1)
