"""When a worker that keeps in step with its memory looks at it anew: by the frames' time, not by the clock."""

import math

from schemas.messages import FrameHeader

STEP_S = 1.0
"""Of capture time; about as often as a worker that does not keep in step looks."""


class Steps:
    """Where each camera is. A step begins at each whole multiple of ``STEP_S`` since 1970."""

    def __init__(self) -> None:
        self._now: dict[str, int] = {}

    def begins(self, header: FrameHeader) -> bool:
        """Whether a frame is the first of a step, of its camera."""
        step = math.floor(header.captured_at.timestamp() / STEP_S)
        before, self._now[header.camera_id] = self._now.get(header.camera_id), step
        return step != before
