"""The roles a partitioned log plays for Engram. Everything outside ``messaging`` sees these types only.

Order holds within a partition, and a record's key chooses its partition, so all records of one camera stay in order.

A *claim* is one ownership of one partition. It ends at a rebalance; whatever was computed under a claim that ended must
have no effect. The two ways to make progress durable:

* ``Outbox.commit``: output records, camera states and input positions become visible together or not at all (a Kafka
  transaction). Workers use it, so a crash neither skips a frame nor publishes a score twice.
* ``Subscription.commit``: positions alone, after the effects are durable elsewhere (at least once). The coordinator
  uses it, because its effect is an idempotent compare-and-set in the store.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from schemas.errors import BadMessageError

Headers = tuple[tuple[str, bytes], ...]

Places = Mapping[tuple[str, int], int]
"""Offsets by topic and partition."""

Begin = Literal["oldest", "newest"]
"""Where a group begins that has never committed a position: with all that is kept, or with what comes from now on."""

UNREADABLE = "engram-unreadable"
"""Header that an adapter gives, with the reason, to a record whose content it could not read."""


@dataclass(frozen=True, slots=True)
class OutRecord:
    """A record to be published. ``value`` None is a tombstone on a compacted topic.

    ``partition`` None = that of the key. A state names its own: it belongs where its claim is, whatever the key says,
    because others may spread keys otherwise and a topic that was just grown is seen so by some sooner than by others.
    """

    topic: str
    key: str
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


class TooLargeError(BadMessageError):
    """A record is larger than its topic takes. ``record`` says which: commit the others again without it."""

    def __init__(self, record: OutRecord, message: str) -> None:
        super().__init__("too_large", message)
        self.record = record


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it was read: raw bytes, because decoding belongs to the reader, who can send it to dead letters.

    ``flaw`` is what speaks against believing it whatever its bytes say, see ``sealing``.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int
    flaw: BadMessageError | None = None

    def check(self) -> None:
        """Raises the BadMessageError that speaks against believing it, if one does; whoever decodes it calls this."""
        if self.flaw is not None:
            raise self.flaw

    def header(self, name: str) -> bytes | None:
        """Value of the first header called ``name``."""
        return next((value for key, value in self.headers if key == name), None)


Look = Callable[[Record], Record]
"""What a record goes through before it is believed: the same record, perhaps with a flaw."""


def as_it_is(record: Record) -> Record:
    """The ``Look`` that finds no flaw."""
    return record


@dataclass(frozen=True, slots=True)
class Claim:
    """One ownership of one partition by this process; ``epoch`` grows with every assignment and rewind."""

    topic: str
    partition: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Assigned:
    """A partition has just become ours.

    Attributes:
        committed_offset: first offset not yet handled by any earlier owner.
        states: newest value per key of the same-numbered partition of the state topic (empty without one).
        doubted: likewise, of keys of which that topic holds records with a flaw only.
    """

    claim: Claim
    committed_offset: int
    states: Mapping[str, bytes] = field(default_factory=dict)
    doubted: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One record under a claim.

    Attributes:
        is_replay: handled before by an earlier owner, delivered to refill windows only.
        attempts: how often an owner has begun with this record and died before its progress was durable, as far as the
            log knows (members with a state topic only). Whoever sees it grow should rather give up the record than the
            next process. After a death the next records come one by one, each once the one before is committed or
            about two seconds have gone by. A log within one process dies with it, and counts nothing.
    """

    record: Record
    claim: Claim
    is_replay: bool
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Lost:
    """Records of a claim's partition that the log deleted (retention) before they were read: never to be had again.

    Attributes:
        claim: whose.
        first_offset: where the claim would have gone on.
        num_records: at most so many; offsets that transactions took for themselves count too. 0 where it cannot be
            known, because the topic was deleted and made again.
    """

    claim: Claim
    first_offset: int
    num_records: int


