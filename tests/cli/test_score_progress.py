"""Lines and bars of long oracles, by a clock that stands in for hours."""

import io

from rich.console import Console
from rich.progress import Progress

from mfal.cli.score_progress import LongWork, RateColumn


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_come_with_stages_tenths_and_pauses_and_tell_rate_and_time_left() -> None:
    said: list[str] = []
    clock = Clock()
    work = LongWork(None, said.append, clock)
    work.report("LiF: relaxing", 0, 1)
    clock.now = 40.0
    # 500 of 3,000 steps were done by a run that was killed: they are no work of this one.
    work.report("LiF: moving at 1000 K", 500, 3000, "1.0 of 6.0 ps, 0 hops")
    clock.now = 50.0
    work.report("LiF: moving at 1000 K", 550, 3000, "1.1 of 6.0 ps, 0 hops")
    clock.now = 70.0
    work.report("LiF: moving at 1000 K", 590, 3000, "1.2 of 6.0 ps, 1 hop")
    clock.now = 90.0
    work.report("LiF: moving at 1000 K", 700, 3000, "1.4 of 6.0 ps, 1 hop")
    work.report("Li2O: moving at 1000 K", 0, 100, "")
    work.report("LiF: moving at 1000 K", 3000, 3000, "6.0 of 6.0 ps, 9 hops")
    assert said == [
        "LiF: relaxing: 0 %",
        "LiF: moving at 1000 K: 16 %, 1.0 of 6.0 ps, 0 hops",
        "LiF: moving at 1000 K: 19 %, 1.2 of 6.0 ps, 1 hop, 3 steps/s, about 13.4 min left",
        "LiF: moving at 1000 K: 23 %, 1.4 of 6.0 ps, 1 hop, 4 steps/s, about 9.58 min left",
        "Li2O: moving at 1000 K: 0 %",
        "LiF: moving at 1000 K: 100 %, 6.0 of 6.0 ps, 9 hops, 50 steps/s",
    ]


def test_each_structure_has_a_bar_until_it_is_done() -> None:
    clock = Clock()
    shown = Console(file=io.StringIO(), force_terminal=True, width=120)
    progress = Progress(RateColumn(), console=shown, get_time=clock, speed_estimate_period=600.0)
    work = LongWork(progress, lambda line: None, clock)
    work.report("LiF: relaxing", 0, 1)
    for clock.now, done in ((10.0, 500), (30.0, 600), (50.0, 700)):
        work.report("LiF: moving", done, 1000, "0.9 of 2.0 ps")
        work.report("Li2O: moving", done, 1000)
    first, second = progress.tasks
    assert first.description == "LiF: moving, 0.9 of 2.0 ps"
    assert (first.completed, first.total, first.visible) == (700, 1000, True)
    assert RateColumn().render(first).plain == "5 steps/s"
    assert first.time_remaining == 60.0
    work.report("LiF: moving", 1000, 1000)
    assert (first.visible, second.visible) == (False, True)
