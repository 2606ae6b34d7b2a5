"""Whole fetches: what the client itself would read of them is read the same, and what it chokes on is passed by."""

import random
import struct
from collections import namedtuple
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.protocol.consumer import IsolationLevel
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from kafka.record.legacy_records import LegacyRecordBatchBuilder
from kafka.record.memory_records import MemoryRecords
from kafka.record.util import calc_crc32c

from messaging.kafka.decoding import PatientRecords, SkipCount, records_of
from messaging.ports import UNREADABLE, Record

GZIP = DefaultRecordBatch.CODEC_GZIP
HEADER_BYTES = DefaultRecordBatch.HEADER_STRUCT.size
PLACE = TopicPartition("t", 3)
ABORT, COMMIT = 0, 1
Aborted = namedtuple("Aborted", "producer_id first_offset")

Headers = Sequence[tuple[str, bytes | None]]
Row = tuple[bytes | None, bytes | None, Headers]


@dataclass(frozen=True)
class Batch:
    """One batch as a producer or a broker writes it; times are 1000 + 7 n for its n-th record."""

    rows: Sequence[Row] = ((b"k", b"v", ()),)
    codec: int = 0
    producer_id: int = -1
    marker: int | None = None
    gap: int = 0  # offsets behind it that compaction took away
    is_broker_time: bool = False
    leader_epoch: int = 5

    def written(self, base_offset: int) -> bytes:
        builder = DefaultRecordBatchBuilder(2, self.codec, self.producer_id >= 0, self.producer_id, 0, 0, 1 << 20)
        rows = self.rows if self.marker is None else [(struct.pack(">hh", 0, self.marker), b"\0" * 6, ())]
        for number, (key, value, headers) in enumerate(rows):
            assert builder.append(number, 1000 + 7 * number, key, value, list(headers)) is not None
        built = bytearray(builder.build())
        struct.pack_into(">q", built, 0, base_offset)
        struct.pack_into(">i", built, 12, self.leader_epoch)
        attributes, last_delta = struct.unpack_from(">hi", built, DefaultRecordBatch.ATTRIBUTES_OFFSET)
        attributes |= DefaultRecordBatch.CONTROL_MASK if self.marker is not None else 0
        attributes |= DefaultRecordBatch.TIMESTAMP_TYPE_MASK if self.is_broker_time else 0
        struct.pack_into(">hi", built, DefaultRecordBatch.ATTRIBUTES_OFFSET, attributes, last_delta + self.gap)
        return sealed(built)

    @property
    def num_offsets(self) -> int:
        return (1 if self.marker is not None else len(self.rows)) + self.gap


def sealed(batch: bytearray) -> bytes:
    """With the checksum that fits."""
    crc = calc_crc32c(memoryview(batch)[DefaultRecordBatch.ATTRIBUTES_OFFSET :])
    struct.pack_into(">I", batch, DefaultRecordBatch.CRC_OFFSET, crc)
    return bytes(batch)


def laid_out(batches: Sequence[Batch]) -> list[bytes]:
    """One behind the other, from offset 0 on."""
    written, offset = [], 0
    for batch in batches:
        written.append(batch.written(offset))
        offset += batch.num_offsets
    return written


def fetched(content: bytes, skipped: SkipCount | None = None, fetch_offset: int = 0, **more: Any) -> PatientRecords:
    return PatientRecords(fetch_offset, PLACE, MemoryRecords(content), skipped=skipped or SkipCount(), **more)


def offsets(records: Sequence[Record]) -> list[int]:
    return [record.offset for record in records]


