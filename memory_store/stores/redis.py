"""The memory store for a fleet: one Redis, or a primary that replicas follow.

Keys of bank ``b`` under prefix ``p``, all with the hash tag ``{p:b}``: ``:h`` newest version (hash), ``:v`` kept
versions (hash), ``:log`` (stream), ``:lease`` and ``:fence``, channel ``:ch`` (a hint that something changed; nobody
relies on it). Lease, token and data live in one Redis, so the script that writes checks the token in the same step; a
lease alone could not stop a holder that was paused past its end.
"""

import functools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar, cast
from urllib.parse import urlsplit

from redis import Redis
from redis import exceptions as redis_errors
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from memory_store.bank import AuditEntry, Bank, Change, entry_for, from_wire, to_wire
from memory_store.store import (
    KEPT_ENTRIES,
    KEPT_VERSIONS,
    CommitOutcome,
    CommitRequest,
    Lease,
    RestoreRequest,
    checked_id,
    checked_prefix,
)
from memory_store.stores.scripts import script
from schemas.codec import decode_message, encode_message
from schemas.errors import (
    BadMessageError,
    EngramError,
    FatalError,
    OwnershipLostError,
    SettingsError,
    StaleVersionError,
    TransientError,
)
from schemas.messages import BankHeader

P = ParamSpec("P")
R = TypeVar("R")

WORKER_TIMEOUT_S = 0.2
"""A worker that waits longer for the store than for a frame falls behind."""

_AWAY = (redis_errors.ConnectionError, redis_errors.TimeoutError, redis_errors.ReadOnlyError, OSError)
_REFUSED = (redis_errors.AuthenticationError, redis_errors.AuthorizationError, redis_errors.NoPermissionError)
_PASSING = ("NOREPLICAS", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "OOM", "MISCONF", "BUSY")
"""First words of error answers that go away without anybody changing Engram's settings."""


