"""Numbers as people read them."""

from datetime import timedelta

import pytest

from console.web.site import spark_points
from console.words import ago, counted, lasting, odds, p_value, utc
from tests.unit.consumers.samples import ORIGIN


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (0.0, "most normal frames"),
        (0.5, "one normal frame in 10,000"),
        (0.59, "one normal frame in 570,000"),
        (0.7, "nothing in a million normal frames"),
        (1.0, "nothing in a million normal frames"),
    ],
)
def test_a_score_says_how_rare_it_is(score: float, words: str) -> None:
    assert odds(score) == words


def test_p_falls_as_the_score_rises() -> None:
    values = [p_value(number / 100) for number in range(101)]
    assert values == sorted(values, reverse=True)
    assert values[50] == pytest.approx(1e-4)
    assert (values[0], values[100]) == (1.0, 0.0)


def test_times_are_told_with_their_zone_and_never_from_the_future() -> None:
    assert utc(ORIGIN) == "2026-03-01 08:00:00 UTC"
    assert ago(ORIGIN + timedelta(seconds=9), ORIGIN) == "0.0 s ago"
    assert [lasting(value) for value in (0.41, 75, 125, 7300, 200_000)] == ["0.4 s", "75 s", "2 min", "2 h", "2 d"]
    assert (counted(1, "event"), counted(2000, "event")) == ("1 event", "2,000 events")


def test_a_curve_goes_over_short_gaps_alone() -> None:
    values = [0.0, None, 1.0, None, None, None, None, 0.5]
    assert spark_points(values) == ["0,24.0 2,0.0", "7,12.0 7,12.0"]
    assert spark_points([None, None]) == []
