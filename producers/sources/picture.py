"""One picture as a file or camera gives it: in its own size, not yet turned into BGR, with the stamps it came with."""

from dataclasses import dataclass
from datetime import datetime

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from producers.shrinking import num_halvings
from producers.sources.frame import Image, Maker, Size, as_bgr
from schemas.errors import BadMessageError

_NO_TIME_STAMPS = 0x80
"""FFmpeg's AVFMT_NOTIMESTAMPS."""
_ONE_THREAD_PX = 1920 * 1088
"""Pictures up to this size are decoded in the thread that reads them."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a connection.

    Attributes:
        image: uint8 (H, W, 3) BGR, or what makes it; most pictures are sampled out and never made.
        size: (width, height) in pixels.
        stamp_s: when it is in its stream, from anywhere; None = the stream does not say.
        wall_at: when it was captured by the camera's clock, UTC; None = the camera does not say.
    """

    image: Image | Maker
    size: Size
    stamp_s: float | None = None
    wall_at: datetime | None = None

    @classmethod
    def of(cls, image: Image) -> "Picture":
        """An image without any stamp."""
        return cls(image, (image.shape[1], image.shape[0]))


def has_time_stamps(container: InputContainer) -> bool:
    """Whether there are any. In a bare row of pictures (``.h264``, MJPEG) there are none, and FFmpeg makes some up."""
    return not int(container.format.flags) & _NO_TIME_STAMPS


def set_threads(video: VideoStream) -> None:
    """Let a box with slow cores keep up with large pictures; small ones cost a tenth less without a second thread.

    Each further thread would hold back one more picture.
    """
    pixels = video.width * video.height
    video.thread_type = "AUTO"
    video.codec_context.thread_count = 1 if 0 < pixels <= _ONE_THREAD_PX else 2


class Converter:
    """Makes images of what FFmpeg decoded, for one reader; sets up its tables once for each size."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def picture(self, frame: av.VideoFrame, wall_at: datetime | None = None) -> Picture:
        """``frame``, upright as its film says, to be made into an image when somebody looks at it."""
        turns = round((frame.rotation or 0) / 90) % 4
        size = (frame.width, frame.height) if turns % 2 == 0 else (frame.height, frame.width)

        def made(wanted: Size | None) -> Image:
            return self._bgr(frame, turns, 0 if wanted is None else num_halvings(size, wanted))

        return Picture(made, size, frame.time, wall_at)

    def _bgr(self, frame: av.VideoFrame, turns: int, halvings: int) -> Image:
        """Upright, its sides halved so many times.

        Raises:
            BadMessageError: a kind of picture that cannot be converted.
        """
        size = (frame.width >> halvings, frame.height >> halvings)
        # Told of a way to scale, FFmpeg takes another one to the colours as well, also where there is nothing to scale.
        way = Interpolation.AREA if halvings else None
        try:
            image = as_bgr(
                self._reformatter.reformat(frame, *size, format="bgr24", interpolation=way, threads=1).to_ndarray()
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            text = f"a picture must be of a kind that can be shown, {frame.format.name} is not"
            raise BadMessageError("unreadable", text) from error
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
