"""A camera that comes and goes: patience, status, newest frames first."""

import itertools
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from producers.sources import CapturedFrame, LiveOptions, SourceOptions, SourceStatus
from producers.sources.live import LiveSource
from producers.sources.picture import Picture
from schemas.errors import SettingsError, TransientError
from tests.unit.producers.scripted_source import START, plain

LOST = object()
QUICK = LiveOptions(backoff_first_s=0.01, backoff_max_s=0.05, backoff_jitter_s=0.0, stale_after_s=0.2)


class Camera:
    """Gives what a test puts in: an image, LOST for a broken connection, an exception for a refused one.

    An event is set when all before it has been handed over.
    """

    num_unreadable = 0

    def __init__(self) -> None:
        self.script: queue.Queue[object] = queue.Queue()
        self.num_connections = 0
        self.num_closed = 0
        self.statuses: queue.Queue[SourceStatus] = queue.Queue()

    def put(self, *entries: object) -> None:
        for entry in entries:
            self.script.put(entry)

    def connect(self) -> "Camera":
        self.num_connections += 1
        entry = self.script.get(timeout=20)
        if isinstance(entry, Exception):
            raise entry
        return self

    def read(self) -> Picture | None:
        entry = self.script.get(timeout=20)
        while isinstance(entry, threading.Event):
            entry.set()
            entry = self.script.get(timeout=20)
        if isinstance(entry, Exception):
            raise entry
        return None if entry is LOST else Picture.of(entry)  # type: ignore[arg-type]

    def close(self) -> None:
        self.num_closed += 1

    def source(self, live: LiveOptions = QUICK) -> LiveSource:
        options = SourceOptions(live=live, on_status=self.statuses.put, now=lambda: START)
        return LiveSource("camera", self.connect, options)

    def next_status(self) -> SourceStatus:
        return self.statuses.get(timeout=10)


OPENS = "opens"


def take(frames: Iterator[CapturedFrame], num: int) -> list[int]:
    return [int(next(frames).image[0, 0, 0]) for _ in range(num)]


def end(camera: Camera, source: LiveSource, frames: Iterator[CapturedFrame]) -> None:
    """Close, and let the capture thread out of the scripted camera."""
    source.close()
    camera.put(LOST, TransientError("over"))
    for _ in frames:
        pass


def test_frames_are_stamped_on_arrival() -> None:
    camera = Camera()
    camera.put(OPENS, plain(7))
    source = camera.source()
    frames = iter(source)
    frame = next(frames)
    assert (frame.captured_at, frame.clock, frame.image[0, 0, 0]) == (START, "arrival", 7)
    assert camera.next_status() == SourceStatus("online", "frames come in")
    assert source.is_live
    end(camera, source, frames)


def test_a_new_size_is_told_once_and_the_connection_stays(caplog) -> None:
    camera = Camera()
    large = plain(3).repeat(2, axis=1)
    camera.put(OPENS, plain(1), plain(2), large, large, plain(5))
    source = camera.source(LiveOptions(max_held_frames=10))
    frames = iter(source)
    shapes = [next(frames).image.shape for _ in range(5)]
    assert shapes == [plain(1).shape] * 2 + [large.shape] * 2 + [plain(1).shape]
    sizes = [f"{width} x {height}" for height, width, _ in (plain(1).shape, large.shape)]
    told = [record.getMessage() for record in caplog.records if "from now on" in record.getMessage()]
    assert told == [
        f"source camera: its pictures are {sizes[1]} from now on, they were {sizes[0]}",
        f"source camera: its pictures are {sizes[0]} from now on, they were {sizes[1]}",
    ]
    assert camera.num_connections == 1
    end(camera, source, frames)


def test_away_at_the_start_then_there(caplog) -> None:
    camera = Camera()
    camera.put(*[TransientError("refused")] * 4, OPENS, plain(1))
    source = camera.source()
    frames = iter(source)
    assert take(frames, 1) == [1]
    assert camera.num_connections == 5
    assert [camera.next_status().state for _ in range(2)] == ["offline", "online"]
    assert caplog.text.count("is offline: refused") == 1  # once per change, not once per try
    end(camera, source, frames)


def test_each_new_reason_is_told() -> None:
    camera = Camera()
    camera.put(TransientError("401"), TransientError("401"), TransientError("refused"), OPENS, plain(1))
    source = camera.source()
    frames = iter(source)
    take(frames, 1)
    assert [camera.next_status().reason for _ in range(3)] == ["401", "refused", "frames come in"]
    end(camera, source, frames)


def test_comes_back_after_a_loss() -> None:
    camera = Camera()
    camera.put(OPENS, plain(1), LOST, OPENS, plain(2), LOST, TransientError("away"), OPENS, plain(3))
    source = camera.source(LiveOptions(backoff_first_s=0.01, backoff_jitter_s=0.0, max_held_frames=10))
    frames = iter(source)
    assert take(frames, 3) == [1, 2, 3]
    states = [camera.next_status().state for _ in range(6)]
    assert states == ["online", "offline", "online", "offline", "offline", "online"]
    assert camera.num_closed == 2
    end(camera, source, frames)


