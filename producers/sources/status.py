"""One place that knows a source's state and tells each change once."""

import logging
import threading
from collections.abc import Callable

from producers.sources.frame import SourceStatus, State

logger = logging.getLogger(__name__)


class StatusBoard:
    """State of one source; a change is logged and reported once, whichever thread sees it first."""

    def __init__(self, name: str, on_status: Callable[[SourceStatus], None]) -> None:
        self._name = name
        self._on_status = on_status
        self._lock = threading.Lock()
        self._status = SourceStatus("offline", "not opened yet")

    @property
    def status(self) -> SourceStatus:
        """State as last set."""
        return self._status

    def set(self, state: State, reason: str) -> None:
        """Take over a state; nothing happens if it is the same already."""
        status = SourceStatus(state, reason)
        # Reported under the lock, so that two threads cannot report their changes in the wrong order.
        with self._lock:
            if status == self._status:
                return
            self._status = status
            level = logging.INFO if state == "online" else logging.WARNING
            logger.log(level, "source %s is %s: %s", self._name, state, reason)
            self._on_status(status)

    def finish(self, reason: str) -> None:
        """The source came to its regular end: offline, but nothing to warn of."""
        status = SourceStatus("offline", reason)
        with self._lock:
            if status == self._status:
                return
            self._status = status
            logger.info("source %s is offline: %s", self._name, reason)
            self._on_status(status)
