"""Reading without a group."""

import time
from collections.abc import Callable

import pytest

from messaging.ports import Bus, OutRecord
from schemas.errors import FatalError

Topic = Callable[..., str]


def publish(bus: Bus, name: str, values: list[bytes], key: str = "k") -> None:
    publisher = bus.publisher()
    for value in values:
        publisher.publish(OutRecord(name, key, value))
    publisher.close(20)


def test_from_the_beginning_gives_everything_then_what_comes(bus: Bus, topic: Topic) -> None:
    name = topic("events", 2)
    publish(bus, name, [b"1", b"2"])
    reader = bus.reader([name], from_beginning=True)
    assert [record.value for record in reader.read_to_end(20)] == [b"1", b"2"]
    assert list(reader.read_to_end(20)) == []
    publish(bus, name, [b"3"])
    assert [record.value for record in reader.read_to_end(20)] == [b"3"]


def test_batches_together_are_everything_to_the_end(bus: Bus, topic: Topic) -> None:
    name = topic("events", 2)
    publish(bus, name, [b"%d" % number for number in range(50)])
    reader = bus.reader([name], from_beginning=True)
    found = [record.value for batch in reader.batches_to_end(20) for record in batch]
    assert found == [b"%d" % number for number in range(50)]
    assert [record for batch in reader.batches_to_end(20) for record in batch] == []


def test_of_some_partitions_only_these_are_read(bus: Bus, topic: Topic) -> None:
    name = topic("events", 3)
    for key in "abcdefgh":
        publish(bus, name, [key.encode()], key)
    everything = bus.reader([name], from_beginning=True).read_to_end(20)
    reader = bus.reader([name], from_beginning=True, partitions=[2])
    expected = [record.value for record in everything if record.partition == 2]
    assert 0 < len(expected) < 8
    assert [record.value for record in reader.read_to_end(20)] == expected
    reader.seek_time(0)
    assert [record.value for record in reader.read_to_end(20)] == expected


def test_from_the_end_gives_only_what_comes(bus: Bus, topic: Topic) -> None:
    name = topic("events")
    publish(bus, name, [b"1", b"2"])
    reader = bus.reader([name], from_beginning=False)
    assert list(reader.read_to_end(20)) == []
    publish(bus, name, [b"3"])
    found: list[bytes | None] = []
    deadline = time.monotonic() + 60
    while not found and time.monotonic() < deadline:
        found += [record.value for record in reader.read(10, 0.5)]
    assert found == [b"3"]


def test_read_takes_no_more_than_asked_and_loses_nothing(bus: Bus, topic: Topic) -> None:
    name = topic("events", 3)
    for key in ("a", "b", "c", "d"):
        publish(bus, name, [f"{key}{number}".encode() for number in range(10)], key)
    reader = bus.reader([name], from_beginning=True)
    found: list[bytes | None] = []
    deadline = time.monotonic() + 60
    while len(found) < 40 and time.monotonic() < deadline:
        records = reader.read(7, 0.5)
        assert len(records) <= 7
        found += [record.value for record in records]
    assert len(found) == len(set(found)) == 40
    assert reader.lag() == 0
    publish(bus, name, [b"more"])
    while not reader.read(7, 0.5):
        assert time.monotonic() < deadline
    assert reader.lag() == 0


def test_an_empty_topic_has_nothing_to_the_end(bus: Bus, topic: Topic) -> None:
    reader = bus.reader([topic("events", 4)], from_beginning=True)
    assert list(reader.read_to_end(20)) == []
    assert list(reader.read(10, 0.05)) == []


def test_the_newest_value_of_a_compacted_topic_comes_last(bus: Bus, topic: Topic) -> None:
    name = topic("banks", compacted=True)
    publish(bus, name, [b"1", b"2"], "a")
    publish(bus, name, [b"3"], "b")
    publish(bus, name, [b"4"], "a")
    newest: dict[bytes | None, bytes | None] = {}
    for record in bus.reader([name], from_beginning=True).read_to_end(20):
        newest[record.key] = record.value
    assert newest == {b"a": b"4", b"b": b"3"}


def test_a_topic_that_does_not_exist_is_fatal(bus: Bus) -> None:
    with pytest.raises(FatalError, match="engram topics create"):
        bus.reader(["no-such-topic"], from_beginning=True)


def test_a_closed_reader_refuses(bus: Bus, topic: Topic) -> None:
    reader = bus.reader([topic("events")], from_beginning=True)
    reader.close()
    with pytest.raises(FatalError, match="closed"):
        reader.read(1, 0.1)


def test_a_reader_goes_on_where_it_is_told(bus: Bus, topic: Topic) -> None:
    name = topic("events", 2)
    publish(bus, name, [b"%d" % number for number in range(6)])
    reader = bus.reader([name], from_beginning=True)
    (partition,) = {record.partition for record in reader.read_to_end(20)}
    other = 1 - partition
    assert reader.seek({(name, partition): 4, (name, other): 0}) == {(name, partition): 4, (name, other): 0}
    assert [record.value for record in reader.read_to_end(20)] == [b"4", b"5"]
    assert reader.seek({}) == {}
    assert list(reader.read_to_end(20)) == []
    assert reader.seek({(name, partition): 6}) == {(name, partition): 6}
    assert list(reader.read_to_end(20)) == []


def test_beyond_the_end_of_a_log_reading_starts_over(bus: Bus, topic: Topic) -> None:
    """The topic was deleted and made again: what it holds now has not been read."""
    name = topic("events")
    publish(bus, name, [b"1", b"2"])
    reader = bus.reader([name], from_beginning=False)
    assert set(reader.partitions()) == {(name, 0)}
    assert reader.seek({(name, 0): 1000}) == {(name, 0): 0}
    for place in ((name, 99), ("elsewhere", 0)):
        with pytest.raises(FatalError, match=f"{place[0]}/{place[1]} is not; there are {name}/0"):
            reader.seek({place: 0})
    assert [record.value for record in reader.read_to_end(20)] == [b"1", b"2"]


def test_a_reader_goes_on_at_a_time(bus: Bus, topic: Topic) -> None:
    name = topic("events", 2)
    publish(bus, name, [b"1", b"2"], "a")
    publish(bus, name, [b"3"], "b")
    reader = bus.reader([name], from_beginning=True)
    newest_ms = max(record.timestamp_ms for record in reader.read_to_end(20))
    reader.seek_time(newest_ms + 60_000)
    assert list(reader.read_to_end(20)) == []
    reader.seek_time(newest_ms)
    assert b"3" in {record.value for record in reader.read_to_end(20)}
    reader.seek_time(0)
    assert sorted(record.value or b"" for record in reader.read_to_end(20)) == [b"1", b"2", b"3"]
