"""Named threads whose errors are not lost."""

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


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

    def join(self, timeout_s: float) -> tuple[str, ...]:
        """Wait for all; the names of those that did not end by the deadline."""
        deadline_s = time.monotonic() + timeout_s
        for thread in self._threads.values():
            thread.join(max(0.0, deadline_s - time.monotonic()))
        return tuple(name for name, thread in self._threads.items() if thread.is_alive())

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
