"""Sources with an end: their frames get times on the material's own timeline."""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime

from producers.sources.frame import CapturedFrame, Size, SourceStatus
from producers.sources.options import SourceOptions
from producers.sources.status import StatusBoard

logger = logging.getLogger(__name__)


class RecordedSource(ABC):
    """Base of file, folder and synthetic sources: clock ``media``."""

    is_live = False
    num_overrun = 0
    num_unreadable = 0

    def __init__(self, name: str, fps: float, options: SourceOptions) -> None:
        self._name = name
        self._fps = fps
        self._options = options
        self._closed = threading.Event()
        self._size: Size | None = None
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

    @abstractmethod
    def _timed(self, start: datetime) -> Iterator[CapturedFrame]:
        """The frames in order, the first of them captured at ``start``; ends early once ``_closed`` is set."""

    def _tell_size(self, now: Size) -> None:
        """Say it where a recording changes its size: what sees it begins anew there."""
        before, self._size = self._size, now
        if before is not None and before != now:
            text = "%s: its pictures are %d x %d from now on, they were %d x %d"
            logger.warning(text, self._name, *now, *before)
