"""A coordinator's bench for each test: in-process bus, SQLite store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from memory_store.stores.sqlite import SqliteStore
from tests.integration.memory_store.bench import (
    Bench,
)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store = SqliteStore(tmp_path / "banks.sqlite")
    made = Bench(store)
    yield made
    made.bus.close()
    store.close()
