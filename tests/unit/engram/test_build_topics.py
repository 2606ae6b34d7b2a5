"""The topics as they must be made."""

from engram.build.topics import topic_specs, topic_state
from messaging.inprocess.bus import InProcessBus
from messaging.kafka.topics import Difference
from messaging.ports import TopicSpec
from schemas.settings.connections import KafkaSection
from schemas.topics import TopicNames


def test_every_topic_is_there_once_under_the_prefix() -> None:
    specs = topic_specs(KafkaSection(topic_prefix="site-a."), 1000)
    assert sorted(spec.name for spec in specs) == sorted(TopicNames.with_prefix("site-a.").all())


def test_states_have_as_many_partitions_as_frames() -> None:
    by_name = {spec.name: spec for spec in topic_specs(KafkaSection(frames_partitions=7), 1000)}
    assert by_name["frames"].partitions == by_name["camera-states"].partitions == 7
    assert by_name["memory-updates"].partitions < 7


def test_only_states_and_banks_are_compacted_and_all_others_have_a_retention() -> None:
    specs = topic_specs(KafkaSection(frames_retention_s=60), 1000)
    assert {spec.name for spec in specs if spec.compacted} == {"camera-states", "camera-status", "memory-banks"}
    assert all((spec.retention_ms is None) == spec.compacted for spec in specs)
    assert next(spec for spec in specs if spec.name == "frames").retention_ms == 60_000


def test_a_frame_of_the_largest_size_fits_with_its_headers_and_as_a_dead_letter() -> None:
    by_name = {spec.name: spec for spec in topic_specs(KafkaSection(), 256 * 1024)}
    frames, letters = by_name["frames"].max_message_bytes, by_name["dead-letters"].max_message_bytes
    assert frames is not None
    assert letters is not None
    assert 256 * 1024 + 16 * 1024 < frames < letters


def test_a_bus_takes_them_and_a_second_time_creates_none() -> None:
    bus = InProcessBus()
    specs = topic_specs(KafkaSection(), 256 * 1024)
    assert list(bus.create_topics(specs)) == [spec.name for spec in specs]
    assert list(bus.create_topics(specs)) == []
    bus.close()


def test_a_state_says_all_that_is_different() -> None:
    spec = TopicSpec("t", 3)
    assert topic_state(spec, {}) == "missing"
    assert topic_state(spec, {"t": 3}) == "ok"
    assert (
        topic_state(spec, {"t": 2}, {"segment.ms": Difference("7", "5")})
        == "has 2 partitions, settings say 3; segment.ms is 7"
    )
