"""Several cameras in one process: a thread for each, one publisher for all."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from messaging.ports import Publisher
from producers.counters import FrameCounts
from producers.feed import CameraFeed, FeedRun
from producers.outlet import Outlet
from producers.sources.frame import SourceStatus
from schemas.errors import FatalError, SettingsError
from schemas.messages import utc_now

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProducerOptions:
    """Where frames go, and how long a stop may take.

    Attributes:
        topic: full name, with prefix.
        drain_timeout_s: what is in flight has this long to be delivered at the end.
    """

    topic: str = "frames"
    drain_timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class FeedSnapshot:
    """One camera at one moment. ``error`` is what ended its session too early, if anything did."""

    session_id: str
    status: SourceStatus
    counts: FrameCounts
    error: str | None


class Producer:
    """Runs feeds until their sources end or a stop is asked for. To be used once.

    The publisher stays open: who made it closes it.
    """

    def __init__(
        self,
        feeds: Sequence[CameraFeed],
        publisher: Publisher,
        options: ProducerOptions | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Name the sessions; nothing is sent yet.

        Raises:
            SettingsError: no feed, a camera named twice, or a feed without a rate.
        """
        names = [feed.camera_id for feed in feeds]
        if not names or len(set(names)) < len(names):
            raise SettingsError(f"a producer must have one feed or more, each camera once, got {names}")
        self._options = options or ProducerOptions()
        self._outlet = Outlet(publisher, self._options.topic, now)
        self._runs = [FeedRun(feed, self._outlet) for feed in feeds]
        self._threads = [
            threading.Thread(target=run.run, name=f"feed {run.feed.camera_id}", daemon=True) for run in self._runs
        ]

    def start(self) -> None:
        """Begin to send, in threads of its own."""
        for run, thread in zip(self._runs, self._threads, strict=True):
            feed = run.feed
            logger.info("camera %s: session %s from %s", feed.camera_id, run.session_id, feed.source.describe())
            thread.start()

    def run(self) -> None:
        """Start, wait until all sources have ended or ``request_stop`` was called, and drain.

        Raises:
            FatalError: a session broke, or not all that was handed over could be delivered in time.
        """
        self.start()
        self._join()
        drained = self._drain()
        if broken := [f"{name}: {one.error}" for name, one in self.snapshot().items() if one.error]:
            raise FatalError(f"every session must come to a regular end, these did not: {'; '.join(broken)}")
        if not drained:
            limit_s = self._options.drain_timeout_s
            raise FatalError(f"all frames must be delivered within {limit_s:g} s of the end, got {self.summary()}")

    def request_stop(self) -> None:
        """Ask all feeds to end, and return at once; safe in a signal handler."""
        self._outlet.request_stop(self._options.drain_timeout_s)
        for run in self._runs:
            run.feed.source.close()

    def stop(self) -> bool:
        """Ask for the end and wait for it; whether everything was delivered within ``drain_timeout_s``."""
        self.request_stop()
        self._join()
        return self._drain()

    def snapshot(self) -> Mapping[str, FeedSnapshot]:
        """State and counts by camera id; may be called at any time from any thread."""
        return {run.feed.camera_id: _snapshot(run) for run in self._runs}

    def summary(self) -> str:
        """What became of all frames, one clause for each camera."""
        return "; ".join(f"{name}: {one.counts}" for name, one in self.snapshot().items())

    def _join(self) -> None:
        """Wait for the feeds; without a limit until a stop is asked for, then until its deadline."""
        while any(thread.is_alive() for thread in self._threads) and not self._outlet.is_out_of_time():
            for thread in self._threads:
                thread.join(min(0.2, self._outlet.seconds_left()))

    def _drain(self) -> bool:
        # After a regular end the clock starts here; after a stop it has been running.
        self._outlet.request_stop(self._options.drain_timeout_s)
        flushed = self._outlet.publisher.flush(self._outlet.seconds_left())
        busy = [thread.name for thread in self._threads if thread.is_alive()]
        if busy:
            logger.warning("still busy at the deadline and left behind: %s", ", ".join(busy))
        logger.info("sent to %s: %s", self._options.topic, self.summary())
        return flushed and not busy


def _snapshot(run: FeedRun) -> FeedSnapshot:
    error = str(run.error) if run.error else None
    return FeedSnapshot(run.session_id, run.feed.source.status, run.counts(), error)
