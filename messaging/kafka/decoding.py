"""From fetched bytes to records, whatever the bytes are.

The client's own reading of a fetch raises for what it cannot decode and then spins on it for ever, with the poll
thread in it: a header name that is not UTF-8, a codec that is not installed. Anybody who may write a topic can send
such records. So what is fetched is read here, and reading is total:

* Header names are decoded with replacement characters, so such a record is delivered like any other.
* A record that cannot be read at all, though its neighbours can, comes out without key, headers and, as far as it is
  not known, value; its header ``ports.UNREADABLE`` says why, so that whoever handles records gives it to dead letters.
* A batch that fails its checksum, or whose frame is broken, was damaged on disk: it is stepped over and counted.

With ``producer`` the only place that touches the client's private parts; the version is pinned for that.
"""

import logging
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from kafka import KafkaConsumer
from kafka.consumer.fetcher import Fetcher
from kafka.protocol.consumer import IsolationLevel
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.util import decode_varint

from messaging.cloud_events import to_structured
from messaging.ports import UNREADABLE, Headers, Record

_log = logging.getLogger(__name__)

MAX_PLAIN_BYTES = 32 << 20
"""Of one batch after decompression: some kilobytes could unfold to gigabytes."""

_HEADER_BYTES = DefaultRecordBatch.HEADER_STRUCT.size
_CODECS = {2: "snappy", 3: "lz4", 4: "zstd"}


@dataclass(slots=True)
class SkipCount:
    """How many offsets were stepped over because they could not be read."""

    num_skipped: int = 0


def read_patiently(consumer: KafkaConsumer, skipped: SkipCount) -> KafkaConsumer:
    """Make ``consumer`` read its fetches with this module; ``poll`` then gives ``ports.Record``."""
    consumer._fetcher.PartitionRecords = partial(PatientRecords, skipped=skipped)
    return consumer


class PatientRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
    """The records of one partition in one fetch. Nothing in it raises."""

    next_fetch_offset: int

    def __init__(self, *args: Any, skipped: SkipCount, **settings: Any) -> None:
        self._skipped = skipped
        self._damaged_from: int | None = None
        super().__init__(*args, **settings)

    def take(self, n: int | None = None) -> list[Record]:
        """The next records. If reading ever raised, what is left of the fetch is given up instead of spun on."""
        try:
            return list(super().take(n))
        except Exception:
            self.drain()
            raise

    def _unpack_records(self, tp: Any, records: Any, *_deserializers: object) -> Iterator[Record]:
        while (batch := self._next_batch(records)) is not None:
            if not self._is_sound(batch):
                continue
            if not self._is_hidden(batch):
                yield from self._told(tp, batch)
            self.next_fetch_offset = max(self.next_fetch_offset, batch.next_offset)
        if self._damaged_from is not None:  # its end is not known: on by one, the broker gives it again
            self._count(self._damaged_from, self._damaged_from + 1)
            self.next_fetch_offset = self._damaged_from + 1
        self.drain()

    def _next_batch(self, records: Any) -> Any:
        try:
            return records.next_batch()
        except Exception as error:
            _log.error("offset %d of %s has no readable batch: %s", self.next_fetch_offset, self.topic_partition, error)
            if self._damaged_from is None:
                self._damaged_from = self.next_fetch_offset
            return None

    def _is_sound(self, batch: Any) -> bool:
        if batch.magic != 2 or (self.check_crcs and not batch.validate_crc()):
            _log.error("a batch of %s from offset %d on is damaged", self.topic_partition, batch.base_offset)
            if self._damaged_from is None:
                self._damaged_from = max(self.next_fetch_offset, batch.base_offset)
            return False
        if self._damaged_from is not None:
            self._count(self._damaged_from, batch.base_offset)
            self._damaged_from = None
        return True

    def _count(self, first: int, end: int) -> None:
        _log.error("offsets %d to %d of %s cannot be read: skipped", first, end - 1, self.topic_partition)
        self._skipped.num_skipped += max(0, end - first)

    def _is_hidden(self, batch: Any) -> bool:
        """Whether the batch is a marker, or belongs to a transaction that was aborted."""
        self.leader_epoch = batch.leader_epoch
        if self.isolation_level == IsolationLevel.READ_COMMITTED and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if batch.is_control_batch and self._ends_an_aborted_transaction(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        return bool(batch.is_control_batch)

    def _ends_an_aborted_transaction(self, batch: Any) -> bool:
        try:
            return bool(self._contains_abort_marker(batch))
        except Exception as error:
            _log.error("the marker at offset %d of %s is damaged: %s", batch.base_offset, self.topic_partition, error)
            return False

    def _told(self, tp: Any, batch: Any) -> Iterator[Record]:
        for record in records_of(batch, tp.topic, tp.partition):
            self.records_read += 1
            self.bytes_read += len(record.key or b"") + len(record.value or b"")
            self.next_fetch_offset = record.offset + 1
            yield record


def records_of(batch: Any, topic: str, partition: int) -> Iterator[Record]:
    """Every record of a batch whose checksum holds, readable or not.

    Args:
        batch: of message format 2.
        topic: it was fetched from.
        partition: it was fetched from.
    """
    offset = batch.base_offset
    try:
        plain, at = _plain(batch), 0
    except (ValueError, zlib.error) as error:
        for offset in range(batch.base_offset, batch.next_offset):
            yield _unreadable(topic, partition, offset, batch.max_timestamp, None, str(error))
        return
    for _ in range(batch.records_count):
        start, end = _frame(plain, at)
        if end is None:
            for rest in range(offset, batch.next_offset):
                yield _unreadable(topic, partition, rest, batch.max_timestamp, None, "the record's length is senseless")
            return
        try:
            record = _record(plain[start:end], batch, topic, partition)
        except (ValueError, IndexError) as error:
            record = _unreadable(topic, partition, offset, batch.max_timestamp, bytes(plain[start:end]), str(error))
        yield record
        offset, at = record.offset + 1, end


def _plain(batch: Any) -> memoryview:
    """The records of a batch, not copied: frames are large, and each becomes a record's own bytes soon enough."""
    packed, codec = memoryview(batch._buffer)[_HEADER_BYTES:], batch.compression_type
    if codec == DefaultRecordBatch.CODEC_NONE:
        return packed
    if codec != DefaultRecordBatch.CODEC_GZIP:
        raise ValueError(f"records must come plain or as gzip, these came as {_CODECS.get(codec, codec)}")
    unpacking = zlib.decompressobj(wbits=31)
    plain = unpacking.decompress(packed, MAX_PLAIN_BYTES)
    if unpacking.unconsumed_tail or not unpacking.eof:
        raise ValueError(f"a batch must unfold to at most {MAX_PLAIN_BYTES} bytes and be whole, this one does not")
    return memoryview(plain)


def _frame(plain: memoryview, at: int) -> tuple[int, int | None]:
    """Where the record at ``at`` begins behind its length, and where it ends; None if that cannot be."""
    try:
        length, start = decode_varint(plain, at)
    except (ValueError, IndexError):
        return at, None
    return start, start + length if 0 < length <= len(plain) - start else None


def _record(body: memoryview, batch: Any, topic: str, partition: int) -> Record:
    elapsed_ms, at = decode_varint(body, 1)  # behind one byte of attributes
    offset_delta, at = decode_varint(body, at)
    key, at = _bytes(body, at)
    value, at = _bytes(body, at)
    headers, at = _headers(body, at)
    if at != len(body):
        raise ValueError(f"a record must end where its length says, {len(body)}, it ends at {at}")
    is_broker_time = batch.timestamp_type == DefaultRecordBatch.LOG_APPEND_TIME
    timestamp_ms = batch.max_timestamp if is_broker_time else batch.first_timestamp + elapsed_ms
    return to_structured(Record(topic, partition, batch.base_offset + offset_delta, key, value, headers, timestamp_ms))


def _headers(body: memoryview, at: int) -> tuple[Headers, int]:
    num_headers, at = decode_varint(body, at)
    if not 0 <= num_headers <= len(body) // 2:
        raise ValueError(f"a record of {len(body)} bytes cannot have {num_headers} headers")
    headers = []
    for _ in range(num_headers):
        name, at = _bytes(body, at)
        value, at = _bytes(body, at)
        headers.append(((name or b"").decode(errors="replace"), value or b""))
    return tuple(headers), at


def _bytes(body: memoryview, at: int) -> tuple[bytes | None, int]:
    length, at = decode_varint(body, at)
    if length < 0:
        return None, at
    if length > len(body) - at:
        raise ValueError(f"{length} bytes must follow at {at}, the record has {len(body)} in all")
    return bytes(body[at : at + length]), at + length


def _unreadable(topic: str, partition: int, offset: int, timestamp_ms: int, raw: bytes | None, why: str) -> Record:
    _log.error("offset %d of %s[%d] cannot be read: %s", offset, topic, partition, why)
    return Record(topic, partition, offset, None, raw, ((UNREADABLE, why.encode()),), timestamp_ms)
