"""Sources with an end: their frames get times on the material's own timeline."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime, timedelta

from producers.sources.frame import CapturedFrame, Image, SourceStatus
from producers.sources.options import SourceOptions
from producers.sources.status import StatusBoard


class RecordedSource(ABC):
    """Base of file, folder and synthetic sources: captured_at = start + index / fps, clock ``media``."""

    is_live = False
    num_overrun = 0
    num_unreadable = 0

    def __init__(self, name: str, fps: float, options: SourceOptions) -> None:
        self._name = name
        self._fps = fps
        self._options = options
        self._closed = threading.Event()
        self._board = StatusBoard(name, options.on_status)

    @property
    def fps(self) -> float:
        """Frames a second of the material."""
        return self._fps

    @property
    def status(self) -> SourceStatus:
        """Online while being read."""
        return self._board.status

    def describe(self) -> str:
        """Name for logs."""
        return self._name

    def close(self) -> None:
        """End the iteration before its next frame."""
        self._closed.set()

    def __iter__(self) -> Iterator[CapturedFrame]:
        """The frames, on the material's timeline."""
        start = self._options.start or self._options.now()
        try:
            yield from self._timed(start)
        finally:
            self._board.finish("closed" if self._closed.is_set() else "end of the material")

    def _timed(self, start: datetime) -> Iterator[CapturedFrame]:
        for index, image in enumerate(self._images()):
            if self._closed.is_set():
                return
            self._board.set("online", "being read")
            offset_s = index / self._fps
            yield CapturedFrame(image, start + timedelta(seconds=offset_s), "media", offset_s=offset_s)

    @abstractmethod
    def _images(self) -> Iterator[Image]:
        """The images in order."""
