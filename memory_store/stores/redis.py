"""The memory store for a fleet: one Redis, or a primary that replicas follow.

Keys of bank ``b`` under prefix ``p``, all with the hash tag ``{p:b}``: ``:h`` newest version (hash), ``:v`` kept
versions (hash), ``:log`` (stream), ``:lease`` and ``:fence``, channel ``:ch`` (a hint that something changed; nobody
relies on it). Lease, token and data live in one Redis, so the script that writes checks the token in the same step; a
lease alone could not stop a holder that was paused past its end.
"""

import re
import socket
import ssl
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from redis import Redis
from redis import exceptions as redis_errors
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.connection import SSLConnection
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError

from memory_store.bank import AuditEntry, Bank, Change, entry_for, entry_with, mark_for, to_wire
from memory_store.store import (
    KEPT_ENTRIES,
    KEPT_VERSIONS,
    CommitOutcome,
    CommitRequest,
    Lease,
    RestoreRequest,
    Standing,
    checked_id,
    checked_prefix,
    no_such_bank,
    read_instead,
)
from memory_store.stores.content import held_bank, held_entries, held_header
from memory_store.stores.redis_client import RedisAddress, client_of, place_of
from memory_store.stores.scripts import script
from memory_store.stores.translation import Verdict, translated
from schemas.codec import encode_message
from schemas.errors import OwnershipLostError, StaleVersionError

WORKER_TIMEOUT_S = 0.2
"""A worker that waits longer for the store than for a frame falls behind."""

PLAIN_PROBE_S = 0.5
MAX_WRITTEN = 4096
MARK_ATTEMPTS = 10
"""At freezing a bank: as many commits may come between."""

# The client knows some error answers by class and strips their first word, others come as text alone; those of a script
# may hold the word in their middle.
_PASSING = (
    redis_errors.BusyLoadingError,
    redis_errors.ClusterDownError,
    redis_errors.MasterDownError,
    redis_errors.MaxConnectionsError,
    redis_errors.OutOfMemoryError,
    redis_errors.ReadOnlyError,
    redis_errors.TryAgainError,
    redis_errors.ExternalAuthProviderError,
)
_PASSING_WORDS = re.compile(
    r"(?:^|[\s-])(?:BUSY|CLUSTERDOWN|LOADING|MASTERDOWN|MISCONF|NOREPLICAS|OOM|READONLY|TRYAGAIN) "
)
_DEMOTED = (redis_errors.ReadOnlyError, redis_errors.MasterDownError)
_DEMOTED_WORDS = re.compile(r"(?:^|[\s-])(?:READONLY|MASTERDOWN) ")
_NOT_ADMITTED = (
    redis_errors.AuthenticationError,
    redis_errors.AuthenticationWrongNumberOfArgsError,
    redis_errors.AuthorizationError,
)
_AWAY = (redis_errors.ConnectionError, redis_errors.TimeoutError, OSError)
_OTHER_NAME = (62, 64)
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
_READING = "+hget +hmget +hkeys +xrevrange +subscribe +ping +auth +hello +select +client|setname"
_CLUSTER = (redis_errors.AskError, redis_errors.ClusterCrossSlotError)  # MovedError is an AskError


@dataclass(frozen=True, slots=True)
class _Written:
    """The newest version of a bank: digest of its content, and of the head of its log."""

    digest: str
    head: bytes | None


