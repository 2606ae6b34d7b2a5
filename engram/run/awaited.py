"""A publisher that need not be there yet: cameras are watched, and kept, while the broker is away at the start."""

import logging
import threading
import time
from collections.abc import Callable

from engram.run.process import connected
from messaging.ports import OutRecord, Publisher
from schemas.errors import FatalError, TransientError

log = logging.getLogger(__name__)

_STEP_S = 0.05


class AwaitedPublisher:
    """See ``ports.Publisher``. Until it is connected, all it is given is refused as ``TransientError``."""

    def __init__(self, make: Callable[[], Publisher], on_failure: Callable[[FatalError], None]) -> None:
        """Begin to connect, in a thread of its own.

        Args:
            make: connects; raises TransientError while it cannot.
            on_failure: told when it never will.
        """
        self._make = make
        self._on_failure = on_failure
        self._publisher: Publisher | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._connect, name="connect", daemon=True)
        self._thread.start()

    def publish(self, record: OutRecord, on_done: Callable[[Exception | None], None] | None = None) -> None:
        """See ``ports.Publisher``. TransientError: not connected yet."""
        if self._publisher is None:
            raise TransientError("the broker could not be reached yet")
        self._publisher.publish(record, on_done)

    def flush(self, timeout_s: float) -> bool:
        """See ``ports.Publisher``."""
        return self._publisher is None or self._publisher.flush(timeout_s)

    def close(self, timeout_s: float) -> None:
        """See ``ports.Publisher``."""
        deadline_s = time.monotonic() + timeout_s
        self._closed.set()
        self._thread.join(timeout_s)
        if self._publisher is not None:
            self._publisher.close(max(_STEP_S, deadline_s - time.monotonic()))

    def _connect(self) -> None:
        try:
            self._publisher = connected(self._make, self._closed)
        except FatalError as error:
            self._on_failure(error)
