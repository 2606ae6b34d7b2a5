"""A video file, whatever container and codec OpenCV reads: on past damage, with the times that the container gives."""

import logging
import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import cv2

from producers.sources.frame import CapturedFrame, Image, as_bgr
from producers.sources.options import SourceOptions
from producers.sources.recorded import RecordedSource
from schemas.errors import FatalError

logger = logging.getLogger(__name__)

_FASTEST_FPS = 240.0
"""A container that states more gives a time base, not a rate."""
_SAMPLE_FRAMES = 50
_MIN_TRIES, _MAX_TRIES = 32, 10_000
"""Calls without a frame before a film is at its end: as many as it still owes, within these."""
_LONGEST_STEP_S = 3600.0
"""A longer time between two frames is a damaged time stamp, no pause."""
_SHORTEST_STEP_S = 1e-6
"""A shorter one is lost in ``captured_at``, which counts microseconds: the stamp stands still."""


class VideoFileSource(RecordedSource):
    """The frames of one file, from the first to the last that can be decoded; damaged ones between are passed over."""

    def __init__(self, path: Path, options: SourceOptions) -> None:
        """Open the file at once, so that a wrong path is told before anything else starts.

        Raises:
            FatalError: no such file, not a video, or neither file nor options give a rate that can be.
        """
        self._path = path
        self._capture = _open(path)
        self._is_rate_given = options.fps is not None
        self._num_expected = _count(self._capture)
        super().__init__(str(path), options.fps or _rate(path, self._capture), options)

    def _timed(self, start: datetime) -> Iterator[CapturedFrame]:
        clock = FilmClock(self.fps, self._is_rate_given)
        num_read, missed = 0, list[float]()
        try:
            for image, pts_ms, was_damaged in self._decoded():
                at_s, num_lost = clock.next(pts_ms, was_damaged)
                # Times of what is lost: spread over the hole.
                first_s = clock.previous_s
                missed += [first_s + (at_s - first_s) * (n + 1) / (num_lost + 1) for n in range(num_lost)]
                if image is None:
                    missed.append(at_s)
                    continue
                if self._closed.is_set():
                    return
                self.num_unreadable += len(missed)
                num_read += 1
                self._board.set("online", "being read")
                before = tuple(start + timedelta(seconds=second) for second in missed)
                yield CapturedFrame(image, start + timedelta(seconds=at_s), "media", before)
                missed.clear()
        finally:
            self._capture.release()
        self.num_unreadable += len(missed)
        self._check_end(num_read)

    def _images(self) -> Iterator[Image]:
        """The images alone."""
        yield from (frame.image for frame in self._timed(self._options.now()))

    def _decoded(self) -> Iterator[tuple[Image | None, float, bool]]:
        """Image or None, its time stamp in milliseconds, and whether damage lies right before it."""
        num_tries, num_grabbed = 0, 0
        while not self._closed.is_set():
            # FFmpeg gives up at each damaged packet, and goes on behind it when it is asked again.
            if not self._capture.grab():
                num_tries += 1
                owed = self._num_expected - num_grabbed
                if num_tries > min(max(owed, _MIN_TRIES), _MAX_TRIES):
                    return
                continue
            found, image = self._capture.retrieve()
            yield as_bgr(image) if found else None, self._capture.get(cv2.CAP_PROP_POS_MSEC), num_tries > 0
            num_tries, num_grabbed = 0, num_grabbed + 1

    def _check_end(self, num_read: int) -> None:
        if self._closed.is_set():
            return
        if num_read == 0:
            raise FatalError(f"a video must have at least one frame that can be decoded, '{self._path}' has none")
        if num_read < self._num_expected:
            # Containers often count wrongly by a frame or two, so this is told and is no error.
            text = "%s: read %d frames, the container says %d; %d damaged ones were passed over"
            logger.warning(text, self._path, num_read, self._num_expected, self.num_unreadable)


class FilmClock:
    """Seconds from the first frame on: as the container stamps them, as long as its stamps run forwards.

    A stamp that does not is replaced by one step of the frame rate, and what follows is counted from there.
    """

    def __init__(self, fps: float, is_rate_given: bool) -> None:
        """``is_rate_given``: somebody said the rate, so that stamps are not looked at."""
        self._step_s = 1 / fps
        self._is_rate_given = is_rate_given
        self._last_ms = math.nan
        self._has_begun = False
        self._now_s = 0.0
        self._index = 0
        self.previous_s = 0.0

    def next(self, pts_ms: float, was_damaged: bool) -> tuple[float, int]:
        """Time of the next frame, and how many before it were lost, which is known only where there was damage."""
        self.previous_s = self._now_s
        last_ms, self._last_ms = self._last_ms, pts_ms if math.isfinite(pts_ms) else self._last_ms
        if not self._has_begun:
            self._has_begun = True
            return self._now_s, 0
        step_s = (pts_ms - last_ms) / 1000
        runs = math.isfinite(step_s) and _SHORTEST_STEP_S <= step_s <= _LONGEST_STEP_S
        num_lost = max(0, round(step_s / self._step_s) - 1) if runs and was_damaged else 0
        if self._is_rate_given:
            self._index += 1 + num_lost
            self._now_s = self._index * self._step_s
        else:
            self._now_s += step_s if runs else self._step_s
        return self._now_s, num_lost


def _open(path: Path) -> cv2.VideoCapture:
    if not path.is_file():
        raise FatalError(f"a video source must be an existing file, '{path}' is not; check the path")
    # Absolute, because FFmpeg takes what stands before a colon for a protocol.
    capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        size = path.stat().st_size
        raise FatalError(f"a video must be readable by FFmpeg, '{path}' ({size} bytes) is not; check or convert it")
    return capture


def _count(capture: cv2.VideoCapture) -> int:
    number = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(number) if math.isfinite(number) and 0 < number < 1e9 else 0


def _rate(path: Path, capture: cv2.VideoCapture) -> float:
    """The container's rate, or, if it can be none, the one its first time stamps show."""
    native = float(capture.get(cv2.CAP_PROP_FPS))
    if math.isfinite(native) and 0 < native <= _FASTEST_FPS:
        return native
    seen = _seen_rate(path)
    if seen is None or seen > _FASTEST_FPS:
        raise FatalError(
            f"a video must state its frame rate, 0 to {_FASTEST_FPS:g} a second, '{path}' says {native:g}; "
            "give the true one with --source-fps (producer.source_fps)"
        )
    logger.warning("%s: the container says %g frames a second, its time stamps %.3g", path, native, seen)
    return seen


def _seen_rate(path: Path) -> float | None:
    capture = _open(path)
    stamps: list[float] = []
    while len(stamps) < _SAMPLE_FRAMES and capture.grab():
        stamps.append(float(capture.get(cv2.CAP_PROP_POS_MSEC)))
    capture.release()
    span_s = (stamps[-1] - stamps[0]) / 1000 if len(stamps) > 1 else 0.0
    return (len(stamps) - 1) / span_s if math.isfinite(span_s) and span_s > 0 else None
