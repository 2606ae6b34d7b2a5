"""The states of one partition as its owner knows them, and from where on the log holds them all.

A new owner of a partition need not read all states that were ever written. Each live key has a newest record, and from
the oldest of these on the log holds all states; that offset is committed with the positions (``marks``). So that it
moves on, a state that lies far behind is written again, unchanged, with the next commit. How much a new owner reads
then follows from how many keys live, not from how long they have lived, nor from when the broker last compacted.
"""

from collections.abc import Collection

from kafka import TopicPartition

from messaging.kafka.connection import MIB
from messaging.kafka.marks import Checkpoint
from messaging.ports import OutRecord, Record
from messaging.sizes import held_bytes

FAR_RECORDS = 10_000
"""A state that lies so many offsets behind the newest is far behind,"""
FAR_PER_KEY = 4
"""but not before each key could have been written so often: else many keys would be written for each other's sake."""
AGAIN_RECORDS, AGAIN_BYTES = 100, MIB
"""At most so much is written again with one commit."""


class StateTable:
    """The newest record of each live key, oldest first. Not thread-safe.

    Args:
        partition: of the state topic.
        topic_id: the broker's name for the topic.
        position: where reading begins.
    """

    def __init__(self, partition: TopicPartition, topic_id: str, position: int) -> None:
        self.partition = partition
        self.position = position
        """All records below have been taken, or are known to be none of ours."""
        self._topic_id = topic_id
        self._newest: dict[str, Record] = {}
        self._doubted: dict[str, bytes] = {}
        self._is_trusted = True

    def take(self, record: Record) -> None:
        """The next record of the partition, whether it was read or has just been written.

        If it does not come behind the last one (the topic was made again, the log was cut off, two write), nothing is
        vouched for any more. One with a flaw takes nothing from the one before it of its key.
        """
        self._is_trusted &= record.offset >= self.position
        self.position = max(self.position, record.offset + 1)
        key = _key_of(record)
        if key is None:
            return
        if record.flaw is not None:
            if record.value is not None:
                self._doubted[key] = record.value
            return
        self._doubted.pop(key, None)
        self._newest.pop(key, None)
        if record.value is not None:
            self._newest[key] = record

    def distrust(self) -> None:
        """Vouch for nothing any more: there is no checkpoint, and nothing is written again."""
        self._is_trusted = False

    def values(self) -> dict[str, bytes]:
        """The newest value of each live key."""
        return {key: record.value for key, record in self._newest.items() if record.value is not None}

    def doubted(self) -> dict[str, bytes]:
        """The newest value of each key that has records with a flaw only."""
        return {key: value for key, value in self._doubted.items() if key not in self._newest}

    @property
    def checkpoint(self) -> Checkpoint | None:
        """Where a new owner may begin to read, now and at any later time; None = at the beginning."""
        if not self._is_trusted:
            return None
        oldest = next(iter(self._newest.values()), None)
        return Checkpoint(self.position if oldest is None else oldest.offset, self._topic_id)

    def far_behind(self, besides: Collection[str] = ()) -> list[OutRecord]:
        """What to write again with the next commit, which itself writes states of the keys ``besides``."""
        again: list[OutRecord] = []
        if not self._is_trusted:
            return again
        first_near, num_bytes = self.position - max(FAR_RECORDS, FAR_PER_KEY * len(self._newest)), 0
        for key, record in self._newest.items():
            if record.offset >= first_near or len(again) == AGAIN_RECORDS or num_bytes >= AGAIN_BYTES:
                break
            if key not in besides:
                topic, number = self.partition
                again.append(OutRecord(topic, key, record.value, record.headers, number))
                num_bytes += held_bytes(record)
        return again


def _key_of(record: Record) -> str | None:
    """None of records that no outbox has written."""
    try:
        return record.key.decode() if record.key is not None else None
    except UnicodeDecodeError:
        return None
