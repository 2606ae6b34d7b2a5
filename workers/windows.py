"""The last frames of one camera, from which clips are cut.

A clip is only ever made of frames of which each continues the one before (``workers.continuity``): after a gap, a
pause, a size change or a frame that could not be decoded the window fills anew; the frames meanwhile are *warming*.
"""

from collections import deque
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from inference.formats import ClipFormat
from schemas.arrays import UInt8
from workers.continuity import Position, follows


@dataclass(frozen=True, slots=True)
class WindowFrame:
    """One decoded frame at model size, (H, W, C) uint8, and where it stands in its stream and in the log."""

    position: Position
    offset: int
    image_HWC: UInt8


@dataclass(slots=True)
class Window:
    """The consecutive frames of one session that a clip is cut from, oldest first."""

    format: ClipFormat
    frames: deque[WindowFrame] = field(init=False)

    def __post_init__(self) -> None:
        self.frames = deque(maxlen=self.format.span)

    def push(self, frame: WindowFrame) -> None:
        """Append; start over with this frame if it does not continue the ones before."""
        if self.frames and not follows(self.frames[-1].position, frame.position):
            self.frames.clear()
        self.frames.append(frame)

    def clear(self) -> None:
        """Forget everything."""
        self.frames.clear()

    def clip(self) -> UInt8 | None:
        """Frames as (T, H, W, C), or None while warming. A copy: the window may move on while the clip is in flight."""
        if len(self.frames) < self.format.span:
            return None
        return np.array([frame.image_HWC for frame in islice(self.frames, 0, None, self.format.stride)], np.uint8)

    def needed_from(self) -> int | None:
        """Log offset of the oldest frame that the next clip will need; None if it needs none of these."""
        keep = self.format.span - 1
        if not self.frames or keep == 0:
            return None
        return self.frames[max(0, len(self.frames) - keep)].offset
