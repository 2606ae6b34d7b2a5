"""Reading the frames of a source one by one, with a note wherever one cannot be read."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from schemas.arrays import UInt8
from training.footage.sources import Source

GREY_TOLERANCE = 2
"""Levels that the colours of one pixel may differ by in a grey video; lossy codecs do not give exact equality."""
WHOLE_VIDEO_SHARE = 0.98
"""Containers only estimate how many frames they hold; a video that ends before this share of them is cut off."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How many frames a second to keep.

    Attributes:
        fps: None = all of them.
        image_fps: rate of folders of images, which do not say it themselves.
    """

    fps: float | None = None
    image_fps: float = 10.0

    def of(self, source: Source) -> float:
        """Frames a second of the source."""
        if not source.is_video:
            return self.image_fps
        capture = cv2.VideoCapture(str(source.files[0]))
        try:
            return float(capture.get(cv2.CAP_PROP_FPS)) or self.image_fps
        finally:
            capture.release()

    def stride(self, own_fps: float) -> int:
        """One frame in this many is kept."""
        return 1 if self.fps is None else max(1, round(own_fps / self.fps))


@dataclass(frozen=True, slots=True)
class Hole:
    """Stands for one or more frames that cannot be read. ``what`` names them."""

    what: str


def read_frames(source: Source, stride: int = 1) -> Iterator[UInt8 | Hole]:
    """Every ``stride``-th frame, (H, W) or (H, W, 3) uint8 BGR, and a ``Hole`` for each that cannot be read."""
    if source.is_video:
        yield from _video_frames(source, stride)
        return
    for path in source.files[::stride]:
        image = cv2.imread(str(path), cv2.IMREAD_ANYCOLOR)
        yield Hole(f"'{path}'") if image is None else np.asarray(image, dtype=np.uint8)


def is_grey(source: Source) -> bool:
    """Whether the first frame that can be read has no colour; grey if there is none."""
    image = next((frame for frame in read_frames(source) if not isinstance(frame, Hole)), None)
    if image is None or image.ndim == 2:
        return True
    spread = image.max(axis=2).astype(np.int16) - image.min(axis=2)
    return bool(np.quantile(spread, 0.99) <= GREY_TOLERANCE)


def _video_frames(source: Source, stride: int) -> Iterator[UInt8 | Hole]:
    path = source.files[0]
    capture = cv2.VideoCapture(str(path))
    try:
        promised = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        index = 0
        while capture.grab():
            if index % stride == 0:
                ok, image = capture.retrieve()
                yield np.asarray(image, dtype=np.uint8) if ok else Hole(f"'{path}' frame {index}")
            index += 1
        if index == 0:
            yield Hole(f"'{path}'")
        elif index < WHOLE_VIDEO_SHARE * promised:
            yield Hole(f"'{path}' from frame {index} of {promised:.0f} on")
    finally:
        capture.release()
