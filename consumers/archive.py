"""Events kept in one SQLite file: each folded to its newest state, with its phases, and how far the topic was read.

The position in the topic is written in the transaction of the events that were read up to there, so an event is in
the archive exactly once, whatever ends the process. The message of the newest state is kept as it came, so nothing of
it is lost that this version does not know.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from messaging.ports import Places
from schemas.errors import DamagedError, FatalError, TransientError
from schemas.messages import AnomalyEvent

APPLICATION_ID = 0x456E_6772
"""Tells the file from other databases: ``Engr``."""
VERSION = 1
"""Of the tables below."""
LOCKED_S = 5.0
"""So long another writer is waited for within one call."""

_SCHEMA = (
    """CREATE TABLE event (event_id TEXT PRIMARY KEY, camera_id TEXT NOT NULL, session_id TEXT NOT NULL,
      started_at INTEGER NOT NULL, last_at INTEGER NOT NULL, ended_at INTEGER, end_reason TEXT, phase TEXT NOT NULL,
      peak REAL NOT NULL, sequence TEXT NOT NULL, body BLOB NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX event_by_time ON event (started_at)",
    "CREATE INDEX event_by_camera ON event (camera_id, started_at)",
    "CREATE INDEX event_by_end ON event (last_at)",
    """CREATE TABLE phase (source TEXT NOT NULL, id TEXT NOT NULL, event_id TEXT NOT NULL, phase TEXT NOT NULL,
      sequence TEXT NOT NULL, time INTEGER NOT NULL, score REAL NOT NULL, peak REAL NOT NULL,
      last_frame INTEGER NOT NULL, PRIMARY KEY (source, id)) WITHOUT ROWID""",
    "CREATE INDEX phase_by_event ON phase (event_id, sequence)",
    """CREATE TABLE position (topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL,
      PRIMARY KEY (topic, partition)) WITHOUT ROWID""",
)
_PUT_PHASE = "INSERT OR IGNORE INTO phase VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_EVENT = """
INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (event_id) DO UPDATE SET started_at = excluded.started_at, last_at = excluded.last_at,
  ended_at = excluded.ended_at, end_reason = excluded.end_reason, phase = excluded.phase, peak = excluded.peak,
  sequence = excluded.sequence, body = excluded.body
