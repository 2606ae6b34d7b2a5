"""A lane that keeps on disk what the log does not take: nothing within the caps of the spool is lost.

While all is well a frame passes through memory alone. One that has no answer after ``HOLD_S`` is written to disk with
all behind it, so that SIGKILL costs what was captured within that time and no more. From then on the lane is *behind*.

* ``oldest-first``: all frames go through the disk, in order, until the lane has caught up. It sends at most
  ``catch_up_fps`` frames a second, its live ones among them, so it must be more than the camera gives.
* ``newest-first``: live frames go at once again, and those on disk follow, in order, at ``catch_up_fps`` and under a
  camera id of their own (``<camera>.late``): late frames between live ones would tear the windows of both.
"""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from producers.account import CameraAccount
from producers.lanes import RETRY_S, WINDOW_FRAMES, Parcel, hand_over, retry_s
from producers.outlet import Outlet
from producers.spool.segments import KeptFrame, Place
from producers.spool.spool import Spool
from schemas.errors import BadMessageError, DamagedError, FatalError, TransientError
from schemas.messages import FrameHeader

logger = logging.getLogger(__name__)

CatchUpOrder = Literal["oldest-first", "newest-first"]

HOLD_S = 1.0
"""A broker that is well answers within milliseconds; a frame without an answer for so long is written to disk."""
LATE = ".late"


@dataclass(frozen=True, slots=True)
class CatchUpOptions:
    """How a lane sends what it has kept.

    Attributes:
        order: see the module.
        fps: most frames a second of one camera.
    """

    order: CatchUpOrder = "oldest-first"
    fps: float = 30.0


@dataclass(slots=True)
class _Pace:
    """Lets so many pass in a second, without bursts."""

    fps: float
    due_s: float = field(default=0.0)

    def wait_s(self, now_s: float) -> float:
        return max(0.0, self.due_s - now_s)

    def passed(self, now_s: float) -> None:
        self.due_s = max(self.due_s, now_s - 1 / self.fps) + 1 / self.fps


def late_name(camera_id: str) -> str:
    """The camera id under which late frames travel, newest first; within what an id may have."""
    return f"{camera_id[: 64 - len(LATE)]}{LATE}"


