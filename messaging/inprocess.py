"""A partitioned log within one process: the whole of Engram on one machine without Kafka, and tests of everything else.

It keeps the promises of ``ports``: order per key, groups with claims that end at a rebalance, committed positions,
state hand-over, atomic outboxes. It does not survive the process. One lock guards all; waits have deadlines.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from messaging.inprocess_group import Group, Membership, TopicPartition
from messaging.inprocess_log import NeededFrom, PartitionLog, TopicLog
from messaging.ports import Assigned, Claim, Delivery, Intake, OutRecord, Progress, Record, Subscription, TopicSpec
from messaging.topics import check_partitions, check_state_topic
from schemas.errors import BufferFullError, FatalError, OwnershipLostError

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Shared:
    """What everything of one bus shares, guarded by ``changed``."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    topics: dict[str, TopicLog] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=lambda: defaultdict(Group))
    writers: dict[str, "InProcessOutbox"] = field(default_factory=dict)
    clock: Callable[[], float] = time.time

    def topic(self, name: str) -> TopicLog:
        """The log of a topic that must exist."""
        try:
            return self.topics[name]
        except KeyError:
            text = f"topic '{name}' must exist, there are {sorted(self.topics)}; run `engram topics create`"
            raise FatalError(text) from None

    def append(self, records: Sequence[OutRecord]) -> None:
        """Add all records, or none.

        Raises:
            BadMessageError: one is too large.
            BufferFullError: a topic has no room.
        """
        by_topic: dict[str, list[OutRecord]] = defaultdict(list)
        for record in records:
            self.topic(record.topic).check_size(record)
            by_topic[record.topic].append(record)
        for name, group in by_topic.items():
            if not self.topics[name].make_room(group, self._needed_from(name)):
                raise BufferFullError(f"topic '{name}' is full of records that its readers have not handled yet: wait")
        timestamp_ms = int(self.clock() * 1000)
        for record in records:
            self.topics[record.topic].append(record, timestamp_ms, self._needed_from(record.topic))
        self.changed.notify_all()

    def _needed_from(self, topic: str) -> NeededFrom:
        groups = [group for group in self.groups.values() if topic in group.partitions]
        ends = [log.end for log in self.topics[topic].partitions]

        def needed_from(partition: int) -> int:
            return min(
                (group.position((topic, partition)).replay_from for group in groups), default=ends[partition] + 1
            )

        return needed_from


class InProcessPublisher:
    """Publishes into memory; done as soon as it returns."""

    def __init__(self, shared: _Shared) -> None:
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


class InProcessSubscription:
    """A member of a group within the process."""

    def __init__(self, shared: _Shared, topics: Sequence[str], group: Group, state_topic: str | None) -> None:
        self._shared = shared
        self._group = group
        self._state_topic = state_topic
        self._read_from: dict[Claim, int] = {}
        self._committed: dict[Claim, int] = {}
        self._turn = 0
        self._closed = False
        self._member: Membership = group.join({name: len(shared.topics[name].partitions) for name in topics})
        shared.changed.notify_all()

    def receive(self, max_records: int, timeout_s: float) -> Intake:
        """See ``ports.Subscription``."""
        with self._shared.changed:
            if self._closed:
                raise FatalError("a subscription must be open to receive, this one was closed")
            self._shared.changed.wait_for(self._has_news, timeout_s)
            return self._intake(max_records)

    def commit(self, progress: Sequence[Progress]) -> None:
        """See ``ports.Subscription``."""
        with self._shared.changed:
            self._group.commit(self._member, progress)

    def commit_with(self, records: Sequence[OutRecord], progress: Sequence[Progress]) -> None:
        """Publish and commit in one step, under the bus's lock; for the outbox."""
        if any(self._member.claims.get((item.claim.topic, item.claim.partition)) != item.claim for item in progress):
            raise OwnershipLostError("every claim must still be held to commit, one has ended: rewind")
        self._shared.append(records)
        self._group.commit(self._member, progress)

    def rewind(self) -> None:
        """See ``ports.Subscription``."""
        with self._shared.changed:
            self._group.rewind(self._member)
            self._shared.changed.notify_all()

    def lag(self) -> int:
        """See ``ports.Subscription``."""
        with self._shared.changed:
            return sum(
                self._partition(where).end - self._read_from.get(claim, self._first_wanted(where))
                for where, claim in self._member.claims.items()
            )

    def close(self) -> None:
        """See ``ports.Subscription``."""
        with self._shared.changed:
            self._closed = True
            self._group.leave(self._member)
            self._shared.changed.notify_all()

    def _partition(self, where: TopicPartition) -> PartitionLog:
        return self._shared.topics[where[0]].partitions[where[1]]

    def _first_wanted(self, where: TopicPartition) -> int:
        return max(self._group.position(where).replay_from, self._partition(where).start)

    def _has_news(self) -> bool:
        member = self._member
        waiting = (self._partition(where).end > self._read_from[claim] for where, claim in member.claims.items())
        return bool(self._closed or member.revoked or member.fresh) or any(waiting)

    def _intake(self, max_records: int) -> Intake:
        member = self._member
        revoked, fresh = tuple(member.revoked), tuple(member.fresh)
        member.revoked.clear()
        member.fresh.clear()
        for claim in revoked:
            self._read_from.pop(claim, None)
            self._committed.pop(claim, None)
        assigned = tuple(self._begin(claim) for claim in fresh)
        return Intake(revoked, assigned, tuple(self._take(max_records)))

    def _begin(self, claim: Claim) -> Assigned:
        where = (claim.topic, claim.partition)
        self._read_from[claim] = self._first_wanted(where)
        self._committed[claim] = self._group.position(where).next_offset
        states: Mapping[str, bytes] = {}
        if self._state_topic is not None:
            states = self._shared.topics[self._state_topic].partitions[claim.partition].newest_values()
        return Assigned(claim, self._committed[claim], states)

    def _take(self, max_records: int) -> list[Delivery]:
        claims = list(self._member.claims.values())
        self._turn += 1  # another partition comes first each time, so a busy one cannot starve the others
        first = self._turn % len(claims) if claims else 0
        deliveries: list[Delivery] = []
        for claim in claims[first:] + claims[:first]:
            records = self._partition((claim.topic, claim.partition)).read(
                self._read_from[claim], max_records - len(deliveries)
            )
            deliveries += [Delivery(record, claim, record.offset < self._committed[claim]) for record in records]
            if records:
                self._read_from[claim] = records[-1].offset + 1
        return deliveries


