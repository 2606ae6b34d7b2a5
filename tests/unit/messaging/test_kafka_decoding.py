"""Reading record batches is total: whatever the bytes, each offset is a record or said to be unreadable."""

import gzip
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from messaging.kafka import decoding
from messaging.kafka.decoding import records_of
from messaging.ports import UNREADABLE, Record

GZIP = DefaultRecordBatch.CODEC_GZIP


class Raw(str):
    """A header name that goes on the wire as these bytes."""

    raw: bytes

    def __new__(cls, raw: bytes) -> "Raw":
        made = super().__new__(cls, "raw")
        made.raw = raw
        return made

    def encode(self, *_: object) -> bytes:
        return self.raw


def packed(values: Sequence[bytes], headers: Sequence[tuple[str, bytes]] = (), codec: int = 0) -> bytearray:
    builder = DefaultRecordBatchBuilder(2, codec, False, -1, -1, -1, 1 << 20)
    for offset, value in enumerate(values):
        assert builder.append(offset, 1000 + offset, b"k", value, list(headers)) is not None
    return bytearray(builder.build())


def read(batch: bytes | bytearray) -> list[Record]:
    return list(records_of(DefaultRecordBatch(batch), "t", 3))


@pytest.mark.parametrize("codec", [0, GZIP])
def test_what_was_packed_comes_out(codec: int) -> None:
    found = read(packed([b"a", b"", b"c" * 300], [("h", b"v"), ("h", b"")], codec))
    assert found == [
        Record("t", 3, offset, b"k", value, (("h", b"v"), ("h", b"")), 1000 + offset)
        for offset, value in enumerate([b"a", b"", b"c" * 300])
    ]


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"\xed\xa0\x80", b"ok\x80"])
def test_a_header_name_that_is_no_utf8_is_read_with_replacements(raw: bytes) -> None:
    (found,) = read(packed([b"a"], [(Raw(raw), b"v")]))
    ((name, value),) = found.headers
    assert (found.value, value) == (b"a", b"v")
    assert "\ufffd" in name
    name.encode()  # can be sent on


def test_one_record_that_cannot_be_read_leaves_its_neighbours_alone() -> None:
    batch = packed([b"first", b"second", b"third"], [("name", b"v")])
    at = batch.index(b"name", batch.index(b"second")) - 1
    batch[at] = 0x7E  # the name would be 63 bytes long
    first, second, third = read(batch)
    assert (first.value, third.value) == (b"first", b"third")
    assert (second.offset, second.key, [name for name, _ in second.headers]) == (1, None, [UNREADABLE])
    assert b"second" in (second.value or b"")


@pytest.mark.parametrize("codec", [2, 3, 4, 7])
def test_a_codec_that_is_not_read_gives_an_unreadable_record_for_each_offset(codec: int) -> None:
    batch = packed([b"a", b"b"])
    batch[DefaultRecordBatch.ATTRIBUTES_OFFSET + 1] |= codec
    assert [(record.offset, record.headers[0][0]) for record in read(batch)] == [(0, UNREADABLE), (1, UNREADABLE)]


def test_a_batch_that_unfolds_without_end_is_not_unfolded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_PLAIN_BYTES", 100_000)
    batch = packed([b"\0" * 900_000], codec=GZIP)
    assert len(batch) < 10_000
    (found,) = read(batch)
    assert b"at most 100000 bytes" in (found.header(UNREADABLE) or b"")


def test_a_gzip_stream_that_is_cut_off_is_unreadable() -> None:
    head = packed([b"a"])[: DefaultRecordBatch.HEADER_STRUCT.size]
    (found,) = read(head + gzip.compress(b"x" * 100)[:-12])
    assert found.value is not None or found.headers[0][0] == UNREADABLE


@given(st.binary(max_size=200), st.integers(0, 5), st.sampled_from([0, GZIP]))
def test_any_body_gives_records_in_order_and_never_raises(body: bytes, num_records: int, codec: int) -> None:
    head = packed([b"x"] * max(1, num_records))[: DefaultRecordBatch.HEADER_STRUCT.size]
    head[DefaultRecordBatch.ATTRIBUTES_OFFSET + 1] |= codec
    found = read(head + body)
    assert len(found) <= max(1, num_records)
    assert all(isinstance(name, str) and name.encode() is not None for record in found for name, _ in record.headers)
