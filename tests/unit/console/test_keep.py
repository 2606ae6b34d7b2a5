"""What survives a restart, and which files are refused."""

import sqlite3
from pathlib import Path

import pytest

from console.board import Bounds, Filter
from console.keep import Keep
from console.kept import Ledger, Row
from console.verdicts import verdict_of
from consumers.verdicts import Statement
from schemas.errors import FatalError, TransientError
from tests.unit.console.worlds import NOW, board_at, jpeg, outcome, seen, status


def test_a_restart_begins_where_the_last_run_ended(tmp_path: Path) -> None:
    board, keep = board_at(), Keep(tmp_path / "console.db")
    message = seen(picture=jpeg())
    board.take_event(message, NOW)
    board.take_status(status())
    verdict = verdict_of(message, Statement("normal", "ann", reason="a market"), NOW)
    board.take_verdict(verdict)
    board.take_outcome(outcome(verdict))
    keep.write(board.drain())
    name = keep.name
    keep.close()

    again, keep = board_at(), Keep(tmp_path / "console.db")
    assert again.restore(list(keep.rows())) == 0
    assert keep.name == name
    assert again.event("cam1:s1:10") == board.event("cam1:s1:10")
    assert again.said("cam1:s1:10") == board.said("cam1:s1:10")
    assert again.statuses() == board.statuses()
    assert again.drain() == Ledger(), "what was read back is not written again"
    keep.close()


def test_what_had_to_go_is_gone_from_the_file_too(tmp_path: Path) -> None:
    board, keep = board_at(bounds=Bounds(max_events=2)), Keep(tmp_path / "console.db")
    for first in (0, 100, 200):
        board.take_event(seen(first, first + 5, picture=jpeg()), NOW)
        keep.write(board.drain())
    assert {(row.kind, row.key) for row in keep.rows()} == {
        (kind, f"cam1:s1:{first}") for kind in ("event", "picture") for first in (100, 200)
    }
    keep.close()


def test_a_smaller_bound_at_the_next_start_drops_the_oldest_for_good(tmp_path: Path) -> None:
    board, keep = board_at(), Keep(tmp_path / "console.db")
    for first in (0, 100, 200):
        board.take_event(seen(first, first + 5), NOW)
    keep.write(board.drain())
    small = board_at(bounds=Bounds(max_events=1))
    small.restore(list(keep.rows()))
    keep.write(small.drain())
    assert len(list(keep.rows())) == len(small.find(Filter("all"))) == 1
    keep.close()


def test_a_row_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    board = board_at()
    assert board.restore([Row("event", "x", 0, b"{}"), Row("verdict", "y", 0, b"\xff")]) == 2


def test_a_second_console_is_refused(tmp_path: Path) -> None:
    keep = Keep(tmp_path / "console.db")
    with pytest.raises(FatalError, match="only this console has open"):
        _with_short_patience(tmp_path / "console.db")
    keep.close()
    Keep(tmp_path / "console.db").close()


def _with_short_patience(path: Path) -> Keep:
    with pytest.MonkeyPatch.context() as patch:
        real = sqlite3.connect
        patch.setattr(sqlite3, "connect", lambda where, **given: real(where, **{**given, "timeout": 0.05}))
        return Keep(path)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE mine (x)")
    other.close()
    with pytest.raises(FatalError, match="a console of this version made"):
        Keep(tmp_path / "other.db")
    (tmp_path / "text").write_text("no database at all, but long enough to be taken for one" * 40)
    with pytest.raises(FatalError, match="--file"):
        Keep(tmp_path / "text")


def test_what_could_not_be_written_comes_again_with_the_next(tmp_path: Path) -> None:
    board, keep = board_at(), Keep(tmp_path / "console.db")
    board.take_event(seen(), NOW)
    keep._connection.execute("PRAGMA query_only = ON")
    changes = board.drain()
    with pytest.raises(TransientError, match="cannot be written now"):
        keep.write(changes)
    board.take_back(changes)
    board.take_event(seen(10, 30, "end", 1), NOW)
    keep._connection.execute("PRAGMA query_only = OFF")
    keep.write(board.drain())
    (row,) = keep.rows()
    assert b'"sequence":"00000000000000000001"' in row.body
    keep.close()


def test_the_last_word_on_a_name_counts() -> None:
    row = Row("event", "a", 0, b"1")
    ledger = Ledger()
    ledger.put(row)
    ledger.drop("event", "a")
    assert (ledger.puts, ledger.drops) == ({}, {("event", "a")})
    ledger.put(row)
    assert (set(ledger.puts), ledger.drops) == ({("event", "a")}, set())
    drained = ledger.drain()
    ledger.drop("event", "a")
    ledger.take_back(drained)
    assert (ledger.puts, ledger.drops) == ({}, {("event", "a")})