def test_a_connection_without_frames_is_no_connection() -> None:
    camera = Camera()
    camera.put(OPENS, LOST, OPENS, plain(1))
    source = camera.source()
    frames = iter(source)
    take(frames, 1)
    assert "no frame came" in camera.next_status().reason
    assert camera.num_closed == 1
    end(camera, source, frames)


def test_a_slow_reader_gets_the_newest_frames() -> None:
    camera, handed_over = Camera(), threading.Event()
    source = camera.source()
    frames = iter(source)
    camera.put(OPENS, plain(0))
    take(frames, 1)
    camera.put(*[plain(value) for value in range(1, 11)], handed_over)
    assert handed_over.wait(10)
    assert take(frames, 2) == [9, 10]
    assert source.num_overrun == 8
    end(camera, source, frames)


def test_silence_is_stale_and_a_frame_ends_it() -> None:
    camera = Camera()
    camera.put(OPENS, plain(1))
    source = camera.source()
    frames = iter(source)
    take(frames, 1)
    assert camera.next_status().state == "online"
    got: list[list[int]] = []
    reader = threading.Thread(target=lambda: got.append(take(frames, 1)))
    reader.start()
    assert camera.next_status() == SourceStatus("stale", "no frame for more than 0.2 s")
    camera.put(plain(2))
    assert camera.next_status().state == "online"
    reader.join(10)
    assert got == [[2]]
    end(camera, source, frames)


def test_close_ends_a_waiting_reader_and_keeps_the_reason() -> None:
    camera = Camera()
    camera.put(TransientError("401 Unauthorized"))
    patient = LiveOptions(backoff_first_s=60, backoff_max_s=60)
    source = camera.source(patient)
    frames = iter(source)
    got: list[CapturedFrame | None] = []
    reader = threading.Thread(target=lambda: got.append(next(frames, None)))
    reader.start()
    assert camera.next_status().reason == "401 Unauthorized"
    source.close()
    reader.join(10)
    assert got == [None]
    assert source.status.reason == "401 Unauthorized"


def test_an_unforeseen_error_reaches_the_reader() -> None:
    camera = Camera()
    camera.put(OPENS, plain(1), MemoryError("no memory for a picture"))
    frames = iter(camera.source())
    take(frames, 1)
    with pytest.raises(MemoryError, match="no memory"):
        next(frames)


@pytest.mark.parametrize("fields", [{"stale_after_s": 0}, {"max_held_frames": 0}, {"backoff_jitter_s": -1}])
def test_wrong_options(fields: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="must be positive"):
        LiveOptions(**fields)


def test_a_call_that_never_returns_is_left_behind_and_the_camera_found_again() -> None:
    hanging, returned, calls = threading.Event(), threading.Event(), itertools.count()

    class Hangs:
        num_unreadable = 0

        def __init__(self, number: int) -> None:
            self.number = number

        def read(self) -> Picture | None:
            if self.number < 2:
                hanging.wait(30)
                return Picture.of(plain(99))  # too late: nobody may see it
            returned.wait(0.01)
            return Picture.of(plain(self.number))

        def close(self) -> None:
            pass

    statuses: queue.Queue[SourceStatus] = queue.Queue()
    live = LiveOptions(
        hung_after_s=0.2, stale_after_s=0.1, backoff_first_s=0.01, backoff_max_s=0.01, backoff_jitter_s=0
    )
    options = SourceOptions(live=live, on_status=statuses.put, now=lambda: START)
    source = LiveSource("camera", lambda: Hangs(next(calls)), options)
    frames = iter(source)
    assert take(frames, 3) == [2, 2, 2]
    assert "has hung for more than 0.2 s" in statuses.get(timeout=10).reason
    hanging.set()
    assert set(take(frames, 20)) == {2}
    source.close()
    for _ in frames:
        pass


def test_a_camera_whose_every_call_hangs_leaves_few_threads_and_stops_in_time() -> None:
    released = threading.Event()
    statuses: queue.Queue[SourceStatus] = queue.Queue()

    def connect() -> Camera:
        released.wait(60)
        raise TransientError("released")

    live = LiveOptions(hung_after_s=0.05, stale_after_s=0.05)
    source = LiveSource("stuck", connect, SourceOptions(live=live, on_status=statuses.put, now=lambda: START))
    got: list[CapturedFrame | None] = []
    reader = threading.Thread(target=lambda: got.append(next(iter(source), None)))
    reader.start()
    while "restart camera or producer" not in statuses.get(timeout=20).reason:
        pass
    assert sum(thread.name == "capture stuck" and thread.is_alive() for thread in threading.enumerate()) == 4
    source.close()
    reader.join(20)
    assert got == [None]
    released.set()
