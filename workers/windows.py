"""The last frames of one camera, from which clips are cut.

A clip is only ever made of frames with consecutive indices of one session and one size: after a gap, a size change or a
frame that could not be decoded the window fills anew, and the frames meanwhile are *warming*.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class WindowFrame:
    """One decoded frame at model size, (H, W, C) uint8, and where it stands in the log."""

    frame_index: int
    captured_at: datetime
    source_size: tuple[int, int]
    offset: int
    image_HWC: UInt8


@dataclass(slots=True)
class Window:
    """Up to ``clip_length`` consecutive frames of one session, oldest first."""

    clip_length: int
    frames: deque[WindowFrame] = field(init=False)

    def __post_init__(self) -> None:
        self.frames = deque(maxlen=self.clip_length)

    def push(self, frame: WindowFrame) -> None:
        """Append; start over with this frame if it does not continue the ones before."""
        if self.frames and not _continues(self.frames[-1], frame):
            self.frames.clear()
        self.frames.append(frame)

    def clear(self) -> None:
        """Forget everything."""
        self.frames.clear()

    def clip(self) -> UInt8 | None:
        """Frames as (T, H, W, C), or None while warming. A copy: the window may move on while the clip is in flight."""
        if len(self.frames) < self.clip_length:
            return None
        return np.stack([frame.image_HWC for frame in self.frames])

    def needed_from(self) -> int | None:
        """Log offset of the oldest frame that the next clip will need; None if it needs none of these."""
        keep = self.clip_length - 1
        if not self.frames or keep == 0:
            return None
        return self.frames[max(0, len(self.frames) - keep)].offset


def _continues(last: WindowFrame, frame: WindowFrame) -> bool:
    return frame.frame_index == last.frame_index + 1 and frame.source_size == last.source_size