class InProcessOutbox:
    """Atomic because the bus has one lock."""

    def __init__(self, shared: _Shared, subscription: InProcessSubscription, writer_id: str) -> None:
        self._shared = shared
        self._subscription = subscription
        self._writer_id = writer_id
        self._closed = False
        with shared.changed:
            shared.writers[writer_id] = self

    def commit(self, records: Sequence[OutRecord], progress: Sequence[Progress]) -> None:
        """See ``ports.Outbox``."""
        with self._shared.changed:
            if self._closed:
                raise FatalError("an outbox must be open to commit, this one was closed")
            if self._shared.writers.get(self._writer_id) is not self:
                raise OwnershipLostError(f"writer '{self._writer_id}' must be the newest of its id, another took over")
            self._subscription.commit_with(records, progress)

    def close(self) -> None:
        """See ``ports.Outbox``."""
        with self._shared.changed:
            self._closed = True
            if self._shared.writers.get(self._writer_id) is self:
                del self._shared.writers[self._writer_id]


class InProcessReader:
    """Reads without a group."""

    def __init__(self, shared: _Shared, topics: Sequence[str], from_beginning: bool) -> None:
        self._shared = shared
        self._closed = False
        self._read_from: dict[TopicPartition, int] = {
            (name, number): log.start if from_beginning else log.end
            for name in topics
            for number, log in enumerate(shared.topic(name).partitions)
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
        self._shared = _Shared(clock=clock)
        self._max_topic_bytes = max_topic_bytes
        self._ring_records = ring_records
        self._open: list[InProcessPublisher | InProcessSubscription | InProcessOutbox | InProcessReader] = []

    def publisher(self) -> InProcessPublisher:
        """See ``ports.Bus``."""
        publisher = InProcessPublisher(self._shared)
        self._open.append(publisher)
        return publisher

    def subscription(self, topics: Sequence[str], group: str, state_topic: str | None = None) -> InProcessSubscription:
        """See ``ports.Bus``."""
        with self._shared.changed:
            counts = {name: len(self._shared.topic(name).partitions) for name in topics}
            if state_topic is not None:
                check_state_topic(state_topic, len(self._shared.topic(state_topic).partitions), counts)
            subscription = InProcessSubscription(self._shared, topics, self._shared.groups[group], state_topic)
        self._open.append(subscription)
        return subscription

    def outbox(self, subscription: Subscription, writer_id: str) -> InProcessOutbox:
        """See ``ports.Bus``."""
        if not isinstance(subscription, InProcessSubscription):
            raise FatalError(f"an outbox needs a subscription of the same bus, got {type(subscription).__name__}")
        outbox = InProcessOutbox(self._shared, subscription, writer_id)
        self._open.append(outbox)
        return outbox

    def reader(self, topics: Sequence[str], from_beginning: bool) -> InProcessReader:
        """See ``ports.Bus``."""
        with self._shared.changed:
            reader = InProcessReader(self._shared, topics, from_beginning)
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
