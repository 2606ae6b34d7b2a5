"""Bytes on their way to the broker: bounded, given back, waited for."""

import threading
import time

import pytest
from kafka import TopicPartition

from messaging.kafka.publisher import _InFlight, _Open
from schemas.errors import BufferFullError

ZERO, ONE = TopicPartition("t", 0), TopicPartition("t", 1)


def opened(num_bytes: int, age_s: float = 0.0) -> _Open:
    return _Open(num_bytes, time.monotonic() - age_s, None)


def test_bytes_in_flight_are_bounded_to_the_last_one_and_given_back_once() -> None:
    in_flight = _InFlight(100)
    first, second = opened(60), opened(40)
    in_flight.enter(first)
    in_flight.enter(second)
    with pytest.raises(BufferFullError, match="at most 100 bytes may be in flight to Kafka, 100 are"):
        in_flight.enter(opened(1))
    assert in_flight.all() == [first, second]
    assert in_flight.leave(first)
    assert not in_flight.leave(first)
    with pytest.raises(BufferFullError, match="40 are"):
        in_flight.enter(opened(61))
    in_flight.enter(opened(60))


def test_the_oldest_in_flight_tells_how_long_the_client_is_silent() -> None:
    in_flight = _InFlight(100)
    assert in_flight.oldest_age_s() == 0
    oldest = opened(1, age_s=50)
    for each in (oldest, opened(1, age_s=20)):
        in_flight.enter(each)
    assert 50 <= in_flight.oldest_age_s() < 60
    in_flight.leave(oldest)
    assert 20 <= in_flight.oldest_age_s() < 30


def test_waiting_ends_with_the_last_record_or_at_the_deadline() -> None:
    in_flight = _InFlight(100)
    assert in_flight.wait_empty(0)
    record = opened(1)
    in_flight.enter(record)
    assert not in_flight.wait_empty(0)
    ended: list[bool] = []
    thread = threading.Thread(target=lambda: ended.append(in_flight.wait_empty(60)))
    thread.start()
    in_flight.leave(record)
    thread.join(20)
    assert ended == [True]
