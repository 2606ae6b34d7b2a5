"""A primary that dies under a coordinator and its workers, with a replica that takes over and may know less."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from memory_store.bank import Bank, first_broken_link
from memory_store.coordinator.coordinator import Coordinator
from memory_store.coordinator.options import RoundRules
from memory_store.stores.redis import RedisStore
from memory_store.stores.redis_client import RedisAddress
from memory_store.views import BankCache
from schemas.errors import TransientError
from tests.integration.memory_store.bench import BANK_ID, INITIAL, Bench, initial_bank, proposal
from tests.redis_sentinel import NAME, Guarded, guarded_redis

AT_ONCE = RoundRules(round_s=0)
PATIENCE_S = 120.0


@pytest.fixture
def guarded(redis_requirements: None, tmp_path: Path) -> Iterator[Guarded]:
    with guarded_redis(tmp_path) as running:
        yield running


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "did not come true in time"


@contextmanager
def opened(guarded: Guarded) -> Iterator[tuple[Bench, BankCache]]:
    """A coordinator's bench and a worker's view."""
    store = RedisStore.for_coordinator(RedisAddress(guarded.url, timeout_s=5.0))
    reader = RedisStore.for_worker(RedisAddress(guarded.url))
    with closing(store), closing(reader):
        yield Bench(store), BankCache(reader, INITIAL, refresh_s=0.0)


def teach(bench: Bench, coordinator: Coordinator, base: Bank, camera: str) -> Bank:
    """The next version, which the store has acknowledged."""
    bench.send(proposal(base, camera)[0])

    def is_written() -> bool:
        bench.pass_time(coordinator, 5)
        return coordinator.snapshot().versions.get(BANK_ID, 0) > base.version

    until(is_written)
    return bench.stored()


def test_what_was_acknowledged_outlives_the_primary_and_workers_go_on(guarded: Guarded) -> None:
    with opened(guarded) as (bench, worker):
        coordinator = bench.coordinator(rules=AT_ONCE)
        first = teach(bench, coordinator, initial_bank(), "cam1")
        until(lambda: worker.view(BANK_ID).memory_state == "live")
        until(guarded.is_followed)
        guarded.first.kill()
        until(lambda: worker.view(BANK_ID).memory_state == "stale")
        assert worker.view(BANK_ID).bank.digest == first.digest
        second = teach(bench, coordinator, first, "cam2")
        until(lambda: worker.view(BANK_ID).memory_state == "live")
        assert worker.view(BANK_ID).bank.digest == second.digest
        assert (second.version, second.epoch) == (2, first.epoch), "nothing was lost, so nothing had to be restored"
        assert [entry.version for entry in bench.store.log(BANK_ID)] == [0, 1, 2]
        assert first_broken_link(bench.store.log(BANK_ID)) is None
        assert coordinator.snapshot().adds_up()
    another = RedisAddress(guarded.url.replace(f"/{NAME}/", "/other/"))
    text = f"primary 'other' of the sentinels {guarded.sentinels[0].address} is not named"
    with closing(RedisStore.for_worker(another)) as store, pytest.raises(TransientError, match=text):
        store.read(BANK_ID)
