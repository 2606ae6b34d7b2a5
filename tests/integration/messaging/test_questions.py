"""Questions to the cluster over a connection that breaks: asked again for a while, and no longer."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from kafka import TopicPartition

from deploy.local.kafka import KafkaSettings, LocalKafka
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection
from messaging.kafka.topics import KafkaTopics
from messaging.ports import OutRecord, TopicSpec
from schemas.errors import TransientError
from tests.integration.messaging.conftest import READY_S
from tests.proxy import FaultProxy

SPEC = TopicSpec("frames", 2, max_message_bytes=20_000)
QUESTIONS: dict[str, tuple[Callable[[KafkaTopics], object], object]] = {
    "topics": (lambda topics: topics.existing(), {"frames": 2}),
    "ends": (lambda topics: topics.ends([TopicPartition("frames", 1)]), {TopicPartition("frames", 1): 0}),
    "limit": (lambda topics: topics.max_message_bytes("frames"), 20_000),
    "settings": (lambda topics: topics.differences([SPEC]), {}),
}


@dataclass(frozen=True, slots=True)
class Way:
    """A broker with the one topic of SPEC, and the proxy that all connections to it go through."""

    connection: KafkaConnection
    proxy: FaultProxy


@pytest.fixture(scope="module")
def way(kafka_requirements: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    folder = tmp_path_factory.mktemp("kafka-behind-proxy")
    with FaultProxy(lambda: int(LocalKafka(folder).address.rpartition(":")[2])) as proxy:
        server = LocalKafka(folder, kafka_requirements, KafkaSettings(advertised_port=proxy.port))
        try:
            server.start()
            server.wait_ready(READY_S)
            connection = KafkaConnection(proxy.address)
            with closing(KafkaTopics(connection, 1)) as topics:
                topics.create([SPEC])
            yield Way(connection, proxy)
        finally:
            server.kill()


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_connection_that_breaks_in_the_middle_is_ridden_out(way: Way, question: str) -> None:
    ask, answer = QUESTIONS[question]
    with closing(KafkaTopics(way.connection, 1)) as topics:
        assert ask(topics) == answer
        before = way.proxy.num_dropped
        way.proxy.drop_replies(2)  # the second one while it connects anew
        assert ask(topics) == answer
        assert way.proxy.num_dropped == before + 2


def test_a_broker_that_stays_away_is_told(way: Way) -> None:
    with closing(KafkaTopics(way.connection, 1)) as topics:
        way.proxy.refuse()
        with pytest.raises(TransientError, match="listing topics"):
            topics.existing()
        way.proxy.heal()
        assert topics.existing() == {"frames": 2}


def test_the_first_record_of_a_publisher_gets_through(way: Way) -> None:
    answers: list[Exception | None] = []
    with closing(KafkaBus(way.connection)) as bus:
        assert bus.existing_topics() == {"frames": 2}
        publisher = bus.publisher()
        way.proxy.drop_replies(1)
        publisher.publish(OutRecord("frames", "camera", b"x", partition=0), answers.append)
        assert publisher.flush(30)
    assert answers == [None]
