"""One picture as a file or camera gives it: in its own size, not yet turned into BGR, with the stamps it came with."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from producers.sources.frame import Image, as_bgr
from schemas.errors import BadMessageError


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a connection.

    Attributes:
        image: uint8 (H, W, 3) BGR, or what makes it; most pictures are sampled out and never made.
        size: (width, height) in pixels.
        stamp_s: when it is in its stream, from anywhere; None = the stream does not say.
        wall_at: when it was captured by the camera's clock, UTC; None = the camera does not say.
    """

    image: Image | Callable[[], Image]
    size: tuple[int, int]
    stamp_s: float | None = None
    wall_at: datetime | None = None

    @classmethod
    def of(cls, image: Image) -> "Picture":
        """An image without any stamp."""
        return cls(image, (image.shape[1], image.shape[0]))


class Converter:
    """Makes images of what FFmpeg decoded, for one reader; sets up its tables once for each size."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def picture(self, frame: av.VideoFrame, wall_at: datetime | None = None) -> Picture:
        """``frame``, upright as its film says, to be made into an image when somebody looks at it."""
        turns = round((frame.rotation or 0) / 90) % 4
        size = (frame.width, frame.height) if turns % 2 == 0 else (frame.height, frame.width)
        return Picture(lambda: self._bgr(frame, turns), size, frame.time, wall_at)

    def _bgr(self, frame: av.VideoFrame, turns: int) -> Image:
        """Raises BadMessageError: a kind of picture that cannot be converted."""
        try:
            image = as_bgr(self._reformatter.reformat(frame, format="bgr24").to_ndarray())
        except (av.FFmpegError, OSError, ValueError) as error:
            text = f"a picture must be of a kind that can be shown, {frame.format.name} is not"
            raise BadMessageError("unreadable", text) from error
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