class RedisStore:
    """A ``BankStore`` over one client. Make one per process, after any fork; safe for several threads."""

    def __init__(self, client: Redis, prefix: str = "engram", kept_versions: int = KEPT_VERSIONS) -> None:
        self._client = client
        self._prefix = checked_prefix(prefix)
        self._kept_versions = kept_versions
        self._written: dict[str, _Written] = {}
        self.proven: set[str] = set()
        names = ("acquire", "release", "write", "freeze")
        self._scripts = {name: client.register_script(script(name)) for name in names}

    @classmethod
    def for_worker(cls, address: RedisAddress) -> "RedisStore":
        """Gives up within about 0.2 s, because the caller has a last good copy to go on with."""
        once = Retry(NoBackoff(), 1, supported_errors=(redis_errors.ConnectionError,))
        return cls(client_of(address, min(WORKER_TIMEOUT_S, address.timeout_s), once), address.prefix)

    @classmethod
    def for_coordinator(cls, address: RedisAddress, kept_versions: int = KEPT_VERSIONS) -> "RedisStore":
        """Tries up to four times; every write is idempotent, so a repeat is safe."""
        patient = Retry(ExponentialWithJitterBackoff(base=0.01, cap=0.5), 3)
        return cls(client_of(address, address.timeout_s, patient), address.prefix, kept_versions)

    def __repr__(self) -> str:
        """Without address or password."""
        return f"RedisStore(prefix={self._prefix!r})"

    def judge(self, error: Exception, step: str) -> Verdict | None:
        """What an error of the client is; connections to a server that was demoted are given up, see ``_DEMOTED``."""
        if not isinstance(error, (redis_errors.RedisError, OSError)):
            return None
        if isinstance(error, _DEMOTED) or _DEMOTED_WORDS.search(str(error)):
            # A name may stand for whoever is primary now, but a connection stays with the server that it was made to.
            self._client.connection_pool.disconnect(inuse_connections=False)
        verdict = _verdict(error, f"Redis at {place_of(self._client)}", step)
        if verdict.kind == "passing" and isinstance(error, redis_errors.TimeoutError) and self._speaks_no_tls():
            text = f"Redis at {place_of(self._client)} must speak TLS as rediss:// asks for, it answers without"
            return Verdict("lasting", f"{text}; name its TLS port, or use redis://")
        return verdict

    @translated
    def read(self, bank_id: str) -> Bank | None:
        """See ``BankReader``."""
        return self._bank(self._key(bank_id, "h"), ("header", "items", "frozen"))

    @translated
    def read_if_newer(self, known: Bank) -> Bank | None:
        """See ``BankReader``. Two round trips only if something changed; the second one alone is the truth."""
        if self.standing(known.bank_id) == Standing(known.version, known.epoch, known.frozen):
            return known
        return self._bank(self._key(known.bank_id, "h"), ("header", "items", "frozen"))

    @translated
    def standing(self, bank_id: str) -> Standing | None:
        """See ``BankReader``."""
        version, epoch, frozen = self._call("HMGET", self._key(bank_id, "h"), "ver", "epoch", "frozen")
        if not (version or b"").isdigit() or epoch is None:
            return None
        return Standing(int(version), epoch.decode("utf-8", "replace"), frozen == b"1")

    @translated
    def read_version(self, bank_id: str, version: int) -> Bank | None:
        """See ``BankReader``."""
        return self._bank(self._key(bank_id, "v"), (f"{version}:header", f"{version}:items"))

    @translated
    def log(self, bank_id: str, newest: int = 1000) -> Sequence[AuditEntry]:
        """See ``BankReader``."""
        return held_entries(f"Redis holds at {self._key(bank_id, 'h')}", self.log_rows(bank_id, newest))

    @translated
    def log_rows(self, bank_id: str, newest: int) -> Sequence[bytes | str]:
        """See ``BankReader``."""
        rows = self._call("XREVRANGE", self._key(bank_id, "log"), "+", "-", "COUNT", newest)
        return [_values(row).get(b"entry", b"") for row in reversed(rows)]

    @translated
    def versions(self, bank_id: str) -> Sequence[int]:
        """See ``BankReader``."""
        names = self._call("HKEYS", self._key(bank_id, "v"))
        return sorted(int(name.removesuffix(b":header")) for name in names if name.endswith(b":header"))

    @translated
    def head(self, bank_id: str) -> str | None:
        """See ``BankReader``."""
        head = self._head(bank_id)
        return None if head is None else head.decode()

    @translated
    def list_banks(self) -> Sequence[str]:
        """See ``BankReader``. Walks the key space: for people, not for loops."""
        start, end = f"{{{self._prefix}:", "}:h"
        keys = cast(Iterable[bytes], self._client.scan_iter(match=f"{start}*{end}", count=1000))
        return sorted({bank_id for key in keys if ":" not in (bank_id := key.decode()[len(start) : -len(end)])})

    @translated
    def create(self, bank: Bank, change: Change) -> Bank:
        """See ``BankStore``."""
        if self._write(bank, change, None, None, None)[0] != "STALE":
            return bank
        return read_instead(self, bank.bank_id)

    @translated
    def acquire(self, bank_id: str, holder: str, ttl_s: float) -> Lease | None:
        """See ``BankStore``. Time is the server's alone."""
        token = self._run("acquire", bank_id, ("lease", "fence"), (holder, round(ttl_s * 1000)))
        return Lease(bank_id, holder, int(token)) if token else None

    @translated
    def release(self, lease: Lease) -> None:
        """See ``BankStore``."""
        self._run("release", lease.bank_id, ("lease", "fence"), (lease.holder, lease.token))

    @translated
    def commit(self, request: CommitRequest) -> CommitOutcome:
        """See ``BankStore``."""
        bank, lease = request.bank, request.lease
        expects = (bank.version - 1, bank.epoch)
        known = self._written.get(bank.bank_id)
        answer, entry = self._write(bank, request.change, known or self._newest(bank.bank_id), lease, expects)
        if answer == "STALE" and known is not None:  # frozen and thawed, or written by somebody else since
            answer, entry = self._write(bank, request.change, self._newest(bank.bank_id), lease, expects)
        if answer == "FENCED":
            raise OwnershipLostError(f"token {lease.token} of {lease.holder} for '{bank.bank_id}' is fenced")
        return self._outcome(answer, entry, bank)

    @translated
    def restore(self, request: RestoreRequest) -> CommitOutcome:
        """See ``BankStore``."""
        bank, replaces = request.bank, request.replaces
        expects = None if replaces is None else (replaces.version, replaces.epoch)
        digest = request.replaced_digest
        before = None if digest is None else _Written(digest, self._head(bank.bank_id))
        return self._outcome(*self._write(bank, request.change, before, None, expects), bank)

    @translated
    def freeze(self, bank_id: str, change: Change, at: datetime) -> AuditEntry | None:
        """See ``BankStore``."""
        return self._set_frozen(bank_id, "1", change, at)

    @translated
    def unfreeze(self, bank_id: str, change: Change, at: datetime) -> AuditEntry | None:
        """See ``BankStore``."""
        return self._set_frozen(bank_id, "0", change, at)

    def close(self) -> None:
        """See ``BankReader``."""
        self._client.close()

    def _speaks_no_tls(self) -> bool:
        """Whether TLS is asked for and the port speaks plain Redis, which never answers a TLS greeting."""
        pool = self._client.connection_pool
        if not issubclass(pool.connection_class, SSLConnection):
            return False
        given = pool.connection_kwargs
        if "host" not in given:
            return False  # behind sentinels, which name its port
        try:
            with socket.create_connection((given["host"], given["port"]), timeout=PLAIN_PROBE_S) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith((b"+PONG", b"-NOAUTH", b"-ERR", b"-DENIED", b"-LOADING"))
        except OSError:
            return False

    def _write(
        self,
        bank: Bank,
        change: Change,
        before: "_Written | None",
        lease: Lease | None,
        expects: tuple[int, str] | None,
    ) -> tuple[str, AuditEntry]:
        """Run ``write.lua``, which writes nothing unless all is there as expected.

        Args:
            bank: to be written.
            change: why.
            before: what is there, as far as is known.
            lease: of the lead, if one is needed.
            expects: version and epoch that must be there; None = none may be.

        Returns:
            the script's answer, and the entry that was written if that is OK.
        """
        head = before.head if before else None
        entry = entry_for(bank, change, before.digest if before else None, head.decode() if head else None)
        header, items = to_wire(bank, entry)
        version, epoch = expects or ("", "")
        digest = entry.digest_of_entry()
        values = (
            *(lease.token if lease else "", version, epoch, head or "", change.commit_id),
            *(bank.version, bank.epoch, encode_message(header), items),
            *(entry.to_text(), digest, self._kept_versions, KEPT_ENTRIES),
        )
        keys = [self._key(bank.bank_id, part) for part in ("h", "v", "log")]
        keys += [self._key(lease.bank_id if lease else bank.bank_id, "fence"), self._key(bank.bank_id, "ch")]
        self._written.pop(bank.bank_id, None)
        answer = self._scripts["write"](keys=keys, args=list(values)).decode()
        if answer == "OK":
            self._remember(bank.bank_id, _Written(bank.digest, digest.encode()))
        return str(answer), entry

    def _newest(self, bank_id: str) -> "_Written | None":
        """What the next version follows, as it is there now; its content is not read."""
        key = self._key(bank_id, "h")
        header, head = self._call("HMGET", key, "header", "head")
        return None if header is None else _Written(held_header(f"Redis holds at {key}", header).digest, head)

    def _head(self, bank_id: str) -> bytes | None:
        found: bytes | None = self._call("HGET", self._key(bank_id, "h"), "head")
        return found

    def _remember(self, bank_id: str, written: "_Written") -> None:
        """So that the next version needs one round trip; the script refuses what is no longer so."""
        self._written[bank_id] = written
        if len(self._written) > MAX_WRITTEN:
            self._written.pop(next(iter(self._written)), None)

    def _outcome(self, answer: str, entry: AuditEntry, bank: Bank) -> CommitOutcome:
        if answer == "STALE":
            raise StaleVersionError(
                f"bank '{bank.bank_id}' has moved on, v{bank.version} does not follow; read it again"
            )
        if answer == "FROZEN":
            return CommitOutcome("frozen", None)
        if answer == "OK":
            return CommitOutcome("applied", entry)
        return CommitOutcome("duplicate", entry_with(entry.change.commit_id, self.log(bank.bank_id)))

    def _set_frozen(self, bank_id: str, flag: str, change: Change, at: datetime) -> AuditEntry | None:
        """Add the entry to the head of the log that was just read; read it again if a commit came between."""
        for _ in range(MARK_ATTEMPTS):
            key = self._key(bank_id, "h")
            header, head = self._call("HMGET", key, "header", "head")
            if header is None:
                raise no_such_bank(bank_id)
            entry = mark_for(held_header(f"Redis holds at {key}", header), change, at, head.decode())
            values = (flag, head, entry.to_text(), entry.digest_of_entry(), KEPT_ENTRIES)
            answer = self._run("freeze", bank_id, ("h", "log", "ch"), values)
            if answer == b"OK":
                return entry
            if answer == b"SAME":  # perhaps by this very change, whose answer was lost
                return entry_with(change.commit_id, self.log(bank_id))
        raise StaleVersionError(f"bank '{bank_id}' moved on at each of {MARK_ATTEMPTS} attempts; try again")

    def _bank(self, key: str, names: tuple[str, ...]) -> Bank | None:
        header, items, *flag = self._call("HMGET", key, *names)
        if header is None:
            return None
        return held_bank(f"Redis holds at {key}", header, items, flag == [b"1"])

    def _key(self, bank_id: str, part: str) -> str:
        return f"{{{self._prefix}:{checked_id(bank_id)}}}:{part}"

    def _run(self, name: str, bank_id: str, parts: Iterable[str], values: Iterable[Any]) -> Any:
        return self._scripts[name](keys=[self._key(bank_id, part) for part in parts], args=list(values))

    def _call(self, *command: Any) -> Any:
        return self._client.execute_command(*command)  # type: ignore[no-untyped-call]


