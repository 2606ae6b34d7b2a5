"""What a long-running process needs around its work: an end on signals, patience at the start, threads that tell.

* ``stop_on_signals``: the first SIGTERM or SIGINT drains, the second one leaves at once.
* ``connected``: a broker that is away is waited for; an address that leads nowhere not for long; a refusal not at all.
* ``Crew``: named threads whose errors are not lost.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from schemas.backoff import Backoff
from schemas.errors import FatalError, MisdirectedError, TransientError

T = TypeVar("T")

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM or SIGINT sets. A second signal ends the process at once, with 128 + its number.

    Must be entered in the main thread; the handlers of before come back on leaving.
    """
    stop = threading.Event()
    reads, writes = os.pipe()
    os.set_blocking(writes, False)  # the interpreter asks for it

    def listen() -> None:
        signalled = False
        while told := os.read(reads, 1):
            if (number := told[0]) not in SIGNALS:
                continue
            if signalled:
                os._exit(128 + number)
            signalled = True
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"stopping; once more to leave at once\n")
            stop.set()

    def on_signal(number: int, frame: FrameType | None) -> None:
        """Nothing: it may take no lock, since what it interrupts may hold it, and may come when a wait has ended."""

    listener = threading.Thread(target=listen, name="signals", daemon=True)
    listener.start()
    # Written to in the very moment of the signal, whichever thread it met and wherever the main thread waits.
    waked = signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    before = {number: signal.signal(number, on_signal) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(waked)
        os.close(writes)  # wakes the thread if no signal came
        listener.join()
        os.close(reads)


MISDIRECTED_S = 15.0
"""So long a name may be unknown, or an advertised address lead nowhere, while everything starts at once."""


def connected(make: Callable[[], T], stop: threading.Event, clock: Callable[[], float] = time.monotonic) -> T | None:
    """What ``make`` gives, tried until the world is right; None if ``stop`` was set before.

    Raises:
        FatalError: trying again makes no sense: refused, or misdirected for longer than ``MISDIRECTED_S``.
    """
    backoff = Backoff(0.5, 10.0)
    misdirected_at_s: float | None = None
    while True:
        try:
            return make()
        except TransientError as error:
            if not isinstance(error, MisdirectedError):
                misdirected_at_s = None
            elif misdirected_at_s is None:
                misdirected_at_s = clock()
            elif clock() - misdirected_at_s >= MISDIRECTED_S:
                raise FatalError(f"{error} (given up after {MISDIRECTED_S:.0f} s)") from error
            wait_s = backoff.next_s()
            if misdirected_at_s is not None:
                wait_s = min(wait_s, MISDIRECTED_S / 4)
            log.warning("trying again in %.1f s: %s", wait_s, error)
        if stop.wait(wait_s):
            return None


class Crew:
    """Runs functions in threads and remembers what they raised, the first before all others."""

    def __init__(self) -> None:
        self._threads: dict[str, threading.Thread] = {}
        self._errors: dict[str, BaseException] = {}

    def start(self, name: str, work: Callable[[], None]) -> None:
        """Run ``work`` in a thread called ``name``. It must end when told; the crew cannot end it."""
        thread = threading.Thread(target=self._run, args=(name, work), name=name, daemon=True)
        self._threads[name] = thread
        thread.start()

    def is_running(self, name: str) -> bool:
        """Whether the function called ``name`` has not returned yet."""
        return self._threads[name].is_alive()

    def has_failed(self, name: str) -> bool:
        """Whether the function called ``name`` has raised."""
        return name in self._errors

    def join(self, timeout_s: float, *names: str) -> tuple[str, ...]:
        """Wait for those named, or for all; the names of those that did not end by the deadline."""
        deadline_s = time.monotonic() + timeout_s
        awaited = {name: thread for name, thread in self._threads.items() if not names or name in names}
        for thread in awaited.values():
            thread.join(max(0.0, deadline_s - time.monotonic()))
        return tuple(name for name, thread in awaited.items() if thread.is_alive())

    def raise_error(self) -> None:
        """Raise what the first failing function raised, if one did."""
        for error in self._errors.values():
            raise error

    def _run(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            log.debug("%s has failed", name, exc_info=True)
            self._errors[name] = error  # one step of the interpreter, so no lock
