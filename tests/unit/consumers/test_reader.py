"""The readers against a real in-process log."""

from collections.abc import Iterator

import pytest

from consumers.reader import EventReader, ScoreReader
from messaging.inprocess.bus import InProcessBus
from messaging.ports import OutRecord, TopicSpec
from schemas.codec import encode_message
from schemas.messages import AnomalyEvent, FrameScore
from tests.unit.consumers.samples import event, score

TOPIC = "messages"


@pytest.fixture
def bus() -> Iterator[InProcessBus]:
    made = InProcessBus()
    made.create_topics([TopicSpec(TOPIC, 2)])
    yield made
    made.close()


def publish(bus: InProcessBus, *messages: AnomalyEvent | FrameScore | bytes) -> None:
    publisher = bus.publisher()
    for message in messages:
        value = message if isinstance(message, bytes) else encode_message(message)
        key = "cam1" if isinstance(message, bytes | FrameScore) else message.partitionkey
        publisher.publish(OutRecord(TOPIC, key, value))


def test_events_come_once_and_in_order(bus: InProcessBus) -> None:
    start, update, end = event(5, 5), event(5, 15, "update", 1), event(5, 18, "end", 2)
    publish(bus, start, update, start, end, update)
    reader = EventReader(bus.reader([TOPIC], from_beginning=True))
    assert reader.read_to_end(1.0) == [start, update, end]
    assert (reader.counts.received, reader.counts.taken, reader.counts.repeated) == (5, 3, 2)


def test_a_repeat_is_known_by_its_source_too(bus: InProcessBus) -> None:
    one = event(5, 5)
    other = one.model_copy(update={"source": "/engram/elsewhere"})
    publish(bus, one, other)
    assert EventReader(bus.reader([TOPIC], from_beginning=True)).read_to_end(1.0) == [one, other]


def test_bad_messages_are_counted_by_reason_and_skipped(bus: InProcessBus) -> None:
    good = event(5, 5)
    newer = encode_message(good).replace(b'"schema_version":1', b'"schema_version":2')
    # An envelope has no schema_version of its own, so a newer payload is an invalid message.
    publish(bus, b"no json", good, newer, b'{"a": 1}')
    reader = EventReader(bus.reader([TOPIC], from_beginning=True))
    assert reader.read_to_end(1.0) == [good]
    assert reader.counts.bad.total() == 3
    assert reader.counts.received == reader.counts.taken + reader.counts.bad.total()


def test_only_the_cameras_asked_for(bus: InProcessBus) -> None:
    mine, other = event(5, 5), event(5, 5, camera_id="cam2")
    publish(bus, other, mine)
    reader = EventReader(bus.reader([TOPIC], from_beginning=True), camera_ids=["cam1"])
    assert reader.read_to_end(1.0) == [mine]
    assert reader.counts.filtered == 1


def test_the_memory_of_repeats_is_bounded(bus: InProcessBus) -> None:
    first, second, third = (event(number, number) for number in range(3))
    publish(bus, first, second, second, third, first)
    reader = EventReader(bus.reader([TOPIC], from_beginning=True), memory=2)
    assert reader.read_to_end(1.0) == [first, second, third, first]


def test_scores_come_once_a_frame(bus: InProcessBus) -> None:
    rows = [score(1), score(2, None), score(1, camera_id="cam2")]
    publish(bus, *rows, score(1, 0.5))
    reader = ScoreReader(bus.reader([TOPIC], from_beginning=True))
    assert sorted(reader.read_to_end(1.0), key=str) == sorted(rows, key=str)
    assert reader.counts.repeated == 1


def test_scores_of_a_newer_version_are_named_as_such(bus: InProcessBus) -> None:
    publish(bus, encode_message(score(1)).replace(b'"schema_version":1', b'"schema_version":2'))
    reader = ScoreReader(bus.reader([TOPIC], from_beginning=True))
    assert reader.read_to_end(1.0) == []
    assert reader.counts.bad == {"future_version": 1}


def test_following_starts_now_and_ends_at_the_deadline(bus: InProcessBus) -> None:
    publish(bus, score(1))
    reader = ScoreReader(bus.reader([TOPIC], from_beginning=False))
    assert reader.read(0.0) == []
    publish(bus, score(2))
    assert reader.read(1.0) == [score(2)]
    reader.close()