def any_batch(chance: random.Random) -> Batch:
    """Of one producer of two, or of one without an id; one in three is the end of a transaction."""
    if chance.random() < 0.3:
        return Batch(producer_id=chance.choice([8, 9]), marker=chance.choice([ABORT, COMMIT]))

    def content() -> bytes | None:
        return None if chance.random() < 0.2 else chance.randbytes(chance.choice([0, 1, 5, 70, 200]))

    def headers() -> Headers:
        return [(chance.choice(["", "name", "имя"]), content()) for _ in range(chance.randrange(3))]

    return Batch(
        rows=[(content(), content(), headers()) for _ in range(chance.randint(1, 4))],
        codec=chance.choice([0, GZIP]),
        producer_id=chance.choice([-1, 8, 9]),
        gap=chance.randrange(3),
        is_broker_time=chance.random() < 0.5,
    )


@pytest.mark.parametrize("isolation_level", [IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED])
@pytest.mark.parametrize("seed", range(40))
def test_a_sound_fetch_is_read_as_the_client_reads_it(seed: int, isolation_level: Any) -> None:
    chance = random.Random(seed)
    batches = [any_batch(chance) for _ in range(chance.randrange(8))]
    aborted = [Aborted(chance.choice([8, 9]), chance.randrange(20)) for _ in range(chance.randrange(4))]
    end = sum(batch.num_offsets for batch in batches)
    fetch_offset, at_once = chance.randrange(max(1, end)), chance.randint(1, 5)
    content = b"".join(laid_out(batches))
    options = {"isolation_level": isolation_level, "aborted_transactions": aborted}
    theirs = Fetcher.PartitionRecords(fetch_offset, PLACE, MemoryRecords(content), **options)
    skipped = SkipCount()
    ours = fetched(content, skipped, fetch_offset, **options)
    wanted: list[Any] = []
    found: list[Record] = []
    while theirs:
        wanted += theirs.take(at_once)
    while ours:
        found += ours.take(at_once)
    assert found == [
        Record(
            *("t", 3, each.offset, each.key, each.value),
            tuple((name, value or b"") for name, value in each.headers),
            each.timestamp,
        )
        for each in wanted
    ]
    assert ours.next_fetch_offset == theirs.next_fetch_offset
    assert ours.records_read == theirs.records_read
    assert ours.leader_epoch == theirs.leader_epoch
    assert skipped.num_skipped == 0


def test_times_are_the_producers_or_the_brokers_as_the_batch_says() -> None:
    batch = Batch([(None, b"a", ()), (None, b"b", ()), (None, b"c", ())])
    for is_broker_time, times in ((False, [1000, 1007, 1014]), (True, [1014] * 3)):
        written = replace(batch, is_broker_time=is_broker_time).written(40)
        found = list(records_of(DefaultRecordBatch(written), "t", 3))
        assert [(record.offset, record.timestamp_ms) for record in found] == list(zip((40, 41, 42), times, strict=True))


def test_what_is_taken_bit_by_bit_is_counted_and_ends_with_a_word() -> None:
    ended: list[object] = []
    first, second = laid_out([Batch([(b"k", b"abc", ()), (None, None, ())]), Batch()])
    records = fetched(first + second, on_drain=ended.append)
    assert offsets(records.take(1)) == [0]
    assert (records.next_fetch_offset, records.records_read, records.bytes_read) == (1, 1, 4)
    assert offsets(records.take(5)) == [1, 2]
    assert (records.next_fetch_offset, records.records_read, records.bytes_read) == (3, 3, 6)
    assert not records
    assert ended == [records]


DAMAGES = {
    "a bit of a record": lambda batch: batch[:-2] + bytes([batch[-2] ^ 1]) + batch[-1:],
    "a bit of the header": lambda batch: batch[:30] + bytes([batch[30] ^ 1]) + batch[31:],
    "its checksum": lambda batch: batch[:17] + bytes([batch[17] ^ 1]) + batch[18:],
    "a magic that nobody knows": lambda batch: batch[:16] + b"\x03" + batch[17:],
    "the magic of an old format": lambda batch: batch[:16] + b"\x01" + batch[17:],
}
"""None of them touches the length, so the batch behind it is found."""


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_batch_is_passed_and_counted_and_those_around_it_are_read(damage: str) -> None:
    row = (b"k", b"v" * 20, ())
    first, second, third = laid_out([Batch([row] * 2), Batch([row] * 3), Batch([row])])
    skipped = SkipCount()
    records = fetched(first + DAMAGES[damage](second) + third, skipped)
    assert offsets(records.take()) == [0, 1, 5]
    assert (records.next_fetch_offset, skipped.num_skipped) == (6, 3)


