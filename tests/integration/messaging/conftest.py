"""A broker that tests may pause, kill and restart, and buses on it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.kafka import KafkaSettings, LocalKafka
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection, KafkaOptions
from messaging.ports import TopicSpec
from tests.integration.messaging.pipeline import Names

READY_S = 240.0
# A dead worker's transaction is looked for each half second instead of each ten; the rest is as for other tests.
QUICK = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": "500"}


@pytest.fixture(scope="session")
def _faulty_kafka(kafka_requirements: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    settings = KafkaSettings(session_timeout_ms=3000, more=QUICK)
    server = LocalKafka(tmp_path_factory.mktemp("faulty-kafka"), kafka_requirements, settings)
    try:
        server.start()
        server.wait_ready(READY_S)
        yield server
    finally:
        server.resume()
        server.kill()


@pytest.fixture
def kafka(_faulty_kafka: LocalKafka) -> LocalKafka:
    """A broker to pause, kill and restart; ready at the start of each test."""
    _faulty_kafka.resume()
    _faulty_kafka.start()
    _faulty_kafka.wait_ready(READY_S)
    return _faulty_kafka


@pytest.fixture
def make_bus(kafka: LocalKafka) -> Iterator[Callable[..., KafkaBus]]:
    """``make_bus(delivery_timeout_s=3)``: a bus with these options. No stall of a busy machine ends what it holds."""
    buses: list[KafkaBus] = []

    def make(**options: float) -> KafkaBus:
        given = {"session_timeout_s": 20.0, "transaction_timeout_s": 20.0, **options}
        buses.append(KafkaBus(KafkaConnection(kafka.bootstrap_servers), KafkaOptions(**given)))  # type: ignore[arg-type]
        return buses[-1]

    yield make
    kafka.resume()
    for bus in buses:
        bus.close()


@pytest.fixture
def names(make_bus: Callable[..., KafkaBus], fresh_name: Callable[[str], str]) -> Names:
    """Fresh topics of a pipeline with four partitions."""
    made = Names(fresh_name("frames"), fresh_name("states"), fresh_name("scores"), fresh_name("group"))
    make_bus().create_topics(
        [TopicSpec(made.frames, 4), TopicSpec(made.states, 4, compacted=True), TopicSpec(made.scores, 2)]
    )
    return made
