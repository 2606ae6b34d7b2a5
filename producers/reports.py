"""What a producer tells others of its cameras: the retained status of each, gaps, and what became of their views.

Best effort by nature, for it goes the same way as the frames: what cannot be published now waits, bounded.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from messaging.ports import OutRecord
from producers.counters import FrameCounts
from producers.gaps import GapBook
from producers.outlet import Outlet
from schemas.cameras import (
    CameraGap,
    CameraState,
    CameraStatus,
    CameraView,
    CameraViewEvent,
    FrameTally,
    Loss,
    gap_event,
    view_event,
)
from schemas.codec import EVENT_HEADERS, encode_message
from schemas.errors import EngramError, TransientError
from schemas.messages import ViewState
from schemas.version import software_version

logger = logging.getLogger(__name__)

_AFTER_REFUSAL_S = 60.0
_MOST_EVENTS = 1000
_MOST_WHY = 500
_SHORTEST_MEASURE_S = 5.0


def tally_of(counts: FrameCounts) -> FrameTally:
    """The counts of a session as they are told."""
    return FrameTally(
        captured=counts.captured,
        sent=counts.sent,
        late=counts.late,
        in_flight=counts.in_flight,
        spooled=counts.spooled,
        recovered=counts.recovered,
        sampled_out=counts.sampled_out,
        dropped=tuple(Loss(cause=cause, num_frames=number) for cause, number in sorted(counts.dropped.items())),
        sent_bytes=counts.sent_bytes,
    )


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """Where statuses and events go, and who says them.

    Attributes:
        status_topic: compacted, key = camera.
        event_topic: gaps and views.
        producer: ``machine/process``.
        heartbeat_s: longest time between two statuses of a camera.
    """

    status_topic: str
    event_topic: str
    producer: str
    heartbeat_s: float = 15.0


@dataclass(frozen=True, slots=True)
class CameraReport:
    """How one camera fares at one moment."""

    camera_id: str
    session_id: str
    started_at: datetime
    state: CameraState
    why: str
    view: ViewState
    view_since: datetime
    rival: str | None
    num_taken: int  # frames that were to be sent so far
    wanted_fps: float
    counts: FrameCounts


@dataclass(slots=True)
class _Told:
    """What was said of a camera last."""

    key: tuple[object, ...] = ()
    state: CameraState | None = None
    since: datetime | None = None
    at_s: float = 0.0
    num_taken: int = 0
    measured_s: float = 0.0
    fps: float | None = None


class Reports:
    """Tells of cameras; ``tick`` from one thread, ``add`` from any."""

    def __init__(
        self,
        outlet: Outlet,
        gaps: GapBook,
        options: ReportOptions,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outlet = outlet
        self._gaps = gaps
        self._options = options
        self._monotonic = monotonic
        self._told: dict[str, _Told] = {}
        self._events: deque[CameraViewEvent] = deque(maxlen=_MOST_EVENTS)
        self._quiet_until_s = 0.0
        self._was_refused = False

    def add(self, view: CameraView) -> None:
        """Something happened to a view."""
        self._events.append(view_event(view))

    def tick(self, cameras: Sequence[CameraReport], is_last: bool = False) -> None:
        """Publish what is new; to be called each second, and once at the end."""
        if not self._outlet.log.is_away and self._monotonic() >= self._quiet_until_s:
            try:
                for camera in cameras:
                    self._tell_status(camera)
                self._tell_events()
                self._tell_gaps(is_last)
            except EngramError as error:
                self._tell_refusal(error)
        self._gaps.save()

    def _tell_status(self, camera: CameraReport) -> None:
        told, now_s = self._told.setdefault(camera.camera_id, _Told()), self._monotonic()
        key = (camera.state, camera.why, camera.view, camera.rival)
        if key == told.key and now_s - told.at_s < self._options.heartbeat_s:
            return
        if camera.state != told.state:
            told.state, told.since = camera.state, self._outlet.now()
        self._measure(told, camera, now_s)
        status = self._status(camera, told)
        record = OutRecord(self._options.status_topic, camera.camera_id, encode_message(status))
        self._outlet.publisher.publish(record, self._done)
        told.key, told.at_s = key, now_s

    def _measure(self, told: _Told, camera: CameraReport, now_s: float) -> None:
        took_s = now_s - told.measured_s
        if told.measured_s == 0.0:
            told.measured_s, told.num_taken = now_s, camera.num_taken
        elif took_s >= min(_SHORTEST_MEASURE_S, self._options.heartbeat_s):
            told.fps = round((camera.num_taken - told.num_taken) / took_s, 2)
            told.measured_s, told.num_taken = now_s, camera.num_taken

    def _status(self, camera: CameraReport, told: _Told) -> CameraStatus:
        counts = camera.counts
        return CameraStatus(
            camera_id=camera.camera_id,
            session_id=camera.session_id,
            state=camera.state,
            since=told.since or self._outlet.now(),
            why=camera.why[:_MOST_WHY],
            view=camera.view,
            view_since=camera.view_since,
            fps=told.fps,
            wanted_fps=camera.wanted_fps,
            frames=tally_of(counts),
            started_at=camera.started_at,
            rival=camera.rival,
            producer=self._options.producer,
            software=software_version(),
            reported_at=self._outlet.now(),
            heartbeat_s=self._options.heartbeat_s,
        )

    def _tell_events(self) -> None:
        while self._events:
            event = self._events.popleft()
            try:
                self._publish_event(event.subject, encode_message(event), self._done)
            except EngramError:
                self._events.appendleft(event)
                raise

    def _tell_gaps(self, is_last: bool) -> None:
        gaps = deque(self._gaps.take(is_last))
        while gaps:
            gap = gaps.popleft()
            try:
                self._publish_event(gap.camera_id, encode_message(gap_event(gap)), partial(self._settle, gap))
            except EngramError as error:
                self._settle(gap, error)
                for left in gaps:
                    self._gaps.back(left)
                raise

    def _settle(self, gap: CameraGap, error: Exception | None) -> None:
        if error is None:
            self._gaps.told(gap)
        else:
            self._gaps.back(gap)

    def _publish_event(self, camera_id: str, value: bytes, on_done: Callable[[Exception | None], None]) -> None:
        record = OutRecord(self._options.event_topic, camera_id, value, EVENT_HEADERS)
        self._outlet.publisher.publish(record, on_done)

    def _done(self, error: Exception | None) -> None:
        if error is not None and not isinstance(error, TransientError):
            self._tell_refusal(error)

    def _tell_refusal(self, error: Exception) -> None:
        if isinstance(error, TransientError):
            return
        self._quiet_until_s = self._monotonic() + _AFTER_REFUSAL_S
        if not self._was_refused:
            self._was_refused = True
            text = "how the cameras fare cannot be told, they are sent all the same: %s;"
            logger.warning(f"{text} `engram topics create` makes what is missing", error)
