"""Playing at the film's own pace, and how many frames a session sends."""

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest

from producers.pacing import Metronome, PacingOptions, session_fps
from schemas.errors import SettingsError
from tests.unit.producers.scripted_source import START, ScriptedSource, plain


def times(fps: float, seconds: float) -> list[datetime]:
    return [START + timedelta(seconds=i / fps) for i in range(round(fps * seconds))]


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


def test_a_wait_is_never_longer_than_an_hour() -> None:
    clock = Clock()
    metronome = Metronome(lambda: clock.now_s, clock.stopping)
    metronome.wait_for(START)
    metronome.wait_for(START + timedelta(days=400))
    assert clock.waits == [3600.0], "a damaged time stamp must not stop a camera for a year"