def test_two_damaged_batches_in_a_row_are_counted_together() -> None:
    damage = DAMAGES["its checksum"]
    first, second, third = laid_out([Batch(gap=1), Batch(gap=2), Batch()])
    skipped = SkipCount()
    records = fetched(damage(first) + damage(second) + third, skipped)
    assert offsets(records.take()) == [5]
    assert (records.next_fetch_offset, skipped.num_skipped) == (6, 5)


def test_a_damaged_batch_at_the_end_is_passed_by_one_offset_as_its_end_is_not_known() -> None:
    first, second = laid_out([Batch(), Batch([(b"k", b"v", ())] * 4)])
    skipped = SkipCount()
    records = fetched(first + DAMAGES["its checksum"](second), skipped)
    assert offsets(records.take()) == [0]
    assert (records.next_fetch_offset, skipped.num_skipped) == (2, 1)
    assert not records


def test_going_on_within_a_damaged_batch_moves_forward() -> None:
    """The broker gives the whole batch again, from its first offset on."""
    (batch,) = laid_out([Batch([(b"k", b"v", ())] * 4)])
    for fetch_offset in (0, 1, 3, 4):
        skipped = SkipCount()
        records = fetched(DAMAGES["its checksum"](batch), skipped, fetch_offset)
        assert records.take() == []
        assert (records.next_fetch_offset, skipped.num_skipped) == (fetch_offset + 1, 1)


def test_checksums_are_left_alone_where_the_client_was_told_so() -> None:
    (batch,) = laid_out([Batch()])
    spoilt = DAMAGES["its checksum"](batch)
    assert fetched(spoilt).take() == []
    assert offsets(fetched(spoilt, check_crcs=False).take()) == [0]


def test_a_batch_shorter_than_any_batch_is_stepped_over() -> None:
    (batch,) = laid_out([Batch()])
    stump = struct.pack(">qi", 1, 2) + b"\0\0"
    skipped = SkipCount()
    records = fetched(batch + stump, skipped)
    assert offsets(records.take()) == [0]
    assert (records.next_fetch_offset, skipped.num_skipped) == (2, 1)


def test_a_batch_that_is_not_here_to_its_end_is_left_for_the_next_fetch() -> None:
    first, second = laid_out([Batch(), Batch()])
    for length in range(len(second)):
        skipped = SkipCount()
        records = fetched(first + second[:length], skipped)
        assert offsets(records.take()) == [0]
        assert (records.next_fetch_offset, skipped.num_skipped) == (1, 0)


def test_records_of_an_old_format_are_passed_by_as_damaged() -> None:
    old = LegacyRecordBatchBuilder(1, 0, 1 << 16)
    old.append(0, 1000, b"k", b"v")
    (batch,) = (Batch().written(1),)
    skipped = SkipCount()
    records = fetched(bytes(old.build()) + batch, skipped)
    assert offsets(records.take()) == [1]
    assert skipped.num_skipped == 1


