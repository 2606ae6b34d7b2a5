"""The worker over a real Kafka and a real Redis that are taken away under it."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from deploy.local.kafka import LocalKafka
from deploy.local.redis import LocalRedis
from memory_store.bank import Bank, Change
from memory_store.stores.redis import RedisStore
from memory_store.stores.redis_client import RedisAddress
from memory_store.stores.sqlite import SqliteStore
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection, KafkaOptions
from schemas.messages import FrameScore, utc_now
from schemas.topics import TopicNames
from tests.integration.workers.conftest import Site, at_work, event_ids, largest_difference, numbers, wait_for
from tests.services import READY_TIMEOUT_S
from tests.small_bundle import small_bundle

OPTIONS = KafkaOptions(session_timeout_s=6.0, replication_factor=1)


@pytest.fixture
def kafka_site(own_kafka: LocalKafka, store: SqliteStore, fresh_name: Callable[[str], str]) -> Iterator[Site]:
    bus = KafkaBus(KafkaConnection(own_kafka.bootstrap_servers), OPTIONS)
    yield Site(bus, store, small_bundle(), TopicNames.with_prefix(f"{fresh_name('s')}."))
    bus.close()


@pytest.fixture
def redis_site(
    kafka_bootstrap: str, own_redis: LocalRedis, fresh_name: Callable[[str], str]
) -> Iterator[tuple[Site, RedisStore]]:
    bus = KafkaBus(KafkaConnection(kafka_bootstrap), OPTIONS)
    address = RedisAddress(own_redis.url)
    reads, writes = RedisStore.for_worker(address), RedisStore.for_coordinator(address)
    yield Site(bus, reads, small_bundle(), TopicNames.with_prefix(f"{fresh_name('s')}.")), writes
    bus.close()
    reads.close()
    writes.close()


def test_over_kafka_scores_are_those_of_the_in_process_bus(kafka_site: Site, site: Site) -> None:
    for each in (site, kafka_site):
        each.frames("abcd", range(100))
        each.ends("abcd", 100)
        with at_work(each.worker(), each.worker(worker_id="w2")):
            each.wait_for_scores(400)
    assert largest_difference(numbers(site.scores()), numbers(kafka_site.scores())) <= 1e-5
    assert event_ids(site) == event_ids(kafka_site) != []


@pytest.mark.faults
def test_a_broker_that_is_killed_in_mid_run_costs_no_frame_and_doubles_none(
    kafka_site: Site, own_kafka: LocalKafka, site: Site
) -> None:
    site.frames("abcd", range(100))
    site.ends("abcd", 100)
    with at_work(site.worker()):
        site.wait_for_scores(400)
    kafka_site.frames("abcd", range(50))
    with at_work(worker := kafka_site.worker(commit_interval_s=0.02)):
        kafka_site.wait_for_scores(60)
        own_kafka.kill()
        own_kafka.start()
        own_kafka.wait_ready(READY_TIMEOUT_S)
        kafka_site.frames("abcd", range(50, 100))
        kafka_site.ends("abcd", 100)
        kafka_site.wait_for_scores(400)
    assert largest_difference(numbers(site.scores()), numbers(kafka_site.scores())) <= 1e-5
    assert event_ids(site) == event_ids(kafka_site) != []
    assert worker.snapshot().tally.balances()


def test_with_redis_away_the_worker_goes_on_with_the_last_bank_and_says_so(
    redis_site: tuple[Site, RedisStore], own_redis: LocalRedis
) -> None:
    site, writes = redis_site
    bank = Bank("shared", 5, "e1", site.bundle.digest, site.bundle.items_MC, utc_now())
    writes.create(bank, Change("create", "test", "test", "c1"))
    position = 0

    def score_until(state: str) -> None:
        nonlocal position

        def more() -> list[FrameScore]:
            nonlocal position
            site.frames("a", range(position, position + 3))
            position += 3
            return site.wait_for_scores(position)

        wait_for(more, lambda scores: scores[-1].memory_state == state)

    with at_work(site.worker()):
        score_until("live")
        own_redis.kill()
        score_until("stale")
        own_redis.start()
        own_redis.wait_ready(READY_TIMEOUT_S)
        score_until("live")
    scores = site.scores()
    found = [(score.memory_state, score.bank_version) for score in scores]
    assert set(found) == {
        ("live", 5),
        ("stale", 5),
    }  # a Redis that is slow to answer, on a busy machine, counts as away
    assert found[-1] == ("live", 5)
    assert [score.frame_index for score in scores] == list(range(position))
    assert {score.bank_digest for score in scores} == {bank.digest}


def test_a_worker_that_starts_with_redis_away_scores_with_the_bundles_bank(
    redis_site: tuple[Site, RedisStore], own_redis: LocalRedis
) -> None:
    site, _ = redis_site
    own_redis.kill()
    site.frames("a", range(8))
    with at_work(site.worker()):
        scores = site.wait_for_scores(8)
    assert {(score.memory_state, score.bank_version) for score in scores} == {("stale", 0)}


def test_with_a_dead_store_frames_propose_nothing(redis_site: tuple[Site, RedisStore], own_redis: LocalRedis) -> None:
    site, _ = redis_site
    site.bundle = replace(small_bundle(gate_threshold=1e9), digest=site.bundle.digest)
    own_redis.kill()
    site.frames("a", range(30))
    with at_work(site.worker()):
        site.wait_for_scores(30)
    assert not site.records(site.topics.memory_updates)
