"""The two buses that one contract suite runs against."""

import os
from collections.abc import Callable, Iterator

import pytest

from messaging.inprocess.bus import InProcessBus
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection, KafkaOptions
from messaging.ports import Bus, TopicSpec

MAX_BYTES = 400_000
"""Bound on memory in these tests, the same for both adapters."""
SESSION_S = 150.0
"""A member that is not heard of for so long is put out: no stall of a busy machine lasts as long."""


@pytest.fixture(params=["inprocess", "kafka"])
def bus(request: pytest.FixtureRequest) -> Iterator[Bus]:
    made: Bus
    if request.param == "inprocess":
        made = InProcessBus(max_topic_bytes=MAX_BYTES, ring_records=10_000)
    else:
        made = KafkaBus(
            KafkaConnection(request.getfixturevalue("kafka_bootstrap"), client_id=f"test-{os.getpid()}"),
            KafkaOptions(in_flight_bytes=MAX_BYTES, queue_bytes=MAX_BYTES, session_timeout_s=SESSION_S),
        )
    yield made
    made.close()


@pytest.fixture
def topic(bus: Bus, fresh_name: Callable[[str], str]) -> Callable[..., str]:
    """Makes a topic: ``topic("frames", 4)``."""

    def make(what: str, partitions: int = 1, compacted: bool = False, max_message_bytes: int | None = None) -> str:
        name = fresh_name(what)
        bus.create_topics([TopicSpec(name, partitions, compacted, max_message_bytes=max_message_bytes)])
        return name

    return make