def _verdict(error: Exception, server: str, step: str) -> Verdict:
    if isinstance(error, _NOT_ADMITTED):
        hint = "check store.username and store.password"
        return Verdict("lasting", f"{server} must take our user and password at '{step}', it said: {error}; {hint}")
    if isinstance(error, redis_errors.NoPermissionError):
        return Verdict("forbidden", f"{server} must allow '{step}', it said: {error}; check the user's ACL")
    if isinstance(error, _PASSING) or _PASSING_WORDS.search(str(error)):
        return Verdict("passing", f"{server} cannot do '{step}' just now: {error}")
    if isinstance(error, _CLUSTER):
        text = f"{server} must be one Redis or a primary with replicas, it is part of a cluster: {error}"
        return Verdict("lasting", f"{text}; name another in store.url")
    if isinstance(error, _AWAY):
        return _unreached(error, server, step)
    if isinstance(error, redis_errors.InvalidResponse):
        return Verdict("lasting", f"{server} must be a Redis, its answer to '{step}' is none: {error}; check store.url")
    return Verdict("broken", f"{server} must understand '{step}', it said: {error}; it takes Redis 6.2 or newer")


def _unreached(error: Exception, server: str, step: str) -> Verdict:
    """No connection, by its cause: some do not go away by themselves."""
    if isinstance(error, MasterNotFoundError):
        text = f"the {server} is not named at '{step}': {error}"
        return Verdict("passing", f"{text}; a fail-over takes seconds, a wrong name or address lasts: check store.url")
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Verdict("lasting", _distrusted(cause, server))
        if isinstance(cause, ssl.SSLError):
            text = f"{server} must speak TLS as rediss:// asks for, it does not: {cause.reason or cause}"
            return Verdict("lasting", f"{text}; name its TLS port, or use redis://")
        if isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN:
            return Verdict("lasting", f"{server} must have a known host name: {cause.strerror}; check store.url")
    hint = ""
    if not any(isinstance(cause, (ConnectionRefusedError, TimeoutError)) for cause in causes):
        hint = "; if the port speaks TLS, store.url must begin with rediss://"
    return Verdict("passing", f"{server} is away at '{step}': {error}{hint}")


