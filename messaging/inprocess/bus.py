"""A partitioned log within one process: the whole of Engram on one machine without Kafka, and tests of everything else.

It keeps the promises of ``ports``: order per key, groups with claims that end at a rebalance, committed positions,
state hand-over, atomic outboxes. It does not survive the process. One lock guards all; waits have deadlines.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from messaging.inprocess.group import TopicPartition
from messaging.inprocess.log import TopicLog
from messaging.inprocess.members import InProcessOutbox, InProcessSubscription
from messaging.inprocess.shared import SharedLog
from messaging.ports import Begin, Look, OutRecord, Places, Record, Subscription, TopicSpec, as_it_is
from messaging.topics import check_group, check_partitions, check_places, check_state_topic, writer_scope
from schemas.errors import FatalError

_log = logging.getLogger(__name__)


class InProcessPublisher:
    """Publishes into memory; done as soon as it returns."""

    def __init__(self, shared: SharedLog) -> None:
        self._shared = shared
        self._closed = False

    def publish(self, record: OutRecord, on_done: Callable[[Exception | None], None] | None = None) -> None:
        """See ``ports.Publisher``."""
        with self._shared.changed:
            if self._closed:
                raise FatalError("a publisher must be open to publish, this one was closed")
            self._shared.append((record,))
        if on_done is not None:
            try:
                on_done(None)
            except Exception:  # the record was taken, whatever its publisher makes of it
                _log.exception("on_done of a published record failed")

    def flush(self, timeout_s: float) -> bool:  # noqa: ARG002 - there is never anything to wait for
        """See ``ports.Publisher``."""
        return True

    def close(self, timeout_s: float) -> None:  # noqa: ARG002
        """See ``ports.Publisher``."""
        self._closed = True


class InProcessReader:
    """Reads without a group."""

    def __init__(
        self, shared: SharedLog, topics: Sequence[str], from_beginning: bool, partitions: Collection[int] | None = None
    ) -> None:
        self._shared = shared
        self._closed = False
        self._read_from: dict[TopicPartition, int] = {
            (name, number): log.start if from_beginning else log.end
            for name in topics
            for number, log in enumerate(shared.topic(name).partitions)
            if partitions is None or number in partitions
        }

    def read(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """See ``ports.Reader``."""
        with self._shared.changed:
            self._shared.changed.wait_for(lambda: self._closed or self._is_behind(), timeout_s)
            return self._take(max_records)

    def read_to_end(self, timeout_s: float) -> Sequence[Record]:  # noqa: ARG002 - all of it is here already
        """See ``ports.Reader``."""
        with self._shared.changed:
            return self._take(sum(len(log) for topic in self._shared.topics.values() for log in topic.partitions))

    def batches_to_end(self, timeout_s: float) -> Iterator[Sequence[Record]]:
        """See ``ports.Reader``."""
        yield self.read_to_end(timeout_s)

    def lag(self) -> int:
        """See ``ports.Reader``."""
        with self._shared.changed:
            ends = {where: self._shared.topics[where[0]].partitions[where[1]].end for where in self._read_from}
            return sum(max(0, end - self._read_from[where]) for where, end in ends.items())

    def partitions(self) -> Collection[TopicPartition]:
        """See ``ports.Reader``."""
        return set(self._read_from)

    def seek(self, places: Places) -> Places:
        """See ``ports.Reader``."""
        with self._shared.changed:
            check_places(places, self._read_from)
            logs = {(name, number): self._shared.topics[name].partitions[number] for name, number in places}
            found = {
                where: at if logs[where].start <= at <= logs[where].end else logs[where].start
                for where, at in places.items()
            }
            self._read_from.update(found)
            return found

    def seek_time(self, timestamp_ms: int) -> None:
        """See ``ports.Reader``."""
        with self._shared.changed:
            for name, number in self._read_from:
                self._read_from[name, number] = self._shared.topics[name].partitions[number].first_since(timestamp_ms)

    def close(self) -> None:
        """See ``ports.Reader``."""
        with self._shared.changed:
            self._closed = True
            self._shared.changed.notify_all()

    def _is_behind(self) -> bool:
        return any(
            self._shared.topics[name].partitions[number].end > position
            for (name, number), position in self._read_from.items()
        )

    def _take(self, max_records: int) -> list[Record]:
        if self._closed:
            raise FatalError("a reader must be open to read, this one was closed")
        taken: list[Record] = []
        for (name, number), position in self._read_from.items():
            log = self._shared.topics[name].partitions[number]
            if log.start > position and not self._shared.topics[name].spec.compacted:
                _log.warning("a reader of %s/%d was too slow: %d records were gone", name, number, log.start - position)
            records = log.read(position, max_records - len(taken))
            self._read_from[name, number] = records[-1].offset + 1 if records else max(position, log.start)
            taken += records
        return taken


class InProcessBus:
    """A bus within the process.

    Args:
        max_topic_bytes: bound of one topic's memory; beyond it, ``publish`` raises BufferFullError unless records that
            every group has handled (and needs no more for replay) can go.
        ring_records: how many records that no group needs a partition keeps for readers.
        clock: seconds since the epoch, for record timestamps.
    """

    def __init__(
        self, max_topic_bytes: int = 64 << 20, ring_records: int = 10_000, clock: Callable[[], float] = time.time
    ) -> None:
        self._shared = SharedLog(clock=clock)
        self._max_topic_bytes = max_topic_bytes
        self._ring_records = ring_records
        self._open: list[InProcessPublisher | InProcessSubscription | InProcessOutbox | InProcessReader] = []

    def publisher(self) -> InProcessPublisher:
        """See ``ports.Bus``."""
        publisher = InProcessPublisher(self._shared)
        self._open.append(publisher)
        return publisher

    def subscription(
        self,
        topics: Sequence[str],
        group: str,
        state_topic: str | None = None,
        begin: Begin = "oldest",
        look: Look = as_it_is,
    ) -> InProcessSubscription:
        """See ``ports.Bus``."""
        check_group(group)
        with self._shared.changed:
            counts = {name: len(self._shared.topic(name).partitions) for name in topics}
            if state_topic is not None:
                check_state_topic(state_topic, len(self._shared.topic(state_topic).partitions), counts)
            if begin == "newest":
                self._shared.begin_at_ends(group, topics)
            subscription = InProcessSubscription(
                self._shared, topics, self._shared.groups[group], state_topic, writer_scope(topics, group), look
            )
        self._open.append(subscription)
        return subscription

    def outbox(self, subscription: Subscription, writer_id: str) -> InProcessOutbox:
        """See ``ports.Bus``."""
        if not isinstance(subscription, InProcessSubscription):
            raise FatalError(f"an outbox needs a subscription of the same bus, got {type(subscription).__name__}")
        outbox = InProcessOutbox(self._shared, subscription, f"{subscription.scope}/{writer_id}")
        self._open.append(outbox)
        return outbox

    def reader(
        self, topics: Sequence[str], from_beginning: bool, partitions: Collection[int] | None = None
    ) -> InProcessReader:
        """See ``ports.Bus``."""
        with self._shared.changed:
            reader = InProcessReader(self._shared, topics, from_beginning, partitions)
        self._open.append(reader)
        return reader

    def create_topics(self, specs: Sequence[TopicSpec]) -> Sequence[str]:
        """See ``ports.Bus``."""
        with self._shared.changed:
            for spec in specs:
                if spec.name in self._shared.topics:
                    check_partitions(spec, len(self._shared.topics[spec.name].partitions))
            missing = [spec for spec in specs if spec.name not in self._shared.topics]
            for spec in missing:
                self._shared.topics[spec.name] = TopicLog(spec, self._max_topic_bytes, self._ring_records)
            return [spec.name for spec in missing]

    def existing_topics(self) -> Mapping[str, int]:
        """See ``ports.Bus``."""
        with self._shared.changed:
            return {name: len(topic.partitions) for name, topic in self._shared.topics.items()}

    def close(self) -> None:
        """See ``ports.Bus``."""
        for item in self._open:
            if isinstance(item, InProcessPublisher):
                item.close(0.0)
            else:
                item.close()
        self._open.clear()
