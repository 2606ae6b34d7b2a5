"""What topics promise about keeping: retention that is kept, compaction that happens, differences that are told."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from deploy.local.kafka import KafkaSettings, LocalKafka
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection
from messaging.kafka.topics import Difference, KafkaTopics, topic_configs
from messaging.ports import OutRecord, Record, TopicSpec
from schemas.errors import FatalError
from tests.integration.messaging.conftest import READY_S

DEADLINE_S = 60.0
EAGER = {
    "log.retention.check.interval.ms": "500",
    "log.initial.task.delay.ms": "500",
    "log.cleaner.backoff.ms": "500",
}


@pytest.fixture(scope="module")
def eager_kafka(kafka_requirements: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """A broker that looks twice a second for what may go."""
    settings = KafkaSettings(session_timeout_ms=3000, more=EAGER)
    server = LocalKafka(tmp_path_factory.mktemp("eager-kafka"), kafka_requirements, settings)
    try:
        server.start()
        server.wait_ready(READY_S)
        yield server
    finally:
        server.kill()


@pytest.fixture
def bus(eager_kafka: LocalKafka) -> Iterator[KafkaBus]:
    with closing(KafkaBus(KafkaConnection(eager_kafka.bootstrap_servers))) as made:
        yield made


@pytest.fixture
def topics(eager_kafka: LocalKafka) -> Iterator[KafkaTopics]:
    with closing(KafkaTopics(KafkaConnection(eager_kafka.bootstrap_servers), 1)) as made:
        yield made


def publish(bus: KafkaBus, records: Sequence[OutRecord]) -> None:
    errors: list[Exception | None] = []
    publisher = bus.publisher()
    for record in records:
        publisher.publish(record, errors.append)
    publisher.close(30)
    assert errors == [None] * len(records)


def kept(bus: KafkaBus, topic: str) -> Sequence[Record]:
    with closing(bus.reader([topic], from_beginning=True)) as reader:
        return reader.read_to_end(30)


def test_a_frame_is_gone_after_its_retention_though_others_keep_coming(
    bus: KafkaBus, fresh_name: Callable[[str], str]
) -> None:
    """Twice: the first ones, and those that came while they went."""
    topic, number = fresh_name("frames"), 0
    bus.create_topics([TopicSpec(topic, 1, retention_ms=1000)])
    for _ in range(2):
        deadline, newest, oldest = time.monotonic() + DEADLINE_S, number, -1
        while oldest <= newest:
            publish(bus, [OutRecord(topic, "cam", str(number).encode())])
            number += 1
            oldest = min((int(record.value or b"") for record in kept(bus, topic)), default=number)
            assert time.monotonic() < deadline, f"frame {oldest} of {number} is still there, {newest} was to go"


def test_the_last_frames_go_as_well_when_nothing_follows(bus: KafkaBus, fresh_name: Callable[[str], str]) -> None:
    topic = fresh_name("frames")
    bus.create_topics([TopicSpec(topic, 1, retention_ms=1000)])
    publish(bus, [OutRecord(topic, "cam", b"x")] * 5)
    deadline = time.monotonic() + DEADLINE_S
    while kept(bus, topic):
        assert time.monotonic() < deadline


def test_a_compacted_topic_keeps_few_values_of_a_key(
    bus: KafkaBus, fresh_name: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("messaging.kafka.topics._COMPACTION_LAG_MS", 1000)  # minutes are too long for a test
    topic, number = fresh_name("states"), 0
    bus.create_topics([TopicSpec(topic, 1, compacted=True)])
    deadline = time.monotonic() + DEADLINE_S
    most = fewest = 0
    while not fewest < most / 2:
        publish(bus, [OutRecord(topic, f"cam-{each % 3}", str(number + each).encode()) for each in range(100)])
        number += 100
        fewest = len(kept(bus, topic))
        most = max(most, fewest)
        assert time.monotonic() < deadline, f"{fewest} of {number} values are still there"
    newest = {record.key: int(record.value or b"") for record in kept(bus, topic)}
    assert newest == {f"cam-{each % 3}".encode(): number - 100 + each for each in range(97, 100)}


def test_what_differs_is_told_and_mended_and_nothing_else_changes(
    topics: KafkaTopics, fresh_name: Callable[[str], str]
) -> None:
    frames, states, other = fresh_name("frames"), fresh_name("states"), fresh_name("none")
    topics.create([TopicSpec(frames, 2, retention_ms=50_000), TopicSpec(states, 2)])
    specs = [
        TopicSpec(frames, 2, retention_ms=10_000, max_message_bytes=5000),
        TopicSpec(states, 2, compacted=True),
        TopicSpec(other, 1),
    ]
    differences = topics.differences(specs)
    assert differences[frames] == {
        "retention.ms": Difference("50000", "10000"),
        "segment.ms": Difference("5000", "1000"),
        "max.message.bytes": Difference("1048588", "5000"),
    }
    assert differences[states]["cleanup.policy"] == Difference("delete", "compact")
    assert topics.missing(specs) == [other]
    assert other not in differences
    assert topics.mend(specs) == differences
    assert topics.differences(specs) == {}
    assert topics.mend(specs) == {}
    assert topics.existing()[frames] == 2
    assert other not in topics.existing()


def test_settings_that_the_broker_refuses_are_fatal(topics: KafkaTopics, fresh_name: Callable[[str], str]) -> None:
    name = fresh_name("frames")
    topics.create([TopicSpec(name, 1, retention_ms=10_000)])
    with pytest.raises(FatalError, match=name):
        topics.mend([TopicSpec(name, 1, retention_ms=-5)])


def test_segments_are_a_tenth_of_the_retention_within_bounds() -> None:
    found = [topic_configs(TopicSpec("t", 1, retention_ms=ms))["segment.ms"] for ms in (10, 3_600_000, 10**11)]
    assert found == ["1000", "360000", "86400000"]
