"""Several cameras in one process: a thread for each, one publisher for all."""

import logging
import threading
import time
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

_FLUSH_STEP_S = 0.5
_LOOK_S = 1.0
_GRACE_S = 0.5


@dataclass(frozen=True, slots=True)
class ProducerOptions:
    """Where frames go, and how long a stop may take.

    Attributes:
        topic: full name, with prefix.
        drain_timeout_s: what is in flight has this long to be delivered after a stop; after a regular end, as long as
            answers keep coming in.
        report_interval_s: time between two lines of counts in the log.
    """

    topic: str = "frames"
    drain_timeout_s: float = 10.0
    report_interval_s: float = 60.0


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
        is_complete: Callable[[], bool] | None = None,
    ) -> None:
        """Name the sessions; nothing is sent yet.

        Args:
            feeds: the cameras to begin with.
            publisher: of the log.
            options: where frames go.
            now: the wall clock, UTC.
            is_complete: whether no feed is still to be added, so that the end of those there are is the end; None =
                none will be.

        Raises:
            SettingsError: no feed and none to come, a camera named twice, or a feed without a rate.
        """
        names = [feed.camera_id for feed in feeds]
        if not (names or is_complete) or len(set(names)) < len(names):
            raise SettingsError(f"a producer must have one feed or more, each camera once, got {names}")
        self._is_complete = is_complete or (lambda: True)
        self._options = options or ProducerOptions()
        self._outlet = Outlet(publisher, self._options.topic, now)
        self._runs = [FeedRun(feed, self._outlet) for feed in feeds]
        self._threads = [_thread(run) for run in self._runs]
        self._over = threading.Event()
        self._reporter = threading.Thread(target=self._report, name="report", daemon=True)

    def start(self) -> None:
        """Begin to send, in threads of its own."""
        for run, thread in zip(self._runs, self._threads, strict=True):
            _tell_start(run)
            thread.start()
        self._reporter.start()

    def add(self, feed: CameraFeed) -> None:
        """Begin to send another camera's frames while the others go on; after ``start``, from one thread at a time.

        Raises:
            SettingsError: frames of a camera of that name are being sent, or the feed has no rate.
        """
        if self.is_running(feed.camera_id):
            raise SettingsError(f"each camera must be sent once, '{feed.camera_id}' is being sent")
        if self._outlet.stopping.is_set():
            return
        run = FeedRun(feed, self._outlet)
        thread = _thread(run)
        _tell_start(run)
        thread.start()
        self._runs.append(run)
        self._threads.append(thread)

    def remove(self, camera_id: str) -> None:
        """Ask for the end of a camera's session, and return at once; its counts stay."""
        for run in list(self._runs):
            if run.feed.camera_id == camera_id:
                run.feed.source.close()

    def is_running(self, camera_id: str) -> bool:
        """Whether frames of a camera are being sent."""
        pairs = zip(list(self._runs), list(self._threads), strict=False)
        return any(run.feed.camera_id == camera_id and thread.is_alive() for run, thread in pairs)

    @property
    def num_sent(self) -> int:
        """Frames that the log has, of all sessions."""
        return sum(run.counts().sent for run in list(self._runs))

    @property
    def num_sessions(self) -> int:
        """Sessions begun, each of which ends with a record of its own."""
        return len(self._runs)

    def run(self) -> None:
        """``start``, then ``finish``."""
        self.start()
        self.finish()

    def finish(self) -> None:
        """Wait until all sources have ended or ``request_stop`` was called, and drain.

        Raises:
            FatalError: a session broke, none of its frames arrived, or not all that was handed over could be delivered
                in time.
        """
        self._join()
        drained = self._drain()
        if broken := [f"{name}: {one.error}" for name, one in self.snapshot().items() if one.error]:
            raise FatalError(f"every session must come to a regular end, these did not: {'; '.join(broken)}")
        if not drained:
            limit_s = self._options.drain_timeout_s
            raise FatalError(f"all frames must be delivered within {limit_s:g} s of the end, got {self.summary()}")
        if silent := [run.feed.camera_id for run in self._runs if run.sent_nothing()]:
            names = ", ".join(silent)
            raise FatalError(f"some frame of every camera must reach the log, none of {names} did: {self.summary()}")

    def request_stop(self) -> None:
        """Ask all feeds to end, and return at once; safe in a signal handler."""
        self._outlet.request_stop(self._options.drain_timeout_s)
        for run in list(self._runs):
            run.feed.source.close()

    def stop(self) -> bool:
        """Ask for the end and wait for it; whether everything was delivered within ``drain_timeout_s``."""
        self.request_stop()
        self._join()
        return self._drain()

    def snapshot(self) -> Mapping[str, FeedSnapshot]:
        """State and counts by camera id, of its newest session; may be called at any time from any thread."""
        return {run.feed.camera_id: _snapshot(run) for run in list(self._runs)}

    def summary(self) -> str:
        """What became of all frames, one clause for each camera."""
        return "; ".join(f"{name}: {one.counts}" for name, one in self.snapshot().items())

    def _join(self) -> None:
        """Wait for the feeds; without a limit until a stop is asked for, then until its deadline."""
        while self._goes_on() and not self._outlet.is_out_of_time():
            for thread in list(self._threads):
                thread.join(min(0.2, self._outlet.seconds_left()))
            if not any(thread.is_alive() for thread in self._threads):
                self._outlet.stopping.wait(0.2)  # for feeds still to be added
        # Those that gave up at the deadline as well are just about to end.
        grace_until_s = time.monotonic() + _GRACE_S
        for thread in self._threads:
            thread.join(max(0.0, grace_until_s - time.monotonic()))

    def _goes_on(self) -> bool:
        is_waiting = not (self._outlet.stopping.is_set() or self._is_complete())
        return is_waiting or any(thread.is_alive() for thread in list(self._threads))

    def _drain(self) -> bool:
        flushed = self._flush()
        self._outlet.request_stop(self._options.drain_timeout_s)
        busy = [thread.name for thread in self._threads if thread.is_alive()]
        if busy:
            logger.warning("still busy at the deadline and left behind: %s", ", ".join(busy))
        self._over.set()
        logger.info("sent to %s: %s", self._options.topic, self.summary())
        return flushed and not busy

    def _flush(self) -> bool:
        """After a stop until its deadline; after a regular end for as long as the log answers."""
        limit_s, since_s, num_open = self._options.drain_timeout_s, time.monotonic(), self._num_open()
        while not self._outlet.stopping.is_set():
            if self._outlet.publisher.flush(min(_FLUSH_STEP_S, limit_s)):
                return True
            if (now_open := self._num_open()) != num_open:
                since_s, num_open = time.monotonic(), now_open
            elif time.monotonic() - since_s >= limit_s:
                return False
        return self._outlet.publisher.flush(self._outlet.seconds_left())

    def _num_open(self) -> int:
        return sum(run.counts().in_flight for run in list(self._runs))

    def _report(self) -> None:
        """Say each minute what became of the frames, and look after a log that falls silent."""
        interval_s = self._options.report_interval_s
        due_s = time.monotonic() + interval_s
        while not self._over.wait(min(_LOOK_S, interval_s)):
            self._outlet.log.look()
            if time.monotonic() >= due_s:
                due_s += interval_s
                cameras = [f"{name} ({one.status.state}): {one.counts}" for name, one in self.snapshot().items()]
                logger.info("so far to %s: %s", self._options.topic, "; ".join(cameras))


def _thread(run: FeedRun) -> threading.Thread:
    return threading.Thread(target=run.run, name=f"feed {run.feed.camera_id}", daemon=True)


def _tell_start(run: FeedRun) -> None:
    feed = run.feed
    logger.info("camera %s: session %s from %s", feed.camera_id, run.session_id, feed.source.describe())


def _snapshot(run: FeedRun) -> FeedSnapshot:
    error = str(run.error) if run.error else None
    return FeedSnapshot(run.session_id, run.feed.source.status, run.counts(), error)