def _translated(call: Callable[P, R]) -> Callable[P, R]:
    """Turn the library's errors into ours, once, at the edge."""

    @functools.wraps(call)
    def translating(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except (redis_errors.RedisError, OSError) as error:
            raise _explained(error, call.__name__) from error

    return translating


def _explained(error: Exception, step: str) -> EngramError:
    if isinstance(error, _REFUSED):
        return FatalError(f"Redis must allow '{step}', it said: {error}; check user, password and ACL")
    if isinstance(error, _AWAY) or str(error).startswith(_PASSING):
        return TransientError(f"Redis is away at '{step}': {error}")
    return FatalError(f"Redis must understand '{step}', it said: {error}; it takes Redis 6.2 or newer")


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is and who we are there; shows no secret.

    Attributes:
        url: ``redis://host:6379/0``, ``rediss://…`` (TLS) or ``unix://path``; may hold a password.
        prefix: put before every key.
        username: ACL user, if not in the URL.
        password: if not in the URL.
        timeout_s: longest wait for one answer.
    """

    url: str = field(repr=False)
    prefix: str = "engram"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout_s: float = 1.0


class RedisStore:
    """A ``BankStore`` over one client. Make one per process, after any fork; safe for several threads."""

    def __init__(self, client: Redis, prefix: str = "engram", kept_versions: int = KEPT_VERSIONS) -> None:
        self._client = client
        self._prefix = checked_prefix(prefix)
        self._kept_versions = kept_versions
        names = ("acquire", "renew", "release", "write", "freeze")
        self._scripts = {name: client.register_script(script(name)) for name in names}

    @classmethod
    def for_worker(cls, address: RedisAddress) -> "RedisStore":
        """Gives up within about 0.2 s, because the caller has a last good copy to go on with."""
        once = Retry(NoBackoff(), 1, supported_errors=(redis_errors.ConnectionError,))
        return cls(_client(address, min(WORKER_TIMEOUT_S, address.timeout_s), once), address.prefix)

    @classmethod
    def for_coordinator(cls, address: RedisAddress, kept_versions: int = KEPT_VERSIONS) -> "RedisStore":
        """Tries up to four times; every write is idempotent, so a repeat is safe."""
        patient = Retry(ExponentialWithJitterBackoff(base=0.01, cap=0.5), 3)
        return cls(_client(address, address.timeout_s, patient), address.prefix, kept_versions)

    def __repr__(self) -> str:
        """Without address or password."""
        return f"RedisStore(prefix={self._prefix!r})"

    @_translated
    def read(self, bank_id: str) -> Bank | None:
        """See ``BankReader``."""
        return self._bank(self._key(bank_id, "h"), ("header", "items", "frozen"))

    @_translated
    def read_if_newer(self, known: Bank) -> Bank | None:
        """See ``BankReader``. Two round trips only if something changed; the second one alone is the truth."""
        key = self._key(known.bank_id, "h")
        version, epoch, frozen = self._call("HMGET", key, "ver", "epoch", "frozen")
        same = (version, epoch) == (b"%d" % known.version, known.epoch.encode())
        if same and (frozen == b"1") == known.frozen:
            return known
        return self._bank(key, ("header", "items", "frozen"))

    @_translated
    def read_version(self, bank_id: str, version: int) -> Bank | None:
        """See ``BankReader``."""
        return self._bank(self._key(bank_id, "v"), (f"{version}:header", f"{version}:items"))

    @_translated
    def log(self, bank_id: str, newest: int = 1000) -> Sequence[AuditEntry]:
        """See ``BankReader``."""
        rows = self._call("XREVRANGE", self._key(bank_id, "log"), "+", "-", "COUNT", newest)
        return [AuditEntry.from_json(json.loads(_values(row)[b"entry"])) for row in reversed(rows)]

    @_translated
    def list_banks(self) -> Sequence[str]:
        """See ``BankReader``. Walks the key space: for people, not for loops."""
        start, end = f"{{{self._prefix}:", "}:h"
        keys = cast(Iterable[bytes], self._client.scan_iter(match=f"{start}*{end}", count=1000))
        return sorted({bank_id for key in keys if ":" not in (bank_id := key.decode()[len(start) : -len(end)])})

    @_translated
    def create(self, bank: Bank, change: Change) -> Bank:
        """See ``BankStore``."""
        if self._write(bank, change, None, None) != "STALE":
            return bank
        existing = self.read(bank.bank_id)
        if existing is None:
            raise StaleVersionError(f"bank '{bank.bank_id}' vanished while it was created; try again")
        return existing

    @_translated
    def acquire(self, bank_id: str, holder: str, ttl_s: float) -> Lease | None:
        """See ``BankStore``. Time is the server's alone."""
        token = self._run("acquire", bank_id, ("lease", "fence"), (holder, round(ttl_s * 1000)))
        return Lease(bank_id, holder, int(token)) if token else None

    @_translated
    def renew(self, lease: Lease, ttl_s: float) -> None:
        """See ``BankStore``."""
        values = (lease.holder, lease.token, round(ttl_s * 1000))
        if not self._run("renew", lease.bank_id, ("lease", "fence"), values):
            raise OwnershipLostError(f"the lease on '{lease.bank_id}' of {lease.holder} has run out")

    @_translated
    def release(self, lease: Lease) -> None:
        """See ``BankStore``."""
        self._run("release", lease.bank_id, ("lease", "fence"), (lease.holder, lease.token))

    @_translated
    def commit(self, request: CommitRequest) -> CommitOutcome:
        """See ``BankStore``."""
        bank, lease = request.bank, request.lease
        before = self._bank(self._key(bank.bank_id, "h"), ("header", "items"))
        answer = self._write(bank, request.change, before, lease, expects=(bank.version - 1, bank.epoch))
        if answer == "FENCED":
            raise OwnershipLostError(f"token {lease.token} of {lease.holder} for '{bank.bank_id}' is fenced")
        return self._outcome(answer, bank)

    @_translated
    def restore(self, request: RestoreRequest) -> CommitOutcome:
        """See ``BankStore``."""
        return self._outcome(self._write(request.bank, request.change, request.replaces, None), request.bank)

    @_translated
    def freeze(self, bank_id: str) -> None:
        """See ``BankStore``."""
        self._set_frozen(bank_id, "1")

    @_translated
    def unfreeze(self, bank_id: str) -> None:
        """See ``BankStore``."""
        self._set_frozen(bank_id, "0")

    def close(self) -> None:
        """See ``BankReader``."""
        self._client.close()

    def _write(
        self,
        bank: Bank,
        change: Change,
        before: Bank | None,
        lease: Lease | None,
        expects: tuple[int, str] | None = None,
    ) -> str:
        """Run ``write.lua``; ``expects`` is the version and epoch to be there, those of ``before`` if not given."""
        head = self._call("HGET", self._key(bank.bank_id, "h"), "head") if before else None
        entry = entry_for(bank, change, before.digest if before else None, head.decode() if head else None)
        header, items = to_wire(bank, entry)
        version, epoch = expects or ((before.version, before.epoch) if before else ("", ""))
        values = (
            *(lease.token if lease else "", version, epoch, head or "", change.commit_id),
            *(bank.version, bank.epoch, encode_message(header), items),
            *(json.dumps(entry.to_json()), entry.digest_of_entry(), self._kept_versions, KEPT_ENTRIES),
        )
        answer = self._run("write", bank.bank_id, ("h", "v", "log", "fence", "ch"), values)
        return str(answer.decode())

    def _outcome(self, answer: str, bank: Bank) -> CommitOutcome:
        if answer == "STALE":
            raise StaleVersionError(
                f"bank '{bank.bank_id}' has moved on, v{bank.version} does not follow; read it again"
            )
        if answer == "FROZEN":
            return CommitOutcome("frozen", None)
        entry = self.log(bank.bank_id, newest=1)[0]
        return CommitOutcome("applied" if answer == "OK" else "duplicate", entry)

    def _set_frozen(self, bank_id: str, flag: str) -> None:
        if not self._run("freeze", bank_id, ("h", "ch"), (flag,)):
            raise FatalError(f"to be frozen or unfrozen a bank must exist, there is no '{bank_id}'; see list_banks")

    def _bank(self, key: str, names: tuple[str, ...]) -> Bank | None:
        header, items, *flag = self._call("HMGET", key, *names)
        if header is None:
            return None
        try:
            return from_wire(decode_message(BankHeader, header), items, frozen=flag == [b"1"])
        except BadMessageError as error:
            raise FatalError(
                f"what Redis holds at {key} must be a bank: {error}; restore an earlier version"
            ) from error

    def _key(self, bank_id: str, part: str) -> str:
        return f"{{{self._prefix}:{checked_id(bank_id)}}}:{part}"

    def _run(self, name: str, bank_id: str, parts: Iterable[str], values: Iterable[Any]) -> Any:
        return self._scripts[name](keys=[self._key(bank_id, part) for part in parts], args=list(values))

    def _call(self, *command: Any) -> Any:
        return self._client.execute_command(*command)  # type: ignore[no-untyped-call]


def reader_acl(prefix: str) -> str:
    """Rules for ``ACL SETUSER <worker> on ><password> …`` that let a worker read banks and do nothing else."""
    keys = f"{{{checked_prefix(prefix)}:*}}:*"
    allowed = "+hget +hmget +xrevrange +subscribe +ping +auth +hello +select +client|setname"
    return f"resetkeys %R~{keys} resetchannels &{keys} -@all {allowed}"


def _client(address: RedisAddress, timeout_s: float, retry: Retry) -> Redis:
    secrets = {"username": address.username, "password": address.password}
    try:
        urlsplit(address.url).port  # noqa: B018 - the library's own message about a bad port would show the whole URL
        return Redis.from_url(
            address.url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=retry,
            health_check_interval=15,
            client_name="engram",
            **{name: value for name, value in secrets.items() if value is not None},
            protocol=2,
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
    except ValueError:
        text = "the Redis URL must look like redis://[user:password@]host:port/db, rediss://… or unix://path"
        raise SettingsError(f"{text}; it is not shown because it may hold a password") from None


def _values(row: tuple[bytes, Any]) -> dict[bytes, bytes]:
    """Fields of a stream row, which the library gives as a mapping or a flat list."""
    content = row[1]
    if isinstance(content, dict):
        return content
    return dict(zip(content[::2], content[1::2], strict=True))
