"""What goes with a partition to its new owner: the committed offset, where replay starts, the states.

The previous owner may have died with a transaction open, or while its commit was being carried out. So, in this order:

1. The committed offset is asked for with ``require_stable``, which the client sets under read_committed: the broker
   answers only after every transaction with offsets for the partition has ended. Later ones are refused, as they would
   belong to an older group generation.
2. All state records of those transactions lie below the state partition's high watermark now, but their end may not be
   marked there yet: wait until the last stable offset has passed it.
3. The states are read up to there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError

from messaging.kafka.attempts import Mark
from messaging.kafka.connection import KafkaConnection
from messaging.kafka.decoding import SkipCount
from messaging.kafka.errors import translate
from messaging.kafka.reader import lone_consumer
from messaging.ports import Progress

_ANSWER_MS = 500
"""Waits are short: the poll thread has to go on polling, and asks again."""


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

    def newest(self, numbers: Sequence[int]) -> Mapping[int, Mapping[str, bytes]]:
        """Newest value per key of those partitions whose transactions have all ended; the others are left out."""
        partitions = [TopicPartition(self._topic, number) for number in numbers]
        ends = self._high_watermarks(partitions)
        try:
            stable = self._consumer.end_offsets(partitions, timeout_ms=_ANSWER_MS)
            ready = {partition: end for partition, end in ends.items() if stable[partition] >= end}
            return self._read(ready) if ready else {}
        except KafkaError as error:
            raise translate(error, f"reading states from '{self._topic}'") from error

    def close(self) -> None:
        """Release the connection."""
        self._consumer.close(autocommit=False, timeout_ms=1000)

    def _read(self, ends: Mapping[TopicPartition, int]) -> Mapping[int, Mapping[str, bytes]]:
        self._consumer.assign(list(ends))
        for partition, start in self._consumer.beginning_offsets(list(ends), timeout_ms=_ANSWER_MS).items():
            self._consumer.seek(partition, start)
        states: dict[int, dict[str, bytes]] = {partition.partition: {} for partition in ends}
        while any(self._consumer.position(partition) < end for partition, end in ends.items()):
            found = self._consumer.poll(timeout_ms=_ANSWER_MS)
            for record in (each for records in found.values() for each in records):
                if record.key is None:  # not written by an outbox, or not readable
                    continue
                key = record.key.decode(errors="replace")
                states[record.partition].pop(key, None)
                if record.value is not None:
                    states[record.partition][key] = record.value
        return states
