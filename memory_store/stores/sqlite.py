"""The memory store of one machine: one file, any number of processes, no server.

Write-ahead log, so readers do not wait for the writer; every write is one immediate transaction.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

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
    no_such_bank,
    read_instead,
)
from memory_store.stores.content import held_bank, held_entries, held_header
from memory_store.stores.translation import Verdict, translated
from schemas.codec import encode_message
from schemas.errors import (
    FatalError,
    OwnershipLostError,
    StaleVersionError,
    TransientError,
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS bank (bank_id TEXT PRIMARY KEY, version INTEGER NOT NULL, epoch TEXT NOT NULL,
  header BLOB NOT NULL, items BLOB NOT NULL, last TEXT NOT NULL, head TEXT NOT NULL, frozen INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS version (bank_id TEXT NOT NULL, version INTEGER NOT NULL, header BLOB NOT NULL,
  items BLOB NOT NULL, PRIMARY KEY (bank_id, version));
CREATE TABLE IF NOT EXISTS log (seq INTEGER PRIMARY KEY AUTOINCREMENT, bank_id TEXT NOT NULL, entry TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS log_by_bank ON log (bank_id, seq);
CREATE TABLE IF NOT EXISTS lease (bank_id TEXT PRIMARY KEY, holder TEXT, expires_at REAL NOT NULL,
  token INTEGER NOT NULL);
"""

_PUT = """
INSERT INTO bank (bank_id, version, epoch, header, items, last, head) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (bank_id) DO UPDATE SET version = excluded.version, epoch = excluded.epoch, header = excluded.header,
  items = excluded.items, last = excluded.last, head = excluded.head
"""


_TRIM = """
DELETE FROM log WHERE bank_id = ? AND seq <= (
  SELECT seq FROM log WHERE bank_id = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)
"""

_LASTING = ("readonly", "unable to open")
_BROKEN = ("no such table", "no such column", "has no column")


