"""A video file, whatever container and codec OpenCV reads."""

import logging
import math
from collections.abc import Iterator
from pathlib import Path

import cv2

from producers.sources.frame import Image, as_bgr
from producers.sources.options import SourceOptions
from producers.sources.recorded import RecordedSource
from schemas.errors import FatalError

logger = logging.getLogger(__name__)


class VideoFileSource(RecordedSource):
    """The frames of one file, from the first to the last that can be decoded."""

    def __init__(self, path: Path, options: SourceOptions) -> None:
        """Open the file at once, so that a wrong path is told before anything else starts.

        Raises:
            FatalError: no such file, not a video, or neither the file nor the options say its rate.
        """
        self._path = path
        self._capture = _open(path)
        native = self._capture.get(cv2.CAP_PROP_FPS)
        fps = options.fps or (native if math.isfinite(native) and 0 < native <= 1000 else None)
        if fps is None:
            raise FatalError(f"a video must state its frame rate, '{path}' says {native}; give fps")
        self._num_expected = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        super().__init__(str(path), fps, options)

    def _images(self) -> Iterator[Image]:
        index = 0
        try:
            while not self._closed.is_set():
                found, image = self._capture.read()
                if not found:
                    break
                yield as_bgr(image)
                index += 1
        finally:
            self._capture.release()
        self._check_end(index)

    def _check_end(self, num_read: int) -> None:
        if num_read == 0 and not self._closed.is_set():
            raise FatalError(f"a video must have at least one frame that can be decoded, '{self._path}' has none")
        if num_read < self._num_expected and not self._closed.is_set():
            # Containers often count wrongly by a frame or two, so this is told and is no error.
            logger.warning("%s: read %d frames, the container says %d", self._path, num_read, self._num_expected)


def _open(path: Path) -> cv2.VideoCapture:
    if not path.is_file():
        raise FatalError(f"a video source must be an existing file, '{path}' is not; check the path")
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        size = path.stat().st_size
        raise FatalError(f"a video must be readable by FFmpeg, '{path}' ({size} bytes) is not; check or convert it")
    return capture
