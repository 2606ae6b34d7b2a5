"""The way out that all cameras of a process share: one publisher, and one sign to stop with one deadline."""

import math
import threading
import time
from collections.abc import Callable
from datetime import datetime

from messaging.ports import OutRecord, Publisher
from schemas.errors import BufferFullError

_ROOM_CHECK_S = 0.1


class Outlet:
    """Publisher, topic and stop signal, shared by the feeds of one process.

    Attributes:
        stopping: set when the producer is to stop.
    """

    def __init__(self, publisher: Publisher, topic: str, now: Callable[[], datetime]) -> None:
        self.publisher = publisher
        self.topic = topic
        self.now = now
        self.stopping = threading.Event()
        self._deadline_s = math.inf
        self._room = threading.Condition()

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
        """A record is done with, so that there may be room for another."""
        with self._room:
            self._room.notify_all()

    def publish_patiently(
        self, record: OutRecord, on_done: Callable[[Exception | None], None], until: Callable[[], bool]
    ) -> None:
        """Publish, waiting for room.

        Raises:
            BufferFullError: ``until`` became true first.
        """
        while True:
            try:
                self.publisher.publish(record, on_done)
            except BufferFullError:
                if until():
                    raise
                # Room may come from records that are not ours as well, so look again without being told.
                with self._room:
                    self._room.wait(_ROOM_CHECK_S)
            else:
                return