def _distrusted(cause: ssl.SSLCertVerificationError, server: str) -> str:
    """Why its certificate does not do."""
    if cause.verify_code in _OTHER_NAME:
        text = f"{server} must show a certificate for the host that store.url names: {cause.verify_message}"
        return f"{text}; name the host as the certificate does, or have another made"
    text = f"{server} must show a certificate of an authority trusted here: {cause.verify_message}"
    return f"{text}; add the authority to the system's, or name its file in SSL_CERT_FILE"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def reader_acl(prefix: str) -> str:
    """Rules for ``ACL SETUSER <worker> on ><password> …`` that let a worker read banks and do nothing else."""
    keys = f"{{{checked_prefix(prefix)}:*}}:*"
    return f"resetkeys %R~{keys} resetchannels &{keys} -@all {_READING}"


def writer_acl(prefix: str) -> str:
    """As ``reader_acl``, for coordinators and operators: all that this store does, on its own keys and nothing else."""
    keys = f"{{{checked_prefix(prefix)}:*}}:*"
    allowed = f"{_READING} +scan +evalsha +script|load +get +set +del +incr +pexpire +hset +hdel +xadd +publish"
    return f"resetkeys ~{keys} resetchannels &{keys} -@all {allowed}"


def _values(row: tuple[bytes, Any]) -> dict[bytes, bytes]:
    """Fields of a stream row, which the library gives as a mapping or a flat list."""
    content = row[1]
    if isinstance(content, dict):
        return content
    return dict(zip(content[::2], content[1::2], strict=True))
