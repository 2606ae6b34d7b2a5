"""The cameras of one claimed partition, and the first half of a frame's way: from arrival to a full window.

Records of a partition pass through here in log order, once. Afterwards each is either a clip to score, a warming frame,
an end of session, a dead letter, or skipped with a reason; nothing falls through.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from inference.formats import ClipFormat
from messaging.ports import Assigned, Claim, Delivery, Lost, Progress
from schemas.arrays import UInt8
from schemas.errors import BadMessageError
from schemas.messages import EARLIEST, FrameHeader
from workers.arrivals import Arrival
from workers.camera import (
    Camera,
    CameraState,
    SkipReason,
    advanced,
    begins_session,
    has_passed,
    restored,
    revival_of,
    skip_reason,
)
from workers.continuity import follows, position_of
from workers.windows import Window, WindowFrame

DECODE_DEADLINE_S = 60.0
"""Longer than any image within the limits can take; a decoder that hangs must not hang the worker."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A frame with enough others before it to be scored.

    Attributes:
        clip_THWC: the window at this frame.
        continues: whether it continues the frame before, see ``workers.continuity``.
    """

    delivery: Delivery
    camera: Camera
    header: FrameHeader
    clip_THWC: UInt8
    continues: bool


@dataclass(frozen=True, slots=True)
class Warming:
    """A frame that fills a window, and has no score yet."""

    delivery: Delivery
    camera: Camera
    header: FrameHeader


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """The last record of a session."""

    delivery: Delivery
    camera: Camera
    header: FrameHeader


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record that must not be handled (again); it is counted, under its reason."""

    delivery: Delivery
    camera: Camera | None
    header: FrameHeader | None
    reason: SkipReason


@dataclass(frozen=True, slots=True)
class Dead:
    """A record for the dead letters. ``camera`` is known where its header could be read."""

    delivery: Delivery
    camera: Camera | None
    error: BadMessageError


Admitted = Clip | Warming | SessionEnd | Skipped | Dead
"""What became of one arrival."""


