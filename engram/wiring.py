"""From settings to adapters: the only place that builds a bus or a store."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from memory_store.store import BankStore
from messaging.ports import Bus
from schemas.errors import SettingsError
from schemas.settings.connections import KafkaSection, StoreSection

SQLITE = "sqlite:///"


@contextmanager
def open_store(store: StoreSection) -> Iterator[BankStore]:
    """The store for one that writes: coordinator or operator.

    Raises:
        SettingsError: an address that names no store.
        FatalError: the file is no database, or the server refuses.
    """
    with _opened(store, for_worker=False) as banks:
        yield banks


@contextmanager
def open_store_for_worker(store: StoreSection) -> Iterator[BankStore]:
    """The store for one that only reads and must not wait: short time-outs, no retries."""
    with _opened(store, for_worker=True) as banks:
        yield banks


@contextmanager
def _opened(store: StoreSection, for_worker: bool) -> Iterator[BankStore]:
    banks = _sqlite(store.url) if store.url.startswith("sqlite") else _redis(store, for_worker)
    try:
        yield banks
    finally:
        banks.close()


def _sqlite(url: str) -> BankStore:
    from memory_store.sqlite_store import SqliteStore  # noqa: PLC0415 - only where it is used

    if not url.startswith(SQLITE) or len(url) == len(SQLITE):
        raise SettingsError(f"store.url must be sqlite:///path, got {url}; an absolute path has four slashes")
    path = Path(url.removeprefix(SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    return SqliteStore(path)


def _redis(store: StoreSection, for_worker: bool) -> BankStore:
    from memory_store.redis_store import RedisAddress, RedisStore  # noqa: PLC0415 - needs an extra

    password = None if store.password is None else store.password.get_secret_value()
    address = RedisAddress(store.url, store.key_prefix, store.username, password, store.timeout_s)
    return RedisStore.for_worker(address) if for_worker else RedisStore.for_coordinator(address)


@contextmanager
def open_bus(kafka: KafkaSection) -> Iterator[Bus]:
    """The Kafka bus.

    Raises:
        TransientError: the broker does not answer.
        FatalError: it refuses us.
    """
    raise NotImplementedError
