"""What the client cannot decode is delivered or stepped over; its neighbours, subscriptions and readers go on."""

import threading
from collections.abc import Callable

import pytest
from kafka import KafkaProducer
from kafka.record import default_records

from deploy.local.kafka import LocalKafka
from messaging.kafka.bus import KafkaBus
from messaging.ports import UNREADABLE, TopicSpec
from schemas.errors import FatalError
from tests.contract.messaging.members import Member
from tests.unit.messaging.test_kafka_decoding import Raw

MakeBus = Callable[..., KafkaBus]


@pytest.fixture
def topic(kafka: LocalKafka, make_bus: MakeBus, fresh_name: Callable[[str], str]) -> str:
    """One partition; in one batch a record before, one with a header name of raw bytes, and one after it."""
    name = fresh_name("frames")
    make_bus().create_topics([TopicSpec(name, 1)])
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, linger_ms=500)
    producer.send(name, key=b"k", value=b"before")
    producer.send(name, key=b"k", value=b"odd", headers=[(Raw(b"\xff\xfe"), b"v")])
    producer.send(name, key=b"k", value=b"after")
    producer.flush(10)
    producer.close()
    return name


def test_a_member_gets_the_odd_record_and_its_neighbours(
    make_bus: MakeBus, topic: str, fresh_name: Callable[[str], str]
) -> None:
    member = Member(make_bus().subscription([topic], fresh_name("group"))).until_received(3)
    assert member.values() == [b"before", b"odd", b"after"]
    assert [name for name, _ in member.deliveries[1].record.headers] == ["\ufffd\ufffd"]


def test_a_reader_gets_them_too(make_bus: MakeBus, topic: str) -> None:
    found = make_bus().reader([topic], from_beginning=True).read_to_end(20)
    assert [record.value for record in found] == [b"before", b"odd", b"after"]


def test_a_batch_of_a_codec_that_is_not_read_is_told_and_passed(
    kafka: LocalKafka, make_bus: MakeBus, topic: str, fresh_name: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = default_records.DefaultRecordBatch.CODEC_LZ4
    monkeypatch.setitem(KafkaProducer._COMPRESSORS, "lz4", (lambda: True, codec))
    monkeypatch.setattr("kafka.codec.has_lz4", lambda: True)
    monkeypatch.setattr(default_records, "lz4_encode", _lz4)
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, compression_type="lz4")
    producer.send(topic, key=b"k", value=b"x" * 2000).get(10)
    producer.close()
    plain = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    plain.send(topic, key=b"k", value=b"last").get(10)
    plain.close()
    member = Member(make_bus().subscription([topic], fresh_name("group"))).until_received(5)
    assert member.values() == [b"before", b"odd", b"after", None, b"last"]
    assert b"lz4" in (member.deliveries[3].record.header(UNREADABLE) or b"")


def test_a_poll_that_does_not_return_ends_the_membership(
    make_bus: MakeBus, topic: str, fresh_name: Callable[[str], str]
) -> None:
    """The real thread, stuck in a real poll: receiving says so, instead of waiting for ever."""
    may_go_on = threading.Event()
    member = Member(make_bus(max_poll_interval_s=4.0).subscription([topic], fresh_name("group"))).until_received(3)
    consumer = member.subscription._poller._consumer  # type: ignore[attr-defined]
    real = consumer.poll
    consumer.poll = lambda **settings: may_go_on.wait(60) and real(**settings)
    try:
        with pytest.raises(FatalError, match="start this process again"):
            member.subscription.receive(1, 60)
    finally:
        may_go_on.set()


def _lz4(payload: bytes) -> bytes:
    """A valid LZ4 frame of one block, for a payload with a long run of x: literals, one match, the last literals."""
    run, length = payload.index(b"xx"), 1900
    head, tail = payload[: run + 1], payload[run + 1 + length :]
    block = _token(len(head), length - 4) + _more(len(head)) + head + b"\x01\x00" + _more(length - 4)
    block += _token(len(tail), 0) + _more(len(tail)) + tail
    return b"\x04\x22\x4d\x18\x60\x40\x82" + len(block).to_bytes(4, "little") + block + bytes(4)


def _token(num_literals: int, num_matched: int) -> bytes:
    return bytes([min(num_literals, 15) << 4 | min(num_matched, 15)])


def _more(count: int) -> bytes:
    return b"" if count < 15 else b"\xff" * ((count - 15) // 255) + bytes([(count - 15) % 255])
