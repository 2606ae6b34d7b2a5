"""What a Redis says of itself, for the doctor."""

from contextlib import closing
from dataclasses import dataclass

from redis import exceptions as redis_errors
from redis.backoff import NoBackoff
from redis.retry import Retry

from memory_store.stores.redis_client import RedisAddress, client_of
from schemas.errors import EngramError


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """As Redis tells it; None where it does not, or may not be asked.

    Attributes:
        version: for example ``7.0.15``.
        role: ``master`` or ``slave``.
        max_memory_bytes: 0 = as much as there is.
        eviction: its ``maxmemory-policy``.
        is_linked: of a replica: whether it hears its primary.
    """

    version: str | None = None
    role: str | None = None
    max_memory_bytes: int | None = None
    eviction: str | None = None
    is_linked: bool | None = None


def redis_facts(address: RedisAddress) -> RedisFacts:
    """Ask once. Never raises for what Redis refuses: a user with few rights is how it should be."""
    try:
        with closing(client_of(address, address.timeout_s, Retry(NoBackoff(), 0))) as client:
            told: dict[str, object] = client.info()
    except (redis_errors.RedisError, OSError, EngramError):
        return RedisFacts()
    memory = told.get("maxmemory")
    link = told.get("master_link_status")
    return RedisFacts(
        version=_text(told.get("redis_version")),
        role=_text(told.get("role")),
        max_memory_bytes=int(memory) if isinstance(memory, int) else None,
        eviction=_text(told.get("maxmemory_policy")),
        is_linked=None if link is None else link == "up",
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)
