"""The SQLite store when its file is locked, damaged, or not there."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from memory_store.bank import Bank, Change
from memory_store.coordinator.coordinator import Coordinator
from memory_store.coordinator.options import RoundRules
from memory_store.store import CommitRequest
from memory_store.stores.sqlite import SqliteStore
from memory_store.views import BankCache
from schemas.errors import FatalError, TransientError
from tests.integration.memory_store.bench import BANK_ID, INITIAL, Bench, initial_bank, proposal
from tests.unit.memory_store.proposals import FREEZE, NOW, a_bank, unit_rows

CREATE = Change("create", "c1", "", "create")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "banks.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(path, busy_timeout_s=0.05)
    yield opened
    opened.close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program holds the file for writing."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_a_locked_file_is_a_passing_trouble_for_writers_and_none_for_readers(store: SqliteStore, path: Path) -> None:
    bank = store.create(a_bank(), CREATE)
    with locked(path):
        with pytest.raises(TransientError, match="locked"):
            store.acquire(BANK_ID, "c1", 60)
        with pytest.raises(TransientError, match="locked"):
            store.freeze(BANK_ID, *FREEZE)
        assert store.read_if_newer(bank) is bank
    assert store.acquire(BANK_ID, "c1", 60) is not None


def test_a_coordinator_goes_on_when_the_lock_is_gone(store: SqliteStore, path: Path) -> None:
    bench = Bench(store)
    coordinator = bench.coordinator(rules=RoundRules(round_s=0))
    bench.pass_time(coordinator, 1)
    bench.send(proposal(initial_bank())[0])
    with locked(path):
        bench.pass_time(coordinator, 20)
        assert "locked" in (coordinator.snapshot().trouble or "")
        assert coordinator.snapshot().held == 1
    bench.pass_time(coordinator, 20)
    assert (coordinator.snapshot().trouble, coordinator.snapshot().committed) == (None, 1)
    assert coordinator.snapshot().adds_up()


def test_a_file_that_another_holds_for_itself_is_away_and_no_file_to_move_away(store: SqliteStore, path: Path) -> None:
    store.create(a_bank(), CREATE)
    store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TransientError, match=r"is away at 'open .*locked") as raised:
            SqliteStore(path, busy_timeout_s=0.05)
        assert "move" not in str(raised.value)
    opened = SqliteStore(path)
    assert opened.read(BANK_ID) is not None
    opened.close()


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.write_bytes(b"holiday pictures" * 100)
    with pytest.raises(FatalError, match="move the file away"):
        SqliteStore(path)
    assert path.read_bytes().startswith(b"holiday pictures")


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match=r"nowhere.*make the folder"):
        SqliteStore(tmp_path / "nowhere" / "banks.sqlite")


@pytest.mark.parametrize("damage", ["UPDATE bank SET items = zeroblob(96)", "UPDATE bank SET header = '{}'"])
def test_damaged_content_is_fatal_with_a_hint(store: SqliteStore, path: Path, damage: str) -> None:
    store.create(a_bank(), CREATE)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(damage)
    with pytest.raises(FatalError, match="engram bank rollback"):
        store.read(BANK_ID)


def test_a_closed_store_does_not_pretend(path: Path) -> None:
    store = SqliteStore(path)
    store.close()
    with pytest.raises(FatalError):
        store.read(BANK_ID)


def test_what_was_written_is_there_after_a_restart(path: Path) -> None:
    first = SqliteStore(path)
    bank = first.create(a_bank(), CREATE)
    first.freeze(BANK_ID, *FREEZE)
    first.close()
    second = SqliteStore(path)
    found = second.read(BANK_ID)
    assert found is not None
    assert (found.digest, found.frozen) == (bank.digest, True)
    second.close()


def test_leases_end_by_the_clock_and_tokens_grow(path: Path) -> None:
    clock = Clock()
    store = SqliteStore(path, clock=clock)
    bank = store.create(a_bank(), CREATE)
    first = store.acquire(BANK_ID, "c1", 10)
    assert first is not None
    clock.now += 9.9
    assert store.acquire(BANK_ID, "c2", 10) is None
    clock.now += 0.2
    # It ran out, but nobody took over: the commit is still safe.
    request = CommitRequest(first, bank.followed_by(unit_rows(1, 4, 6), NOW), replace(CREATE, action="update"))
    assert store.commit(replace(request, change=Change("update", "c1", "", "a"))).status == "applied"
    second = store.acquire(BANK_ID, "c2", 10)
    assert second is not None
    assert second.token == first.token + 1
    store.close()


def test_a_bank_of_another_bundle_is_served_to_nobody_and_taught_by_nobody(store: SqliteStore) -> None:
    alien: Bank = replace(a_bank(), bundle_digest="c" * 64)
    store.create(alien, CREATE)
    bench = Bench(store)
    coordinator: Coordinator = bench.coordinator(rules=RoundRules(round_s=0))
    bench.send(proposal(initial_bank())[0])
    bench.pass_time(coordinator, 1)
    assert coordinator.snapshot().rejected == {"foreign_bundle": 1}
    found = store.read(BANK_ID)
    assert found is not None
    assert found.version == 0
    with pytest.raises(FatalError, match="bundle"):
        BankCache(store, INITIAL).view(BANK_ID)


def test_a_file_that_may_not_be_written_is_fatal_until_it_once_could(store: SqliteStore) -> None:
    refused = sqlite3.OperationalError("attempt to write a readonly database")
    verdict = store.judge(refused, "create")
    assert verdict is not None
    assert verdict.kind == "lasting"
    full = store.judge(sqlite3.OperationalError("database or disk is full"), "create")
    assert full is not None
    assert full.kind == "passing"


def test_each_bank_keeps_its_own_log(path: Path) -> None:
    """A busy bank does not push the entries of a quiet one out."""
    store = SqliteStore(path, kept_entries=3)
    quiet, busy = a_bank(bank_id="quiet"), a_bank(bank_id="busy")
    for bank in (quiet, busy):
        store.create(bank, replace(CREATE, commit_id=bank.bank_id))
    lease = store.acquire("busy", "c1", 60)
    assert lease is not None
    for number in range(1, 9):
        busy = busy.followed_by(unit_rows(number, 4, 6), NOW)
        store.commit(CommitRequest(lease, busy, Change("update", "c1", "", f"id{number}")))
    quiet_lease = store.acquire("quiet", "c1", 60)
    assert quiet_lease is not None
    for number in range(1, 3):
        quiet = quiet.followed_by(unit_rows(number, 4, 6), NOW)
        store.commit(CommitRequest(quiet_lease, quiet, Change("update", "c1", "", f"q{number}")))
    assert [entry.version for entry in store.log("quiet")] == [0, 1, 2]
    assert [entry.version for entry in store.log("busy")] == [6, 7, 8]
    store.close()
