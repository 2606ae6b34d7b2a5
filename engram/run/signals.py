"""Ending on a signal: the first one drains, the second one leaves at once."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM or SIGINT sets. A second signal ends the process at once, with 128 + its number.

    Must be entered in the main thread; the handlers of before come back on leaving.
    """
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - given by the system
        if stop.is_set():
            os._exit(128 + number)
        # Not through logging or a buffered stream: their locks may be held by what the signal interrupted.
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"stopping; once more to leave at once\n")
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
