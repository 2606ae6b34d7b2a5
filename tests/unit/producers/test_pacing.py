"""Sampling by capture time, and playing at the film's own pace."""

import itertools
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.pacing import Metronome, PacingOptions, Sampler, session_fps
from schemas.errors import SettingsError
from tests.unit.producers.scripted_source import START, ScriptedSource, plain


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


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.waits: list[float] = []
        self.stopping = threading.Event()
        self.stopping.wait = self._wait  # type: ignore[method-assign]

    def _wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        self.now_s += timeout or 0.0
        return False


def test_plays_at_the_pace_of_the_film() -> None:
    clock = Clock()
    metronome = Metronome(lambda: clock.now_s, clock.stopping)
    for at in times(10, 1):
        metronome.wait_for(at)
    assert clock.waits == pytest.approx([0.1] * 9)


def test_a_late_frame_passes_at_once_and_the_pace_is_caught_up() -> None:
    clock = Clock()
    metronome = Metronome(lambda: clock.now_s, clock.stopping)
    first, second, third, *_ = times(10, 1)
    metronome.wait_for(first)
    clock.now_s += 0.15
    metronome.wait_for(second)
    assert clock.waits == []
    metronome.wait_for(third)
    assert clock.waits == pytest.approx([0.05])


def test_stopping_ends_the_wait() -> None:
    stopping = threading.Event()
    stopping.set()
    metronome = Metronome(lambda: 0.0, stopping)
    metronome.wait_for(START)
    metronome.wait_for(START + timedelta(hours=3))  # would outlast the test's own time-out


def test_rate_of_a_session() -> None:
    assert session_fps(PacingOptions(fps=5), ScriptedSource([plain()], fps=25)) == 5
    assert session_fps(PacingOptions(fps=50), ScriptedSource([plain()], fps=25)) == 25
    assert session_fps(PacingOptions(), ScriptedSource([plain()], fps=25)) == 25
    assert session_fps(PacingOptions(fps=5), ScriptedSource([plain()], fps=None)) == 5


def test_a_session_without_any_rate_is_refused() -> None:
    with pytest.raises(SettingsError, match="fps must be set"):
        session_fps(PacingOptions(), ScriptedSource([plain()], fps=None))


@pytest.mark.parametrize("fields", [{"fps": 0.0}, {"fps": 1001.0}, {"num_frames": 0}])
def test_wrong_options(fields: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="must"):
        PacingOptions(**fields)


@pytest.mark.parametrize("fields", [{"fps": 0.001}, {"fps": 1000.0}, {"num_frames": 1}, {}])
def test_options_at_their_bounds(fields: dict[str, Any]) -> None:
    assert PacingOptions(**fields) == PacingOptions(**fields)


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


def test_a_wait_is_never_longer_than_an_hour() -> None:
    clock = Clock()
    metronome = Metronome(lambda: clock.now_s, clock.stopping)
    metronome.wait_for(START)
    metronome.wait_for(START + timedelta(days=400))
    assert clock.waits == [3600.0], "a damaged time stamp must not stop a camera for a year"
