"""Three brokers, of which one is enough to lose: killed, hung, restarted one after the other; a network that fails."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.kafka import KafkaSettings, LocalKafka
from engram.demo.fleet import Fleet
from tests.faults.conftest import HarmedRun
from tests.kafka_cluster import READY_S, KafkaCluster, kafka_cluster
from tests.proxy import FaultProxy

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]

LONGER_THAN_A_SESSION_S = 9.0
"""The fleet's sessions last for 6 s."""


@pytest.fixture(scope="module")
def cluster(kafka_requirements: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    with kafka_cluster(tmp_path_factory.mktemp("cluster"), kafka_requirements) as running:
        yield running


@pytest.fixture
def ready(cluster: KafkaCluster) -> KafkaCluster:
    """Whatever the test before did to it."""
    for broker in cluster.brokers:
        broker.resume()
        broker.start()
        broker.wait_ready(READY_S)
    return cluster


def pass_time(seconds: float) -> None:
    """How long a fault lasts; nothing is waited for."""
    threading.Event().wait(seconds)


def test_a_broker_that_is_killed_and_stays_away(ready: KafkaCluster, redis_url: str, harmed: HarmedRun) -> None:
    harmed(ready.bootstrap_servers, redis_url, lambda _: ready.brokers[0].kill(), kafka__replication_factor=3)


def test_a_broker_that_hangs_and_comes_back(ready: KafkaCluster, redis_url: str, harmed: HarmedRun) -> None:
    def hang(_: Fleet) -> None:
        ready.brokers[1].pause()
        pass_time(LONGER_THAN_A_SESSION_S)
        ready.brokers[1].resume()

    harmed(ready.bootstrap_servers, redis_url, hang, kafka__replication_factor=3)


def test_brokers_that_are_restarted_one_after_the_other(ready: KafkaCluster, redis_url: str, harmed: HarmedRun) -> None:
    def roll(_: Fleet) -> None:
        for broker in ready.brokers:
            broker.restart(READY_S)

    harmed(ready.bootstrap_servers, redis_url, roll, kafka__replication_factor=3)


def test_a_controller_that_is_away_for_a_while(ready: KafkaCluster, redis_url: str, harmed: HarmedRun) -> None:
    def away(_: Fleet) -> None:
        ready.controller.kill()
        pass_time(LONGER_THAN_A_SESSION_S)
        ready.controller.start()
        ready.controller.wait_ready(READY_S)

    harmed(ready.bootstrap_servers, redis_url, away, kafka__replication_factor=3)


@pytest.fixture
def far_kafka(kafka_requirements: Path, tmp_path: Path) -> Iterator[tuple[LocalKafka, FaultProxy]]:
    """One broker that everybody reaches through a proxy."""
    folder = tmp_path / "far-kafka"
    with FaultProxy(lambda: int(LocalKafka(folder).address.rpartition(":")[2])) as proxy:
        settings = KafkaSettings(session_timeout_ms=3000, advertised_port=proxy.port)
        server = LocalKafka(folder, kafka_requirements, settings)
        try:
            server.start()
            server.wait_ready(READY_S)
            yield server, proxy
        finally:
            server.kill()


@pytest.mark.parametrize("fault", ["black hole", "refused", "connections cut", "answers lost", "slow"])
def test_a_network_that_fails(
    far_kafka: tuple[LocalKafka, FaultProxy], redis_url: str, harmed: HarmedRun, fault: str
) -> None:
    _, proxy = far_kafka

    def fail(_: Fleet) -> None:
        if fault == "black hole":
            proxy.black_hole()
            pass_time(LONGER_THAN_A_SESSION_S)
        elif fault == "refused":
            proxy.refuse()
            pass_time(LONGER_THAN_A_SESSION_S)
        elif fault == "slow":
            proxy.delay(0.1)
            pass_time(LONGER_THAN_A_SESSION_S)
        for _again in range(10 if fault in ("connections cut", "answers lost") else 0):
            if fault == "answers lost":
                proxy.drop_replies(3)
            else:
                proxy.cut()
            pass_time(0.5)
        proxy.heal()

    harmed(proxy.address, redis_url, fail)
