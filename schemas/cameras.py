"""What is told of cameras, beside their frames: how each fares, what of it is lost, what became of its view.

``CameraStatus`` is the newest word on a camera (topic ``camera-status``, compacted, key = camera). What happened to it
once is an event in a CloudEvents envelope on ``camera-events``: ``CameraGapEvent``, ``CameraViewEvent``.
"""

from typing import Annotated, Literal

from pydantic import Field

from schemas.envelope import Envelope
from schemas.messages import Count, Growing, Id, Message, UtcTime, ViewState

CameraState = Annotated[Literal["online", "stale", "offline", "waiting"], Growing()]
"""online: frames come; stale: connected, but no frame for a while; offline: not connected, or at its end; waiting:
another producer sends a camera of this name, and was first."""

Cause = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class Loss(Message):
    """Frames of one session that were lost by one cause so far."""

    cause: Cause
    num_frames: Count


class FrameTally(Message):
    """``captured + recovered == sent + in_flight + spooled + sampled_out + sum of dropped``, of one session so far."""

    captured: Count
    sent: Count
    late: Count = Field(description="those of sent that had been kept on disk")
    in_flight: Count
    spooled: Count = Field(description="on disk, not sent yet")
    recovered: Count = Field(description="found on disk at the start, from an earlier run")
    sampled_out: Count
    dropped: tuple[Loss, ...] = Field(description="each cause once")
    sent_bytes: Count


class CameraStatus(Message):
    """How one camera fares; written at each change and every ``heartbeat_s`` at least, while its producer lives."""

    schema_version: Literal[1] = 1
    camera_id: Id
    session_id: Id
    state: CameraState
    since: UtcTime = Field(description="when it came into this state")
    why: str = Field(max_length=500)
    view: ViewState
    view_since: UtcTime
    fps: float | None = Field(
        ge=0, description="frames a second, measured since the last word; none = too early to say"
    )
    wanted_fps: float = Field(gt=0)
    frames: FrameTally
    started_at: UtcTime = Field(description="when the session began; of two senders the earlier one is in the right")
    rival: Id | None = Field(description="session of another producer that sends this camera too, if one does")
    producer: str = Field(max_length=128, description="machine/process")
    software: str
    reported_at: UtcTime
    heartbeat_s: float = Field(gt=0, description="a producer that was silent for three of these is gone")


class CameraGap(Message):
    """Frames of one session that are lost for good. Those between ``first`` and ``last`` need not all be lost."""

    schema_version: Literal[1] = 1
    camera_id: Id
    session_id: Id
    first_frame: Count
    last_frame: Count
    first_at: UtcTime = Field(description="capture time")
    last_at: UtcTime
    cause: Cause
    num_frames: int = Field(ge=1, description="how many of them are lost")


class CameraView(Message):
    """What became of a camera's picture. ``scene``: the whole of it changed at once (day to infrared), no tampering."""

    schema_version: Literal[1] = 1
    camera_id: Id
    session_id: Id
    kind: Literal["tamper", "stale", "scene"]
    phase: Literal["start", "end"]
    view: ViewState
    why: str = Field(max_length=500)
    frame_index: Count = Field(description="the frame by which it was seen")
    captured_at: UtcTime
    started_at: UtcTime = Field(description="capture time of the first frame that was so")


class CameraGapEvent(Envelope):
    """Frames are lost for good."""

    subject: Id
    type: Literal["dev.engram.camera.gap.v1"] = "dev.engram.camera.gap.v1"
    dataschema: str = "urn:engram:schema:camera-gap:1"
    data: CameraGap


class CameraViewEvent(Envelope):
    """The picture is no longer what it should be, or is again."""

    subject: Id
    type: Literal["dev.engram.camera.tamper.v1", "dev.engram.camera.stale.v1", "dev.engram.camera.scene.v1"]
    dataschema: str = "urn:engram:schema:camera-view:1"
    data: CameraView


CameraEvent = CameraGapEvent | CameraViewEvent


def gap_event(gap: CameraGap) -> CameraGapEvent:
    """In its envelope; the same gap gives the same id."""
    return CameraGapEvent(
        id=f"{gap.camera_id}:{gap.session_id}:gap:{gap.cause}:{gap.first_frame}-{gap.last_frame}",
        source=f"/engram/{gap.camera_id}",
        subject=gap.camera_id,
        time=gap.last_at,
        partitionkey=gap.camera_id,
        data=gap,
    )


def view_event(view: CameraView) -> CameraViewEvent:
    """In its envelope; the same change gives the same id."""
    return CameraViewEvent(
        type=_TYPES[view.kind],
        id=f"{view.camera_id}:{view.session_id}:{view.kind}:{view.view}:{view.phase}:{view.frame_index}",
        source=f"/engram/{view.camera_id}",
        subject=view.camera_id,
        time=view.captured_at,
        partitionkey=view.camera_id,
        data=view,
    )


_TYPES: dict[
    Literal["tamper", "stale", "scene"],
    Literal["dev.engram.camera.tamper.v1", "dev.engram.camera.stale.v1", "dev.engram.camera.scene.v1"],
] = {
    "tamper": "dev.engram.camera.tamper.v1",
    "stale": "dev.engram.camera.stale.v1",
    "scene": "dev.engram.camera.scene.v1",
}
