"""How a Redis is reached: by its own address, or by sentinels that know who is primary; with TLS, user and password."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from redis import CredentialProvider, Redis
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from schemas.addresses import SentinelAddress, sentinel_address, shown_host_port
from schemas.credentials import CredentialFile
from schemas.errors import SettingsError


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is and who we are there; shows no secret.

    Attributes:
        url: ``redis://host:6379/0``, ``rediss://…`` (TLS), ``unix://path`` or ``redis+sentinel://host,host/name/0``;
            may hold a password, but for the last.
        prefix: put before every key.
        username: ACL user, if not in the URL.
        password: if not in the URL.
        timeout_s: longest wait for one answer.
        credentials: in place of ``password``, read anew at each login.
        ssl_cafile: certificate authority to trust; None = the system's.
    """

    url: str = field(repr=False)
    prefix: str = "engram"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout_s: float = 1.0
    credentials: CredentialFile | None = None
    ssl_cafile: Path | None = None


class _FreshPassword(CredentialProvider):
    """Looks into the file when a connection logs in."""

    def __init__(self, username: str | None, file: CredentialFile) -> None:
        self._username = username
        self._file = file

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        password = self._file.now()
        return (password,) if self._username is None else (self._username, password)


def client_of(address: RedisAddress, timeout_s: float, retry: Retry) -> Redis:
    """A client that connects when something is asked of it.

    Args:
        address: where and who.
        timeout_s: longest wait for a connection, and for one answer.
        retry: of connections and commands.

    Raises:
        SettingsError: the URL cannot be read.
    """
    waits = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, "protocol": 2}
    ours = waits | {"retry": retry, "health_check_interval": 15, "client_name": "engram"} | _login(address)
    ours |= {"maint_notifications_config": MaintNotificationsConfig(enabled=False)}
    try:
        behind = sentinel_address(address.url)
        if behind is not None:
            return _behind_sentinels(behind, address, waits, ours)
        urlsplit(address.url).port  # noqa: B018 - the library's own message about a bad port would show the whole URL
        return Redis.from_url(address.url, **ours | _trust(address, is_tls=address.url.startswith("rediss:")))
    except ValueError:
        text = "the Redis URL must look like redis://[user:password@]host:port/db, rediss://…, unix://path or"
        text = f"{text} redis+sentinel://host:port,host:port/name/db"
        raise SettingsError(f"{text}; it is not shown because it may hold a password") from None


def place_of(client: Redis) -> str:
    """The address that is really tried."""
    pool = client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        named = ", ".join(
            shown_host_port(
                (each.connection_pool.connection_kwargs["host"], each.connection_pool.connection_kwargs["port"])
            )
            for each in pool.sentinel_manager.sentinels
        )
        now = pool.master_address
        at = "" if now is None else f", last seen at {shown_host_port(now)}"
        return f"primary '{pool.service_name}' of the sentinels {named}{at}"
    given = pool.connection_kwargs
    return str(given["path"]) if "path" in given else f"{given.get('host')}:{given.get('port')}"


def _behind_sentinels(
    behind: SentinelAddress, address: RedisAddress, waits: Mapping[str, Any], ours: Mapping[str, Any]
) -> Redis:
    trust = _trust(address, behind.is_tls) | ({"ssl": True} if behind.is_tls else {})
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        list(behind.sentinels), sentinel_kwargs={**waits, **trust}
    )
    # Asked for who is primary at each new connection; connections to one that is no more are given up then.
    return cast(Redis, sentinel.master_for(behind.name, **{**ours, **trust, "db": behind.db}))  # type: ignore[no-untyped-call]


def _login(address: RedisAddress) -> dict[str, Any]:
    if address.credentials is not None:
        return {"credential_provider": _FreshPassword(address.username, address.credentials)}
    secrets = {"username": address.username, "password": address.password}
    return {name: value for name, value in secrets.items() if value is not None}


def _trust(address: RedisAddress, is_tls: bool) -> dict[str, Any]:
    return {"ssl_ca_certs": str(address.ssl_cafile)} if is_tls and address.ssl_cafile is not None else {}
