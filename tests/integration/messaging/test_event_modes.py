"""Events in binary form on a real Kafka: others find the headers of the binding, our own readers the whole event."""

from collections.abc import Callable

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event
from kafka import KafkaConsumer

from deploy.local.kafka import LocalKafka
from messaging.kafka.bus import KafkaBus
from messaging.ports import OutRecord, TopicSpec
from schemas.cameras import CameraGap, CameraGapEvent, gap_event
from schemas.codec import EVENT_HEADERS, decode_message, encode_message
from tests.contract.messaging.members import DEADLINE_S, Member
from tests.unit.consumers.samples import at

GAP = gap_event(
    CameraGap(
        camera_id="gate",
        session_id="s1",
        first_frame=3,
        last_frame=9,
        first_at=at(3),
        last_at=at(9),
        cause="spool_full",
        num_frames=7,
    )
)


def raw(kafka: LocalKafka, topic: str) -> list[KafkaMessage]:
    """Headers, keys and values as any other consumer finds them."""
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        consumer_timeout_ms=int(DEADLINE_S * 1000),
    )
    records = [next(consumer) for _ in range(2)]
    consumer.close()
    return [KafkaMessage(dict(record.headers), record.key, record.value) for record in records]


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_others_find_the_form_that_was_chosen_and_our_readers_the_event(
    kafka: LocalKafka, make_bus: Callable[..., KafkaBus], fresh_name: Callable[[str], str], mode: str
) -> None:
    frames, events = fresh_name("frames"), fresh_name("events")
    bus = make_bus(event_mode=mode)
    bus.create_topics([TopicSpec(frames, 1), TopicSpec(events, 1)])
    record = OutRecord(events, "gate", encode_message(GAP), EVENT_HEADERS)

    publisher = bus.publisher()
    publisher.publish(record)
    assert publisher.flush(DEADLINE_S)
    outbox = bus.outbox(bus.subscription([frames], fresh_name("group")), fresh_name("writer"))
    outbox.commit([record], [])

    for message in raw(kafka, events):
        headers, value = message.headers, message.value
        told = from_kafka_event(message)  # the SDK of CloudEvents takes both forms for the same event
        assert (told.get_id(), told.get_source(), told.get_type()) == (GAP.id, GAP.source, GAP.type)
        assert (told.get_time(), told.get_extension("partitionkey")) == (GAP.time, "gate")
        assert CameraGap.model_validate(told.get_data()) == GAP.data
        if mode == "binary":
            assert headers["content-type"] == b"application/json"
            assert headers["ce_type"] == b"dev.engram.camera.gap.v1"
            assert headers["ce_id"] == GAP.id.encode()
            assert CameraGap.model_validate_json(value) == GAP.data
        else:
            assert headers == {"content-type": b"application/cloudevents+json"}

    other = make_bus()  # whatever its own mode is
    member = Member(other.subscription([events], fresh_name("group"))).until_received(2)
    read = other.reader([events], from_beginning=True).read_to_end(DEADLINE_S)
    for found in (*read, *(delivery.record for delivery in member.deliveries)):
        assert decode_message(CameraGapEvent, found.value) == GAP
        assert found.headers == EVENT_HEADERS