@dataclass(slots=True)
class Partition:
    """State of one claim; made at assignment, dropped when the claim ends.

    Attributes:
        handed_over_at: when it was; a state of then accounts for nothing that was captured later.
        replay_next: while a replay is handled, offset of the first of its records that was taken and not yet handled.
    """

    claim: Claim
    next_offset: int
    clip_format: ClipFormat
    handed_over_at: datetime = EARLIEST
    cameras: dict[str, Camera] = field(default_factory=dict)
    replay_next: int | None = None

    @classmethod
    def from_assignment(
        cls,
        assigned: Assigned,
        states: Mapping[str, CameraState],
        clip_format: ClipFormat,
        now_s: float,
        now: datetime = EARLIEST,
    ) -> "Partition":
        """A partition that goes on where its last owner stopped; its cameras count as seen just now.

        Args:
            assigned: the partition.
            states: of its cameras.
            clip_format: of the windows.
            now_s: monotonic clock.
            now: wall clock; matters where there are states.
        """
        partition = cls(assigned.claim, assigned.committed_offset, clip_format, now)
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
        oldest = min((offset for offset in (*needed, self.replay_next) if offset is not None), default=self.next_offset)
        return Progress(self.claim, self.next_offset, min(oldest, self.next_offset))

    def expect(self, delivery: Delivery) -> None:
        """A record was taken from the log, and is admitted later. A commit in between keeps it for a next owner."""
        if delivery.is_replay and self.replay_next is None:
            self.replay_next = delivery.record.offset

    def pass_over(self, lost: Lost) -> int:
        """Go on behind records that the log no longer has; how many of them nobody had handled."""
        end = lost.first_offset + lost.num_records
        num_unhandled = max(0, end - max(lost.first_offset, self.next_offset))
        self.next_offset = max(self.next_offset, end)
        return num_unhandled

    def admit(self, arrival: Arrival, not_before: datetime | None, now_s: float) -> Admitted:
        """Take one record into its camera's window.

        Args:
            arrival: the record with its header and image.
            not_before: frames captured earlier are skipped as ``stale`` (None: take all).
            now_s: monotonic clock, for noticing cameras that fall silent.
        """
        delivery, header = arrival.delivery, arrival.header
        if delivery.is_replay:
            self.replay_next = delivery.record.offset + 1
            return self._refill(arrival, now_s)
        self.next_offset, self.replay_next = delivery.record.offset + 1, None
        if header is None:
            assert arrival.error is not None, "an arrival has a header or an error"
            return Dead(delivery, None, arrival.error)
        camera = self.camera(header.camera_id)
        skip = skip_reason(camera.cursor, header, revival_of(camera, header.session_id))
        is_before = camera.offset is not None and delivery.record.offset <= camera.offset
        if is_before and (skip is not None or self._is_passed(camera, header)):
            # The state accounts for it. Both are written as one, but a broker that is killed may lose the position.
            return self._refill(arrival, now_s)
        camera.offset = delivery.record.offset
        if skip is not None:
            return Skipped(delivery, camera, header, skip)
        camera.seen_at_s, camera.is_silent = now_s, False
        camera.replayed.clear()
        camera.refill_from = None
        if begins_session(camera.cursor, header):
            camera.window.clear()
        camera.cursor = advanced(camera.cursor, header)
        if header.kind == "end_of_session":
            camera.window.clear()
            camera.last = None
            return SessionEnd(delivery, camera, header)
        if not_before is not None and header.captured_at < not_before:
            return Skipped(delivery, camera, header, "stale")
        return _into_window(camera, header, arrival)

    def _is_passed(self, camera: Camera, header: FrameHeader) -> bool:
        """Whether the cursor that was handed over has passed the frame, wherever clocks stood."""
        return header.captured_at <= self.handed_over_at and has_passed(camera.cursor, header)

    def _refill(self, arrival: Arrival, now_s: float) -> Skipped:
        """Rebuild a window from a record an earlier owner handled; no output, whatever is wrong was reported then."""
        header = arrival.header
        if header is not None and header.kind == "end_of_session":
            if header.camera_id in self.cameras:
                self.cameras[header.camera_id].replayed.discard(header.session_id)
        elif header is not None:
            is_new = header.camera_id not in self.cameras
            camera = self.camera(header.camera_id)
            camera.seen_at_s = now_s if is_new else camera.seen_at_s
            camera.replayed.add(header.session_id)
            if camera.was_in_window(header, arrival.delivery.record.offset):
                _push(camera.window, header, arrival)
        return Skipped(arrival.delivery, None, header, "replayed")


def _into_window(camera: Camera, header: FrameHeader, arrival: Arrival) -> Clip | Warming | Dead:
    error = _push(camera.window, header, arrival)
    if error is not None:
        return Dead(arrival.delivery, camera, error)
    before, camera.last = camera.last, position_of(header)
    clip_THWC = camera.window.clip()
    if clip_THWC is None:
        return Warming(arrival.delivery, camera, header)
    continues = before is not None and follows(before, camera.last)
    return Clip(arrival.delivery, camera, header, clip_THWC, continues)


def _push(window: Window, header: FrameHeader, arrival: Arrival) -> BadMessageError | None:
    """Put the frame into the window once it is decoded; what speaks against it, if anything."""
    assert arrival.image is not None, "a frame that reached its window was sent to the decoder"
    try:
        image_HWC = arrival.image.result(timeout=DECODE_DEADLINE_S)
    except BadMessageError as error:
        return error
    window.push(WindowFrame(position_of(header), arrival.delivery.record.offset, image_HWC))
    return None


def oldest_wanted(now: datetime, max_staleness_s: float | None) -> datetime | None:
    """Capture time below which live use skips a frame; None when every frame is wanted."""
    if max_staleness_s is None:
        return None
    return max(EARLIEST, now - timedelta(seconds=min(max_staleness_s, (now - EARLIEST).total_seconds())))
