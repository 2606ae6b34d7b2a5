"""Named threads that stand or fall together."""

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


class Crew:
    """Runs functions in threads; the first that raises is remembered and announced, so that the others can be told.

    Attributes:
        failed: set as soon as one of them has raised.
    """

    def __init__(self) -> None:
        self.failed = threading.Event()
        self._threads: dict[str, threading.Thread] = {}
        self._error: BaseException | None = None
        self._lock = threading.Lock()

    def start(self, name: str, work: Callable[[], None]) -> None:
        """Run ``work`` in a thread called ``name``. It must end when told; the crew cannot end it."""
        thread = threading.Thread(target=self._run, args=(name, work), name=name, daemon=True)
        self._threads[name] = thread
        thread.start()

    def is_running(self, name: str) -> bool:
        """Whether the function called ``name`` has not returned yet."""
        return self._threads[name].is_alive()

    def join(self, timeout_s: float) -> tuple[str, ...]:
        """Wait for all; the names of those that did not end by the deadline."""
        deadline_s = time.monotonic() + timeout_s
        for thread in self._threads.values():
            thread.join(max(0.0, deadline_s - time.monotonic()))
        return tuple(name for name, thread in self._threads.items() if thread.is_alive())

    def raise_error(self) -> None:
        """Raise what the first failing function raised, if one did."""
        if self._error is not None:
            raise self._error

    def _run(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            log.debug("%s has failed", name, exc_info=True)
            with self._lock:
                self._error = self._error or error
            self.failed.set()
