"""The coordinator between a real Kafka and a real Redis."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest

from deploy.local.kafka import LocalKafka
from memory_store.bank import Bank, first_broken_link
from memory_store.coordinator.coordinator import Coordinator
from memory_store.coordinator.guards import EventSpan
from memory_store.coordinator.options import RoundRules
from memory_store.stores.redis import RedisStore
from memory_store.stores.redis_client import RedisAddress
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection
from messaging.ports import OutRecord, TopicSpec
from schemas.topics import TopicNames
from tests.integration.memory_store.bench import (
    BANK_ID,
    INITIAL,
    event,
    initial_bank,
    newest_banks,
    options,
    proposal,
    proposals,
)

PATIENCE_S = 60.0
RULES = RoundRules(round_s=1.0, quarantine_s=1.0)


@dataclass
class Site:
    """Topics and a key prefix of their own on the shared servers."""

    bus: KafkaBus
    topics: TopicNames
    address: RedisAddress

    def coordinator(self, name: str, store: RedisStore, rules: RoundRules = RULES) -> Coordinator:
        chosen = options(name, rules, topics=self.topics, group=f"{self.topics.memory_banks}-group", receive_s=0.2)
        return Coordinator(self.bus, store, INITIAL, replace(chosen, lease_s=3.0, send_timeout_s=2.0))

    def send(self, *records: OutRecord) -> None:
        """In one transaction, as workers do."""
        prefix = self.topics.frames.removesuffix("frames")
        here = [replace(record, topic=prefix + record.topic.removeprefix("t.")) for record in records]
        subscription = self.bus.subscription([self.topics.frames], f"{self.topics.frames}-workers")
        outbox = self.bus.outbox(subscription, f"{self.topics.frames}-w1")
        outbox.commit(here, [])
        outbox.close()
        subscription.close()


def new_site(bootstrap_servers: str, redis_url: str, prefix: str) -> Site:
    topics = TopicNames.with_prefix(f"{prefix}.")
    bus = KafkaBus(KafkaConnection(bootstrap_servers))
    wanted = [name for name in topics.all() if name != topics.camera_states]
    bus.create_topics([TopicSpec(name, 2, compacted=name == topics.memory_banks) for name in wanted])
    return Site(bus, topics, RedisAddress(redis_url, prefix))


@pytest.fixture
def site(kafka_bootstrap: str, redis_url: str, fresh_name: Callable[[str], str]) -> Iterator[Site]:
    made = new_site(kafka_bootstrap, redis_url, fresh_name("site"))
    yield made
    made.bus.close()


@contextmanager
def running(coordinator: Coordinator) -> Iterator[threading.Event]:
    stop = threading.Event()
    thread = threading.Thread(target=coordinator.run, args=(stop,), daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def until(holds: Callable[[], bool], tell: Callable[[], object]) -> None:
    deadline, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not holds():
        assert time.monotonic() < deadline, f"did not come true in time: {tell()}"
        pause.wait(0.05)


def archived(site: Site) -> dict[str, Bank]:
    reader = site.bus.reader([site.topics.memory_banks], from_beginning=True)
    try:
        return newest_banks(reader.read_to_end(PATIENCE_S))
    finally:
        reader.close()


def test_proposals_of_transactions_are_committed_told_and_kept_out_by_events(site: Site) -> None:
    store = RedisStore.for_coordinator(site.address)
    coordinator = site.coordinator("c1", store)
    records, expected_MC = proposals(initial_bank(), 3)
    with running(coordinator):
        blocked = proposal(initial_bank(), "cam-bad", first=100)[0]
        site.send(*records, blocked, event(EventSpan("cam-bad", "s1", 105, None)))
        until(lambda: coordinator.snapshot().commits == 1, coordinator.snapshot)
    bank = store.read(BANK_ID)
    assert bank is not None
    assert (bank.version, bank.items_MC.tobytes()) == (1, expected_MC.tobytes())
    assert coordinator.snapshot().rejected == {"camera_event": 1}
    assert archived(site)[BANK_ID].digest == bank.digest


def test_a_standby_takes_over_what_the_leader_held_and_decides_nothing_twice(site: Site) -> None:
    stores = [RedisStore.for_coordinator(site.address) for _ in range(2)]
    patient = RoundRules(round_s=600.0, quarantine_s=600.0)
    leader, standby = site.coordinator("c1", stores[0], patient), site.coordinator("c2", stores[1])
    with running(leader) as stop_leader:
        until(lambda: leader.snapshot().is_leader, leader.snapshot)
        with running(standby):
            site.send(OutRecord("t.memory-updates", BANK_ID, b"rubbish"))
            until(lambda: sum(leader.snapshot().dead_lettered.values()) == 1, leader.snapshot)
            records, expected_MC = proposals(initial_bank(), 2)
            site.send(*records)
            until(lambda: leader.snapshot().held == 2, leader.snapshot)
            stop_leader.set()
            until(lambda: standby.snapshot().commits == 1, standby.snapshot)
    entries = stores[0].log(BANK_ID)
    assert [(entry.version, entry.change.author) for entry in entries] == [(0, "c1"), (1, "c2")]
    assert first_broken_link(entries) is None
    bank = stores[0].read(BANK_ID)
    assert bank is not None
    assert bank.items_MC.tobytes() == expected_MC.tobytes()
    assert leader.snapshot().adds_up()
    assert standby.snapshot().adds_up()
    assert (standby.snapshot().received, standby.snapshot().committed) == (2, 2)


def test_what_was_committed_while_the_broker_hung_is_told_when_it_is_back(
    own_kafka: LocalKafka, redis_url: str, fresh_name: Callable[[str], str]
) -> None:
    site = new_site(own_kafka.bootstrap_servers, redis_url, fresh_name("site"))
    store = RedisStore.for_coordinator(site.address)
    coordinator = site.coordinator("c1", store, RoundRules(round_s=3.0, quarantine_s=0.0))
    with running(coordinator):
        site.send(*proposals(initial_bank(), 2)[0])
        until(lambda: coordinator.snapshot().held == 2, coordinator.snapshot)
        own_kafka.pause()
        until(lambda: (store.read(BANK_ID) or initial_bank()).version == 1, coordinator.snapshot)
        until(lambda: coordinator.snapshot().trouble is not None, coordinator.snapshot)
        assert coordinator.snapshot().waiting_to_send == 1
        own_kafka.resume()
        until(lambda: coordinator.snapshot().waiting_to_send == 0, coordinator.snapshot)
        until(lambda: coordinator.snapshot().trouble is None, coordinator.snapshot)
    assert archived(site)[BANK_ID].version == 1
    assert coordinator.snapshot().adds_up()
    assert coordinator.snapshot().committed == 2
    site.bus.close()
