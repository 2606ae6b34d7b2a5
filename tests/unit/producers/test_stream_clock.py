"""Capture times of a camera: by its wall clock, by its stamps, on arrival; always forwards."""

import itertools
import math
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.sources.options import CameraClock
from producers.sources.stamps import StreamClock

NOON = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def seen(
    *frames: tuple[float, float | None], believed: CameraClock = "auto", walls: dict[int, float] | None = None
) -> list[tuple[float, str]]:
    """Seconds after noon and clock of each (arrival, stamp); ``walls``: the camera's clock, by number of the frame."""
    clock = StreamClock(believed, "arrival")
    wall_at = {number: at(seconds) for number, seconds in (walls or {}).items()}
    found = [clock.next(at(arrival), stamp, wall_at.get(number)) for number, (arrival, stamp) in enumerate(frames)]
    return [(round((one.captured_at - NOON).total_seconds(), 3), one.clock) for one in found]


def test_without_stamps_frames_are_stamped_on_arrival() -> None:
    assert seen((1, None), (1.3, None), (1.4, math.nan)) == [(1, "arrival"), (1.3, "arrival"), (1.4, "arrival")]


def test_what_the_network_holds_up_gets_its_true_place_in_time() -> None:
    frames = [(10.0, 90.0), (10.1, 90.1), (10.35, 90.2), (10.36, 90.3), (10.4, 90.4), (15.4, 90.5), (15.4, 95.4)]
    assert [seconds for seconds, _ in seen(*frames)] == pytest.approx(
        [10, 10.1, 10.2, 10.3, 10.4, 10.5, 15.4], abs=0.01
    )
    assert {clock for _, clock in seen(*frames)} == {"camera"}


def test_no_frame_is_captured_after_it_arrived() -> None:
    """The first one was slow; those after it show by how much."""
    times = [seconds for seconds, _ in seen((10.5, 0.0), (10.55, 0.1), (10.2 + 0.4, 0.4), (10.7, 0.5))]
    assert times == pytest.approx([10.5, 10.55, 10.6, 10.7], abs=0.001)


def test_stamps_that_begin_again_are_taken_anew() -> None:
    times = [
        seconds for seconds, _ in seen((10, 500.0), (11, 501.0), (12, 0.0), (13, 1.0), (14, 90_000.0), (15, 90_001.0))
    ]
    assert times == pytest.approx([10, 11, 12, 13, 14, 15], abs=0.01)


def test_two_clocks_that_drift_apart_are_followed() -> None:
    fast = seen(*((1.0001 * second, float(second)) for second in range(5000)))
    assert fast[-1][0] == pytest.approx(1.0001 * 4999, abs=0.01)
    assert fast[-1][1] == "camera"
    slow = seen(*((0.9999 * second, float(second)) for second in range(5000)))
    assert slow[-1][0] == pytest.approx(0.9999 * 4999, abs=0.01)
    assert slow[-1][1] == "camera"


def test_stamps_that_do_not_keep_time_are_left_and_that_is_told() -> None:
    clock = StreamClock("auto", "arrival")
    found = [clock.next(at(second), second / 2, None) for second in range(120)]
    assert [found[10].clock, found[-1].clock] == ["camera", "arrival"]
    assert found[-1].captured_at == at(119)
    assert clock.complaint is not None
    assert "fall back by 30 s" in clock.complaint


def test_a_clock_on_the_wall_is_believed_if_it_can_be_right() -> None:
    frames = [(10.0, 0.0), (10.1, 0.1), (10.2, 0.2)]
    assert seen(*frames, walls={0: 9.7, 1: 9.8, 2: 9.9}) == [(9.7, "ntp"), (9.8, "ntp"), (9.9, "ntp")]
    assert {clock for _, clock in seen(*frames, walls={0: 9.7, 1: 9.8, 2: 9.9}, believed="camera")} == {"camera"}
    assert {clock for _, clock in seen(*frames, walls={0: 9.7, 1: 9.8, 2: 9.9}, believed="arrival")} == {"arrival"}


def test_a_clock_that_nobody_has_set_is_told_and_not_believed() -> None:
    clock = StreamClock("auto", "arrival")
    for second in range(3):
        assert clock.next(at(second), float(second), at(second - 3600)).clock == "camera"
    assert clock.complaint == "its clock is -3600 s off, and is not believed; set it by NTP"


def test_frames_that_overtake_each_other_are_put_in_order() -> None:
    times = [seconds for seconds, _ in seen((10.0, None), (9.9, None), (9.95, None), (10.1, None))]
    assert times == pytest.approx([10, 10, 10, 10.1], abs=0.001)


def test_a_clock_that_was_set_back_is_followed() -> None:
    assert [seconds for seconds, _ in seen((3600, None), (0, None), (0.1, None))] == [3600, 0, 0.1]


def test_another_connection_has_other_stamps() -> None:
    clock = StreamClock("auto", "arrival")
    clock.next(at(0), 100.0, None)
    clock.reconnect()
    assert clock.next(at(60), 100.5, None).captured_at == at(60)


GAP = st.floats(0.001, 5)
STAMP = st.none() | st.floats(-1e9, 1e9) | st.floats(allow_nan=True, allow_infinity=True)
WALL = st.none() | st.floats(-20, 20)


@given(st.lists(st.tuples(GAP, STAMP, WALL), min_size=2, max_size=30))
def test_whatever_a_camera_tells_time_runs_forwards_and_stays_near(frames: list[tuple[float, float, float]]) -> None:
    clock = StreamClock("auto", "arrival")
    now, found = 0.0, []
    for gap, stamp, wall in frames:
        now += gap
        one = clock.next(at(now), stamp, None if wall is None else at(now + wall))
        found.append(one.captured_at)
        assert abs((one.captured_at - at(now)).total_seconds()) < 40
    back = [before - after for before, after in itertools.pairwise(found) if after <= before]
    assert all(step.total_seconds() > 2 for step in back), "back only as far as a clock is set"
