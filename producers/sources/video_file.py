"""A video file, whatever container and codec FFmpeg reads: on past damage, with the times that the container gives.

FFmpeg through PyAV: OpenCV's capture gives the same pictures bit by bit, but scales a film that changes its size to the
first one's and does not say so, and turns every picture into BGR, also those that are sampled out.
"""

import itertools
import logging
import math
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import av
from av.container import InputContainer

from inference.fit import FASTEST_FPS
from inference.sampling import FilmClock
from producers.sources.frame import CapturedFrame
from producers.sources.options import SourceOptions
from producers.sources.picture import Converter, Picture, has_time_stamps, set_threads
from producers.sources.recorded import RecordedSource
from schemas.errors import FatalError

logger = logging.getLogger(__name__)

_SAMPLE_FRAMES = 50
_MOST_HELD = 16
"""Pictures that a decoder holds back to bring them in order, at most: so much later damage shows."""
_MAX_FAULTS = 1000
"""Faults of the container in a row, without one packet between them, after which a film is at its end."""


class VideoFileSource(RecordedSource):
    """The frames of one file, from the first to the last that can be decoded; damaged ones between are passed over."""

    def __init__(self, path: Path, options: SourceOptions) -> None:
        """Look into the file at once, so that a wrong path is told before anything else starts.

        Raises:
            FatalError: no such file, not a video, or neither file nor options give a rate that can be.
        """
        self._path = path
        self._is_rate_given = options.fps is not None
        with closing(_open(path)) as film:
            self._has_stamps = has_time_stamps(film)
            native = _stated_rate(film)
            self._num_expected = _count(film, native)
            if not (self._has_stamps or self._is_rate_given or film.streams.video[0].codec_context.framerate):
                text = "%s: it says no frame rate, %g a second are taken for it; --source-fps gives the true one"
                logger.warning(text, path, native)
        self._native_fps = native if _can_be(native) or self._is_rate_given else _seen_rate(path, native)
        super().__init__(str(path), options.fps or self._native_fps, options)

    def _timed(self, start: datetime) -> Iterator[CapturedFrame]:
        clock = FilmClock(self.fps, self._is_rate_given)
        film = FilmClock(self._native_fps if _can_be(self._native_fps) else self.fps, is_rate_given=False)
        num_read, missed = 0, list[float]()
        with closing(_open(self._path)) as container:
            for picture, was_damaged in _in_order(_decoded(container)):
                pts_ms = 1000 * picture.stamp_s if picture.stamp_s is not None and self._has_stamps else math.nan
                (at_s, num_lost), (offset_s, _) = (one.next(pts_ms, was_damaged) for one in (clock, film))
                # Times of what is lost: spread over the hole.
                first_s = clock.previous_s
                missed += [first_s + (at_s - first_s) * (n + 1) / (num_lost + 1) for n in range(num_lost)]
                if self._closed.is_set():
                    return
                self.num_unreadable += len(missed)
                num_read += 1
                self._board.set("online", "being read")
                self._tell_size(picture.size)
                before = tuple(start + timedelta(seconds=second) for second in missed)
                yield CapturedFrame(picture.image, start + timedelta(seconds=at_s), "media", before, offset_s)
                missed.clear()
        self._check_end(num_read)

    def _check_end(self, num_read: int) -> None:
        if self._closed.is_set():
            return
        if num_read == 0:
            raise FatalError(f"a video must have at least one frame that can be decoded, '{self._path}' has none")
        if num_read < self._num_expected:
            # Containers often count wrongly by a frame or two, so this is told and is no error.
            text = "%s: read %d frames, the container says %d; %d damaged ones were passed over"
            logger.warning(text, self._path, num_read, self._num_expected, self.num_unreadable)


def _open(path: Path) -> InputContainer:
    """The film at its beginning.

    Raises:
        FatalError: no such file, or none with video.
    """
    if not path.is_file():
        raise FatalError(f"a video source must be an existing file, '{path}' is not; check the path")
    try:
        # Absolute, because FFmpeg takes what stands before a colon for a protocol.
        container = av.open(str(path.absolute()), metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        size = path.stat().st_size
        text = f"a video must be readable by FFmpeg, '{path}' ({size} bytes) is not; check or convert it"
        raise FatalError(text) from error
    if not any(video.codec_context for video in container.streams.video[:1]):
        container.close()
        raise FatalError(f"a video must hold pictures of a kind that FFmpeg knows, '{path}' does not")
    return container


def _in_order(pictures: Iterator[tuple[Picture, bool]]) -> Iterator[tuple[Picture, bool]]:
    """Each picture, and whether a hole before it is damage; without those that damage has brought out of order."""
    num_doubtful, last_s = 0, -math.inf
    for picture, was_damaged in pictures:
        num_doubtful = _MOST_HELD if was_damaged else max(0, num_doubtful - 1)
        at_s = picture.stamp_s
        if num_doubtful and at_s is not None and at_s < last_s:
            continue
        last_s = -math.inf if at_s is None else at_s
        yield picture, num_doubtful > 0


def _decoded(container: InputContainer) -> Iterator[tuple[Picture, bool]]:
    """Each picture, and whether there was damage since the one before."""
    video = container.streams.video[0]
    set_threads(video)
    converter, was_damaged, num_faults = Converter(), False, 0
    packets = container.demux(video)
    while num_faults < _MAX_FAULTS:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, ValueError):
            # Damage in the container itself; it goes on behind it when it is asked again.
            was_damaged, num_faults, packets = True, num_faults + 1, container.demux(video)
            continue
        if packet is None:
            return
        num_faults = 0
        try:
            frames = packet.decode()
        except (av.FFmpegError, ValueError):
            was_damaged = True
            continue
        for frame in frames:
            if frame.is_corrupt:
                was_damaged = True
                continue
            yield converter.picture(frame), was_damaged
            was_damaged = False


def _stated_rate(container: InputContainer) -> float:
    """What the container says, or where it has no time stamps the pictures, frames a second; 0 = nothing."""
    video = container.streams.video[0]
    in_pictures = None if has_time_stamps(container) else video.codec_context.framerate
    return float(in_pictures or video.average_rate or 0)


def _can_be(fps: float) -> bool:
    return math.isfinite(fps) and 0 < fps <= FASTEST_FPS


def _count(container: InputContainer, fps: float) -> int:
    """Frames that the film should have; 0 = not known."""
    video = container.streams.video[0]
    if video.frames > 0:
        return int(video.frames)
    seconds = (container.duration or 0) / av.time_base
    return int(seconds * fps + 0.5) if _can_be(fps) and 0 < seconds < 1e7 else 0


def _seen_rate(path: Path, stated: float) -> float:
    """The rate that the first time stamps show, where the container says one that cannot be.

    Raises:
        FatalError: they show none either.
    """
    with closing(_open(path)) as container:
        pictures = itertools.islice(_decoded(container), _SAMPLE_FRAMES)
        stamps = [picture.stamp_s for picture, _ in pictures if picture.stamp_s is not None]
    span_s = stamps[-1] - stamps[0] if len(stamps) > 1 else 0.0
    seen = (len(stamps) - 1) / span_s if span_s > 0 else 0.0
    if not _can_be(seen):
        raise FatalError(
            f"a video must state its frame rate, 0 to {FASTEST_FPS:g} a second, '{path}' says {stated:g}; "
            "give the true one with --source-fps (producer.source_fps)"
        )
    logger.warning("%s: the container says %g frames a second, its time stamps %.3g", path, stated, seen)
    return seen
