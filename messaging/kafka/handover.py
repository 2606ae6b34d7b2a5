"""What goes with a partition to its new owner: the committed offset, where replay starts, the states.

The previous owner may have died with a transaction open, or while its commit was being carried out. So, in this order:

1. The committed offset is asked for with ``require_stable``, which the client sets under read_committed: the broker
   answers only after every transaction with offsets for the partition has ended. Later ones are refused, as they would
   belong to an older group generation.
2. All state records of those transactions lie below the state partition's high watermark now, but their end may not be
   marked there yet: wait until the last stable offset has passed it.
3. The states are read up to there.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError

from messaging.kafka.attempts import Mark
from messaging.kafka.connection import KafkaConnection
from messaging.kafka.decoding import SkipCount
from messaging.kafka.errors import translate
from messaging.kafka.reader import lone_consumer
from messaging.ports import Claim, Progress, Record

_ANSWER_MS = 500
"""Waits are short: the poll thread has to go on polling, and asks again."""
_SLICE_S = 2.0
"""So long states are read between two polls of the group."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a new owner begins.

    Attributes:
        committed_offset: first offset not handled by anybody that can still be read.
        replay_from: first offset to read.
        attempts: that were made at the committed offset.
        lost_from: what was committed, where the log does not go on from there; else None.
    """

    committed_offset: int
    replay_from: int
    attempts: int = 0
    lost_from: int | None = None

    @property
    def num_lost(self) -> int:
        """Offsets that retention deleted unread. None are known of a topic that was deleted and made again."""
        return max(0, self.committed_offset - self.lost_from) if self.lost_from is not None else 0


def offsets_of(
    progress: Sequence[Progress], attempts_at: Callable[[Progress], int] = lambda _: 0
) -> dict[TopicPartition, OffsetAndMetadata]:
    """What is committed for ``progress``: the next offset, with where to replay from in its metadata string.

    Args:
        progress: what was handled.
        attempts_at: attempts at the next offset, ours included; a commit without progress must not forget them.
    """
    return {
        TopicPartition(item.claim.topic, item.claim.partition): committed_as(
            Mark(item.next_offset, min(item.replay_from, item.next_offset), attempts_at(item))
        )
        for item in progress
    }


def committed_as(mark: Mark) -> OffsetAndMetadata:
    """An offset, with where to replay from and, if any, the attempts: ``40`` or ``40;2``."""
    told = f"{mark.replay_from};{mark.attempts}" if mark.attempts else str(mark.replay_from)
    return OffsetAndMetadata(mark.next_offset, told, -1)


def find_start(consumer: KafkaConsumer, partition: TopicPartition) -> Start:
    """Where ``partition`` begins for the consumer's group.

    Raises:
        KafkaError: no answer in time, also while a transaction with offsets for the partition is open.
    """
    found = consumer.committed(partition, metadata=True, timeout_ms=_ANSWER_MS)
    oldest = consumer.beginning_offsets([partition], timeout_ms=_ANSWER_MS)[partition]
    if found is None:
        return Start(oldest, oldest)
    end = consumer.end_offsets([partition], timeout_ms=_ANSWER_MS)[partition]
    if not oldest <= found.offset <= end:
        return Start(oldest, oldest, lost_from=found.offset)
    told, _, attempts = (found.metadata or "").partition(";")
    replay_from = int(told) if told.isdecimal() else found.offset
    return Start(
        found.offset,
        max(oldest, min(replay_from, found.offset)),
        int(attempts) if attempts.isdecimal() else 0,
    )


@dataclass(slots=True)
class _Reading:
    """How far the states of one partition have been read."""

    partition: TopicPartition
    position: int
    end: int
    states: dict[str, bytes] = field(default_factory=dict)

    def take(self, record: Record) -> None:
        if record.key is None:  # not written by an outbox, or not readable
            return
        key = record.key.decode(errors="replace")
        self.states.pop(key, None)
        if record.value is not None:
            self.states[key] = record.value


class StateTopic:
    """Reads the newest states of some partitions of a compacted topic.

    Args:
        connection: where and how.
        topic: the state topic.
        high_watermarks: ends of partitions with open transactions included.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        topic: str,
        high_watermarks: Callable[[Sequence[TopicPartition]], Mapping[TopicPartition, int]],
    ) -> None:
        self._topic = topic
        self._high_watermarks = high_watermarks
        self._consumer = lone_consumer(connection, SkipCount())
        self._readings: dict[Claim, _Reading] = {}

    def newest(self, claims: Sequence[Claim]) -> Mapping[Claim, Mapping[str, bytes]]:
        """Newest value per key of the claims' partitions, as far as they have been read by now.

        A topic may hold more than can be read between two polls of the group, so each call reads on for a slice of time
        from where the one before stopped. A claim whose transactions have not all ended, or whose states are not all
        read, is left out: ask again.
        """
        self._readings = {claim: reading for claim, reading in self._readings.items() if claim in claims}
        try:
            self._begin([claim for claim in claims if claim not in self._readings])
            self._read_on(time.monotonic() + _SLICE_S)
        except KafkaError as error:
            raise translate(error, f"reading states from '{self._topic}'") from error
        done = {claim: reading for claim, reading in self._readings.items() if reading.position >= reading.end}
        for claim in done:
            del self._readings[claim]
        return {claim: reading.states for claim, reading in done.items()}

    def close(self) -> None:
        """Release the connection."""
        self._consumer.close(autocommit=False, timeout_ms=1000)

    def _begin(self, claims: Sequence[Claim]) -> None:
        if not claims:
            return
        partitions = {TopicPartition(self._topic, claim.partition): claim for claim in claims}
        ends = self._high_watermarks(list(partitions))
        stable = self._consumer.end_offsets(list(partitions), timeout_ms=_ANSWER_MS)
        starts = self._consumer.beginning_offsets(list(partitions), timeout_ms=_ANSWER_MS)
        for partition, claim in partitions.items():
            if stable[partition] >= ends[partition]:
                self._readings[claim] = _Reading(partition, starts[partition], ends[partition])

    def _read_on(self, until_s: float) -> None:
        reading = {one.partition: one for one in self._readings.values() if one.position < one.end}
        self._consumer.assign(list(reading))
        for partition, one in reading.items():
            self._consumer.seek(partition, one.position)
        while any(one.position < one.end for one in reading.values()) and time.monotonic() < until_s:
            for partition, records in self._consumer.poll(timeout_ms=_ANSWER_MS).items():
                for record in records:
                    reading[partition].take(record)
            for partition, one in reading.items():
                one.position = self._consumer.position(partition)
