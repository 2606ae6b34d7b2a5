"""Members that come and go, the broker's default wait for more members, batches that cannot be read."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer
from kafka.errors import KafkaConnectionError

from deploy.local.kafka import KafkaSettings, LocalKafka
from deploy.local.wait import wait_until
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection
from messaging.ports import OutRecord, TopicSpec
from schemas.errors import FatalError
from tests.contract.messaging.members import Member, together
from tests.integration.messaging.conftest import READY_S
from tests.integration.messaging.pipeline import (
    Names,
    Worker,
    departures,
    perfect,
    publish_frames,
    wait_for_scores,
)

MakeBus = Callable[..., KafkaBus]
KEYS = 8
FRAMES = 400


class Storm:
    """Starts and stops workers on threads, each with a bus of its own."""

    def __init__(self, make_bus: MakeBus, names: Names) -> None:
        self.workers: list[Worker] = []
        self.errors: list[Exception] = []
        self._make_bus = make_bus
        self._names = names
        self._running: list[tuple[threading.Thread, threading.Event]] = []

    def start_one(self) -> None:
        number = len(self.workers)
        worker = Worker(self._make_bus(), self._names, f"{self._names.group}-{number}", batch=7)
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(worker, stop), daemon=True)
        thread.start()
        self.workers.append(worker)
        self._running.append((thread, stop))

    def _run(self, worker: Worker, stop: threading.Event) -> None:
        try:
            worker.run(stop)
        except Exception as error:
            self.errors.append(error)

    def stop_oldest(self) -> None:
        thread, stop = self._running.pop(0)
        stop.set()
        thread.join(60)
        assert not thread.is_alive()

    def stop_all(self) -> None:
        while self._running:
            self.stop_oldest()


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_storm_of_rebalances_handles_each_frame_exactly_once(make_bus: MakeBus, names: Names) -> None:
    bus = make_bus()
    storm = Storm(make_bus, names)
    feeding = threading.Thread(target=feed_slowly, args=(bus, names), daemon=True)
    feeding.start()
    try:
        for _ in range(3):
            storm.start_one()
        for share in (0.15, 0.3, 0.45, 0.6):
            wait_for_scores(bus, names, int(share * KEYS * FRAMES), 60)
            storm.stop_oldest()
            storm.start_one()
        found = wait_for_scores(bus, names, KEYS * FRAMES, 240)
    finally:
        storm.stop_all()
    feeding.join(60)
    assert storm.errors == []
    assert found == perfect(KEYS, FRAMES), departures(found, perfect(KEYS, FRAMES))
    assert sum(worker.num_commits > 0 for worker in storm.workers) >= 3


def feed_slowly(bus: KafkaBus, names: Names) -> None:
    for first in range(1, FRAMES + 1, 20):
        publish_frames(bus, names, KEYS, range(first, first + 20))
        threading.Event().wait(0.2)


@pytest.fixture
def waiting_kafka(kafka_requirements: Path, tmp_path: Path) -> Iterator[LocalKafka]:
    """A broker that lets a new group wait three seconds for more members, as brokers do by default."""
    server = LocalKafka(tmp_path / "kafka", kafka_requirements, KafkaSettings(rebalance_delay_ms=3000))
    try:
        server.start()
        server.wait_ready(READY_S)
        yield server
    finally:
        server.kill()


def test_members_settle_with_the_brokers_default_wait(
    waiting_kafka: LocalKafka, fresh_name: Callable[[str], str]
) -> None:
    bus = KafkaBus(KafkaConnection(waiting_kafka.bootstrap_servers))
    bus.create_topics([TopicSpec("frames", 4)])
    group = fresh_name("group")
    members = [Member(bus.subscription(["frames"], group)) for _ in range(2)]
    together(members, lambda: all(len(member.claims) == 2 for member in members), "two claims each")
    publisher = bus.publisher()
    for number in range(100):
        publisher.publish(OutRecord("frames", f"k{number}", b"x"))
    publisher.close(30)
    together(members, lambda: sum(len(member.deliveries) for member in members) == 100, "all records")
    bus.close()


def test_a_batch_that_cannot_be_read_is_stepped_over_and_counted(
    kafka: LocalKafka, make_bus: MakeBus, fresh_name: Callable[[str], str]
) -> None:
    name = fresh_name("frames")
    bus = make_bus()
    bus.create_topics([TopicSpec(name, 1)])
    for first in range(0, 30, 10):  # three batches
        publisher = bus.publisher()
        for number in range(first, first + 10):
            publisher.publish(OutRecord(name, "k", f"value-{number:02d}".encode()))
        publisher.close(30)
    kafka.stop()
    log = next((kafka.folder / "kafka-data" / f"{name}-0").glob("*.log"))
    content = bytearray(log.read_bytes())
    content[content.index(b"value-13")] ^= 0xFF
    log.write_bytes(content)
    kafka.start()
    kafka.wait_ready(READY_S)
    fresh = make_bus()
    member = Member(fresh.subscription([name], fresh_name("group")))
    member.until(lambda: b"value-29" in member.values(), "the last record")
    values = member.values()
    assert b"value-13" not in values
    assert [value for value in values if value is not None and not value.startswith(b"value-1")] == [
        f"value-{number:02d}".encode() for number in (*range(10), *range(20, 30))
    ]
    assert member.subscription.num_skipped == 30 - len(values)  # type: ignore[attr-defined]
    reader = fresh.reader([name], from_beginning=True)
    assert [record.value for record in reader.read_to_end(60)] == values


def test_fetching_pauses_while_nobody_receives(make_bus: MakeBus, names: Names) -> None:
    bus = make_bus(queue_bytes=200_000, queue_records=2000)
    subscription = bus.subscription([names.frames], names.group)
    publisher = bus.publisher()
    for number in range(2000):
        publisher.publish(OutRecord(names.frames, f"k{number % 9}", b"x" * 5000))
    publisher.close(30)
    poller = subscription._poller
    assert wait_until(lambda: poller._is_held_back and subscription.lag() > 0, 30)
    most = 200_000 + 500 * 5300  # the bound, and what one poll may bring on top
    assert subscription._inbox.queued()[1] <= most < 2000 * 5000
    member = Member(subscription).until_received(2000)
    assert len({(d.record.partition, d.record.offset) for d in member.deliveries}) == 2000
    assert wait_until(lambda: subscription.lag() == 0, 30)


def test_a_dead_poll_thread_is_fatal_for_its_user(make_bus: MakeBus, names: Names) -> None:
    member = Member(make_bus().subscription([names.frames], names.group)).until_owning(4)
    member.subscription._poller._hand_over = None  # type: ignore[attr-defined]
    with pytest.raises(FatalError, match="poll thread died"):
        member.until(lambda: False, "an error")


def test_a_question_that_finds_the_broker_away_is_asked_again(make_bus: MakeBus, names: Names) -> None:
    """A broker that is killed may be found away by any question of a turn, not by polls alone."""
    member = Member(make_bus().subscription([names.frames], names.group)).until_owning(4)
    asked = []

    def count() -> int:
        asked.append("how many wait?")
        if len(asked) <= 2:
            raise KafkaConnectionError("111 ECONNREFUSED")
        return 7

    member.subscription._poller._count_lag = count  # type: ignore[attr-defined]
    member.until(lambda: member.subscription.lag() == 7, "it to go on")


def test_a_broker_that_goes_while_a_member_begins_is_waited_for(
    make_bus: MakeBus, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, asked = KafkaConsumer.partitions_for_topic, []

    def answer(consumer: KafkaConsumer, topic: str) -> set[int] | None:
        asked.append(topic)
        if len(asked) <= 2:
            raise KafkaConnectionError("111 ECONNREFUSED")
        found: set[int] | None = ask(consumer, topic)
        return found

    monkeypatch.setattr(KafkaConsumer, "partitions_for_topic", answer)
    Member(make_bus().subscription([names.frames], names.group)).until_owning(4)
    assert len(asked) >= 3


def test_a_group_that_does_not_settle_is_fatal_only_while_the_broker_is_there(
    kafka: LocalKafka, make_bus: MakeBus, names: Names
) -> None:
    member = Member(make_bus(unstable_limit_s=0.5).subscription([names.frames], names.group)).until_owning(4)
    poller = member.subscription._poller  # type: ignore[attr-defined]
    poller._is_stable = lambda: False
    with pytest.raises(FatalError, match="must settle"):
        member.until(lambda: False, "an error")
