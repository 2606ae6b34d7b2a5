"""What a replay reads: recordings through a producer, or frames that a topic holds; all into a log in memory."""

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Protocol

from engram.build.cameras import camera_feeds, camera_names
from messaging.ports import Bus, OutRecord, Places, Publisher
from producers.producer import Producer, ProducerOptions
from producers.sources import SourceOptions, open_source
from schemas.errors import BufferFullError, SettingsError
from schemas.settings.detection import ProducerSection

log = logging.getLogger(__name__)

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
LONGEST_S = 7 * 86400.0
ROOM_S = 0.02
"""How long a full log is waited for."""


class ReplayInput(Protocol):
    """Sends records until there are no more."""

    def send(self, publisher: Publisher, topic: str, stop: threading.Event) -> None:
        """Send to ``topic``, as far as ``stop`` is not set.

        Raises:
            EngramError: what is read cannot be.
        """


class Counting:
    """A publisher that counts what it has taken; done at once, for a log in memory."""

    def __init__(self, inner: Publisher) -> None:
        self._inner = inner
        self._lock = threading.Lock()
        self.num_taken = 0

    def publish(self, record: OutRecord, on_done: Callable[[Exception | None], None] | None = None) -> None:
        """See ``ports.Publisher``."""
        self._inner.publish(record, on_done)
        with self._lock:
            self.num_taken += 1

    def flush(self, timeout_s: float) -> bool:
        """See ``ports.Publisher``."""
        return self._inner.flush(timeout_s)

    def close(self, timeout_s: float) -> None:
        """See ``ports.Publisher``."""
        self._inner.close(timeout_s)


@dataclass(frozen=True, slots=True)
class Recordings:
    """Files, folders of images, synthetic scenes: every frame, as fast as may be.

    Attributes:
        start: capture time of each one's first frame; by default 1970, so that times are those within the recording.
    """

    sources: Sequence[str]
    names: Sequence[str]
    producer: ProducerSection
    start: datetime = EPOCH

    def send(self, publisher: Publisher, topic: str, stop: threading.Event) -> None:
        """See ``ReplayInput``."""
        names = camera_names(len(self.sources), self.names)
        feeds = []
        for source, feed in zip(self.sources, camera_feeds(self.sources, names, self.producer), strict=True):
            if feed.source.is_live:
                raise SettingsError(
                    f"a replay needs a recording, '{feed.source.describe()}' is a camera; record it first"
                )
            feed.source.close()
            options = SourceOptions(start=self.start, fps=self.producer.source_fps)
            feeds.append(replace(feed, source=open_source(source, options)))
        producer = Producer(feeds, publisher, ProducerOptions(topic))
        done = threading.Event()
        watcher = threading.Thread(target=_pass_on, args=(producer, stop, done), name="stop", daemon=True)
        watcher.start()
        try:
            producer.run()
        finally:
            done.set()
            watcher.join()


@dataclass(frozen=True, slots=True)
class HeldFrames:
    """What a topic of frames holds.

    Attributes:
        bus: where.
        topic: with prefix.
        since: from when the log took them; None = from the oldest.
        places: offsets by partition that go before ``since``; partitions not named follow ``since``.
        until: as ``since``; None = to the end as it is when it begins.
        cameras: only these; empty = all.
    """

    bus: Bus
    topic: str
    since: datetime | None = None
    places: Places | None = None
    until: datetime | None = None
    cameras: Collection[str] = ()

    def send(self, publisher: Publisher, topic: str, stop: threading.Event) -> None:
        """See ``ReplayInput``. What lies there goes on as it is, also what is no frame."""
        until_ms = None if self.until is None else int(self.until.timestamp() * 1000)
        wanted = {camera.encode() for camera in self.cameras}
        with closing(self.bus.reader([self.topic], from_beginning=True)) as reader:
            if self.since is not None:
                reader.seek_time(int(self.since.timestamp() * 1000))
            found = reader.seek(self.places or {})
            for where, offset in (self.places or {}).items():
                if found[where] != offset:
                    log.warning("%s/%d has no offset %d any more: from %d on", *where, offset, found[where])
            for records in reader.batches_to_end(LONGEST_S):
                for record in records:
                    is_late = until_ms is not None and record.timestamp_ms > until_ms
                    if is_late or (wanted and record.key not in wanted):
                        continue
                    key = (record.key or b"").decode(errors="replace")
                    if not _publish(publisher, OutRecord(topic, key, record.value, record.headers), stop):
                        return


def _publish(publisher: Publisher, record: OutRecord, stop: threading.Event) -> bool:
    """Hand over as soon as there is room; False if stopped before."""
    while not stop.is_set():
        try:
            publisher.publish(record)
        except BufferFullError:
            stop.wait(ROOM_S)
        else:
            return True
    return False


def _pass_on(producer: Producer, stop: threading.Event, done: threading.Event) -> None:
    while not done.is_set():
        if stop.wait(0.1):
            producer.request_stop()
            return