class SqliteStore:
    """A ``BankStore`` in one file; safe for several threads and several processes, each with its own instance.

    Args:
        path: the file; its folder must exist.
        kept_versions: how many versions of each bank stay readable.
        kept_entries: how many log entries of each bank are kept.
        busy_timeout_s: how long a write waits for another process's.
        clock: seconds; the same for all processes of the machine. Leases end by it, fencing does not need it.
    """

    def __init__(
        self,
        path: Path,
        kept_versions: int = KEPT_VERSIONS,
        kept_entries: int = KEPT_ENTRIES,
        busy_timeout_s: float = 2.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._kept_versions = kept_versions
        self._kept_entries = kept_entries
        self.proven: set[str] = set()
        self._clock = clock
        self._lock = threading.Lock()
        self._connection = _opened(path, busy_timeout_s)

    def judge(self, error: Exception, step: str) -> Verdict | None:
        """See ``Translating``."""
        return _verdict(error, step) if isinstance(error, sqlite3.Error) else None

    @translated
    def read(self, bank_id: str) -> Bank | None:
        """See ``BankReader``."""
        return self._one_bank("SELECT header, items, frozen FROM bank WHERE bank_id = ?", checked_id(bank_id))

    @translated
    def read_if_newer(self, known: Bank) -> Bank | None:
        """See ``BankReader``."""
        if self.standing(known.bank_id) == Standing(known.version, known.epoch, known.frozen):
            return known
        return self.read(known.bank_id)

    @translated
    def standing(self, bank_id: str) -> Standing | None:
        """See ``BankReader``."""
        rows = self._rows("SELECT version, epoch, frozen FROM bank WHERE bank_id = ?", checked_id(bank_id))
        return Standing(rows[0][0], rows[0][1], bool(rows[0][2])) if rows else None

    @translated
    def read_version(self, bank_id: str, version: int) -> Bank | None:
        """See ``BankReader``."""
        query = "SELECT header, items, 0 FROM version WHERE bank_id = ? AND version = ?"
        return self._one_bank(query, checked_id(bank_id), version)

    @translated
    def log(self, bank_id: str, newest: int = 1000) -> Sequence[AuditEntry]:
        """See ``BankReader``."""
        return held_entries(_held(bank_id), self.log_rows(bank_id, newest))

    @translated
    def log_rows(self, bank_id: str, newest: int) -> Sequence[bytes | str]:
        """See ``BankReader``."""
        query = "SELECT entry FROM log WHERE bank_id = ? ORDER BY seq DESC LIMIT ?"
        return [entry for (entry,) in reversed(self._rows(query, checked_id(bank_id), newest))]

    @translated
    def versions(self, bank_id: str) -> Sequence[int]:
        """See ``BankReader``."""
        query = "SELECT version FROM version WHERE bank_id = ? ORDER BY version"
        return [version for (version,) in self._rows(query, checked_id(bank_id))]

    @translated
    def head(self, bank_id: str) -> str | None:
        """See ``BankReader``."""
        rows = self._rows("SELECT head FROM bank WHERE bank_id = ?", checked_id(bank_id))
        return str(rows[0][0]) if rows else None

    @translated
    def list_banks(self) -> Sequence[str]:
        """See ``BankReader``."""
        return [bank_id for (bank_id,) in self._rows("SELECT bank_id FROM bank ORDER BY bank_id")]

    @translated
    def create(self, bank: Bank, change: Change) -> Bank:
        """See ``BankStore``."""
        with self._transaction() as cursor:
            existing = _current(cursor, bank.bank_id)
            if existing is None:
                self._put(cursor, bank, change, None, None)
                return bank
        return read_instead(self, bank.bank_id)

    @translated
    def acquire(self, bank_id: str, holder: str, ttl_s: float) -> Lease | None:
        """See ``BankStore``."""
        with self._transaction() as cursor:
            now = self._clock()
            row = cursor.execute(
                "SELECT holder, expires_at, token FROM lease WHERE bank_id = ?", (checked_id(bank_id),)
            )
            owner, expires_at, token = row.fetchone() or (None, 0.0, 0)
            is_mine = owner == holder and expires_at > now
            if owner is not None and expires_at > now and not is_mine:
                return None
            token = token if is_mine else token + 1
            values = (bank_id, holder, now + ttl_s, token)
            cursor.execute("INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?)", values)
            return Lease(bank_id, holder, token)

    @translated
    def release(self, lease: Lease) -> None:
        """See ``BankStore``."""
        query = "UPDATE lease SET holder = NULL WHERE bank_id = ? AND holder = ? AND token = ?"
        with self._transaction() as cursor:
            cursor.execute(query, (lease.bank_id, lease.holder, lease.token))

    @translated
    def commit(self, request: CommitRequest) -> CommitOutcome:
        """See ``BankStore``."""
        bank, lease = request.bank, request.lease
        with self._transaction() as cursor:
            current = _current(cursor, bank.bank_id)
            if current and current["last"] == request.change.commit_id:
                return CommitOutcome("duplicate", _entry_with(cursor, bank.bank_id, request.change.commit_id))
            row = cursor.execute("SELECT token FROM lease WHERE bank_id = ?", (lease.bank_id,)).fetchone()
            if row != (lease.token,):
                raise OwnershipLostError(f"token {lease.token} of {lease.holder} for '{bank.bank_id}' is fenced")
            if current is None or (current["version"], current["epoch"]) != (bank.version - 1, bank.epoch):
                raise _stale(bank)
            if current["frozen"]:
                return CommitOutcome("frozen", None)
            before = held_header(_held(bank.bank_id), current["header"]).digest
            return CommitOutcome("applied", self._put(cursor, bank, request.change, current["head"], before))

    @translated
    def restore(self, request: RestoreRequest) -> CommitOutcome:
        """See ``BankStore``."""
        bank, replaces = request.bank, request.replaces
        with self._transaction() as cursor:
            current = _current(cursor, bank.bank_id)
            if current and current["last"] == request.change.commit_id:
                return CommitOutcome("duplicate", _entry_with(cursor, bank.bank_id, request.change.commit_id))
            found = (current["version"], current["epoch"]) if current else None
            if found != ((replaces.version, replaces.epoch) if replaces else None):
                raise _stale(bank)
            head, before = (current["head"], request.replaced_digest) if current else (None, None)
            return CommitOutcome("applied", self._put(cursor, bank, request.change, head, before))

    @translated
    def freeze(self, bank_id: str, change: Change, at: datetime) -> AuditEntry | None:
        """See ``BankStore``."""
        return self._set_frozen(bank_id, 1, change, at)

    @translated
    def unfreeze(self, bank_id: str, change: Change, at: datetime) -> AuditEntry | None:
        """See ``BankStore``."""
        return self._set_frozen(bank_id, 0, change, at)

    def close(self) -> None:
        """See ``BankReader``."""
        with self._lock:
            self._connection.close()

    def _put(
        self, cursor: sqlite3.Cursor, bank: Bank, change: Change, head: str | None, before: str | None
    ) -> AuditEntry:
        """Write it and its entry, after the entry ``head`` of content ``before``."""
        entry = entry_for(bank, change, before, head)
        header, items = to_wire(bank, entry)
        text = encode_message(header)
        row = (bank.bank_id, bank.version, bank.epoch, text, items, change.commit_id, entry.digest_of_entry())
        cursor.execute(_PUT, row)
        oldest = bank.version - self._kept_versions + 1
        span = (bank.bank_id, oldest, bank.version)
        cursor.execute("DELETE FROM version WHERE bank_id = ? AND NOT version BETWEEN ? AND ?", span)
        cursor.execute("INSERT OR REPLACE INTO version VALUES (?, ?, ?, ?)", (bank.bank_id, bank.version, text, items))
        self._note(cursor, bank.bank_id, entry)
        return entry

    def _set_frozen(self, bank_id: str, flag: int, change: Change, at: datetime) -> AuditEntry | None:
        with self._transaction() as cursor:
            current = _current(cursor, bank_id)
            if current is None:
                raise no_such_bank(bank_id)
            if current["frozen"] == flag:
                return _entry_with(cursor, bank_id, change.commit_id)
            entry = mark_for(held_header(_held(bank_id), current["header"]), change, at, current["head"])
            row = (flag, entry.digest_of_entry(), bank_id)
            cursor.execute("UPDATE bank SET frozen = ?, head = ? WHERE bank_id = ?", row)
            self._note(cursor, bank_id, entry)
            return entry

    def _note(self, cursor: sqlite3.Cursor, bank_id: str, entry: AuditEntry) -> None:
        cursor.execute("INSERT INTO log (bank_id, entry) VALUES (?, ?)", (bank_id, entry.to_text()))
        cursor.execute(_TRIM, (bank_id, bank_id, self._kept_entries))

    def _one_bank(self, query: str, *values: Any) -> Bank | None:
        rows = self._rows(query, *values)
        if not rows:
            return None
        header, items, frozen = rows[0]
        return held_bank(_held(values[0]), header, items, bool(frozen))

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        """One immediate transaction; any exception takes it back."""
        with self._lock:
            cursor = self._connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")


def _opened(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """Raises TransientError where another holds the file or the disk is full, FatalError where it cannot be ours."""
    try:
        connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SCHEMA)
    except sqlite3.Error as error:
        verdict = _verdict(error, f"open {path}")
        if verdict.kind == "passing":
            raise TransientError(verdict.text) from error
        if verdict.kind == "lasting":
            raise FatalError(f"{verdict.text}; make the folder, and let us write file and folder") from error
        text = f"the SQLite store must be a database in an existing folder, '{path}' is not: {error}"
        raise FatalError(f"{text}; make the folder, or move the file away") from error
    return connection


def _verdict(error: sqlite3.Error, step: str) -> Verdict:
    """What an error of SQLite is; a lock or a full disk goes away, a folder that may not be written does not."""
    text = str(error)
    if not isinstance(error, sqlite3.OperationalError) or any(part in text for part in _BROKEN):
        sound = f"the SQLite store must be a sound database, '{step}' said: {text}"
        return Verdict("broken", f"{sound}; put back a good copy")
    if any(part in text for part in _LASTING):
        return Verdict("lasting", f"the SQLite store must be a file that we may write, '{step}' said: {text}")
    return Verdict("passing", f"the SQLite store is away at '{step}': {text}")


def _held(bank_id: str) -> str:
    return f"the SQLite store holds as '{bank_id}'"


def _current(cursor: sqlite3.Cursor, bank_id: str) -> dict[str, Any] | None:
    names = ("version", "epoch", "header", "last", "head", "frozen")
    row = cursor.execute(f"SELECT {', '.join(names)} FROM bank WHERE bank_id = ?", (checked_id(bank_id),)).fetchone()
    return dict(zip(names, row, strict=True)) if row else None


def _entry_with(cursor: sqlite3.Cursor, bank_id: str, commit_id: str) -> AuditEntry | None:
    """The entry of the newest attempt; only freezes and thaws can have come after it."""
    query = "SELECT entry FROM log WHERE bank_id = ? ORDER BY seq DESC LIMIT 1000"
    rows = [entry for (entry,) in cursor.execute(query, (bank_id,))]
    return entry_with(commit_id, held_entries(_held(bank_id), reversed(rows)))


def _stale(bank: Bank) -> StaleVersionError:
    return StaleVersionError(f"bank '{bank.bank_id}' has moved on, v{bank.version} does not follow; read it again")
