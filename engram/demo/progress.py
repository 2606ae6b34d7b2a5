"""Following topics until enough frames are scored, and until all events have ended."""

import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress

from messaging.ports import Bus
from schemas.codec import decode_message
from schemas.errors import EngramError, TransientError
from schemas.messages import AnomalyEvent

POLL_S = 0.5
READ_TIMEOUT_S = 60.0
BATCH = 500


class Progress:
    """Counts committed scores.

    Args:
        bus: where the topic is.
        topic: the scores topic.
        deadline_s: longest wait of each ``wait_scored``.
        stop: ends every wait, with an error.
    """

    def __init__(self, bus: Bus, topic: str, deadline_s: float, stop: threading.Event) -> None:
        self._reader = bus.reader([topic], from_beginning=True)
        self._deadline_s = deadline_s
        self._stop = stop
        self.num_scored = 0

    def wait_scored(self, wanted: int, look: Callable[[], None]) -> None:
        """Wait until ``wanted`` scores are there; ``look`` is called now and then and may raise.

        Raises:
            EngramError: the deadline passed, or ``stop`` was set.
        """
        until_s = time.monotonic() + self._deadline_s
        while self.num_scored < wanted:
            look()
            if self._stop.is_set():
                raise EngramError(f"stopped with {self.num_scored} of {wanted} frames scored")
            if time.monotonic() > until_s:
                raise EngramError(f"{wanted} frames must be scored in {self._deadline_s:.0f} s, {self.num_scored} are")
            with suppress(TransientError):  # a broker that is away for a moment
                self.num_scored += len(self._reader.read(BATCH, POLL_S))


def wait_for_ends(bus: Bus, topic: str, deadline_s: float, stop: threading.Event) -> None:
    """Until each event that has begun has ended, or the deadline; whether all have is for the checks to say.

    A camera's last word comes after its last frame; workers that were told to go before they have read it would leave
    the event to who comes next, and nobody comes.
    """
    until_s, opened = time.monotonic() + deadline_s, set[str]()
    with closing(bus.reader([topic], from_beginning=True)) as reader:
        while time.monotonic() < until_s and not stop.is_set():
            with suppress(TransientError):  # a broker that is away for a moment
                for record in reader.read_to_end(READ_TIMEOUT_S):
                    event = decode_message(AnomalyEvent, record.value).data
                    (opened.discard if event.phase == "end" else opened.add)(event.event_id)
                if not opened:
                    return
            stop.wait(POLL_S)
