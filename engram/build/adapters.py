"""From settings to adapters: the only place that builds a bus or a store."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from memory_store.store import KEPT_VERSIONS, BankReader, BankStore
from messaging.ports import Bus
from messaging.sealing import SealedBus, Seals
from schemas.addresses import without_secrets
from schemas.credentials import CredentialFile
from schemas.errors import SettingsError
from schemas.settings.connections import KafkaSection, StoreSection
from schemas.topics import TopicNames

if TYPE_CHECKING:
    from memory_store.stores.redis_client import RedisAddress
    from messaging.kafka.connection import KafkaConnection, KafkaOptions

SQLITE = "sqlite:///"
SLOWEST_BYTES_S = 1024
"""No camera sends less: a buffer that lasts for hours at this rate is emptied by its bound in bytes alone."""


@contextmanager
def open_store(store: StoreSection, kept_versions: int = KEPT_VERSIONS) -> Iterator[BankStore]:
    """The store for one that writes: coordinator or operator.

    Args:
        store: where and who.
        kept_versions: how many versions of a bank stay readable.

    Raises:
        SettingsError: an address that names no store.
        FatalError: the file is no database, or the server refuses.
    """
    if is_sqlite(store):
        banks = _sqlite(store.url, kept_versions)
    else:
        from memory_store.stores.redis import RedisStore  # noqa: PLC0415 - needs an extra

        banks = RedisStore.for_coordinator(redis_address(store), kept_versions)
    with closing(banks):
        yield banks


@contextmanager
def open_store_for_worker(store: StoreSection) -> Iterator[BankReader]:
    """The store for one that only reads and must not wait: short time-outs, no retries."""
    banks: BankReader
    if is_sqlite(store):
        banks = _sqlite(store.url, KEPT_VERSIONS)
    else:
        from memory_store.stores.redis import RedisStore  # noqa: PLC0415 - needs an extra

        banks = RedisStore.for_worker(redis_address(store))
    with closing(banks):
        yield banks


def is_sqlite(store: StoreSection) -> bool:
    """Whether banks are in a file, and not in a Redis."""
    return store.url.startswith("sqlite:")


def _sqlite(url: str, kept_versions: int) -> BankStore:
    from memory_store.stores.sqlite import SqliteStore  # noqa: PLC0415 - only where it is used

    if not url.startswith(SQLITE) or len(url) == len(SQLITE):
        raise SettingsError(
            f"store.url must be sqlite:///path, got {without_secrets(url)}; an absolute path has four slashes"
        )
    path = Path(url.removeprefix(SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    return SqliteStore(path, kept_versions)


def redis_address(store: StoreSection) -> "RedisAddress":
    """Where Redis is and who we are there."""
    from memory_store.stores.redis_client import RedisAddress  # noqa: PLC0415 - needs an extra

    password = None if store.password is None else store.password.get_secret_value()
    return RedisAddress(
        url=store.url,
        prefix=store.key_prefix,
        username=store.username,
        password=password,
        timeout_s=store.timeout_s,
        credentials=_credentials(store.credentials_file, "store.credentials_file"),
        ssl_cafile=store.ssl_cafile,
    )


@contextmanager
def open_bus(kafka: KafkaSection, in_flight_bytes: int | None = None) -> Iterator[Bus]:
    """The Kafka bus; connects when something is first asked of it.

    Args:
        kafka: where and how.
        in_flight_bytes: bound on what a publisher holds that the broker has not confirmed; none = the adapter's own.
    """
    from messaging.kafka.bus import KafkaBus  # noqa: PLC0415 - the client takes a while to load

    seals = seals_of(kafka)
    bus = KafkaBus(kafka_connection(kafka), kafka_options(kafka, in_flight_bytes))
    try:
        yield bus if seals is None else SealedBus(bus, seals)
    finally:
        bus.close()


def seals_of(kafka: KafkaSection) -> Seals | None:
    """What puts MACs on records and looks at them; None without keys.

    Raises:
        SettingsError: the keys cannot be read.
    """
    keys = None if kafka.mac_keys is None else kafka.mac_keys.get_secret_value()
    file = _credentials(kafka.mac_keys_path, "kafka.mac_keys_path")
    if keys is None and file is None:
        return None
    return Seals(file.now if file is not None else lambda: keys or "", sealed_by(kafka))


def sealed_by(kafka: KafkaSection) -> Mapping[str, str]:
    """The topics whose records may have MACs, and the role that writes each: what is scored, handed on or teaches."""
    names = TopicNames.with_prefix(kafka.topic_prefix)
    workers = dict.fromkeys((names.memory_updates, names.camera_states), "worker")
    return {names.frames: "edge", **workers, names.operator_verdicts: "console"}


def kafka_connection(kafka: KafkaSection) -> "KafkaConnection":
    """Where the broker is and who we are there."""
    from messaging.kafka.connection import KafkaConnection  # noqa: PLC0415

    return KafkaConnection(
        bootstrap_servers=kafka.bootstrap_servers,
        client_id=kafka.client_id,
        security_protocol=kafka.security_protocol,
        sasl_mechanism=kafka.sasl_mechanism,
        username=kafka.username,
        password=None if kafka.password is None else kafka.password.get_secret_value(),
        credentials=_credentials(kafka.credentials_file, "kafka.credentials_file"),
        ssl_cafile=_text(kafka.ssl_cafile),
        ssl_certfile=_text(kafka.ssl_certfile),
        ssl_keyfile=_text(kafka.ssl_keyfile),
    )


def kafka_options(kafka: KafkaSection, in_flight_bytes: int | None) -> "KafkaOptions":
    """Bounds of the adapter."""
    from messaging.kafka.connection import KafkaOptions  # noqa: PLC0415

    options = KafkaOptions(
        session_timeout_s=kafka.session_timeout_s,
        replication_factor=kafka.replication_factor,
        event_mode=kafka.event_mode,
    )
    if in_flight_bytes is None:
        return options
    # Time must not empty a buffer that is bounded in bytes; a frame older than its retention the broker would delete.
    life_s = min(in_flight_bytes / SLOWEST_BYTES_S, kafka.frames_retention_s)
    return replace(options, in_flight_bytes=in_flight_bytes, delivery_timeout_s=max(life_s, options.delivery_timeout_s))


def _credentials(path: Path | None, setting: str) -> CredentialFile | None:
    return None if path is None else CredentialFile(path, setting)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