class SpooledLane:
    """See ``lanes.Lane``. All lanes of a spool share its lock, for the caps of one take from another."""

    def __init__(
        self,
        outlet: Outlet,
        account: CameraAccount,
        spool: Spool,
        options: CatchUpOptions,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take over what an earlier run left of this camera; the session that it had no time to end is ended."""
        self._outlet = outlet
        self._account = account
        self._camera_id = account.camera_id
        self._spool = spool
        self._options = options
        self._monotonic = monotonic
        self._pace = _Pace(options.fps)
        self._fresh: deque[Parcel] = deque()  # in memory alone, not handed over
        self._open: dict[Parcel, None] = {}  # handed over from memory, in order; on disk too after a while
        self._late: dict[Parcel, None] = {}  # handed over from disk, in order
        self._retry_at_s = 0.0
        self._is_rewinding = self._is_closed = False
        self._num_late = 0
        self._shelf = spool.shelf(self._camera_id, self._lose)
        self._lose_half_gone()
        self._is_behind = self._shelf.oldest_kept_at is not None
        if self._is_behind:
            self._recover()

    def put(self, header: FrameHeader, value: bytes) -> None:
        """See ``lanes.Lane``."""
        parcel = Parcel(header, value, self._monotonic())
        with self._spool.lock:
            if self._goes_to_disk():
                self._fall_behind()  # what came before it stands before it
                self._keep_waiting(parcel)
            else:
                self._fresh.append(parcel)
        self._outlet.tell_room()

    def pump(self) -> float:
        """See ``lanes.Lane``."""
        with self._spool.lock:
            now_s = self._monotonic()
            if self._is_closed:
                return math.inf
            hold_s = self._hold_s(now_s)
            if (wait_s := self._retry_at_s - now_s) > 0:
                return min(wait_s, hold_s)
            if (parcel := self._next_fresh()) is not None:
                self._open[parcel] = None
            elif (parcel := self._next_kept(now_s)) is not None:
                self._late[parcel] = None
            else:
                return min(hold_s, self._pace.wait_s(now_s) or math.inf)
        header = parcel.header
        if parcel in self._late and self._options.order == "newest-first":
            header = header.model_copy(update={"camera_id": late_name(self._camera_id)})
        refused = hand_over(self._outlet, header, parcel.value, lambda error: self._settle(parcel, error))
        if refused is None:
            return 0.0
        with self._spool.lock:
            self._retry_at_s = self._monotonic() + retry_s(refused)
            self._fall_behind()
            self._leave(parcel)
            self._keep_waiting(parcel)
        return retry_s(refused)

    def is_empty(self) -> bool:
        """See ``lanes.Lane``."""
        with self._spool.lock:
            return not (self._fresh or self._open or self._late or self._is_behind)

    def close(self) -> None:
        """See ``lanes.Lane``."""
        with self._spool.lock:
            self._is_closed = True
            if self._fresh or self._open:
                self._fall_behind()

    def _recover(self) -> None:
        num_found, last = self._shelf.num_found, self._shelf.last_found
        self._account.ledger.recover(num_found)
        if num_found:
            text = "camera %s: %d frames that an earlier run could not send are in %s and are sent now"
            logger.warning(text, self._camera_id, num_found, self._shelf.folder)
        if last is not None and last.kind == "frame":
            update = {"kind": "end_of_session", "frame_index": last.frame_index + 1, "width": 0, "height": 0}
            self._keep_waiting(Parcel(last.model_copy(update=update), b"", self._monotonic()))

    def _goes_to_disk(self) -> bool:
        if self._options.order == "oldest-first":
            return self._is_behind
        # That many live ones without an answer say that the log is away; more of them would only come too late.
        return self._is_behind and len(self._open) + len(self._fresh) >= WINDOW_FRAMES

    def _hold_s(self, now_s: float) -> float:
        """Seconds until what is in memory must be written to disk; it is, if that is now."""
        in_memory = [*(parcel for parcel in self._open if parcel.place is None), *self._fresh]
        left_s = min((parcel.since_s + HOLD_S - now_s for parcel in in_memory), default=math.inf)
        if left_s <= 0:
            self._fall_behind()
            return HOLD_S
        return left_s

    def _next_fresh(self) -> Parcel | None:
        return self._fresh.popleft() if self._fresh and len(self._open) < WINDOW_FRAMES else None

    def _next_kept(self, now_s: float) -> Parcel | None:
        """The next frame on disk, if it is its turn."""
        while self._is_behind and not self._must_wait(now_s):
            kept = self._taken()
            if kept is None:
                if not self._shelf.num_in_hand:
                    self._catch_up()
                return None
            ahead = self._ahead_of_kept()
            if ahead and ahead[-1].header.session_id != kept.header.session_id:
                # What is sent once more after SIGKILL must be of the session that workers saw last.
                self._shelf.give_back(kept.place)
                self._is_rewinding = True
            elif self._may_be_late_before(kept.place):
                # A live one without an answer may yet be late itself, and must be so before those behind it.
                self._shelf.give_back(kept.place)
                return None
            elif kept.kept_at < self._spool.now() - self._spool.options.max_age_s:
                self._lose((kept,), "spool_old")
                self._shelf.settle(kept.place)
            else:
                if kept.header.kind == "frame":
                    self._pace.passed(now_s)
                return Parcel(kept.header, kept.value, now_s, kept.place)
        return None

    def _must_wait(self, now_s: float) -> bool:
        num_ahead = len(self._ahead_of_kept())
        self._is_rewinding = self._is_rewinding and num_ahead > 0
        return self._is_rewinding or num_ahead >= WINDOW_FRAMES or self._pace.wait_s(now_s) > 0

    def _may_be_late_before(self, place: Place) -> bool:
        open_places = (one.place for one in self._open if one.place is not None)
        return self._options.order == "newest-first" and any(one < place for one in open_places)

    def _ahead_of_kept(self) -> Sequence[Parcel]:
        """What is on its way before the next one on disk, under the same name, in order."""
        return [*self._late] if self._options.order == "newest-first" else [*self._open, *self._late]

    def _taken(self) -> KeptFrame | None:
        """The next record of the shelf; those that are damaged are lost."""
        while True:
            try:
                return self._shelf.take()
            except DamagedError as error:
                logger.warning("spool of camera %s: %s; what can be read behind it is sent", self._camera_id, error)
                self._lose(self._shelf.step_over(), "spool_failed")

    def _catch_up(self) -> None:
        """All of the shelf is settled."""
        self._shelf.clear()
        self._is_behind = False
        self._account.give_up_spooled()
        logger.info("camera %s: has caught up, %d frames were sent late", self._camera_id, self._num_late)
        self._num_late = 0

    def _fall_behind(self) -> None:
        """Write to disk what is in memory, in order."""
        self._is_behind = True
        for parcel in self._open:
            if parcel.place is None and self._keep(parcel):
                assert parcel.place is not None
                self._shelf.hold(parcel.place)
            elif parcel.place is None:
                parcel.since_s = self._monotonic()  # it is at the publisher; the disk is tried again
        while self._fresh:
            self._keep_waiting(self._fresh.popleft())

    def _keep(self, parcel: Parcel) -> bool:
        """Write one to disk; whether the disk took it."""
        parcel.place = self._spool.keep(self._camera_id, parcel.header, parcel.value)
        if parcel.place is not None and parcel.is_frame:
            self._account.spool(len(parcel.value))
        return parcel.place is not None

    def _keep_waiting(self, parcel: Parcel) -> None:
        """One that is not at the publisher stays on disk, or gets there, or is lost."""
        if parcel.place is not None:
            self._is_rewinding = True
            if not self._shelf.give_back(parcel.place) and parcel.is_frame:
                self._account.drop_spooled(parcel.header, "spool_full", "it was taken from the spool while on its way")
        elif not self._keep(parcel) and parcel.is_frame:
            lost = TransientError("the disk did not take it")
            self._account.drop(parcel.header, "spool_failed", lost, len(parcel.value))

    def _settle(self, parcel: Parcel, error: Exception | None) -> None:
        with self._spool.lock:
            self._leave(parcel)
            if error is None or isinstance(error, BadMessageError):
                self._finish(parcel, error)
            else:
                if isinstance(error, FatalError):
                    self._account.refuse(error)
                self._keep_waiting(parcel)  # before those behind it
                self._fall_behind()
                self._is_rewinding = True
                self._retry_at_s = self._monotonic() + RETRY_S
        self._outlet.log.answer(error)
        self._outlet.tell_room()

    def _finish(self, parcel: Parcel, error: BadMessageError | None) -> None:
        if parcel.place is not None:
            self._shelf.settle(parcel.place)
            self._num_late += parcel.is_frame and error is None
        if not parcel.is_frame:
            return
        if parcel.place is None:
            self._account.answer(parcel.header, len(parcel.value), error)
        else:
            self._account.answer_late(parcel.header, len(parcel.value), error)

    def _leave(self, parcel: Parcel) -> None:
        self._open.pop(parcel, None)
        self._late.pop(parcel, None)

    def _lose_half_gone(self) -> None:
        """Write down what an earlier run had no time to: what the caps took when it was killed."""
        for cause, records in self._shelf.half_gone:
            unnamed = [record for record in records if not self._outlet.gaps.was_named(record.header, cause)]
            self._account.ledger.recover(sum(record.header.kind == "frame" for record in unnamed))
            self._lose(unnamed, cause)
        self._shelf.forget_half_gone()

    def _lose(self, records: Sequence[KeptFrame], cause: str) -> None:
        for record in records:
            if record.header.kind == "frame":
                self._account.drop_spooled(record.header, cause, _WHY[cause])
        self._outlet.gaps.save()  # what is no longer on disk will be known nowhere else


_WHY = {
    "spool_full": "the spool is at producer.spool_bytes, or its disk is full",
    "spool_old": "it was kept for longer than producer.spool_age_s",
    "spool_failed": "what was kept of it is damaged",
}
