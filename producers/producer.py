"""Several cameras in one process: a thread for each, one publisher for all."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from messaging.ports import Publisher, Reader
from producers.account import CameraAccount
from producers.counters import FrameCounts
from producers.feed import CameraFeed, FeedRun
from producers.forwarder import Forwarder, holds_back
from producers.gaps import GapBook
from producers.lanes import Lane
from producers.outlet import LogWatch, Outlet
from producers.reports import ReportOptions, Reports
from producers.rivals import OwnSession, Rivals
from producers.sources.frame import SourceStatus
from producers.spool.spool import Spool
from producers.spooled_lane import CatchUpOptions
from schemas.errors import FatalError, SettingsError
from schemas.messages import utc_now

logger = logging.getLogger(__name__)

_FLUSH_STEP_S = 0.5
_LOOK_S = 1.0
_GRACE_S = 0.5
_FOLLOWER_S = 2.0
_LOOK_AROUND_S = 5.0
"""So long the first frame waits for what is known of others, if the log answers at all."""


@dataclass(frozen=True, slots=True)
class ProducerOptions:
    """Where frames go, and how long a stop may take.

    Attributes:
        topic: full name, with prefix.
        drain_timeout_s: what is in flight has this long to be delivered after a stop; after a regular end, as long as
            answers keep coming in.
        report_interval_s: time between two lines of counts in the log.
        buffer_bytes: frames that may wait in memory, of all cameras together; where lanes hold them.
        catch_up: how what was kept on disk is sent.
        reports: where it is told how the cameras fare; none = nowhere.
    """

    topic: str = "frames"
    drain_timeout_s: float = 10.0
    report_interval_s: float = 60.0
    buffer_bytes: int = 64 * 1024 * 1024
    catch_up: CatchUpOptions = field(default_factory=CatchUpOptions)
    reports: ReportOptions | None = None


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

    Attributes:
        turned_at_s: when it last looked after its log, on the monotonic clock.
    """

    def __init__(
        self,
        feeds: Sequence[CameraFeed],
        publisher: Publisher,
        options: ProducerOptions | None = None,
        now: Callable[[], datetime] = utc_now,
        spool: Spool | None = None,
        open_statuses: Callable[[], Reader] | None = None,
        is_complete: Callable[[], bool] | None = None,
    ) -> None:
        """Name the sessions; nothing is sent yet.

        Args:
            feeds: the cameras.
            publisher: where frames go.
            options: topic, bounds and deadlines.
            now: the clock.
            spool: keeps what a log that is away does not take; none = it is lost. Closed by its owner, after the
                publisher.
            open_statuses: reads what is told of cameras from its beginning, to see others that send ours.
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
        self._spool = spool
        watch = LogWatch(spool=None if spool is None else str(spool.options.folder))
        gaps = GapBook(None if spool is None else spool.options.folder / "gaps.json")
        self._outlet = Outlet(publisher, self._options.topic, now, watch, gaps)
        self._forwarder = Forwarder(self._outlet, spool, self._options.catch_up)
        self._num_lanes = max(1, len(feeds))
        self._runs = [self._run_of(feed) for feed in feeds]
        self._forwarder.take_over(names)
        self._threads = [_thread(run) for run in self._runs]
        self.turned_at_s = time.monotonic()
        self._over = threading.Event()
        self._own: dict[str, OwnSession] = {}
        self._reports: Reports | None = None
        self._rivals: Rivals | None = None
        if self._options.reports is not None:
            self._reports = Reports(self._outlet, gaps, self._options.reports)
            self._own.update({run.feed.camera_id: OwnSession(run.session_id, run.started_at) for run in self._runs})
            self._rivals = Rivals(self._own, self._options.reports.producer, now)
            self._outlet.in_front = self._rivals.in_front
            self._outlet.on_view = self._reports.add
        self._open_statuses = open_statuses
        self._follower: threading.Thread | None = None
        self._reporter = threading.Thread(target=self._report, name="report", daemon=True)

    def start(self) -> None:
        """Begin to send, in threads of its own, once it is known who else sends these cameras.

        With a spool the cameras are watched before that as well: a broker may be away for long.
        """
        look_around = self._looking_around()
        if self._spool is None:
            look_around()
        for run, thread in zip(self._runs, self._threads, strict=True):
            _tell_start(run)
            thread.start()
        self._reporter.start()
        self._forwarder.start(look_around)

    def _looking_around(self) -> Callable[[], object]:
        """Begin to read what others say of cameras; what is returned waits until that which was said before is read."""
        if self._rivals is None or self._open_statuses is None:
            return lambda: None
        follow = partial(self._rivals.follow, self._open_statuses, self._over)
        self._follower = threading.Thread(target=follow, name="rivals", daemon=True)
        self._follower.start()
        return partial(self._rivals.wait_known, _LOOK_AROUND_S)

    def add(self, feed: CameraFeed) -> None:
        """Begin to send another camera's frames while the others go on; after ``start``, from one thread at a time.

        Raises:
            SettingsError: frames of a camera of that name are being sent, or the feed has no rate.
        """
        if self.is_running(feed.camera_id):
            raise SettingsError(f"each camera must be sent once, '{feed.camera_id}' is being sent")
        if self._outlet.stopping.is_set():
            return
        run = self._run_of(feed)
        self._own[feed.camera_id] = OwnSession(run.session_id, run.started_at)
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
        """Whether frames of a camera are being sent, those among them that were kept on disk."""
        pairs = zip(list(self._runs), list(self._threads), strict=False)
        own = [(run.counts(), thread.is_alive()) for run, thread in pairs if run.feed.camera_id == camera_id]
        left = [(one.ledger.snapshot(), False) for one in self._forwarder.left if one.camera_id == camera_id]
        return any(is_alive or counts.spooled for counts, is_alive in (*own, *left))

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

    @property
    def is_log_away(self) -> bool:
        """Whether the log takes no frames, as far as is known."""
        return self._outlet.log.is_away

    def summary(self) -> str:
        """What became of all frames, one clause for each camera."""
        return "; ".join(f"{name}: {one.counts}" for name, one in self.snapshot().items())

    def _run_of(self, feed: CameraFeed) -> FeedRun:
        return FeedRun(feed, self._outlet, partial(self._lane, feed))

    def _lane(self, feed: CameraFeed, account: CameraAccount) -> Lane | None:
        """What holds this camera's frames back; None where they go to the publisher at once."""
        if holds_back(feed.drops):
            staleness_s = feed.max_staleness_s if feed.drops == "max_staleness" else None
            return self._forwarder.memory_lane(account, self._options.buffer_bytes // self._num_lanes, staleness_s)
        keeps = feed.when_full is None and feed.drops == "newest"
        return self._forwarder.spooled_lane(account) if keeps else None

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
        self._forwarder.stop(_GRACE_S)
        self._over.set()
        self._reporter.join(_GRACE_S)
        self._tell(is_last=True)
        if self._follower is not None:
            self._follower.join(_FOLLOWER_S)  # before its reader is closed by whoever made it
        logger.info("sent to %s: %s", self._options.topic, self.summary())
        if self._spool is not None:
            counts = self._counts()
            if num_kept := sum(one.spooled for one in counts):
                text = "%d frames are kept in %s, the next start sends them"
                logger.warning(text, num_kept, self._spool.options.folder)
            # What is on disk is not lost, and what is in flight as well is there too.
            flushed = flushed or not any(one.in_flight for one in counts)
        return flushed and not busy

    def _flush(self) -> bool:
        """After a stop until its deadline; after a regular end for as long as the log answers."""
        limit_s, since_s, num_open = self._options.drain_timeout_s, time.monotonic(), self._num_open()
        while not self._outlet.stopping.is_set():
            if self._is_flushed(min(_FLUSH_STEP_S, limit_s)):
                return True
            if (now_open := self._num_open()) != num_open:
                since_s, num_open = time.monotonic(), now_open
            elif time.monotonic() - since_s >= limit_s:
                return False
        return self._is_flushed(self._outlet.seconds_left())

    def _is_flushed(self, timeout_s: float) -> bool:
        deadline_s = time.monotonic() + timeout_s
        if not self._forwarder.wait_empty(timeout_s, self._needs_no_patience):
            return False
        return self._outlet.publisher.flush(max(0.0, deadline_s - time.monotonic()))

    def _needs_no_patience(self) -> bool:
        """Whether what there is goes to disk anyway."""
        return self._spool is not None and self._outlet.log.is_away and self._outlet.stopping.is_set()

    def _counts(self) -> Sequence[FrameCounts]:
        """Of all cameras, those of whom only an earlier run's frames are sent among them."""
        left = [account.ledger.snapshot() for account in self._forwarder.left]
        return [run.counts() for run in list(self._runs)] + left

    def _num_open(self) -> int:
        return sum(one.in_flight + one.spooled for one in self._counts())

    def _report(self) -> None:
        """Say each minute what became of the frames, and look after a log that falls silent."""
        interval_s = self._options.report_interval_s
        due_s = time.monotonic() + interval_s
        while not self._over.wait(min(_LOOK_S, interval_s)):
            self._outlet.log.look()
            self._tell()
            self.turned_at_s = time.monotonic()
            if time.monotonic() >= due_s:
                due_s += interval_s
                cameras = [f"{name} ({one.status.state}): {one.counts}" for name, one in self.snapshot().items()]
                logger.info("so far to %s: %s", self._options.topic, "; ".join(cameras))

    def _newest(self) -> Sequence[FeedRun]:
        """The last session of each camera."""
        return tuple({run.feed.camera_id: run for run in list(self._runs)}.values())

    def _tell(self, is_last: bool = False) -> None:
        if self._reports is not None:
            self._reports.tick([run.report() for run in self._newest()], is_last)


def _thread(run: FeedRun) -> threading.Thread:
    return threading.Thread(target=run.run, name=f"feed {run.feed.camera_id}", daemon=True)


def _tell_start(run: FeedRun) -> None:
    feed = run.feed
    logger.info("camera %s: session %s from %s", feed.camera_id, run.session_id, feed.source.describe())


def _snapshot(run: FeedRun) -> FeedSnapshot:
    error = str(run.error) if run.error else None
    return FeedSnapshot(run.session_id, run.feed.source.status, run.counts(), error)
