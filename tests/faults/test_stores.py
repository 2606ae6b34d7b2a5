"""Stores that lose what they acknowledged, or go on acknowledging what they must not."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from redis import Redis, RedisError

from deploy.local.redis import LocalRedis
from memory_store.bank import Bank, first_broken_link
from memory_store.stores.redis import RedisStore
from memory_store.stores.redis_client import RedisAddress
from schemas.errors import EngramError, TransientError
from tests.faults.conftest import HarmedRun
from tests.integration.memory_store.bench import BANK_ID, Bench, initial_bank
from tests.integration.memory_store.test_sentinel import AT_ONCE, PATIENCE_S, opened, teach, until
from tests.redis_sentinel import Guarded, guarded_redis

AWAY = initial_bank("away")
AOF = "redis-data/appendonlydir/appendonly.aof.1.incr.aof"


def found(bench: Bench) -> Bank | None:
    """What the store holds; AWAY if it does not answer."""
    try:
        return bench.store.read(BANK_ID)
    except TransientError:
        return AWAY


def role_of(server: LocalRedis) -> str | None:
    """``master`` or ``slave``; None while it does not answer, as when it is told to be the other."""
    try:
        with closing(Redis.from_url(server.url)) as client:
            return str(client.info("replication")["role"])
    except RedisError:
        return None


@pytest.fixture
def guarded(redis_requirements: None, tmp_path: Path) -> Iterator[Guarded]:
    with guarded_redis(tmp_path / "guarded", num_sentinels=3) as running:
        yield running


@pytest.fixture
def single(redis_requirements: None, tmp_path: Path) -> Iterator[LocalRedis]:
    """Writes each command to the disk before it answers, so that what a test cuts off is the last one."""
    server = LocalRedis(tmp_path / "single", {"appendfsync": "always", "save": '""'})
    try:
        server.start()
        server.wait_ready(PATIENCE_S)
        yield server
    finally:
        server.kill()


def test_a_file_whose_end_was_cut_off_loses_a_version_that_the_coordinator_brings_back(single: LocalRedis) -> None:
    with closing(RedisStore.for_coordinator(RedisAddress(single.url))) as store:
        bench = Bench(store)
        coordinator = bench.coordinator(rules=AT_ONCE)
        first = teach(bench, coordinator, initial_bank(), "cam1")
        second = teach(bench, coordinator, first, "cam2")
        single.kill()
        path = single.folder / AOF
        content = path.read_bytes()
        path.write_bytes(content[: content.rindex(second.epoch.encode())])  # within the last version that was written
        single.start()
        single.wait_ready(PATIENCE_S)
        held = store.read(BANK_ID)
        assert held is None or held.version < second.version, "else this test shows nothing"

        def is_restored() -> bool:
            bench.pass_time(coordinator, 5)
            now = found(bench)
            return now is not None and now.digest == second.digest

        until(is_restored)
        assert bench.stored().version == second.version
        assert bench.stored().epoch > second.epoch
        assert first_broken_link(store.log(BANK_ID)) is None
        assert coordinator.snapshot().adds_up()


def test_a_file_that_is_damaged_in_its_middle_keeps_redis_down_until_it_is_mended_and_nobody_ends(
    single: LocalRedis,
) -> None:
    with closing(RedisStore.for_coordinator(RedisAddress(single.url))) as store:
        bench = Bench(store)
        coordinator = bench.coordinator(rules=AT_ONCE)
        first = teach(bench, coordinator, initial_bank(), "cam1")
        single.kill()
        path = single.folder / AOF
        content = bytearray(path.read_bytes())
        middle = content.index(b"*", len(content) // 2)
        content[middle : middle + 4] = b"\xff" * 4
        path.write_bytes(content)
        with pytest.raises(EngramError, match=r"died while starting"):
            single.start()
            single.wait_ready(PATIENCE_S)
        bench.pass_time(coordinator, 60, step_s=20)
        assert "away" in (coordinator.snapshot().trouble or "")
        for each in path.parent.iterdir():  # what an operator is left with
            each.unlink()
        single.start()
        single.wait_ready(PATIENCE_S)

        def is_restored() -> bool:
            bench.pass_time(coordinator, 5)
            now = found(bench)
            return now is not None and now.digest == first.digest

        until(is_restored)
        assert bench.stored().version == first.version


@pytest.mark.faults
@pytest.mark.parametrize("is_led_anew", [False, True], ids=["by the coordinator", "by another, from the topic"])
def test_a_version_that_the_replica_never_heard_of_is_restored(guarded: Guarded, is_led_anew: bool) -> None:
    with opened(guarded) as (bench, worker):
        coordinator = bench.coordinator(rules=AT_ONCE)
        first = teach(bench, coordinator, initial_bank(), "cam1")
        until(guarded.is_followed)
        guarded.second.kill()
        lost = teach(bench, coordinator, first, "cam2")
        until(lambda: worker.view(BANK_ID).bank.version == lost.version)
        guarded.first.kill()
        until(lambda: worker.view(BANK_ID).memory_state == "stale")
        guarded.second.start()
        guarded.second.wait_ready(PATIENCE_S)
        until(lambda: found(bench) is not AWAY)
        held = found(bench)
        assert held is None or held.version < lost.version, "else this test shows nothing"
        if is_led_anew:
            bench.clock.now += 60  # the lease of the one that is gone
            coordinator = bench.coordinator("c2", AT_ONCE)

        def is_restored() -> bool:
            bench.pass_time(coordinator, 5)
            now = found(bench)
            return now is not None and now.digest == lost.digest

        until(is_restored)
        restored = bench.stored()
        assert restored.version == lost.version
        assert restored.epoch > lost.epoch
        until(lambda: worker.view(BANK_ID).memory_state == "live")
        third = teach(bench, coordinator, restored, "cam3")
        assert third.version == 3
        until(lambda: worker.view(BANK_ID).bank.digest == third.digest)
        assert first_broken_link(bench.store.log(BANK_ID)) is None
        assert bench.archived()[BANK_ID].digest == third.digest


@pytest.mark.faults
def test_a_primary_that_hung_and_comes_back_is_no_second_truth(guarded: Guarded) -> None:
    """While it hangs another becomes primary; awake again it is told to follow, and what it held is overwritten."""
    with opened(guarded) as (bench, worker):
        coordinator = bench.coordinator(rules=AT_ONCE)
        first = teach(bench, coordinator, initial_bank(), "cam1")
        until(guarded.is_followed)
        guarded.first.pause()
        second = teach(bench, coordinator, first, "cam2")
        guarded.first.resume()
        third = teach(bench, coordinator, second, "cam3")
        until(lambda: role_of(guarded.first) == "slave")
        last = teach(bench, coordinator, third, "cam4")
        assert (last.version, last.epoch) == (4, first.epoch)
        until(lambda: worker.view(BANK_ID).bank.digest == last.digest)
        assert [entry.version for entry in bench.store.log(BANK_ID)] == [0, 1, 2, 3, 4]
        assert first_broken_link(bench.store.log(BANK_ID)) is None
        assert coordinator.snapshot().adds_up()


@pytest.mark.faults
@pytest.mark.timeout(1500)
def test_a_fleet_outlives_its_primary(kafka_bootstrap: str, guarded: Guarded, harmed: HarmedRun) -> None:
    run = harmed(kafka_bootstrap, guarded.url, lambda _: guarded.first.kill())
    assert role_of(guarded.second) == "master"
    assert {score.memory_state for score in run.scores} >= {"live"}