@dataclass(frozen=True, slots=True)
class Intake:
    """What happened since the last ``receive``, to be handled in this order: revoked, assigned, lost, deliveries."""

    revoked: tuple[Claim, ...] = ()
    assigned: tuple[Assigned, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    lost: tuple[Lost, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a claim was handled.

    Attributes:
        next_offset: the first offset not handled yet.
        replay_from: the oldest offset a new owner must read again to refill its windows; at most ``next_offset``. While
            a replay is still being read, what is left of it is kept for a new owner whatever this says: who has not
            read it yet cannot know that it needs it.
    """

    claim: Claim
    next_offset: int
    replay_from: int

    def keeping(self, unread_from: int | None) -> "Progress":
        """As it is committed while its claim has been read up to ``unread_from``; None = the claim has ended."""
        return self if unread_from is None else replace(self, replay_from=min(self.replay_from, unread_from))


class Publisher(Protocol):
    """Sends records without waiting; memory in flight is bounded in bytes."""

    def publish(self, record: OutRecord, on_done: Callable[[Exception | None], None] | None = None) -> None:
        """Hand over one record. ``on_done`` is called exactly once, from any thread, with None or the error.

        Raises:
            BufferFullError: the bytes in flight are at their bound; nothing was taken, ``on_done`` is not called.
            BadMessageError: the record can never be sent (larger than the topic takes).
        """

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was handed over is done with; False if the deadline came first."""

    def close(self, timeout_s: float) -> None:
        """Flush and release. Records still open at the deadline get an error."""


class Subscription(Protocol):
    """Membership of a consumer group, with backpressure: what is not received stays in the log."""

    def receive(self, max_records: int, timeout_s: float) -> Intake:
        """Wait for something to happen, at most ``timeout_s``.

        Raises:
            FatalError: the membership is beyond repair (poll thread dead, group unstable for too long).
        """

    def commit(self, progress: Sequence[Progress]) -> None:
        """Make positions durable. Claims that have ended are skipped.

        Raises:
            TransientError: broker away or group moved on; the records will come again.
        """

    def rewind(self) -> None:
        """End every claim; each partition comes back as newly assigned, from its committed offset."""

    def lag(self) -> int:
        """Records in the log that this member has not received yet, over its partitions, as last known."""

    def abandon(self) -> None:
        """Say, before ``close``, that this member dies of what it has in hand: its hand-over counts as an attempt."""

    def close(self) -> None:
        """Leave the group at once, so that others take over without waiting for a time-out."""


class Outbox(Protocol):
    """Atomic output of one worker: records, states and input positions in one transaction."""

    def commit(self, records: Sequence[OutRecord], progress: Sequence[Progress]) -> None:
        """Publish all of it or nothing. A dead letter that its topic does not take is published without its value.

        Raises:
            TooLargeError: a topic does not take a record; nothing was published, commit again without that record.
            OwnershipLostError: a claim has ended, or this writer was fenced; nothing was published: rewind.
            TransientError: broker away; it is unknown whether the transaction went through: rewind.
        """

    def close(self) -> None:
        """Release without publishing anything."""


class Reader(Protocol):
    """Reads topics without a group: for followers of events and for restoring compacted topics."""

    def read(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """The next committed records in offset order per partition; empty at the deadline."""

    def read_to_end(self, timeout_s: float) -> Sequence[Record]:
        """Everything from here to the end as it was at the call.

        Raises:
            TransientError: the end was not reached by the deadline.
        """

    def batches_to_end(self, timeout_s: float) -> Iterator[Sequence[Record]]:
        """As ``read_to_end``, a batch at a time, for topics that may be larger than the memory.

        Raises:
            TransientError: the end was not reached by the deadline.
        """

    def lag(self) -> int:
        """Records in the log that were not read yet, as last known; callable from any thread."""

    def partitions(self) -> Collection[tuple[str, int]]:
        """Topic and number of each partition that is read. Whoever knows another one knows it of a topic of old."""

    def seek(self, places: Places) -> Places:
        """Go on at these offsets; partitions that are not named stay where they are.

        Returns:
            where those named go on in truth: later where retention deleted records, at the oldest one where the log
            does not reach so far, because the topic was made again.

        Raises:
            FatalError: a partition that is not read.
            TransientError: broker away.
        """

    def seek_time(self, timestamp_ms: int) -> None:
        """Go on, in all partitions, at the first record that the log took at ``timestamp_ms`` (since 1970) or later.

        Raises:
            TransientError: broker away.
        """

    def close(self) -> None:
        """Release."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as it must exist. ``retention_ms`` None = as the broker does by default; ignored when compacted."""

    name: str
    partitions: int
    compacted: bool = False
    retention_ms: int | None = None
    max_message_bytes: int | None = None


class Bus(Protocol):
    """Where publishers, subscriptions and readers come from. One per process."""

    def publisher(self) -> Publisher:
        """A new publisher."""

    def subscription(
        self,
        topics: Sequence[str],
        group: str,
        state_topic: str | None = None,
        begin: Begin = "oldest",
        look: Look = as_it_is,
    ) -> Subscription:
        """Join ``group`` on ``topics``, which must exist.

        Args:
            topics: names, with prefix.
            group: consumer group id.
            state_topic: compacted topic with as many partitions as the single subscribed topic; its partition p is
                written by the owner of partition p, through an outbox, and handed to the next owner.
            begin: where a partition begins of which the group has never committed a position. ``newest`` is a moment,
                not a place: who must miss nothing from then on commits the offset that it was assigned.
            look: what each record of the state topic goes through; one that has a flaw then is as if it were not there,
                and the one before it of the same key, if the topic still holds it, goes on being the newest.

        Raises:
            FatalError: a topic does not exist, or the state topic has another number of partitions.
            TransientError: broker away.
        """

    def outbox(self, subscription: Subscription, writer_id: str) -> Outbox:
        """The atomic output that goes with ``subscription``.

        A new outbox of the same ``writer_id`` fences the old one, if both are of the same topics and group.
        """

    def reader(self, topics: Sequence[str], from_beginning: bool, partitions: Collection[int] | None = None) -> Reader:
        """Read ``topics`` from their first record, or only what comes from now on; of each these partitions, or all."""

    def create_topics(self, specs: Sequence[TopicSpec]) -> Sequence[str]:
        """Create what is missing; the names created.

        Raises:
            FatalError: a topic exists with another number of partitions.
        """

    def existing_topics(self) -> Mapping[str, int]:
        """Name to number of partitions. Raises TransientError when the broker does not answer."""

    def close(self) -> None:
        """Release everything this bus made that is still open."""
