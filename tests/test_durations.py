"""Amounts of time as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfal.durations import parse_duration, show_duration
from mfal.errors import MfalError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20m", 1200), ("2h", 7200), ("3d", 259200), ("90", 90), ("1.5h", 5400), ("1h 30m", 5400),
     ("2H", 7200), (".5m", 30), ("1e3", 1000), (" 45 s ", 45)],
)  # fmt: skip
def test_what_is_understood(text, seconds):
    assert parse_duration("budget", text) == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "20 minutes", "-3", "0", "0h", "1h30", "nan", "inf", "2w", "1,5h", "3 4"]
)
def test_what_is_not_understood_is_named_with_examples(text):
    with pytest.raises(MfalError, match="as 90, 20m, 2h or 3d") as caught:
        parse_duration("budget", text)
    assert caught.value.what == f"budget {text}"


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf")])
def test_numbers_that_are_no_time(value):
    with pytest.raises(MfalError, match="budget"):
        parse_duration("budget", value)


@given(st.floats(1e-3, 1e8))
def test_what_is_shown_is_the_time_to_two_digits(seconds):
    number, unit = show_duration(seconds).split()
    size = {"s": 1, "min": 60, "h": 3600, "d": 86400}[unit]
    assert float(number) * size == pytest.approx(seconds, rel=0.051)
