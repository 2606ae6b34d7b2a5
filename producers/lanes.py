"""Ways of one camera's frames to the log that hold them back while it is away.

A lane is filled by the camera's feed and emptied by the one forwarder of the process, so no camera waits for a broker.
``MemoryLane`` holds as many bytes as it may and drops by its policy; ``producers.spooled_lane`` holds them on disk.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from messaging.ports import OutRecord
from producers.account import CameraAccount
from producers.outlet import Outlet
from producers.spool.segments import Place
from schemas.codec import encode_header
from schemas.errors import BufferFullError, EngramError, TransientError
from schemas.messages import FrameHeader

DropPolicy = Literal["newest", "oldest", "block", "max_staleness"]
"""Which frame is lost when there is no room: the one that comes, the one that waits for longest, none (the source
waits), or, room or not, those that have waited for too long."""

RETRY_S = 0.5
NO_ROOM_S = 0.05
WINDOW_FRAMES = 32
"""So many of one lane are at the publisher at once: what is there cannot be dropped or put in order any more."""

OnDone = Callable[[Exception | None], None]


@dataclass(slots=True, eq=False)
class Parcel:
    """A frame, or the end of its session, on its way.

    Attributes:
        header: as it was captured.
        value: JPEG.
        since_s: monotonic time at which the lane got it.
        place: where it stands on disk, if it does.
    """

    header: FrameHeader
    value: bytes
    since_s: float
    place: Place | None = None

    @property
    def is_frame(self) -> bool:
        """Ends of sessions are counted nowhere."""
        return self.header.kind == "frame"


class Lane(Protocol):
    """Frames of one camera, in order, on their way to the log."""

    def put(self, header: FrameHeader, value: bytes) -> None:
        """Take over a frame, or the end of a session; never waits for the log."""

    def pump(self) -> float:
        """Hand the next frame to the publisher, if it is its turn; seconds until there may be more to do, 0 = now."""

    def is_empty(self) -> bool:
        """Whether nothing waits and nothing is without an answer."""

    def close(self) -> None:
        """No more is handed over: what waits is kept on disk, or dropped as ``stopped``."""


def hand_over(outlet: Outlet, header: FrameHeader, value: bytes, on_done: OnDone) -> TransientError | None:
    """Publish a frame; the error if the log does not take it now. One that it never takes goes to ``on_done``."""
    record = OutRecord(outlet.topic, header.camera_id, value, encode_header(header))
    outlet.log.hand_over()
    try:
        outlet.publisher.publish(record, on_done)
    except TransientError as error:
        outlet.log.take_back()
        if not isinstance(error, BufferFullError):
            outlet.log.lose(str(error))
        return error
    except EngramError as error:
        on_done(error)
    return None


def retry_s(refused: TransientError) -> float:
    """How long to leave the log alone: room may be there at any moment, a broker is not."""
    return NO_ROOM_S if isinstance(refused, BufferFullError) else RETRY_S


class MemoryLane:
    """Holds frames in memory, and drops the oldest. See ``Lane``."""

    def __init__(
        self,
        outlet: Outlet,
        account: CameraAccount,
        max_bytes: int,
        max_staleness_s: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin empty.

        Args:
            outlet: the way out, shared by all cameras.
            account: is told what becomes of each frame.
            max_bytes: JPEG bytes that may wait.
            max_staleness_s: frames that have waited for longer are dropped; None = however long.
            monotonic: the clock of waits.
        """
        self._outlet = outlet
        self._account = account
        self._max_bytes = max_bytes
        self._max_staleness_s = math.inf if max_staleness_s is None else max_staleness_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._waiting: deque[Parcel] = deque()
        self._num_bytes = self._num_open = 0
        self._retry_at_s = 0.0
        self._is_closed = False

    def put(self, header: FrameHeader, value: bytes) -> None:
        """See ``Lane``."""
        with self._lock:
            self._waiting.append(Parcel(header, value, self._monotonic()))
            self._num_bytes += len(value)
            while self._num_bytes > self._max_bytes and len(self._waiting) > 1:
                self._drop_first("buffer_full", f"at most {self._max_bytes} bytes may wait")
        self._outlet.tell_room()

    def pump(self) -> float:
        """See ``Lane``."""
        with self._lock:
            self._drop_stale()
            if not self._waiting or self._num_open >= WINDOW_FRAMES or self._is_closed:
                return math.inf
            if (wait_s := self._retry_at_s - self._monotonic()) > 0:
                return wait_s
            parcel = self._waiting.popleft()
            self._num_bytes -= len(parcel.value)
            self._num_open += 1
        refused = hand_over(self._outlet, parcel.header, parcel.value, lambda error: self._settle(parcel, error))
        if refused is None:
            return 0.0
        with self._lock:
            self._num_open -= 1
            self._waiting.appendleft(parcel)
            self._num_bytes += len(parcel.value)
            self._retry_at_s = self._monotonic() + retry_s(refused)
        return retry_s(refused)

    def is_empty(self) -> bool:
        """See ``Lane``."""
        with self._lock:
            return not self._waiting and not self._num_open

    def close(self) -> None:
        """See ``Lane``."""
        with self._lock:
            self._is_closed = True
            while self._waiting:
                self._drop_first("stopped", "the producer was stopped")

    def _settle(self, parcel: Parcel, error: Exception | None) -> None:
        with self._lock:
            self._num_open -= 1
        if parcel.is_frame:
            self._account.answer(parcel.header, len(parcel.value), error)
        self._outlet.log.answer(error)
        self._outlet.tell_room()

    def _drop_stale(self) -> None:
        limit_s = self._monotonic() - self._max_staleness_s
        while self._waiting and self._waiting[0].since_s < limit_s and self._waiting[0].is_frame:
            self._drop_first("stale", f"it waited for more than {self._max_staleness_s:g} s")

    def _drop_first(self, cause: str, reason: str) -> None:
        parcel = self._waiting.popleft()
        self._num_bytes -= len(parcel.value)
        if parcel.is_frame:
            self._account.drop(parcel.header, cause, TransientError(reason), len(parcel.value))
