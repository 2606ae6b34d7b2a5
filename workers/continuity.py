"""Whether a frame continues the one before. The one rule that window, smoothing, events and drafts all follow.

A camera that reconnects keeps its session and its index, so an index alone says nothing of the time between two
frames; a clip cut across a pause shows a jump that never happened. A frame continues the one before it if it is the
next of the same session, of the same size, and was captured after it, within a few frame times.
"""

from dataclasses import dataclass
from datetime import timedelta

from inference.sampling import longest_step
from schemas.messages import Count, FrameHeader, Id, UtcTime


@dataclass(frozen=True, slots=True)
class Position:
    """Where a frame stands in its camera's stream; ``width`` and ``height`` in pixels, as it was sent."""

    session_id: Id
    frame_index: Count
    captured_at: UtcTime
    width: Count
    height: Count
    fps: float


def position_of(header: FrameHeader) -> Position:
    """The position of the frame that ``header`` describes."""
    return Position(header.session_id, header.frame_index, header.captured_at, header.width, header.height, header.fps)


def follows(last: Position, frame: Position) -> bool:
    """Whether ``frame`` continues ``last``."""
    is_next = (frame.session_id, frame.frame_index) == (last.session_id, last.frame_index + 1)
    is_same_size = (frame.width, frame.height) == (last.width, last.height)
    step = frame.captured_at - last.captured_at
    return is_next and is_same_size and timedelta(0) <= step <= longest_step(frame.fps)
