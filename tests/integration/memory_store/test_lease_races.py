"""Several writers that are paused past their leases: every version is written once, in one chain."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import pytest

from memory_store.bank import Change, first_broken_link
from memory_store.store import BankStore, CommitRequest
from memory_store.stores.redis import RedisStore
from memory_store.stores.redis_client import RedisAddress
from memory_store.stores.sqlite import SqliteStore
from schemas.errors import OwnershipLostError, StaleVersionError
from tests.unit.memory_store.proposals import NOW, a_bank, unit_rows

LEASE_S = 0.05
WANTED_VERSIONS = 40
PATIENCE_S = 120.0


@dataclass
class Tally:
    """What one writer saw."""

    applied: int = 0
    fenced: int = 0
    stale: int = 0
    refused: int = 0


def write(store: BankStore, name: str) -> Tally:
    """Commit until there are enough versions, now and then pausing in the middle for longer than the lease."""
    rng, tally, deadline = random.Random(name), Tally(), time.monotonic() + PATIENCE_S
    pause = threading.Event()
    number = 0
    while time.monotonic() < deadline:
        number += 1
        lease = store.acquire("lobby", name, LEASE_S)
        if lease is None:
            tally.refused += 1
            pause.wait(LEASE_S / 5)
            continue
        current = store.read("lobby")
        assert current is not None
        if current.version >= WANTED_VERSIONS:
            return tally
        if rng.random() < 0.3:
            pause.wait(rng.uniform(1, 3) * LEASE_S)
        bank = current.followed_by(unit_rows(rng.randrange(2**31), 4, 6), NOW)
        change = Change("update", name, "race", f"{name}-{number}")
        try:
            tally.applied += store.commit(CommitRequest(lease, bank, change)).status == "applied"
        except OwnershipLostError:
            tally.fenced += 1
        except StaleVersionError:
            tally.stale += 1
    raise AssertionError("the versions were not written in time")


def check(store: BankStore, tallies: list[Tally]) -> None:
    entries = list(store.log("lobby"))
    versions = [entry.version for entry in entries]
    assert versions == list(range(len(versions)))
    assert len(versions) > WANTED_VERSIONS
    assert first_broken_link(entries) is None
    assert sum(tally.applied for tally in tallies) == len(versions) - 1
    assert sum(tally.fenced for tally in tallies) > 0, (
        "no writer was ever paused past its lease: the test shows nothing"
    )
    newest = store.read("lobby")
    assert newest is not None
    assert newest.digest == entries[-1].digest


def write_sqlite(path: Path, name: str) -> Tally:
    return write(SqliteStore(path, busy_timeout_s=20.0), name)


def test_three_processes_on_one_sqlite_file(tmp_path: Path) -> None:
    path = tmp_path / "banks.sqlite"
    store = SqliteStore(path)
    store.create(a_bank(), Change("create", "x", "", "create"))
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        running = [pool.submit(write_sqlite, path, f"c{number}") for number in range(3)]
        check(store, [future.result(PATIENCE_S) for future in running])


def test_three_writers_on_one_redis(redis_url: str, fresh_name: Callable[[str], str]) -> None:
    address = RedisAddress(redis_url, fresh_name("race"))
    store = RedisStore.for_coordinator(address)
    store.create(a_bank(), Change("create", "x", "", "create"))
    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(write, RedisStore.for_coordinator(address), f"c{number}") for number in range(3)]
        check(store, [future.result(PATIENCE_S) for future in running])


@pytest.mark.parametrize("repeat", range(3))
def test_only_one_of_many_creators_wins(tmp_path: Path, repeat: int) -> None:
    path = tmp_path / "banks.sqlite"
    stores = [SqliteStore(path, busy_timeout_s=20.0) for _ in range(8)]
    barrier = threading.Barrier(len(stores))

    def create(number: int) -> str:
        barrier.wait(60)
        return stores[number].create(a_bank(seed=number), Change("create", f"c{number}", "", f"id{number}")).epoch

    with ThreadPoolExecutor(len(stores)) as pool:
        epochs = set(pool.map(create, range(len(stores))))
    assert len(epochs) == 1
    assert len(stores[0].log("lobby")) == 1
