"""The logs of the in-process bus: bounded in bytes, compacted, read from a position on."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messaging.inprocess.log import DEFAULT_MAX_MESSAGE_BYTES, PartitionLog, TopicLog
from messaging.ports import OutRecord, Record, TooLargeError, TopicSpec
from messaging.sizes import RECORD_OVERHEAD_BYTES, held_bytes, payload_bytes
from schemas.errors import BadMessageError
from tests.unit.messaging.small_bus import out

NOBODY: Callable[[int], int] = lambda _: 10**9  # noqa: E731 - no group needs any offset
EVERYTHING: Callable[[int], int] = lambda _: 0  # noqa: E731


def record(offset: int, key: bytes | None = b"k", value: bytes | None = b"v") -> Record:
    return Record("t", 0, offset, key, value, (), 0)


def test_a_record_costs_its_key_its_value_its_headers_and_a_bit_more() -> None:
    headers = (("ab", b"cde"), ("f", b""))
    assert payload_bytes(OutRecord("topic", "ключ", b"12345", headers)) == 8 + 5 + 6
    assert payload_bytes(OutRecord("topic", "", None)) == 0
    assert held_bytes(Record("topic", 0, 0, b"key", b"12345", headers, 0)) == 3 + 5 + 6 + RECORD_OVERHEAD_BYTES
    assert held_bytes(Record("topic", 0, 0, None, None, (), 0)) == RECORD_OVERHEAD_BYTES


@pytest.mark.parametrize(
    ("position", "max_records", "offsets"),
    [(0, 9, [2, 3, 4]), (2, 2, [2, 3]), (3, 9, [3, 4]), (4, 1, [4]), (5, 9, []), (9, 9, []), (2, 0, [])],
)
def test_a_partition_is_read_from_a_position_on_or_from_where_it_begins(
    position: int, max_records: int, offsets: list[int]
) -> None:
    log = PartitionLog(compacted=False)
    for offset in range(5):
        log.append(record(offset))
    log.drop_oldest()
    log.drop_oldest()
    assert (log.start, log.end, len(log)) == (2, 5, 3)
    assert [found.offset for found in log.read(position, max_records)] == offsets


def test_an_empty_partition_begins_where_it_ends() -> None:
    log = PartitionLog(compacted=False)
    assert (log.start, log.end, log.read(0, 9)) == (0, 0, [])
    log.append(record(0))
    log.drop_oldest()
    assert (log.start, log.end, log.num_bytes, log.read(0, 9)) == (1, 1, 0, [])


OPERATIONS = st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.none() | st.binary(max_size=3)), max_size=12)


@given(OPERATIONS, st.integers(0, 12), st.integers(0, 4))
@settings(max_examples=30, deadline=None)
def test_a_compacted_partition_holds_the_newest_of_each_key_in_order(
    rows: list[tuple[bytes, bytes | None]], position: int, max_records: int
) -> None:
    log = PartitionLog(compacted=True)
    newest: dict[bytes, Record] = {}
    for offset, (key, value) in enumerate(rows):
        newest[key] = record(offset, key, value)
        log.append(newest[key])
    kept = sorted(newest.values(), key=lambda each: each.offset)
    assert (log.end, len(log)) == (len(rows), len(kept))
    assert log.num_bytes == sum(map(held_bytes, kept))
    assert log.read(position, max_records) == [each for each in kept if each.offset >= position][:max_records]
    assert log.newest() == {each.key.decode(): each for each in kept if each.key and each.value is not None}


def test_states_are_of_keys_that_are_there() -> None:
    log = PartitionLog(compacted=False)
    for offset, (key, value) in enumerate([(b"a", b"1"), (None, b"2"), (b"b", b"3"), (b"a", b"4"), (b"c", b"")]):
        log.append(record(offset, key, value))
    assert {key: each.value for key, each in log.newest().items()} == {"a": b"4", "b": b"3", "c": b""}


@pytest.mark.parametrize(
    ("max_message_bytes", "max_bytes", "limit"),
    [
        (100, 10_000, 100),
        (None, 10_000, 10_000 - RECORD_OVERHEAD_BYTES),
        (None, 10**9, DEFAULT_MAX_MESSAGE_BYTES),
        (5000, 2000, 2000 - RECORD_OVERHEAD_BYTES),
    ],
)
def test_a_record_may_be_as_large_as_its_topic_takes_and_no_larger(
    max_message_bytes: int | None, max_bytes: int, limit: int
) -> None:
    log = TopicLog(TopicSpec("t", 1, max_message_bytes=max_message_bytes), max_bytes, 10)
    log.check_size(out("k", b"x" * (limit - 1)))
    larger = out("k", b"x" * limit)
    with pytest.raises(TooLargeError, match=f"'t' must have at most {limit} bytes, got {limit + 1}") as refused:
        log.check_size(larger)
    assert (refused.value.record, refused.value.reason) == (larger, "too_large")
    assert isinstance(refused.value, BadMessageError)


def test_room_is_for_all_records_together_to_the_last_byte() -> None:
    each = payload_bytes(out()) + RECORD_OVERHEAD_BYTES
    log = TopicLog(TopicSpec("t", 1), 3 * each, 10)
    assert log.make_room([out()] * 3, EVERYTHING)
    assert not log.make_room([out()] * 4, EVERYTHING)
    log.append(out(), 0, EVERYTHING)
    assert log.make_room([out()] * 2, EVERYTHING)
    assert not log.make_room([out()] * 3, EVERYTHING)


def test_room_is_made_in_the_largest_partition_that_may_let_go() -> None:
    log = TopicLog(TopicSpec("t", 3), 3000, 100)
    for partition, size in ((0, 100), (1, 900), (2, 500)):
        log.append(out(value=b"x" * size, partition=partition), 0, EVERYTHING)
    needed = {0: 9, 1: 0, 2: 9}  # a group still needs the first of partition 1
    assert log.make_room([out(value=b"x" * 600)], lambda number: needed[number])
    assert [len(partition) for partition in log.partitions] == [1, 1, 0]
    assert log.num_bytes == 100 + 900 + 2 * (RECORD_OVERHEAD_BYTES + 1)
    assert not log.make_room([out(value=b"x" * 2000)], lambda number: needed[number])


def test_a_compacted_topic_has_room_always() -> None:
    assert TopicLog(TopicSpec("t", 1, compacted=True), 1, 1).make_room([out()] * 9, EVERYTHING)


def test_the_ring_lets_go_only_of_what_no_group_needs() -> None:
    log = TopicLog(TopicSpec("t", 1), 10**6, 3)
    for number in range(6):
        log.append(out(value=b"%d" % number), number, lambda _: 2)
    assert [each.value for each in log.partitions[0].read(0, 9)] == [b"2", b"3", b"4", b"5"]
    log.append(out(value=b"6"), 6, NOBODY)
    assert [each.timestamp_ms for each in log.partitions[0].read(0, 9)] == [4, 5, 6]


def test_a_record_goes_where_it_says_or_where_its_key_leads() -> None:
    log = TopicLog(TopicSpec("t", 4), 10**6, 10)
    own = log.partition_of("k")
    other = (own + 1) % 4
    log.append(OutRecord("t", "k", b"a", (("h", b"1"),)), 7, NOBODY)
    log.append(out(value=b"b", partition=other), 8, NOBODY)
    assert log.partitions[own].read(0, 9) == [Record("t", own, 0, b"k", b"a", (("h", b"1"),), 7)]
    assert log.partitions[other].read(0, 9) == [Record("t", other, 0, b"k", b"b", (), 8)]
    assert {log.partition_of(f"k{number}") for number in range(50)} == {0, 1, 2, 3}