def test_an_aborted_transaction_is_hidden_and_the_next_of_the_same_producer_is_not() -> None:
    row = (b"k", b"v", ())
    batches = [
        Batch([row], producer_id=8),
        Batch([row], producer_id=9),
        Batch(producer_id=8, marker=ABORT),
        Batch([row], producer_id=8),
        Batch(producer_id=8, marker=COMMIT),
        Batch(producer_id=9, marker=COMMIT),
        Batch([row]),
    ]
    content = b"".join(laid_out(batches))
    aborted = [Aborted(8, 0)]
    committed = fetched(content, isolation_level=IsolationLevel.READ_COMMITTED, aborted_transactions=aborted)
    assert offsets(committed.take()) == [1, 3, 6]
    assert committed.next_fetch_offset == 7
    everything = fetched(content, isolation_level=IsolationLevel.READ_UNCOMMITTED, aborted_transactions=aborted)
    assert offsets(everything.take()) == [0, 1, 3, 6]


def test_of_two_aborted_transactions_each_marker_ends_its_own() -> None:
    row = (b"k", b"v", ())
    batches = [
        Batch([row], producer_id=8),
        Batch([row], producer_id=9),
        Batch(producer_id=9, marker=ABORT),
        Batch([row], producer_id=9),
        Batch([row], producer_id=8),
        Batch(producer_id=8, marker=ABORT),
        Batch([row], producer_id=8),
    ]
    aborted = [Aborted(9, 1), Aborted(8, 0)]  # as the broker may give them: in no order
    options = {"isolation_level": IsolationLevel.READ_COMMITTED, "aborted_transactions": aborted}
    assert offsets(fetched(b"".join(laid_out(batches)), **options).take()) == [3, 6]


def test_a_fetch_that_ends_with_a_marker_goes_on_behind_it() -> None:
    records = fetched(b"".join(laid_out([Batch(producer_id=8), Batch(producer_id=8, marker=COMMIT)])))
    assert offsets(records.take()) == [0]
    assert records.next_fetch_offset == 2
    only = fetched(Batch(producer_id=8, marker=COMMIT).written(4), fetch_offset=4)
    assert (only.take(), only.next_fetch_offset) == ([], 5)


@pytest.mark.parametrize("body", [b"", b"\0", b"\xff" * 12, b"\x01" * 40], ids=repr)
def test_a_marker_that_cannot_be_read_is_hidden_all_the_same(body: bytes) -> None:
    marker = bytearray(Batch(producer_id=8, marker=ABORT).written(0)[:HEADER_BYTES] + body)
    struct.pack_into(">i", marker, 8, len(marker) - 12)
    records = fetched(sealed(marker) + Batch().written(1), isolation_level=IsolationLevel.READ_COMMITTED)
    assert offsets(records.take()) == [1]
    assert records.next_fetch_offset == 2


def with_body(body: bytes, num_records: int = 1, num_offsets: int | None = None, codec: int = 0) -> DefaultRecordBatch:
    """A batch whose header is well formed and whose records are these bytes."""
    batch = bytearray(Batch(codec=0).written(10)[:HEADER_BYTES] + body)
    struct.pack_into(">h", batch, DefaultRecordBatch.ATTRIBUTES_OFFSET, codec)
    struct.pack_into(">i", batch, DefaultRecordBatch.ATTRIBUTES_OFFSET + 2, (num_offsets or num_records) - 1)
    struct.pack_into(">i", batch, HEADER_BYTES - 4, num_records)
    return DefaultRecordBatch(batch)


def record(*parts: bytes) -> bytes:
    """A record behind its length; lengths here are below 64, so each is one byte, doubled."""
    body = b"".join(parts)
    assert len(body) < 64
    return bytes([2 * len(body)]) + body