WHERE excluded.sequence > event.sequence"""
_PUT_POSITION = "INSERT OR REPLACE INTO position VALUES (?, ?, ?)"
_ENTRY = "SELECT event_id, camera_id, started_at, last_at, ended_at, end_reason, phase, peak, body FROM event"
_FREED_PAGES = 2000
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Entry:
    """The newest state of one event; ``peak`` is an anomaly score in [0, 1], ``body`` the message as it came."""

    event_id: str
    camera_id: str
    started_at: datetime
    last_at: datetime
    ended_at: datetime | None
    end_reason: str | None
    phase: str
    peak: float
    body: bytes


@dataclass(frozen=True, slots=True)
class Phase:
    """One message of an event: when it was caused, and the scores and the last frame it told of."""

    message_id: str
    phase: str
    time: datetime
    score: float
    peak: float
    last_frame: int


@dataclass(frozen=True, slots=True)
class Query:
    """Which events; None = all.

    Attributes:
        cameras: names or patterns (``gate*``), any of them.
        since: that were not over before.
        until: that began before.
        min_peak: with this anomaly score or more.
        newest: so many of the newest at most.
    """

    cameras: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None
    min_peak: float | None = None
    newest: int | None = None


class Archive:
    """One file. For one thread; others read it at the same time through an ``Archive`` of their own.

    Args:
        path: the file.
        mode: ``write`` makes it where it is missing.

    Raises:
        FatalError: it is no archive, of another version, or cannot be opened.
    """

    def __init__(self, path: Path, mode: Literal["read", "write"]) -> None:
        self._path = path
        if mode == "read" and not path.is_file():
            raise FatalError(f"'{path}' must be an archive of events, there is none; 'engram archive run' makes it")
        with self._translated("opening it", at_start=True):
            if mode == "write":
                path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = _connected(path, mode)
            try:
                self._require_ours(mode == "write")
                if mode == "write":
                    self._connection.execute("PRAGMA journal_mode = WAL")
                    # A crash of the machine may take the last transactions; the topic then gives them once more.
                    self._connection.execute("PRAGMA synchronous = NORMAL")
                    self._connection.execute("BEGIN IMMEDIATE")  # a file that may not be written is told now
                    self._connection.execute("ROLLBACK")
            except BaseException:
                self._connection.close()
                raise

    def positions(self, topic: str) -> Places:
        """How far ``topic`` was read, by partition."""
        rows = self._rows("SELECT partition, next_offset FROM position WHERE topic = ?", topic)
        return {(topic, partition): offset for partition, offset in rows}

    def forget_positions(self, topic: str) -> None:
        """As if ``topic`` had never been read; its events stay.

        Raises:
            TransientError: as ``add``.
        """
        with self._transaction("forgetting how far a topic was read") as cursor:
            cursor.execute("DELETE FROM position WHERE topic = ?", (topic,))

    def add(self, messages: Iterable[tuple[AnomalyEvent, bytes]], positions: Places) -> None:
        """Fold messages in and move the positions: both or neither.

        Args:
            messages: with the bytes they came as; repeats change nothing.
            positions: next offsets, as after all of ``messages``.

        Raises:
            TransientError: not now: the disk is full, or another process writes.
        """
        with self._transaction("adding events") as cursor:
            for event, body in messages:
                cursor.execute(_PUT_PHASE, _phase_row(event))
                cursor.execute(_PUT_EVENT, _event_row(event, body))
            rows = [(topic, number, offset) for (topic, number), offset in positions.items()]
            cursor.executemany(_PUT_POSITION, rows)

    def forget_before(self, moment: datetime, most: int = 1000) -> int:
        """Delete up to ``most`` events that were over before ``moment``, the oldest first; how many they were."""
        with self._transaction("deleting old events") as cursor:
            query = "SELECT event_id FROM event WHERE last_at < ? ORDER BY last_at LIMIT ?"
            old = cursor.execute(query, (_milliseconds(moment), most)).fetchall()
            cursor.executemany("DELETE FROM phase WHERE event_id = ?", old)
            cursor.executemany("DELETE FROM event WHERE event_id = ?", old)
        if old:
            with self._translated("giving back space"):
                # As a script: ``execute`` takes the first step alone, which frees one page.
                self._connection.executescript(f"PRAGMA incremental_vacuum({_FREED_PAGES})")
        return len(old)

    def find(self, query: Query) -> Iterator[Entry]:
        """The events that are asked for, newest first."""
        conditions, values = _conditions(query)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        num_found = 0
        with self._translated("reading it"):
            for row in self._connection.execute(f"{_ENTRY}{where} ORDER BY started_at DESC, event_id DESC", values):
                if query.newest is not None and num_found >= query.newest:
                    return
                entry = _entry(row)
                if not query.cameras or any(fnmatchcase(entry.camera_id, camera) for camera in query.cameras):
                    num_found += 1
                    yield entry

    def get(self, event_id: str) -> Entry | None:
        """One event; None if it is not here."""
        rows = self._rows(f"{_ENTRY} WHERE event_id = ?", event_id)
        return _entry(rows[0]) if rows else None

    def phases(self, event_id: str) -> Sequence[Phase]:
        """The messages of one event, in their order."""
        columns = "id, phase, time, score, peak, last_frame"
        rows = self._rows(f"SELECT {columns} FROM phase WHERE event_id = ? ORDER BY sequence", event_id)
        return [Phase(name, phase, _time(time), *rest) for name, phase, time, *rest in rows]

    def count(self) -> Mapping[str, int]:
        """Events and messages held."""
        return {table: self._rows(f"SELECT count(*) FROM {table}")[0][0] for table in ("event", "phase")}

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    def _require_ours(self, may_make: bool) -> None:
        (application_id,), (version,) = (
            self._connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
        )
        if application_id == APPLICATION_ID and version == VERSION:
            return
        (num_tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application_id == 0 and num_tables == 0 and may_make:
            self._make()
        elif application_id != APPLICATION_ID:
            raise FatalError(f"'{self._path}' must be an archive of events, it is another database; name another file")
        elif version > VERSION:
            text = (
                f"'{self._path}' must be an archive of version {VERSION}, it is of {version}: a newer Engram wrote it"
            )
            raise FatalError(f"{text}; update this one, or archive into another file")
        else:
            text = (
                f"'{self._path}' must be an archive of version {VERSION}, it is of {version}: an older Engram wrote it"
            )
            raise FatalError(f"{text}; keep it for reading with that one, and archive into another file")

    def _make(self) -> None:
        self._connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self._connection.execute("BEGIN IMMEDIATE")
        for statement in (*_SCHEMA, f"PRAGMA application_id = {APPLICATION_ID}", f"PRAGMA user_version = {VERSION}"):
            self._connection.execute(statement)
        self._connection.execute("COMMIT")

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._translated("reading it"):
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self, step: str) -> Iterator[sqlite3.Cursor]:
        with self._translated(step):
            cursor = self._connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk may have taken it back already
                    cursor.execute("ROLLBACK")
                raise

    @contextmanager
    def _translated(self, step: str, at_start: bool = False) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            text = f"the archive '{self._path}' refused {step}: {error}"
            if at_start and ("readonly" in str(error) or "unable to open" in str(error)):
                raise FatalError(f"{text}; name a file that we may write, in a folder that we may write") from error
            raise TransientError(f"{text}; nothing of it was written, and it is tried again") from error
        except sqlite3.DatabaseError as error:
            text = f"the archive '{self._path}' must be a sound database, {step} said: {error}"
            raise DamagedError(f"{text}; put back a good copy, or archive into another file") from error
        except OSError as error:
            raise FatalError(
                f"the archive '{self._path}' must be a file in a folder that we may write: {error}"
            ) from error


def _connected(path: Path, mode: Literal["read", "write"]) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?mode={'ro' if mode == 'read' else 'rwc'}"
    connection = sqlite3.connect(address, uri=True, timeout=LOCKED_S, isolation_level=None)
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.OperationalError as error:
        if mode == "write" or "unable to open" not in str(error):
            connection.close()
            raise
        # On a read-only disk the log beside the file cannot be made; nobody writes there either.
        connection.close()
        return sqlite3.connect(f"{address}&immutable=1", uri=True, isolation_level=None)
    return connection


def _conditions(query: Query) -> tuple[list[str], list[object]]:
    plain = [camera for camera in query.cameras if not set("*?[") & set(camera)]
    asked: list[tuple[str, list[object]]] = []
    if query.cameras and len(plain) == len(query.cameras):
        asked.append((f"camera_id IN ({', '.join('?' * len(plain))})", list(plain)))
    if query.since is not None:
        asked.append(("last_at >= ?", [_milliseconds(query.since)]))
    if query.until is not None:
        asked.append(("started_at < ?", [_milliseconds(query.until)]))
    if query.min_peak is not None:
        asked.append(("peak >= ?", [query.min_peak]))
    return [condition for condition, _ in asked], [value for _, values in asked for value in values]


def _phase_row(event: AnomalyEvent) -> tuple[object, ...]:
    data = event.data
    scores = (data.current_score, data.peak.anomaly_score, data.frames.last)
    return (event.source, event.id, data.event_id, data.phase, event.sequence, _milliseconds(event.time), *scores)


def _event_row(event: AnomalyEvent, body: bytes) -> tuple[object, ...]:
    data = event.data
    ended_at = None if data.ended_at is None else _milliseconds(data.ended_at)
    times = (_milliseconds(data.started_at), _milliseconds(data.last_at), ended_at)
    state = (data.end_reason, data.phase, data.peak.anomaly_score, event.sequence)
    return (data.event_id, data.camera_id, data.session_id, *times, *state, body)


def _entry(row: Sequence[Any]) -> Entry:
    event_id, camera_id, started_at, last_at, ended_at, *rest = row
    ended = None if ended_at is None else _time(ended_at)
    return Entry(event_id, camera_id, _time(started_at), _time(last_at), ended, *rest)


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _time(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)
