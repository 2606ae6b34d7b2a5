"""A source whose frames a test writes down, and pictures to write down."""

import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone

import numpy as np

from producers.sources import CapturedFrame, Image, SourceStatus

START = datetime(2026, 1, 31, 8, 0, tzinfo=timezone.utc)


def plain(value: int = 90, width: int = 64, height: int = 48) -> Image:
    """An even picture."""
    return np.full((height, width, 3), value, np.uint8)


def noisy(width: int = 320, height: int = 240, seed: int = 0) -> Image:
    """A picture that compresses badly."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


class ScriptedSource:
    """Gives the images in order, ``1 / fps`` apart, then ends, or waits to be closed, or breaks."""

    num_overrun = 0
    num_unreadable = 0
    status = SourceStatus("online", "scripted")

    def __init__(
        self,
        images: Sequence[Image],
        fps: float | None = 10.0,
        is_live: bool = False,
        ends: bool = True,
        error: Exception | None = None,
        start: datetime = START,
    ) -> None:
        self._start = start
        self._images = images
        self.fps = fps
        self.is_live = is_live
        self._ends = ends
        self._error = error
        self.closed = threading.Event()
        self.exhausted = threading.Event()

    def __iter__(self) -> Iterator[CapturedFrame]:
        for index, image in enumerate(self._images):
            at = self._start + timedelta(seconds=index / (self.fps or 10.0))
            yield CapturedFrame(image, at, "arrival" if self.is_live else "media")
        self.exhausted.set()
        if self._error is not None:
            raise self._error
        if not self._ends:
            assert self.closed.wait(20)

    def describe(self) -> str:
        return "scripted"

    def close(self) -> None:
        self.closed.set()