NONE = b"\x01"
WHOLE = record(b"\0", b"\0", b"\0", NONE, b"\x02a", b"\0")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (record(b"\0", b"\0", b"\0", NONE, b"\x02a", b"\0", b"!"), b"must end where its length says, 8, it ends at 7"),
        (record(b"\0", b"\0", b"\0", NONE, b"\x04a", b""), b"2 bytes must follow at 5, the record has 6 in all"),
        (record(b"\0", b"\0", b"\0", NONE, NONE, b"\x01"), b"cannot have -1 headers"),
        (record(b"\0", b"\0", b"\0", NONE, NONE, b"\x08"), b"a record of 6 bytes cannot have 4 headers"),
        (record(b"\0", b"\0", b"\0"), b"index out of"),
        (record(b"\0", b"\xff" * 11), b""),
    ],
)
def test_a_record_that_cannot_be_is_told_with_the_reason_and_its_bytes(body: bytes, why: bytes) -> None:
    first, second = records_of(with_body(body + record(b"\0", b"\0", b"\x02", NONE, b"\x02b", b"\0"), 2), "t", 3)
    assert (first.topic, first.partition, first.offset, first.key) == ("t", 3, 10, None)
    assert first.value == body[1:]
    assert why in (first.header(UNREADABLE) or b"")
    assert (second.offset, second.value, second.headers) == (11, b"b", ())


@pytest.mark.parametrize("num_headers", [0, 1, 2])
def test_a_record_has_as_many_headers_as_fit(num_headers: int) -> None:
    body = record(b"\0", b"\0", b"\0", NONE, NONE, bytes([2 * num_headers]), b"\0\0" * num_headers)
    (found,) = records_of(with_body(body), "t", 3)
    assert found.headers == (("", b""),) * num_headers


def test_a_header_without_name_or_value_is_one_with_empty_ones() -> None:
    (found,) = records_of(with_body(record(b"\0", b"\0", b"\0", NONE, NONE, b"\x02", NONE, NONE)), "t", 3)
    assert found.headers == (("", b""),)


@pytest.mark.parametrize("length", [b"", b"\0", b"\x01", b"\x7f", b"\x80", b"\xff" * 11])
def test_a_length_without_sense_gives_up_the_rest_of_its_batch(length: bytes) -> None:
    found = list(records_of(with_body(WHOLE + length, num_records=3, num_offsets=4), "t", 3))
    assert [(each.offset, each.value) for each in found] == [(10, b"a"), (11, None), (12, None), (13, None)]
    for each in found[1:]:
        assert each.headers == ((UNREADABLE, b"the record's length is senseless"),)
        assert each.timestamp_ms == 1000


def test_a_record_that_ends_with_its_batch_is_whole() -> None:
    (found,) = records_of(with_body(WHOLE), "t", 3)
    assert (found.offset, found.key, found.value, found.headers) == (10, None, b"a", ())


@pytest.mark.parametrize(("codec", "name"), [(2, b"snappy"), (3, b"lz4"), (4, b"zstd"), (5, b"5")])
def test_a_codec_that_is_not_read_is_named_at_every_offset_of_its_batch(codec: int, name: bytes) -> None:
    found = list(records_of(with_body(WHOLE, num_records=1, num_offsets=2, codec=codec), "t", 3))
    said = b"records must come plain or as gzip, these came as " + name
    assert [(each.offset, each.key, each.value, each.header(UNREADABLE)) for each in found] == [
        (10, None, None, said),
        (11, None, None, said),
    ]


@pytest.mark.parametrize("is_sealed", [True, False])
@pytest.mark.parametrize("flipped", [1, 0x80, 0xFF])
def test_whichever_byte_changes_a_fetch_ends_and_moves_forward(flipped: int, is_sealed: bool) -> None:
    """With a checksum that fits, as a malicious producer sends it, and without, as a bad disk gives it."""
    row = (b"key", b"v" * 20, [("name", b"value")])
    first, second, third = laid_out([Batch([row] * 2), Batch([row] * 2, codec=GZIP), Batch([row])])
    for at in range(len(second)):
        spoilt = bytearray(second)
        spoilt[at] ^= flipped
        records = fetched(first + (sealed(spoilt) if is_sealed else bytes(spoilt)) + third)
        found: list[Record] = []
        while records:
            found += records.take(3)
        assert offsets(found[:2]) == [0, 1]
        assert all(isinstance(each, Record) for each in found)
        assert records.next_fetch_offset >= 2
