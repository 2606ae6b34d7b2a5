"""The way out that all cameras of a process share: one publisher, what is known of its log, one sign to stop."""

import logging
import math
import threading
import time
from collections.abc import Callable
from datetime import datetime

from messaging.ports import OutRecord, Publisher
from producers.gaps import GapBook
from schemas.cameras import CameraStatus, CameraView
from schemas.errors import BadMessageError, BufferFullError, FatalError, TransientError

logger = logging.getLogger(__name__)

_ROOM_CHECK_S = 0.1
SILENT_AFTER_S = 10.0
"""Frames handed over and no answer for so long: the log is away, though the buffer still takes frames."""


class LogWatch:
    """Knows whether the log takes frames, and tells each change once, whichever camera sees it first.

    A log that is away is waited for like a camera: whoever cannot send drops, counts and goes on.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, spool: str | None = None) -> None:
        """``spool`` is where frames are kept while the log is away, if anywhere."""
        self._monotonic = monotonic
        self._spool = spool
        self._lock = threading.Lock()
        self._num_open = 0
        self._quiet_since_s = monotonic()
        self._lost_at_s: float | None = None
        self._num_dropped = self._num_kept = 0

    @property
    def is_away(self) -> bool:
        """Whether the last word was that it is lost."""
        return self._lost_at_s is not None

    def hand_over(self) -> None:
        """A frame is about to go to the publisher."""
        with self._lock:
            if self._num_open == 0:
                self._quiet_since_s = self._monotonic()
            self._num_open += 1

    def take_back(self) -> None:
        """It was not taken."""
        with self._lock:
            self._num_open -= 1

    def answer(self, error: Exception | None) -> None:
        """The log answered for a frame handed over: it has it, or, with ``error``, not."""
        with self._lock:
            self._num_open -= 1
            silent_s = self._monotonic() - self._quiet_since_s
            if error is None or isinstance(error, BadMessageError):
                self._quiet_since_s = self._monotonic()
                self._find()
            elif isinstance(error, FatalError):
                self._lose(str(error))
            elif silent_s > SILENT_AFTER_S / 2:
                # One failure among answers shows no log that is away.
                self._lose(str(error))

    def lose(self, reason: str) -> None:
        """It took nothing, and not for want of room."""
        with self._lock:
            self._lose(reason)

    def drop(self) -> None:
        """A frame is lost for want of a log; told when the log is back."""
        with self._lock:
            self._num_dropped += self._lost_at_s is not None

    def keep(self) -> None:
        """A frame is kept on disk for a log that is away or slow; told when it is back."""
        with self._lock:
            self._num_kept += 1

    def look(self) -> None:
        """To be called now and then: silence is seen by nobody else."""
        with self._lock:
            if self._num_open and self._monotonic() - self._quiet_since_s > SILENT_AFTER_S:
                text = f"no answer for more than {SILENT_AFTER_S:.0f} s, {self._num_open} frames are held for it"
                self._lose(text)

    def _lose(self, reason: str) -> None:
        if self._lost_at_s is None:
            self._lost_at_s, self._num_dropped, self._num_kept = self._monotonic(), 0, 0
            until = "frames for which there is no room are lost"
            if self._spool is not None:
                until = f"frames are kept in {self._spool}"
            logger.warning("the log takes no frames any more: %s; until it is back, %s", reason, until)

    def _find(self) -> None:
        if self._lost_at_s is not None:
            away_s, self._lost_at_s = self._monotonic() - self._lost_at_s, None
            text = "the log takes frames again after %.0f s, %d were dropped"
            if self._spool is None:
                logger.warning(text, away_s, self._num_dropped)
            else:
                logger.warning(f"{text}, %d were kept and are sent late", away_s, self._num_dropped, self._num_kept)


class Outlet:
    """Publisher, topic and stop signal, shared by the feeds of one process.

    Attributes:
        stopping: set when the producer is to stop.
        log: what is known of the log on the other side.
        gaps: where losses are written down.
        on_view: told what becomes of the view of a camera.
        in_front: who else sends a camera of ours, and is to go on with it while we stand back.
    """

    def __init__(
        self,
        publisher: Publisher,
        topic: str,
        now: Callable[[], datetime],
        log: LogWatch | None = None,
        gaps: GapBook | None = None,
    ) -> None:
        self.publisher = publisher
        self.topic = topic
        self.now = now
        self.stopping = threading.Event()
        self.log = log or LogWatch()
        self.gaps = GapBook() if gaps is None else gaps
        self.on_view: Callable[[CameraView], None] = lambda _view: None
        self.in_front: Callable[[str], CameraStatus | None] = lambda _camera_id: None
        self._deadline_s = math.inf
        self._room = threading.Condition()
        self._num_told = 0

    def request_stop(self, timeout_s: float) -> None:
        """Ask for the end; what is still to be sent has ``timeout_s`` from the first call on."""
        if not self.stopping.is_set():
            self._deadline_s = time.monotonic() + timeout_s
            self.stopping.set()

    def seconds_left(self) -> float:
        """Until the deadline, at least 0; infinite before a stop is asked for."""
        return max(0.0, self._deadline_s - time.monotonic())

    def is_out_of_time(self) -> bool:
        """Whether a stop was asked for and its deadline has passed."""
        return self.seconds_left() == 0.0

    def tell_room(self) -> None:
        """A record is done with, so that there may be room for another; or there is one more to send."""
        with self._room:
            self._num_told += 1
            self._room.notify_all()

    def wait_told(self, num_told: int, timeout_s: float) -> int:
        """Wait until there was more to tell than ``num_told`` times, at most ``timeout_s``; how often there was."""
        with self._room:
            self._room.wait_for(lambda: self._num_told > num_told, timeout_s)
            return self._num_told

    def publish_patiently(
        self, record: OutRecord, on_done: Callable[[Exception | None], None], until: Callable[[], bool]
    ) -> None:
        """Publish, waiting for room, and for a log that is away.

        Raises:
            TransientError: ``until`` became true first; BufferFullError if it was room that lacked.
        """
        while True:
            try:
                self.publisher.publish(record, on_done)
            except TransientError as error:
                if not isinstance(error, BufferFullError):
                    self.log.lose(str(error))
                if until():
                    raise
                # Room may come from records that are not ours as well, so look again without being told.
                with self._room:
                    self._room.wait(_ROOM_CHECK_S)
            else:
                return
