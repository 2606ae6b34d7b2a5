"""Partitioned logs in memory, bounded in bytes. Plain data without locks: ``inprocess`` calls it under its own.

A record leaves memory when nobody needs it any more and room is wanted: see ``TopicLog.make_room``. What a group still
needs is never dropped; then the topic is full and its writers hear so.
"""

import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import islice

from messaging.ports import OutRecord, Record, TooLargeError, TopicSpec
from messaging.sizes import RECORD_OVERHEAD_BYTES, held_bytes, payload_bytes

DEFAULT_MAX_MESSAGE_BYTES = 1_048_588
"""A Kafka broker's default, so that what is too large there is too large here."""

NeededFrom = Callable[[int], int]
"""Partition to the oldest offset that some group must still be able to read."""


class PartitionLog:
    """One partition: records by offset. A compacted one keeps the newest record of each key."""

    def __init__(self, compacted: bool) -> None:
        self.end = 0
        self.num_bytes = 0
        self._compacted = compacted
        self._records: OrderedDict[int, Record] = OrderedDict()
        self._newest: dict[bytes | None, int] = {}

    def __len__(self) -> int:
        return len(self._records)

    @property
    def start(self) -> int:
        """Offset of the oldest record still held; the end if there is none."""
        return next(iter(self._records), self.end)

    def append(self, record: Record) -> None:
        """Add ``record``, whose offset must be ``end``."""
        if self._compacted:
            older = self._newest.get(record.key)
            if older is not None:
                self._forget(older)
            self._newest[record.key] = record.offset
        self._records[record.offset] = record
        self.num_bytes += held_bytes(record)
        self.end += 1

    def drop_oldest(self) -> None:
        """Let go of the oldest record."""
        self._forget(self.start)

    def read(self, position: int, max_records: int) -> list[Record]:
        """Up to ``max_records`` records from ``position`` on, in offset order."""
        if self._compacted:
            return list(islice((record for record in self._records.values() if record.offset >= position), max_records))
        first = max(position, self.start)
        return [self._records[offset] for offset in range(first, min(self.end, first + max_records))]

    def first_since(self, timestamp_ms: int) -> int:
        """Offset of the first record of this time or later; the end if there is none."""
        return next((at for at, record in self._records.items() if record.timestamp_ms >= timestamp_ms), self.end)

    def newest(self) -> dict[str, Record]:
        """Newest record per key; a tombstone removes its key."""
        records = self._records.values()
        return {one.key.decode(): one for one in records if one.key is not None and one.value is not None}

    def _forget(self, offset: int) -> None:
        self.num_bytes -= held_bytes(self._records.pop(offset))


class TopicLog:
    """All partitions of a topic, with one bound in bytes over them.

    Args:
        spec: name, partitions, whether compacted, largest message.
        max_bytes: bound over all partitions; a compacted topic is bounded by its number of keys instead.
        ring_records: how many records that no group needs a partition keeps for readers.
    """

    def __init__(self, spec: TopicSpec, max_bytes: int, ring_records: int) -> None:
        self.spec = spec
        self.partitions = [PartitionLog(spec.compacted) for _ in range(spec.partitions)]
        self._max_bytes = max_bytes
        self._ring_records = ring_records

    @property
    def num_bytes(self) -> int:
        """Bytes held, with the overhead per record."""
        return sum(log.num_bytes for log in self.partitions)

    def partition_of(self, key: str) -> int:
        """The same partition for the same key, always."""
        return zlib.crc32(key.encode()) % len(self.partitions)

    def check_size(self, record: OutRecord) -> None:
        """Refuse what the topic can never take.

        Raises:
            TooLargeError: the topic takes less.
        """
        limit = min(self.spec.max_message_bytes or DEFAULT_MAX_MESSAGE_BYTES, self._max_bytes - RECORD_OVERHEAD_BYTES)
        size = payload_bytes(record)
        if size > limit:
            text = (
                f"a record for topic '{self.spec.name}' must have at most {limit} bytes, got {size}; send a smaller one"
            )
            raise TooLargeError(record, text)

    def make_room(self, records: Sequence[OutRecord], needed_from: NeededFrom) -> bool:
        """Drop the oldest records no group needs until ``records`` fit; False if they cannot."""
        if self.spec.compacted:
            return True
        wanted = sum(payload_bytes(record) + RECORD_OVERHEAD_BYTES for record in records)
        while self.num_bytes + wanted > self._max_bytes:
            droppable = [
                log for number, log in enumerate(self.partitions) if log.start < min(log.end, needed_from(number))
            ]
            if not droppable:
                return False
            max(droppable, key=lambda log: log.num_bytes).drop_oldest()
        return True

    def append(self, record: OutRecord, timestamp_ms: int, needed_from: NeededFrom) -> None:
        """Add ``record`` to its partition, or that of its key; the ring lets go of what it pushes out."""
        number = self.partition_of(record.key) if record.partition is None else record.partition
        log = self.partitions[number]
        key = record.key.encode()
        log.append(Record(self.spec.name, number, log.end, key, record.value, record.headers, timestamp_ms))
        while not self.spec.compacted and len(log) > self._ring_records and log.start < needed_from(number):
            log.drop_oldest()
