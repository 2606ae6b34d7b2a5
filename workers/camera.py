"""All that a worker knows of one camera, and the part of it that the next owner inherits.

The window of images is rebuilt from the log; ``CameraState`` travels through the compacted topic ``camera-states``, in
the same transaction as the scores it led to, so both always tell the same story.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from inference.scoring import Smoothing
from schemas.errors import BadMessageError
from schemas.messages import FrameHeader
from workers.proposals import Draft
from workers.tracker import Happening
from workers.windows import Window

SkipReason = Literal["duplicate", "old_session", "stale", "replayed"]

REMEMBERED_SESSIONS = 8


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a camera stands in its stream. ``closed_sessions`` are over; what still comes of them is skipped."""

    session_id: str
    last_frame: int
    fps: float
    closed_sessions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CameraState:
    """What the next owner of a camera must know besides the images."""

    cursor: Cursor
    smoothing: Smoothing | None = None
    happening: Happening | None = None
    schema_version: Literal[1] = 1


@dataclass(slots=True)
class Camera:
    """One camera under one claim."""

    camera_id: str
    window: Window
    cursor: Cursor | None = None
    smoothing: Smoothing | None = None
    happening: Happening | None = None
    draft: Draft | None = None
    seen_at_s: float = 0.0

    def state(self) -> CameraState | None:
        """What to hand on; None before the first frame."""
        if self.cursor is None:
            return None
        return CameraState(self.cursor, self.smoothing, self.happening)


def skip_reason(cursor: Cursor | None, header: FrameHeader) -> SkipReason | None:
    """Why a record must not be handled (again), if so. Frames come in order, so what is not new is a repeat."""
    if cursor is None:
        return None
    if header.session_id in cursor.closed_sessions:
        return "old_session"
    if header.session_id == cursor.session_id and header.frame_index <= cursor.last_frame:
        return "duplicate"
    return None


def advanced(cursor: Cursor | None, header: FrameHeader) -> Cursor:
    """The cursor after ``header``: a new session closes the one before, an end record closes its own."""
    closed = cursor.closed_sessions if cursor else ()
    if cursor and cursor.session_id != header.session_id and cursor.session_id not in closed:
        closed = (*closed, cursor.session_id)
    if header.kind == "end_of_session":
        closed = (*closed, header.session_id)
    return Cursor(header.session_id, header.frame_index, header.fps, closed[-REMEMBERED_SESSIONS:])


def begins_session(cursor: Cursor | None, header: FrameHeader) -> bool:
    """Whether ``header`` is the first of a session this camera was not in."""
    return cursor is not None and cursor.session_id != header.session_id


_STATE: TypeAdapter[CameraState] = TypeAdapter(CameraState)


def encode_state(state: CameraState) -> bytes:
    """JSON for the state topic."""
    return _STATE.dump_json(state)


def decode_states(payloads: Mapping[str, bytes]) -> tuple[Mapping[str, CameraState], Mapping[str, BadMessageError]]:
    """States by camera id, and what could not be read (an older or newer Engram wrote it): those cameras start anew."""
    states: dict[str, CameraState] = {}
    unreadable: dict[str, BadMessageError] = {}
    for camera_id, payload in payloads.items():
        try:
            states[camera_id] = _STATE.validate_json(payload)
        except ValidationError as error:
            text = f"state of camera '{camera_id}' cannot be read, it starts anew: {error.errors()[0]['msg']}"
            unreadable[camera_id] = BadMessageError("bad_state", text)
    return states, unreadable


def restored(camera_id: str, state: CameraState, window: Window, now_s: float) -> Camera:
    """The camera as its last owner left it, less the images."""
    return Camera(camera_id, window, state.cursor, state.smoothing, state.happening, seen_at_s=now_s)
