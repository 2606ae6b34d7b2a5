"""Every memory store: SQLite, and a real Redis."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memory_store.bank import Bank
from memory_store.store import BankStore
from memory_store.stores.redis import RedisStore
from memory_store.stores.redis_client import RedisAddress
from memory_store.stores.sqlite import SqliteStore
from tests.contract.memory_store.banks import KEPT, change, first_bank


@pytest.fixture(params=["sqlite", "redis"])
def open_store(
    request: pytest.FixtureRequest, tmp_path: Path, fresh_name: Callable[[str], str]
) -> Iterator[Callable[[], BankStore]]:
    """Opens the same store again and again, as several processes would."""
    opened: list[BankStore] = []
    if request.param == "redis":
        address = RedisAddress(request.getfixturevalue("redis_url"), fresh_name("store"))

    def open_one() -> BankStore:
        if request.param == "redis":
            opened.append(RedisStore.for_coordinator(address, kept_versions=KEPT))
        else:
            opened.append(SqliteStore(tmp_path / "banks.sqlite", kept_versions=KEPT))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[[], BankStore]) -> BankStore:
    return open_store()


@pytest.fixture
def lobby(store: BankStore) -> Bank:
    return store.create(first_bank("lobby"), change("create", "create"))
