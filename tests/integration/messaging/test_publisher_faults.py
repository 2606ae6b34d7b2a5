"""A broker that stalls, and publishers that must neither wedge nor lose count."""

import threading
import time
from collections.abc import Callable

import pytest
from kafka.admin import KafkaAdminClient

from deploy.local.kafka import LocalKafka
from deploy.local.ports import free_port
from deploy.local.wait import wait_until
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection
from messaging.kafka.publisher import KafkaPublisher
from messaging.ports import OutRecord, TopicSpec
from schemas.errors import BadMessageError, BufferFullError, TransientError
from tests.integration.messaging.conftest import READY_S
from tests.integration.messaging.pipeline import Names

MakeBus = Callable[..., KafkaBus]
KEYS = 5


class Ledger:
    """Publishes numbered records without pause; remembers every answer."""

    def __init__(self, publisher: KafkaPublisher, topic: str) -> None:
        self.answers: dict[int, list[Exception | None]] = {}
        self.num_refused = 0
        self.publisher = publisher
        self._topic = topic
        self._next = 0

    def publish(self, num_records: int) -> range:
        """Returns the numbers of those that were taken."""
        first = self._next
        for _ in range(num_records):
            answers: list[Exception | None] = []
            value = str(self._next).encode() + b" " + b"x" * 5000
            try:
                self.publisher.publish(OutRecord(self._topic, f"k{self._next % KEYS}", value), answers.append)
            except BufferFullError:
                self.num_refused += 1
                continue
            self.answers[self._next] = answers
            self._next += 1
        return range(first, self._next)

    def settle(self, why: str = "every record must get its answer") -> None:
        assert wait_until(lambda: all(self.answers.values()), 30), why

    def with_answer(self, kind: type) -> set[int]:
        return {number for number, answers in self.answers.items() if answers and isinstance(answers[0], kind)}

    def check(self, bus: KafkaBus) -> None:
        """Each answered once; all that was acknowledged is in the log, in order per key.

        What was given up may lie in the log all the same, also behind what came later: the broker may have had it
        unread, on the connection that was given up with it.
        """
        assert all(len(answers) == 1 for answers in self.answers.values())
        found: dict[bytes | None, list[int]] = {}
        for record in bus.reader([self._topic], from_beginning=True).read_to_end(30):
            found.setdefault(record.key, []).append(int((record.value or b"").split(b" ")[0]))
        acknowledged = self.with_answer(type(None))
        assert acknowledged <= {number for numbers in found.values() for number in numbers}
        for numbers in found.values():
            firsts = [number for number in dict.fromkeys(numbers) if number in acknowledged]
            assert firsts == sorted(firsts)


def at_work(bus: KafkaBus, topic: str) -> Ledger:
    """Of a publisher whose first five records are in the log."""
    ledger = Ledger(bus.publisher(), topic)
    ledger.publish(5)
    ledger.settle()
    return ledger


def delivers(ledger: Ledger) -> bool:
    """Whether fifty records that are published now all arrive."""
    numbers = set(ledger.publish(50))
    ledger.settle()
    return numbers <= ledger.with_answer(type(None))


@pytest.fixture
def tight(make_bus: MakeBus, fresh_name: Callable[[str], str]) -> str:
    """A topic that takes 20 kB at once."""
    name = fresh_name("frames")
    make_bus().create_topics([TopicSpec(name, 1, max_message_bytes=20_000)])
    return name


def test_a_stall_shorter_than_the_delivery_timeout_loses_nothing(
    kafka: LocalKafka, make_bus: MakeBus, names: Names
) -> None:
    bus = make_bus(delivery_timeout_s=20)
    ledger = Ledger(bus.publisher(), names.frames)
    ledger.publish(300)
    kafka.pause()
    timer = threading.Timer(3, kafka.resume)
    timer.start()
    ledger.publish(300)
    ledger.settle()
    timer.join()
    assert ledger.with_answer(type(None)) == set(range(600))
    ledger.check(bus)


def test_a_stall_longer_than_the_delivery_timeout_does_not_silence_the_publisher(
    kafka: LocalKafka, make_bus: MakeBus, names: Names
) -> None:
    bus = make_bus(delivery_timeout_s=4)
    ledger = at_work(bus, names.frames)
    kafka.pause()
    stalled = ledger.publish(100)
    ledger.settle("records must fail while the broker is silent")
    assert ledger.with_answer(TransientError) >= set(stalled) > set()
    kafka.resume()
    assert wait_until(lambda: delivers(ledger), 60), "the publisher must come back to life"
    ledger.check(bus)


def test_memory_in_flight_is_bounded_while_the_broker_is_silent(
    kafka: LocalKafka, make_bus: MakeBus, names: Names
) -> None:
    bus = make_bus(in_flight_bytes=500_000, delivery_timeout_s=20)
    ledger = Ledger(bus.publisher(), names.frames)
    ledger.publish(10)
    ledger.settle()
    kafka.pause()
    ledger.publish(500)
    assert ledger.num_refused == 500 - 95  # 500 kB at 5 kB and some overhead each
    kafka.resume()
    ledger.settle()
    ledger.publish(50)
    ledger.settle()
    assert ledger.with_answer(TransientError) == set()
    ledger.check(bus)


