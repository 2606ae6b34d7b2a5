"""Which frames are taken, by their times."""

import itertools
from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from inference.sampling import Sampler

START = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)


def times(fps: float, seconds: float) -> list[datetime]:
    return [START + timedelta(seconds=i / fps) for i in range(round(fps * seconds))]


def sampled(fps: float | None, at: list[datetime]) -> list[datetime]:
    sampler = Sampler(fps)
    return [time for time in at if sampler.takes(time)]


def test_no_rate_takes_all() -> None:
    assert sampled(None, times(25, 2)) == times(25, 2)


def test_a_fraction_of_the_rate() -> None:
    assert sampled(10, times(30, 2)) == times(30, 2)[::3]


def test_an_odd_ratio_keeps_the_mean_rate() -> None:
    taken = sampled(10, times(25, 10))
    gaps = [b - a for a, b in itertools.pairwise(taken)]
    assert len(taken) == 100
    assert set(gaps) == {timedelta(seconds=0.08), timedelta(seconds=0.12)}


def test_a_slow_source_gives_all_it_has() -> None:
    assert sampled(10, times(4, 5)) == times(4, 5)


@given(st.lists(st.floats(-0.04, 0.04), min_size=50, max_size=80))
def test_jitter_at_the_same_rate_loses_nothing_much(jitter: list[float]) -> None:
    at = [START + timedelta(seconds=i / 10 + jitter[i]) for i in range(len(jitter))]
    assert len(sampled(10, at)) >= 0.85 * len(at)


@given(native=st.floats(1, 120), target=st.floats(0.5, 60), seconds=st.floats(1, 20))
def test_never_more_than_the_rate_and_never_much_less(native: float, target: float, seconds: float) -> None:
    at = times(native, seconds)
    taken = sampled(target, at)
    assert len(taken) <= seconds * target + 1.5
    assert len(taken) >= min(len(at), seconds * min(native, target) - 2)


def test_goes_on_at_once_after_a_pause_and_without_a_burst() -> None:
    pause = START + timedelta(hours=1)
    late = [pause + timedelta(seconds=i / 30) for i in range(60)]
    taken = sampled(10, times(30, 1) + late)
    assert taken[10] == pause
    assert len(taken) == 10 + 20


def test_goes_on_at_once_when_the_clock_was_set_back() -> None:
    early = [START - timedelta(hours=1) + timedelta(seconds=i / 30) for i in range(60)]
    assert len(sampled(10, times(30, 1) + early)) == 10 + 20


MS = timedelta(milliseconds=1)


def taken_at(fps: float, *at_ms: float) -> list[float]:
    """Which of these moments are taken."""
    sampler = Sampler(fps)
    return [moment for moment in at_ms if sampler.takes(START + moment * MS)]


def test_of_two_frames_as_near_to_their_time_the_earlier_is_taken() -> None:
    """Ten a second out of frames at 80 and 120 ms: both are 20 ms from 100, and the first comes first."""
    assert taken_at(10, 0, 40, 80, 120, 160) == [0, 80]
    assert taken_at(10, 0, 40, 79, 120, 160) == [0, 120], "79 is farther from 100 than 120 - half a step of 41"


def test_a_frame_that_comes_twice_is_taken_once() -> None:
    assert taken_at(10, 0, 0, 100, 100, 200) == [0, 100, 200]


def test_a_rhythm_that_is_late_by_one_interval_is_kept_and_by_more_begun_anew() -> None:
    """Due at 100: a frame at 200 is late by just one interval, so the next is due at 200 again; 210 sets a new time."""
    assert taken_at(10, 0, 200, 230, 300) == [0, 200, 230, 300]
    assert taken_at(10, 0, 210, 240, 300) == [0, 210, 300]


def test_a_clock_set_back_begins_a_new_rhythm_from_the_frame_itself() -> None:
    assert taken_at(10, 1000, 1010, 500, 550, 590, 600) == [1000, 500, 590]
