"""Publishing: order, partitions, acknowledgement, bounds."""

from collections.abc import Callable

import pytest

from messaging.ports import Bus, OutRecord
from schemas.errors import BadMessageError, FatalError

Topic = Callable[..., str]


def test_records_of_one_key_stay_in_order_and_in_one_partition(bus: Bus, topic: Topic) -> None:
    name = topic("frames", 4)
    publisher = bus.publisher()
    for number in range(200):
        publisher.publish(OutRecord(name, f"camera-{number % 7}", str(number).encode()))
    assert publisher.flush(20)
    records = bus.reader([name], from_beginning=True).read_to_end(20)
    assert len(records) == 200
    for camera in range(7):
        mine = [record for record in records if record.key == f"camera-{camera}".encode()]
        assert [int(record.value or b"") for record in mine] == list(range(camera, 200, 7))
        assert len({record.partition for record in mine}) == 1
        assert [record.offset for record in mine] == sorted({record.offset for record in mine})


def test_a_key_keeps_its_partition_across_publishers_and_topics_of_equal_size(bus: Bus, topic: Topic) -> None:
    frames, states = topic("frames", 5), topic("states", 5, compacted=True)
    places: dict[bytes | None, set[int]] = {}
    for name in (frames, states, frames):
        publisher = bus.publisher()
        for number in range(30):
            publisher.publish(OutRecord(name, f"k{number}", b"x"))
        publisher.close(20)
    for record in bus.reader([frames, states], from_beginning=True).read_to_end(20):
        places.setdefault(record.key, set()).add(record.partition)
    assert len(places) == 30
    assert all(len(found) == 1 for found in places.values())
    assert len(set.union(*places.values())) > 1


def test_headers_values_and_tombstones_come_out_as_they_went_in(bus: Bus, topic: Topic) -> None:
    name = topic("states", compacted=True)
    publisher = bus.publisher()
    publisher.publish(OutRecord(name, "a", b"\x00\xff", headers=(("engram", b"{}"), ("engram", b"2"), ("leer", b""))))
    publisher.publish(OutRecord(name, "b", None))
    publisher.close(20)
    first, second = bus.reader([name], from_beginning=True).read_to_end(20)
    assert first.value == b"\x00\xff"
    assert first.headers == (("engram", b"{}"), ("engram", b"2"), ("leer", b""))
    assert first.header("engram") == b"{}"
    assert (second.key, second.value) == (b"b", None)
    assert second.timestamp_ms > 1_600_000_000_000


def test_each_on_done_is_called_exactly_once(bus: Bus, topic: Topic) -> None:
    name = topic("frames", 3)
    publisher = bus.publisher()
    calls: dict[int, list[Exception | None]] = {number: [] for number in range(300)}
    for number in range(300):
        publisher.publish(OutRecord(name, f"k{number % 5}", b"x" * 100), calls[number].append)
    publisher.close(20)
    assert all(answers == [None] for answers in calls.values())


def test_an_on_done_that_raises_does_not_stop_the_others(bus: Bus, topic: Topic) -> None:
    name = topic("frames")
    publisher = bus.publisher()
    done: list[Exception | None] = []

    def broken(_: Exception | None) -> None:
        raise ValueError("the caller's mistake")

    try:
        publisher.publish(OutRecord(name, "k", b"1"), broken)
    except ValueError:
        pytest.fail("an error of on_done must not reach publish, the record was taken")
    publisher.publish(OutRecord(name, "k", b"2"), done.append)
    publisher.close(20)
    assert done == [None]


def test_a_record_too_large_is_refused_before_anything_is_taken(bus: Bus, topic: Topic) -> None:
    name = topic("frames")
    publisher = bus.publisher()
    done: list[Exception | None] = []
    with pytest.raises(BadMessageError) as caught:
        publisher.publish(OutRecord(name, "k", b"x" * 2_000_000), done.append)
    assert caught.value.reason == "too_large"
    publisher.publish(OutRecord(name, "k", b"small"), done.append)
    publisher.close(20)
    assert done == [None]
    assert [record.value for record in bus.reader([name], True).read_to_end(20)] == [b"small"]


def test_a_record_too_large_for_its_topic_is_a_bad_message(bus: Bus, topic: Topic) -> None:
    name = topic("frames", max_message_bytes=10_000)
    publisher = bus.publisher()
    errors: list[Exception | None] = []
    try:
        publisher.publish(OutRecord(name, "k", b"x" * 20_000), errors.append)
    except BadMessageError as error:
        errors.append(error)
    publisher.publish(OutRecord(name, "k", b"small"))
    publisher.close(20)
    assert len(errors) == 1
    assert isinstance(errors[0], BadMessageError)
    assert errors[0].reason == "too_large"
    assert [record.value for record in bus.reader([name], True).read_to_end(20)] == [b"small"]


def test_a_topic_that_does_not_exist_is_fatal_and_the_hint_says_what_to_do(bus: Bus) -> None:
    with pytest.raises(FatalError, match="engram topics create"):
        bus.publisher().publish(OutRecord("no-such-topic", "k", b"x"))


def test_a_closed_publisher_refuses(bus: Bus, topic: Topic) -> None:
    name = topic("frames")
    publisher = bus.publisher()
    publisher.close(5)
    with pytest.raises(FatalError, match="closed"):
        publisher.publish(OutRecord(name, "k", b"x"))
