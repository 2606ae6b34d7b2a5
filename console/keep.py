"""The board's rows in one SQLite file, so that a restart begins where the last run ended.

The file also names the consumer group that goes with it: a new file begins at the beginning of the topics, and the old
one goes on behind what it holds.
"""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from console.kept import KINDS, Ledger, Row
from schemas.errors import FatalError, TransientError

APPLICATION_ID = 0x456E_436F
"""Tells the file from other databases: ``EnCo``."""
VERSION = 1

_SCHEMA = (
    """CREATE TABLE kept (kind TEXT NOT NULL, key TEXT NOT NULL, at_ms INTEGER NOT NULL, body BLOB NOT NULL,
      PRIMARY KEY (kind, key)) WITHOUT ROWID""",
    "CREATE TABLE self (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
)


class Keep:
    """One file, of one console alone. For one thread at a time.

    Args:
        path: the file; made where it is missing. None = in memory, for as long as the process lives.

    Raises:
        FatalError: it is something else, of another version, in use by another console, or cannot be opened.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                ":memory:" if path is None else path, timeout=5.0, isolation_level=None, check_same_thread=False
            )
            try:
                self._begin()
            except BaseException:
                self._connection.close()
                raise
        except (sqlite3.Error, OSError) as error:
            text = f"the console's file must be one that only this console has open, '{path}' is not"
            raise FatalError(f"{text}: {error}; name another with --file") from error

    @property
    def name(self) -> str:
        """Of this file, made with it."""
        (value,) = self._connection.execute("SELECT value FROM self WHERE name = 'name'").fetchone()
        return str(value)

    def rows(self) -> Iterator[Row]:
        """All that is kept, in the order in which it can be taken in."""
        for kind in KINDS:
            query = "SELECT key, at_ms, body FROM kept WHERE kind = ? ORDER BY at_ms, key"
            for key, at_ms, body in self._connection.execute(query, (kind,)):
                yield Row(kind, key, at_ms, body)

    def write(self, changes: Ledger) -> None:
        """Put and drop, all of it or nothing.

        Raises:
            TransientError: the disk is full, or the file cannot be written now.
        """
        if not changes.puts and not changes.drops:
            return
        with self._transaction() as connection:
            connection.executemany("DELETE FROM kept WHERE kind = ? AND key = ?", changes.drops)
            rows = [(row.kind, row.key, row.at_ms, row.body) for row in changes.puts.values()]
            connection.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", rows)

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise TransientError(f"the console's file '{self._path}' cannot be written now: {error}") from error

    def _begin(self) -> None:
        (application_id,), (version,), (tables,) = (
            self._connection.execute(query).fetchone()
            for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        )
        if (application_id, version) != (APPLICATION_ID, VERSION) and tables:
            text = f"the console's file must be one that a console of this version made, '{self._path}' is not"
            raise FatalError(f"{text}; name another with --file")
        # One console alone: two would share a group, and each would see half of what there is.
        self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("BEGIN EXCLUSIVE")
        if not tables:
            for statement in _SCHEMA:
                self._connection.execute(statement)
            self._connection.execute("INSERT INTO self VALUES ('name', ?)", (secrets.token_hex(6),))
            self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._connection.execute(f"PRAGMA user_version = {VERSION}")
        self._connection.execute("COMMIT")
