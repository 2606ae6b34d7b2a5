"""Films for browsers: MP4 with H.264, yuv420p, its index in front, so that it plays while it loads.

Dimensions: H, W pixels of a picture.
"""

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from schemas.errors import FatalError

Image = NDArray[np.uint8]

CONTENT_TYPE = "video/mp4"
TICKS = 90_000
"""A second, in the film's own time: the clock of MPEG, fine enough for any camera."""
CODEC = "libx264"
CRF = "23"
"""Quality of x264: its own default, lower is better."""
MAX_FPS = 240.0


class FilmWriter:
    """Writes one film; each picture stands as long as until the next one comes. Use it as a context.

    Args:
        path: the file; replaced if it is there. Made with the first picture.
        fps: pictures a second that are usual; says how long the last one stands.

    Raises:
        OSError: the disk is full, or the file cannot be written.
        FatalError: PyAV was built without an H.264 encoder.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self._path = path
        self._fps = min(max(fps, 0.1), MAX_FPS)
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._last = -1
        self.num_pictures = 0
        self.size = (0, 0)

    def add(self, picture: Image, at_s: float) -> None:
        """The next picture, uint8 (H, W, 3) BGR, at ``at_s`` seconds from the film's beginning.

        Sizes are even in this format, so that a picture of an odd one gets its last line twice; one of another size
        than the first is stretched to it. A time that is not later than the last one is taken as just after it.
        """
        stream = self._stream or self._begin(picture)
        width, height = self.size
        if picture.shape[1::-1] != (width, height):
            picture = _even(picture) if _even_size(picture) == self.size else _stretched(picture, width, height)
        self._last = max(self._last + 1, round(at_s * TICKS))
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="bgr24")
        frame.pts, frame.time_base = self._last, Fraction(1, TICKS)
        self._mux(stream, frame)
        self.num_pictures += 1

    def close(self) -> None:
        """End the film: what the encoder holds is written, and the index."""
        container, stream = self._container, self._stream
        self._container = self._stream = None
        if container is None:
            return
        try:
            if stream is not None:
                for packet in stream.encode(None):
                    container.mux(packet)
        finally:
            container.close()

    def __enter__(self) -> "FilmWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _begin(self, picture: Image) -> VideoStream:
        self._container = av.open(str(self._path), "w", format="mp4", options={"movflags": "+faststart"})
        self.size = _even_size(picture)
        try:
            stream = self._container.add_stream(CODEC, rate=Fraction(self._fps).limit_denominator(1001))
            assert isinstance(stream, VideoStream), "of a video codec"
        except ValueError as error:
            raise FatalError(f"films need the encoder {CODEC}, this PyAV has none; install PyAV from PyPI") from error
        stream.width, stream.height = self.size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        stream.options = {"crf": CRF, "preset": "veryfast", "profile": "main"}
        self._stream = stream
        return stream

    def _mux(self, stream: VideoStream, frame: av.VideoFrame) -> None:
        assert self._container is not None, "begun with the first picture"
        for packet in stream.encode(frame):
            self._container.mux(packet)


def _even_size(picture: Image) -> tuple[int, int]:
    height, width = picture.shape[:2]
    return width + width % 2, height + height % 2


def _even(picture: Image) -> Image:
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _stretched(picture: Image, width: int, height: int) -> Image:
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
