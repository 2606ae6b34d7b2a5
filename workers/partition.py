"""The cameras of one claimed partition, and the first half of a frame's way: from arrival to a full window.

Records of a partition pass through here in log order, once. Afterwards each is either a clip to score, a warming frame,
an end of session, a dead letter, or skipped with a reason; nothing falls through.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from inference.formats import ClipFormat
from messaging.ports import Assigned, Claim, Progress
from schemas.arrays import UInt8
from schemas.errors import BadMessageError
from schemas.messages import FrameHeader
from workers.arrivals import Arrival
from workers.camera import Camera, CameraState, SkipReason, advanced, begins_session, restored, skip_reason
from workers.windows import Window, WindowFrame

DECODE_DEADLINE_S = 60.0
"""Longer than any image within the limits can take; a decoder that hangs must not hang the worker."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """What became of one arrival.

    Attributes:
        outcome: ``clip`` and ``warming`` lead to a score record, ``session_end`` may close an event, ``dead`` goes to
            the dead letters with ``error``, ``skipped`` is only counted, under ``skip``.
        clip_THWC: the window at this frame, for ``clip``.
    """

    arrival: Arrival
    camera: Camera | None
    outcome: Literal["clip", "warming", "session_end", "dead", "skipped"]
    clip_THWC: UInt8 | None = None
    error: BadMessageError | None = None
    skip: SkipReason | None = None


@dataclass(slots=True)
class Partition:
    """State of one claim; made at assignment, dropped when the claim ends."""

    claim: Claim
    next_offset: int
    clip_format: ClipFormat
    cameras: dict[str, Camera] = field(default_factory=dict)

    @classmethod
    def from_assignment(
        cls, assigned: Assigned, states: Mapping[str, CameraState], clip_format: ClipFormat, now_s: float
    ) -> "Partition":
        """A partition that goes on where its last owner stopped; its cameras count as seen just now."""
        partition = cls(assigned.claim, assigned.committed_offset, clip_format)
        for camera_id, state in states.items():
            partition.cameras[camera_id] = restored(camera_id, state, Window(clip_format), now_s)
        return partition

    def camera(self, camera_id: str) -> Camera:
        """The camera, new if it was never seen."""
        if camera_id not in self.cameras:
            self.cameras[camera_id] = Camera(camera_id, Window(self.clip_format))
        return self.cameras[camera_id]

    def progress(self) -> Progress:
        """How far everything admitted so far has come, and from where a next owner must read to refill the windows."""
        needed = [camera.window.needed_from() for camera in self.cameras.values()]
        oldest = min((offset for offset in needed if offset is not None), default=self.next_offset)
        return Progress(self.claim, self.next_offset, min(oldest, self.next_offset))

    def admit(self, arrival: Arrival, not_before: datetime | None, now_s: float) -> Admitted:
        """Take one record into its camera's window.

        Args:
            arrival: the record with its header and image.
            not_before: frames captured earlier are skipped as ``stale`` (None: take all).
            now_s: monotonic clock, for noticing cameras that fall silent.
        """
        delivery = arrival.delivery
        if delivery.is_replay:
            return self._refill(arrival)
        self.next_offset = delivery.record.offset + 1
        if arrival.header is None:
            return Admitted(arrival, None, "dead", error=arrival.error)
        camera = self.camera(arrival.header.camera_id)
        skip = skip_reason(camera.cursor, arrival.header)
        if skip is not None:
            return Admitted(arrival, camera, "skipped", skip=skip)
        camera.seen_at_s = now_s
        if begins_session(camera.cursor, arrival.header):
            camera.window.clear()
        camera.cursor = advanced(camera.cursor, arrival.header)
        if arrival.header.kind == "end_of_session":
            camera.window.clear()
            return Admitted(arrival, camera, "session_end")
        if not_before is not None and arrival.header.captured_at < not_before:
            return Admitted(arrival, camera, "skipped", skip="stale")
        return _into_window(camera, arrival.header, arrival)

    def _refill(self, arrival: Arrival) -> Admitted:
        """Rebuild a window from a record an earlier owner handled; no output, whatever is wrong was reported then."""
        if arrival.header is not None and arrival.header.kind == "frame":
            camera = self.camera(arrival.header.camera_id)
            cursor = camera.cursor
            if (cursor is None or cursor.session_id == arrival.header.session_id) and not _repeats(
                camera.window, arrival.header
            ):
                _into_window(camera, arrival.header, arrival)
        return Admitted(arrival, None, "skipped", skip="replayed")


def _repeats(window: Window, header: FrameHeader) -> bool:
    """Whether an earlier owner skipped this frame, since it came once more or too late."""
    return bool(window.frames) and header.frame_index <= window.frames[-1].frame_index


def _into_window(camera: Camera, header: FrameHeader, arrival: Arrival) -> Admitted:
    assert arrival.image is not None, "a frame that reached its window was sent to the decoder"
    try:
        image_HWC = arrival.image.result(timeout=DECODE_DEADLINE_S)
    except BadMessageError as error:
        return Admitted(arrival, camera, "dead", error=error)
    size = (header.width, header.height)
    offset = arrival.delivery.record.offset
    camera.window.push(WindowFrame(header.frame_index, header.captured_at, size, offset, image_HWC))
    clip_THWC = camera.window.clip()
    return Admitted(arrival, camera, "warming" if clip_THWC is None else "clip", clip_THWC)


def oldest_wanted(now: datetime, max_staleness_s: float | None) -> datetime | None:
    """Capture time below which live use skips a frame; None when every frame is wanted."""
    return None if max_staleness_s is None else now - timedelta(seconds=max_staleness_s)
