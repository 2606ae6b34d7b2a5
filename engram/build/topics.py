"""Which topics there are and how each must be made."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from engram.build.adapters import kafka_connection
from messaging.ports import TopicSpec
from schemas.settings.connections import KafkaSection
from schemas.topics import TopicNames

if TYPE_CHECKING:
    from messaging.kafka.topics import Difference, KafkaTopics

NUM_BANK_PARTITIONS = 3
"""Banks are few and their records rare; more partitions would only cost files."""
NUM_CAMERA_PARTITIONS = 3
"""What is told of cameras is read whole; nobody shares it."""
HEADER_ROOM_BYTES = 64 * 1024


def topic_specs(kafka: KafkaSection, max_frame_bytes: int) -> tuple[TopicSpec, ...]:
    """Every topic under the prefix of ``kafka``.

    ``camera-states`` has as many partitions as ``frames``, because the owner of a partition of frames owns the
    same-numbered one of states. Scores and events have as many too, which keeps a camera's order at the same spread.
    """
    names = TopicNames.with_prefix(kafka.topic_prefix)
    spread = kafka.frames_partitions
    frames_ms, scores_ms, events_ms = (
        int(1000 * seconds)
        for seconds in (kafka.frames_retention_s, kafka.scores_retention_s, kafka.events_retention_s)
    )
    frame_bytes = max_frame_bytes + HEADER_ROOM_BYTES
    return (
        TopicSpec(names.frames, spread, retention_ms=frames_ms, max_message_bytes=frame_bytes),
        TopicSpec(names.frame_scores, spread, retention_ms=scores_ms),
        TopicSpec(names.anomaly_events, spread, retention_ms=events_ms),
        TopicSpec(names.memory_updates, NUM_BANK_PARTITIONS, retention_ms=frames_ms),
        TopicSpec(names.memory_banks, NUM_BANK_PARTITIONS, compacted=True),
        TopicSpec(names.camera_states, spread, compacted=True),
        TopicSpec(
            names.dead_letters,
            NUM_BANK_PARTITIONS,
            retention_ms=scores_ms,
            max_message_bytes=frame_bytes + HEADER_ROOM_BYTES,
        ),
        TopicSpec(names.camera_status, NUM_CAMERA_PARTITIONS, compacted=True),
        TopicSpec(names.camera_events, NUM_CAMERA_PARTITIONS, retention_ms=events_ms),
        TopicSpec(names.operator_verdicts, NUM_BANK_PARTITIONS, retention_ms=events_ms),
        TopicSpec(names.memory_events, NUM_BANK_PARTITIONS, retention_ms=events_ms),
        TopicSpec(names.event_media, NUM_CAMERA_PARTITIONS, retention_ms=events_ms),
    )


def grown_together(kafka: KafkaSection) -> tuple[str, ...]:
    """The topics spread by camera, in the order in which they grow: a partition of frames never lacks its states."""
    names = TopicNames.with_prefix(kafka.topic_prefix)
    return (names.camera_states, names.frames, names.frame_scores, names.anomaly_events)


def topic_state(
    spec: TopicSpec, existing: Mapping[str, int], settings: Mapping[str, "Difference"] | None = None
) -> str:
    """``ok``, ``missing``, or what is different.

    Args:
        spec: how the topic must be.
        existing: partitions of those there are.
        settings: those that the broker has otherwise.
    """
    if spec.name not in existing:
        return "missing"
    different = [f"{key} is {each.found}" for key, each in (settings or {}).items()]
    if existing[spec.name] != spec.partitions:
        different.insert(0, f"has {existing[spec.name]} partitions, settings say {spec.partitions}")
    return "; ".join(different) or "ok"


@contextmanager
def open_topics(kafka: KafkaSection) -> Iterator["KafkaTopics"]:
    """What an operator does with topics. TransientError: no broker answers."""
    from messaging.kafka.connection import quiet_client_logs  # noqa: PLC0415 - the client takes a while to load
    from messaging.kafka.topics import KafkaTopics  # noqa: PLC0415

    quiet_client_logs()
    with closing(KafkaTopics(kafka_connection(kafka), kafka.replication_factor)) as topics:
        yield topics
