"""What a running campaign shows, by a clock that the test sets."""

import io

import pytest
from rich.console import Console

from mfal.campaign.events import Best, Event, Progress
from mfal.campaign.ledger.budget import Account
from mfal.report.display import Lines, Panel

BEST = Best("Li3YCl6", 148, -3.25, "log10 S/cm", known=False)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def progress(spent: float, reserved: float = 0.0) -> Progress:
    return Progress(Account(60.0, spent, reserved), (7, 2), ("cheap", "dear"), 1, BEST)


@pytest.fixture
def shown():
    """A console that writes to memory, a clock, and what was written since the last look."""

    def make(kind, terminal):
        out, clock = io.StringIO(), Clock()
        console = Console(file=out, force_terminal=terminal, width=120, color_system=None)
        view = kind(console, clock)

        def look() -> str:
            text = out.getvalue()
            out.seek(0)
            out.truncate()
            return text

        return view, console, clock, look

    return make


def test_plain_lines_tell_rate_and_time_left(shown):
    view, _, clock, look = shown(Lines, False)
    # A campaign that goes on: rounds of an earlier run say nothing about this one's pace.
    view.show(Event("query", 2, 5, "asking 8 questions", 0, 8, progress(20.0, 8.0)))
    assert look() == (
        "   0 s [2/5] ask: asking 8 questions | spent 20 of 60 CPU s,"
        " best Li3YCl6 (no. 148) -3.25 log10 S/cm\n"
    )
    clock.now += 4
    view.show(Event("query", 2, 5, "an answer", 1, 8, progress(21.0)))
    assert look() == ""  # too soon for a line
    clock.now += 12
    view.show(Event("query", 2, 5, "an answer", 4, 8, progress(24.0)))
    assert look() == (
        "  16 s [2/5] ask: 4/8 at 0.25/s, an answer | about 16 s left of this stage\n"
    )
    clock.now += 4
    view.show(Event("query", 2, 5, "the last", 8, 8, progress(28.0)))
    assert look() == (
        "  20 s [2/5] ask: 8/8 at 0.4/s, the last | spent 28 of 60 CPU s,"
        " best Li3YCl6 (no. 148) -3.25 log10 S/cm\n"
    )
    clock.now += 10
    view.show(Event("train", 3, 5, "training", 0, 300, progress(28.0)))
    # One round took 30 s, and three are to come.
    assert look().endswith("-3.25 log10 S/cm, about 90 s left\n")
    clock.now += 10
    view.show(Event("train", 3, 5, "training", 50, 300, progress(28.0)))
    # The rate is the stage's own: 50 steps in 10 s.
    assert look() == "  40 s [3/5] train: 50/300 at 5/s, training | about 80 s left\n"
    clock.now += 40
    view.show(Event("query", 4, 5, "asking", 0, 8, progress(28.0)))
    # 80 s for two rounds: two are to come, which have 40 s each.
    assert look().endswith("about 80 s left\n")
    clock.now += 60
    view.show(Event("query", 4, 5, "an answer", 1, 8, progress(29.0)))
    assert look().endswith("about 40 s left\n")  # this one is late; the last is to come
    view.show(Event("guard", 4, 5, "guard: cheap oracles trusted", 0, 0))
    assert look() == " 140 s [4/5] guard: cheap oracles trusted | about 40 s left\n"
    view.show(Event("done", 5, 5, "all rounds are done", 0, 0, progress(58.0)))
    assert "left" not in look()


def test_the_panel_tells_the_same_on_a_terminal(shown):
    view, console, clock, look = shown(Panel, True)
    view.show(Event("query", 1, 5, "asking 8 questions", 0, 8, progress(0.0)))
    clock.now += 20
    view.show(Event("query", 1, 5, "an answer", 5, 8, progress(10.0, 6.0)))
    look()
    console.print(view)
    text = look()
    for part in (
        "round 1/5  ask",
        "5/8 0.25/s",
        "10 of 60 CPU s spent, 6 reserved, about 12 s left of",
    ):
        assert part in text
    assert "cheap 7  dear 2  (1 failed)" in text
    assert "Li3YCl6 (no. 148) -3.25 log10 S/cm" in text
    clock.now += 180
    view.show(Event("fit", 2, 5, "fitting", 0, 0, progress(10.0)))
    look()
    console.print(view)
    assert "10 of 60 CPU s spent, about 13 min left" in look()  # four rounds of 200 s
