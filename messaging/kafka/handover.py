"""What goes with a partition to its new owner: the committed offset, where replay starts, the states.

The previous owner may have died with a transaction open, or while its commit was being carried out. So, in this order:

1. The committed offset is asked for with ``require_stable``, which the client sets under read_committed: the broker
   answers only after every transaction with offsets for the partition has ended. Later ones are refused, as they would
   belong to an older group generation.
2. All state records of those transactions lie below the state partition's high watermark now, but their end may not be
   marked there yet: wait until the last stable offset has passed it.
3. The states are read up to there, from the checkpoint that was committed with the offset. It is believed if it is of
   this topic, not of one before it of the same name, and lies within the log; else they are read from the beginning.
   An older checkpoint is as good as a newer one: what was the newest record of a key then is there, or a newer one is.
"""

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from messaging.kafka.connection import KafkaConnection
from messaging.kafka.decoding import SkipCount
from messaging.kafka.errors import translate
from messaging.kafka.marks import Checkpoint, read_mark
from messaging.kafka.reader import lone_consumer
from messaging.kafka.states import StateTable
from messaging.kafka.topics import KafkaTopics
from messaging.ports import Begin, Claim, Look, as_it_is

_log = logging.getLogger(__name__)

_ANSWER_MS = 500
"""Waits are short: the poll thread has to go on polling, and asks again."""
HANGING_S = 30.0
"""A transaction of ours is aborted by the broker when it is open for longer than ten seconds."""
_SLICE_S = 2.0
"""So long states are read between two polls of the group."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a new owner begins.

    Attributes:
        committed_offset: first offset not handled by anybody that can still be read.
        replay_from: first offset to read.
        attempts: that were made at the committed offset.
        checkpoint: from where to read the states; None = from the beginning.
        lost_from: what was committed, where the log does not go on from there; else None.
    """

    committed_offset: int
    replay_from: int
    attempts: int = 0
    checkpoint: Checkpoint | None = None
    lost_from: int | None = None

    @property
    def num_lost(self) -> int:
        """Offsets that retention deleted unread. None are known of a topic that was deleted and made again."""
        return max(0, self.committed_offset - self.lost_from) if self.lost_from is not None else 0


def find_start(consumer: KafkaConsumer, partition: TopicPartition, begin: Begin = "oldest") -> Start:
    """Where ``partition`` begins for the consumer's group; ``begin``: if it has no position.

    Raises:
        KafkaError: no answer in time, also while a transaction with offsets for the partition is open.
    """
    found = consumer.committed(partition, metadata=True, timeout_ms=_ANSWER_MS)
    oldest = consumer.beginning_offsets([partition], timeout_ms=_ANSWER_MS)[partition]
    end = consumer.end_offsets([partition], timeout_ms=_ANSWER_MS)[partition]
    if found is None:
        first = oldest if begin == "oldest" else end
        return Start(first, first)
    mark = read_mark(found)
    if not oldest <= mark.next_offset <= end:
        return Start(oldest, oldest, checkpoint=mark.checkpoint, lost_from=mark.next_offset)
    return Start(mark.next_offset, max(oldest, mark.replay_from), mark.attempts, mark.checkpoint)


@dataclass(slots=True)
class _Reading:
    """How far the states of one partition have been read, and how far they must be."""

    table: StateTable
    end: int
    num_records: int = 0

    @property
    def is_done(self) -> bool:
        return self.table.position >= self.end


class StateTopic:
    """Reads the newest states of some partitions of a compacted topic.

    Args:
        connection: where and how.
        topic: the state topic.
        topics: who knows its id, and the ends of partitions with open transactions included.
        look: what each record goes through.
    """

    def __init__(self, connection: KafkaConnection, topic: str, topics: KafkaTopics, look: Look = as_it_is) -> None:
        self.topic = topic
        self._look = look
        self._topics = topics
        self._consumer = lone_consumer(connection, SkipCount())
        self._readings: dict[Claim, _Reading] = {}
        self._waiting: dict[Claim, float] = {}

    def newest(self, claims: Mapping[Claim, Checkpoint | None]) -> Mapping[Claim, StateTable]:
        """The states of the claims' partitions, as far as they have been read by now.

        A topic may hold more than can be read between two polls of the group, so each call reads on for a slice of time
        from where the one before stopped. A claim whose transactions have not all ended, or whose states are not all
        read, is left out: ask again.

        Args:
            claims: with what was committed of where their states begin.
        """
        self._readings = {claim: reading for claim, reading in self._readings.items() if claim in claims}
        self._waiting = {claim: since_s for claim, since_s in self._waiting.items() if claim in claims}
        try:
            self._begin({claim: point for claim, point in claims.items() if claim not in self._readings})
            self._read_on(time.monotonic() + _SLICE_S)
        except KafkaError as error:
            raise translate(error, f"reading states from '{self.topic}'") from error
        done = {claim: reading for claim, reading in self._readings.items() if reading.is_done}
        for claim, reading in done.items():
            del self._readings[claim]
            _log.info("%d state records of partition %d were read", reading.num_records, claim.partition)
        return {claim: reading.table for claim, reading in done.items()}

    def close(self) -> None:
        """Release the connection."""
        self._consumer.close(autocommit=False, timeout_ms=1000)

    def _begin(self, claims: Mapping[Claim, Checkpoint | None]) -> None:
        if not claims:
            return
        partitions = {TopicPartition(self.topic, claim.partition): claim for claim in claims}
        topic_id = self._topics.id_of(self.topic)
        ends = self._topics.ends(list(partitions))
        stable = self._consumer.end_offsets(list(partitions), timeout_ms=_ANSWER_MS)
        starts = self._consumer.beginning_offsets(list(partitions), timeout_ms=_ANSWER_MS)
        for partition, claim in partitions.items():
            if stable[partition] < ends[partition]:
                self._tell_waiting(claim, stable[partition])
            else:
                self._waiting.pop(claim, None)
                position = _first_to_read(claims[claim], topic_id, starts[partition], ends[partition])
                self._readings[claim] = _Reading(StateTable(partition, topic_id, position), ends[partition])

    def _tell_waiting(self, claim: Claim, offset: int) -> None:
        """Once, where a transaction is open for longer than any of ours may be: nobody may be left to end it."""
        now_s = time.monotonic()
        since_s = self._waiting.setdefault(claim, now_s)
        if now_s - since_s >= HANGING_S:
            self._waiting[claim] = math.inf
            _log.warning(
                "partition %d waits for a transaction in %s, from offset %d on, that has been open for %.0f s; if it"
                " stays, a broker was killed in it: 'kafka-transactions.sh find-hanging' names it, 'abort' ends it",
                claim.partition,
                self.topic,
                offset,
                HANGING_S,
            )

    def _read_on(self, until_s: float) -> None:
        reading = {one.table.partition: one for one in self._readings.values() if not one.is_done}
        self._consumer.assign(list(reading))
        for partition, one in reading.items():
            self._consumer.seek(partition, one.table.position)
        while not all(one.is_done for one in reading.values()) and time.monotonic() < until_s:
            for partition, records in self._consumer.poll(timeout_ms=_ANSWER_MS).items():
                for record in records:
                    reading[partition].table.take(self._look(record))
                reading[partition].num_records += len(records)
            for partition, one in reading.items():
                one.table.position = self._consumer.position(partition, timeout_ms=0)


def _first_to_read(checkpoint: Checkpoint | None, topic_id: str, start: int, end: int) -> int:
    if checkpoint is None or checkpoint.topic_id != topic_id or not start <= checkpoint.offset <= end:
        return start
    return checkpoint.offset