def test_closing_while_the_broker_is_silent_answers_for_every_record(
    kafka: LocalKafka, make_bus: MakeBus, names: Names
) -> None:
    ledger = at_work(make_bus(), names.frames)
    publisher = ledger.publisher
    kafka.pause()
    ledger.publish(50)
    assert not publisher.flush(0.2)
    publisher.close(0.5)
    kafka.resume()
    assert ledger.with_answer(TransientError) == set(range(5, 55))
    assert all(len(answers) == 1 for answers in ledger.answers.values())


def test_a_broker_that_is_not_there_is_transient_and_named(fresh_name: Callable[[str], str]) -> None:
    address = f"127.0.0.1:{free_port(())}"
    bus = KafkaBus(KafkaConnection(address, timeout_s=1.0))
    for ask in (bus.publisher, bus.existing_topics, lambda: bus.subscription(["frames"], fresh_name("g"))):
        with pytest.raises(TransientError, match="Kafka") as caught:
            ask()
        assert address in str(caught.value)
    bus.close()


def test_a_client_whose_thread_has_died_is_replaced_at_once(kafka: LocalKafka, make_bus: MakeBus, names: Names) -> None:
    bus = make_bus()
    ledger = at_work(bus, names.frames)
    publisher = ledger.publisher
    first = publisher._producer
    assert first is not None
    first._sender.force_close()
    first._sender.join(10)
    first._accumulator._closed = False  # it takes records all the same
    ledger.publish(5)
    ledger.settle()
    assert ledger.with_answer(type(None)) == set(range(10))
    ledger.check(bus)


def test_a_stuck_producer_is_replaced_while_the_broker_is_away(
    kafka: LocalKafka, make_bus: MakeBus, names: Names
) -> None:
    bus = make_bus()
    ledger = at_work(bus, names.frames)
    publisher = ledger.publisher
    kafka.kill()
    ledger.publish(5)
    for opened in publisher._in_flight.all():
        object.__setattr__(opened, "since", time.monotonic() - 1000)
    with pytest.raises(TransientError):
        ledger.publish(1)
    assert ledger.with_answer(TransientError) == set(range(5, 10)), "those that were stuck must get their answer"
    with pytest.raises(TransientError):
        ledger.publish(1)
    kafka.start()
    kafka.wait_ready(READY_S)
    assert wait_until(lambda: publishes(ledger), 60), "it must come back by itself"
    ledger.settle()
    ledger.check(bus)


def publishes(ledger: Ledger) -> bool:
    """Whether a record was taken."""
    try:
        ledger.publish(1)
    except TransientError:
        return False
    return True


def test_a_broker_that_is_away_at_the_first_record_is_waited_for(
    kafka: LocalKafka, make_bus: MakeBus, names: Names
) -> None:
    bus = make_bus()
    ledger = Ledger(bus.publisher(), names.frames)
    kafka.kill()
    assert not publishes(ledger)
    kafka.start()
    kafka.wait_ready(READY_S)
    assert wait_until(lambda: publishes(ledger), 60)
    ledger.settle()
    ledger.check(bus)


def test_a_topic_that_is_deleted_and_made_again_is_waited_for(
    kafka: LocalKafka, make_bus: MakeBus, fresh_name: Callable[[str], str]
) -> None:
    bus, name = make_bus(delivery_timeout_s=3), fresh_name("frames")
    bus.create_topics([TopicSpec(name, 2)])
    ledger = Ledger(bus.publisher(), name)
    ledger.publish(10)
    ledger.settle()
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    admin.delete_topics([name])
    assert wait_until(lambda: not publishes(ledger), 60), "a topic that is gone must be noticed, and be passing"
    assert wait_until(lambda: name not in bus.existing_topics(), 30)
    bus.create_topics([TopicSpec(name, 2)])
    before = len(ledger.with_answer(type(None)))
    assert wait_until(lambda: publishes(ledger) and len(ledger.with_answer(type(None))) > before, 60)
    admin.close()


def test_the_limit_of_a_topic_is_known_and_named(kafka: LocalKafka, make_bus: MakeBus, tight: str) -> None:
    publisher = make_bus().publisher()
    answers: list[Exception | None] = []
    with pytest.raises(BadMessageError, match="takes at most 20000 bytes") as caught:
        publisher.publish(OutRecord(tight, "k", b"x" * 30_000), answers.append)
    assert caught.value.reason == "too_large"
    for _ in range(20):  # together they are larger than the topic takes
        publisher.publish(OutRecord(tight, "k", b"x" * 15_000), answers.append)
    assert publisher.flush(30)
    assert answers == [None] * 20


def test_a_limit_that_only_the_broker_knows_gives_too_large(kafka: LocalKafka, make_bus: MakeBus, tight: str) -> None:
    publisher = make_bus().publisher()
    publisher._limit_of = lambda _: None  # as for a user who may not ask
    answers: list[Exception | None] = []
    publisher.publish(OutRecord(tight, "k", b"x" * 30_000), answers.append)
    assert publisher.flush(30)
    (error,) = answers
    assert isinstance(error, BadMessageError)
    assert error.reason == "too_large"
