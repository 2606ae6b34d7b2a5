"""Hours of the week: what is open when."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from schemas.settings.hours import HourSpan, is_open

MONDAY = datetime(2026, 1, 5, tzinfo=timezone.utc)


def at(day: int, time: str) -> datetime:
    """``day`` 0 = Monday, UTC."""
    hours, minutes = map(int, time.split(":"))
    return MONDAY + timedelta(days=day, hours=hours, minutes=minutes)


@pytest.mark.parametrize(
    ("span", "inside", "outside"),
    [
        ("Mon-Fri 08:00-18:00", [at(0, "08:00"), at(4, "17:59")], [at(0, "07:59"), at(4, "18:00"), at(5, "12:00")]),
        ("22:00-06:00", [at(0, "22:00"), at(0, "05:59"), at(6, "23:59")], [at(0, "06:00"), at(3, "21:59")]),
        ("Fri 22:00-06:00", [at(4, "22:00"), at(5, "05:59")], [at(4, "05:59"), at(5, "22:00"), at(5, "06:00")]),
        ("Sun 22:00-06:00", [at(6, "23:00"), at(0, "05:00")], [at(0, "23:00")]),
        ("Sat,Sun", [at(5, "00:00"), at(6, "23:59")], [at(4, "23:59"), at(0, "00:00")]),
        ("Fri-Mon", [at(4, "12:00"), at(6, "12:00"), at(0, "12:00")], [at(1, "12:00"), at(3, "12:00")]),
        ("00:00-00:00", [at(0, "00:00"), at(0, "23:59"), at(3, "12:00")], []),
        ("Mon 00:00-00:00", [at(0, "00:00"), at(0, "23:59")], [at(6, "23:59"), at(1, "00:00")]),
        ("Mon 08:00-08:00", [at(0, "08:00"), at(1, "07:59")], [at(0, "07:59"), at(1, "08:00")]),
        ("mon,wed-thu 00:00-24:00", [at(0, "23:59"), at(2, "00:00"), at(3, "12:00")], [at(1, "12:00"), at(4, "00:00")]),
    ],
)
def test_a_span_is_open_from_its_beginning_to_just_before_its_end(
    span: str, inside: list[datetime], outside: list[datetime]
) -> None:
    assert TypeAdapter(HourSpan).validate_python(span) == span
    assert [is_open([span], "UTC", moment) for moment in inside] == [True] * len(inside)
    assert [is_open([span], "UTC", moment) for moment in outside] == [False] * len(outside)


def test_one_span_of_several_is_enough_and_none_at_all_is_always() -> None:
    spans = ["Mon 08:00-09:00", "Mon 10:00-11:00"]
    assert [is_open(spans, "UTC", at(0, time)) for time in ("08:30", "09:30", "10:30")] == [True, False, True]
    assert is_open([], "UTC", at(0, "03:00"))


def test_hours_are_those_of_their_place_in_summer_and_in_winter() -> None:
    winter, summer = (datetime(2026, month, 6, 7, 30, tzinfo=timezone.utc) for month in (1, 7))
    assert [is_open(["08:00-09:00"], "Europe/Berlin", moment) for moment in (winter, summer)] == [True, False]
    assert [is_open(["09:00-10:00"], "Europe/Berlin", moment) for moment in (winter, summer)] == [False, True]


@pytest.mark.parametrize(
    "text", ["", " ", "Mo", "8:00-9:00", "08:00", "25:00-26:00", "Mon-", "24:00-01:00", "00:00-24:30"]
)
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="hours must be like 'Mon-Fri 08:00-18:00'"):
        TypeAdapter(HourSpan).validate_python(text)


@given(st.integers(0, 7 * 24 * 60 - 1), st.integers(0, 23), st.integers(0, 23))
def test_a_span_and_what_it_leaves_out_fill_the_day(minute: int, start: int, end: int) -> None:
    moment = MONDAY + timedelta(minutes=minute)
    spans = [f"{start:02}:00-{end:02}:00", f"{end:02}:00-{start:02}:00"]
    if start != end:
        assert sum(is_open([span], "UTC", moment) for span in spans) == 1
