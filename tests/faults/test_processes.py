"""Processes that are killed or stop half way, whichever of them it is."""

import pytest

from deploy.local.redis import LocalRedis
from deploy.local.wait import wait_until
from engram.demo.fleet import Fleet
from tests.faults.conftest import DEADLINE_S, HarmedRun

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]


def test_a_worker_that_stops_for_longer_than_its_session_has_no_effect_when_it_goes_on(
    kafka_bootstrap: str, redis_url: str, harmed: HarmedRun
) -> None:
    def stop(fleet: Fleet) -> None:
        had = ours(fleet, "worker-2")
        fleet.pause("worker-1")
        assert wait_until(lambda: ours(fleet, "worker-2") > had, DEADLINE_S)
        fleet.resume("worker-1")

    found = harmed(kafka_bootstrap, redis_url, stop)
    assert {score.worker_id for score in found.scores} == {"worker-1", "worker-2"}


def ours(fleet: Fleet, name: str) -> int:
    """How often a worker has been given a partition."""
    return fleet.log_path(name).read_text("utf-8", errors="replace").count("is ours")


def test_a_coordinator_that_is_killed_again_and_again(kafka_bootstrap: str, redis_url: str, harmed: HarmedRun) -> None:
    def kill(fleet: Fleet) -> None:
        for _ in range(3):
            fleet.kill("coordinator")
            fleet.start("coordinator", ["coordinate"])
            fleet.wait_until_logged(["coordinator"], "leads with token", DEADLINE_S)

    harmed(kafka_bootstrap, redis_url, kill, coordinator__lease_s=2.0)


def test_a_redis_that_is_killed_and_comes_back(kafka_bootstrap: str, own_redis: LocalRedis, harmed: HarmedRun) -> None:
    def kill(_: Fleet) -> None:
        own_redis.kill()
        own_redis.start()
        own_redis.wait_ready(DEADLINE_S)

    harmed(kafka_bootstrap, own_redis.url, kill)


def test_all_workers_at_once(kafka_bootstrap: str, redis_url: str, harmed: HarmedRun) -> None:
    def kill(fleet: Fleet) -> None:
        for name in ("worker-1", "worker-2"):
            fleet.kill(name)
            fleet.start(name, ["work", "--worker-id", name])

    harmed(kafka_bootstrap, redis_url, kill)
