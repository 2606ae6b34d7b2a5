"""What counts as growing."""

import pytest

from benchmarks.soak import Trend, print_trends, trend_of

TIMES = [10.0 * number for number in range(120)]


def wave(number: int) -> float:
    return 5.0 if number % 4 < 2 else -5.0


def test_what_fills_at_the_beginning_and_then_stays_does_not_grow() -> None:
    found = trend_of(TIMES, [min(1000.0, 30.0 * number) + wave(number) for number in range(120)])
    assert not found.grows
    assert found.last == pytest.approx(1000, abs=6)
    assert found.per_hour == pytest.approx(0, abs=10)


def test_what_goes_up_in_noise_grows_by_its_slope() -> None:
    found = trend_of(TIMES, [1000 + at / 3600 * 60 + wave(number) for number, at in enumerate(TIMES)])
    assert found.grows
    assert found.per_hour == pytest.approx(60, rel=0.2)


def test_a_creep_that_would_take_months_is_not_told() -> None:
    found = trend_of(TIMES, [1000 + at / 3600 for at in TIMES])
    assert found.per_hour == pytest.approx(1)
    assert not found.grows


@pytest.mark.parametrize("number", [1, 2])
def test_of_too_little_nothing_is_said(number: int) -> None:
    assert not trend_of(TIMES[:number], [float(value) for value in range(number)]).grows


def test_what_shrinks_does_not_grow_and_what_grows_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    falling, rising = Trend(10, 5, -5.0, 0.1), Trend(10, 15, 5.0, 0.1)
    print_trends({"a": falling, "b": rising}, 20)
    lines = capsys.readouterr().out.splitlines()
    assert not lines[2].endswith("grows")
    assert lines[3].endswith("grows")
