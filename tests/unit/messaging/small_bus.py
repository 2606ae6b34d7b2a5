"""In-process buses and records that need few words."""

from messaging.inprocess.bus import InProcessBus
from messaging.ports import OutRecord, TopicSpec


def out(key: str = "k", value: bytes | None = b"v", topic: str = "t", partition: int | None = None) -> OutRecord:
    return OutRecord(topic, key, value, partition=partition)


def made(*specs: TopicSpec, max_topic_bytes: int = 100_000, ring_records: int = 1000) -> InProcessBus:
    bus = InProcessBus(max_topic_bytes, ring_records)
    bus.create_topics(specs)
    return bus
