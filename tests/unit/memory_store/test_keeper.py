"""The keeper between store, archive and budget: whichever is newest wins, and nothing that was written is forgotten."""

import logging
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from memory_store.bank import Bank, Change, first_broken_link, next_epoch
from memory_store.coordinator import keeper as keeper_module
from memory_store.coordinator.archive import Archive, Archived
from memory_store.coordinator.guards import MAX_EPOCHS_AHEAD
from memory_store.coordinator.keeper import BankKeeper
from memory_store.coordinator.options import ChangeLimits, CoordinatorOptions
from memory_store.coordinator.outgoing import Outgoing
from memory_store.normality import Grid, Normality
from memory_store.store import CommitOutcome, CommitRequest, RestoreRequest
from memory_store.stores.sqlite import SqliteStore
from memory_store.views import InitialBank
from messaging.inprocess.bus import InProcessBus
from schemas.codec import HEADER, decode_header
from schemas.errors import DamagedError, OwnershipLostError, StaleVersionError, TransientError
from schemas.messages import BankHeader
from schemas.topics import TopicNames
from tests.unit.memory_store.counted import GRID
from tests.unit.memory_store.proposals import BUNDLE, FREEZE, NOW, THAW, unit_rows

INITIAL = InitialBank(BUNDLE, unit_rows(0, 4, 6))
HOUR = timedelta(hours=1)


class FickleStore(SqliteStore):
    """The real store, whose answer to one commit is lost, and that notes what it was asked."""

    loses: str | None = None
    looks: list[str]
    asked: list[int]

    def commit(self, request: CommitRequest) -> CommitOutcome:
        lost, self.loses = self.loses, None
        if lost == "question":
            raise TransientError("away")
        outcome = super().commit(request)
        if lost == "answer":
            raise TransientError("away")
        return outcome

    def read_if_newer(self, known: Bank) -> Bank | None:
        self.looks.append(known.bank_id)
        return super().read_if_newer(known)

    def log(self, bank_id: str, newest: int = 1000):
        self.asked.append(newest)
        return super().log(bank_id, newest)


@dataclass
class Bench:
    """A store in a file, what is on its way to the topic, and a clock of the test."""

    path: Path
    store: FickleStore
    outgoing: Outgoing = field(default_factory=lambda: Outgoing(InProcessBus().publisher(), 1.0))
    now: datetime = NOW

    def keeper(self, archived: dict[str, Bank] | None = None, **changed: object) -> BankKeeper:
        """One that has begun, and holds the lead."""
        limits = ChangeLimits(None, 0.5, None)
        options = CoordinatorOptions("c1", TopicNames.with_prefix("t."), bank_id="lobby", limits=limits)
        options = replace(options, **changed)  # type: ignore[arg-type]
        made = BankKeeper(self.store, INITIAL, options, self.outgoing, lambda: self.now)
        made.lease = self.store.acquire("lead", "c1", 60.0)
        newest = {bank_id: Archived(bank, "t.banks/0/7") for bank_id, bank in (archived or {}).items()}
        made.begin(Archive(newest, Counter()))
        return made

    def create(self, bank_id: str = "lobby", **changed: object) -> Bank:
        bank = replace(INITIAL.as_bank(bank_id, next_epoch(), self.now), **changed)  # type: ignore[arg-type]
        return self.store.create(bank, Change("create", "ann", "", f"create {bank_id}"))

    def sql(self, statement: str, *values: object) -> None:
        """As somebody does who knows the file."""
        self.rows(statement, *values)

    def rows(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """What it answers."""
        with closing(sqlite3.connect(self.path)) as other, other:
            return other.execute(statement, values).fetchall()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store = FickleStore(tmp_path / "banks.sqlite")
    store.looks, store.asked = [], []
    yield Bench(tmp_path / "banks.sqlite", store)
    store.close()


def update(commit_id: str, moved: float = 0.0) -> Change:
    return Change("update", "c1", "round", commit_id, moved=moved)


def commit(bench: Bench, keeper: BankKeeper, commit_id: str, moved: float = 0.0) -> CommitOutcome:
    """The next version, with the items of the one before."""
    bank = keeper.current("lobby")
    return keeper.commit(bank.followed_by(bank.items_MC, bench.now), update(commit_id, moved))


def test_the_budget_counts_updates_of_less_than_an_hour_ago(bench: Bench) -> None:
    writer = bench.keeper()
    commit(bench, writer, "a", 0.5)
    bench.now += timedelta(minutes=1)
    commit(bench, writer, "b", 0.25)
    current = writer.current("lobby")
    back = replace(current, epoch=next_epoch(current.epoch), committed_at=bench.now)
    bench.store.restore(RestoreRequest(back, current, replace(update("r", 1.0), action="rollback")))
    writer.renewed("lobby")
    commit(bench, writer, "c", 0.125)
    for keeper in (writer, bench.keeper()):  # from memory, and from the log
        bench.now = NOW + HOUR - timedelta(microseconds=1)
        assert keeper.spent("lobby") == 0.875
        bench.now = NOW + HOUR
        assert keeper.spent("lobby") == 0.375
        bench.now = NOW + HOUR + timedelta(minutes=1)
        assert keeper.spent("lobby") == 0


@pytest.mark.parametrize(("num_old", "num_new", "asked"), [(0, 9, [2, 8, 32]), (3, 3, [2, 8]), (5, 1, [2])])
def test_the_log_is_read_as_far_back_as_the_hour_goes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, num_old: int, num_new: int, asked: list[int]
) -> None:
    monkeypatch.setattr(keeper_module, "FIRST_ENTRIES", 2)
    writer = bench.keeper()
    for number in range(num_old + num_new):
        bench.now = NOW if number < num_old else NOW + 2 * HOUR
        commit(bench, writer, f"id{number}", 1.0)
    reader = bench.keeper()
    bench.store.asked.clear()
    assert reader.spent("lobby") == num_new
    assert bench.store.asked == asked


@pytest.mark.parametrize(("lost", "version", "spent"), [("answer", 1, 0.5), ("question", 0, 0.0)])
def test_after_a_commit_without_an_answer_the_store_alone_knows(
    bench: Bench, lost: str, version: int, spent: float
) -> None:
    keeper = bench.keeper()
    keeper.current("lobby")
    assert keeper.spent("lobby") == 0
    bench.store.loses = lost
    with pytest.raises(TransientError):
        commit(bench, keeper, "doubtful", 0.5)
    assert keeper.was_applied("lobby", "doubtful") == (version == 1)
    assert not keeper.was_applied("lobby", "another")
    assert keeper.spent("lobby") == spent
    assert keeper.versions == {"lobby": 0}
    num_told = len(bench.outgoing)
    assert keeper.renewed("lobby").version == version
    assert len(bench.outgoing) - num_told == version
    assert commit(bench, keeper, "next", 0.25).status == "applied"
    assert keeper.spent("lobby") == spent + 0.25
    assert keeper.versions == {"lobby": version + 1}


def test_a_commit_that_was_written_before_is_counted_once(bench: Bench) -> None:
    keeper = bench.keeper()
    base = keeper.current("lobby")
    keeper.spent("lobby")
    following = base.followed_by(base.items_MC, bench.now)
    assert keeper.commit(following, update("once", 0.5)).status == "applied"
    num_told = len(bench.outgoing)
    assert keeper.commit(following, update("once", 0.5)).status == "duplicate"
    assert (keeper.spent("lobby"), len(bench.outgoing)) == (0.5, num_told)


def test_without_the_lead_nothing_is_written(bench: Bench) -> None:
    keeper = bench.keeper()
    keeper.current("lobby")
    lease, keeper.lease = keeper.lease, None
    with pytest.raises(OwnershipLostError, match="lobby"):
        commit(bench, keeper, "unled")
    assert lease is not None
    bench.store.release(lease)
    bench.store.acquire("lead", "c2", 60.0)
    keeper.lease = lease
    with pytest.raises(OwnershipLostError, match="fenced"):
        commit(bench, keeper, "fenced")
    assert [entry.change.action for entry in bench.store.log("lobby")] == ["create"]


def test_a_freeze_that_nobody_told_us_of_is_seen_at_the_commit(bench: Bench) -> None:
    keeper = bench.keeper()
    keeper.current("lobby")
    bench.store.freeze("lobby", *FREEZE)
    num_told = len(bench.outgoing)
    assert commit(bench, keeper, "late", 0.5).status == "frozen"
    assert keeper.current("lobby").frozen
    assert (keeper.spent("lobby"), len(bench.outgoing)) == (0, num_told)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_store_that_forgets_under_way_is_reminded_and_a_freeze_with_it(bench: Bench, frozen: bool) -> None:
    keeper = bench.keeper()
    commit(bench, keeper, "a", 0.5)
    if frozen:
        bench.store.freeze("lobby", *FREEZE)
    known = keeper.renewed("lobby")
    num_told = len(bench.outgoing)
    bench.sql("DELETE FROM bank")
    bank = keeper.renewed("lobby")
    assert (bank.version, bank.digest, bank.frozen) == (1, known.digest, frozen)
    assert bank.age_order > known.age_order
    assert bench.store.read("lobby").frozen == frozen  # type: ignore[union-attr]
    assert len(bench.outgoing) == num_told + 1
    entry, *marks = bench.store.log("lobby")[3 if frozen else 2 :]
    assert (entry.change.action, entry.change.reason) == (
        "restore",
        "from this coordinator's memory; the store had none",
    )
    assert [(mark.change.action, mark.change.author) for mark in marks] == [("freeze", "c1")] * frozen


DAMAGED = "UPDATE bank SET header = '{}' WHERE bank_id = 'lobby'"
COPIES_TOO = "UPDATE version SET header = '{}' WHERE bank_id = 'lobby'"
LAST_COPY_GONE = "DELETE FROM version WHERE bank_id = 'lobby' AND version = 1"


@pytest.mark.parametrize(
    ("when", "frozen"),
    [("at the start", False), ("at the start", True), ("later", False), ("later", True), ("at a commit", False)],
)
def test_a_damaged_bank_is_written_again_from_what_is_kept_of_it(bench: Bench, when: str, frozen: bool) -> None:
    bench.create()
    behind, keeper = bench.keeper(), bench.keeper()
    commit(bench, keeper, "a", 0.5)
    if frozen:
        bench.store.freeze("lobby", *FREEZE)
    known = keeper.renewed("lobby")
    bench.sql(DAMAGED)
    if when == "at the start":
        keeper = bench.keeper()
    elif when == "later":
        keeper = behind
        keeper.renew()
    else:
        with pytest.raises(StaleVersionError, match="written again"):
            commit(bench, keeper, "b")
    bank = keeper.current("lobby")
    assert (bank.version, bank.digest, bank.frozen) == (1, known.digest, frozen)
    assert bank.age_order > known.age_order
    assert (found := bench.store.read("lobby")) is not None
    assert (found.epoch, found.digest, found.frozen) == (bank.epoch, bank.digest, frozen)
    entry = next(entry for entry in reversed(bench.store.log("lobby")) if entry.writes_items)
    said = "what is kept of v1, since the bank itself was damaged"
    assert (entry.change.action, entry.change.reason) == ("restore", said)
    assert (keeper.damaged, first_broken_link(bench.store.log("lobby"))) == ({}, None)
    if not frozen:
        assert commit(bench, keeper, "b").status == "applied"


@pytest.mark.parametrize("beyond_repair", [COPIES_TOO, LAST_COPY_GONE])
def test_one_that_no_copy_heals_is_set_aside_and_the_others_go_on(
    bench: Bench, beyond_repair: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    commit(bench, bench.keeper(), "a", 0.5)
    (whole,) = bench.rows("SELECT header FROM bank WHERE bank_id = 'lobby'")
    bench.create("dock")
    bench.sql(DAMAGED)
    bench.sql(beyond_repair)
    keeper = bench.keeper()
    assert keeper.versions == {"dock": 0}
    assert "engram bank rollback" in keeper.damaged["lobby"]
    assert keeper.knows("lobby"), "it is there, and no proposal to it is one to an unknown bank"
    bench.create("gate")
    keeper.renew()
    keeper.find_new()
    assert keeper.versions == {"dock": 0, "gate": 0}
    with pytest.raises(DamagedError):
        keeper.current("lobby")
    assert sum("is set aside" in line for line in caplog.messages) == 1
    bench.sql("UPDATE bank SET header = ? WHERE bank_id = 'lobby'", *whole)
    keeper.renew()
    assert (keeper.versions, keeper.damaged) == ({"dock": 0, "gate": 0, "lobby": 1}, {})
    assert "bank lobby is sound again" in caplog.messages


def test_a_row_of_the_log_that_is_no_entry_hides_no_other(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    keeper = bench.keeper()
    commit(bench, keeper, "a", 0.5)
    bench.sql("INSERT INTO log (bank_id, entry) VALUES ('lobby', '{}')")
    bench.sql("INSERT INTO log (bank_id, entry) VALUES ('lobby', 7)")
    assert (keeper.was_applied("lobby", "a"), bench.keeper().spent("lobby")) == (True, 0.5)
    assert commit(bench, keeper, "b", 0.25).status == "applied"
    assert bench.keeper().spent("lobby") == 0.75
    assert "2 rows of the log of what the SQLite store holds as 'lobby' are no entries" in caplog.text


def test_how_long_a_bank_is_to_learn_outlives_the_store_and_what_the_coordinator_writes(bench: Bench) -> None:
    bench.create(learn_s=600.0)
    keeper = bench.keeper()
    commit(bench, keeper, "a", 0.5)
    told = decode_header(BankHeader, dict(bench.outgoing._waiting[-1].headers)[HEADER], b"lobby", "bank_id")
    assert (told.version, told.learn_s, told.audit["learn_s"]) == (1, 600.0, 600.0)
    archived = keeper.current("lobby")
    bench.sql("DELETE FROM bank")
    assert keeper.renewed("lobby").learn_s == 600.0, "from its own memory"
    bench.sql("DELETE FROM bank")
    assert bench.keeper({"lobby": archived}).current("lobby").learn_s == 600.0, "from the topic"
    assert [entry.learn_s for entry in bench.store.log("lobby")] == [600.0] * 4


def test_what_is_told_is_the_entry_that_wrote_the_items_whatever_was_noted_since(bench: Bench) -> None:
    keeper = bench.keeper()
    current = keeper.current("lobby")
    back = replace(current, version=1, epoch=next_epoch(current.epoch))
    bench.store.restore(RestoreRequest(back, current, replace(update("r"), action="rollback")))
    bench.store.freeze("lobby", *FREEZE)
    keeper.renewed("lobby")
    told = bench.outgoing._waiting[-1]
    header = decode_header(BankHeader, dict(told.headers)[HEADER], b"lobby", "bank_id")
    assert (header.version, header.audit["action"], header.audit["version"]) == (1, "rollback", 1)


def test_the_budget_is_not_touched_by_what_moves_nothing(bench: Bench) -> None:
    writer = bench.keeper()
    commit(bench, writer, "a", 0.5)
    bench.store.freeze("lobby", *FREEZE)
    bench.store.unfreeze("lobby", *THAW)
    assert commit(bench, writer, "b", 0.25).status == "applied"
    assert [writer.spent("lobby"), bench.keeper().spent("lobby")] == [0.75, 0.75]
    assert first_broken_link(bench.store.log("lobby")) is None


def test_a_store_that_went_back_says_how_far_the_bank_moved(bench: Bench) -> None:
    keeper = bench.keeper()
    first = keeper.current("lobby")
    keeper.commit(first.followed_by(unit_rows(0, 4, 6)[::-1], bench.now), update("a", 0.5))
    known = keeper.current("lobby")
    bench.sql("DELETE FROM bank")
    bench.store.create(first, Change("create", "backup", "", "x"))
    bank = keeper.renewed("lobby")
    assert (bank.version, bank.digest) == (1, known.digest)
    change = bench.store.log("lobby")[-1].change
    assert f"the store had v0 of epoch {first.epoch}" in change.reason
    assert change.moved > 0.1
    assert change.anchor_distance >= change.moved, "the farthest item moved at least as far as the mean"


def test_a_log_that_is_lost_keeps_no_bank_from_being_told(bench: Bench) -> None:
    bench.create()
    bench.sql("DELETE FROM log")
    keeper = bench.keeper()
    assert (len(bench.outgoing), keeper.versions) == (1, {"lobby": 0})


@pytest.mark.parametrize(
    ("stored", "archived", "version", "num_told"),
    [(3, None, 3, 1), (3, 3, 3, 0), (3, 2, 3, 1), (3, 4, 4, 1), (None, 4, 4, 1), (None, None, None, 0)],
)
def test_the_newer_of_store_and_archive_wins(
    bench: Bench, stored: int | None, archived: int | None, version: int | None, num_told: int
) -> None:
    epoch = next_epoch()
    if stored is not None:
        bench.create(version=stored, epoch=epoch)
    kept = {} if archived is None else {"lobby": replace(INITIAL.as_bank("lobby", epoch), version=archived)}
    keeper = bench.keeper(kept)
    assert keeper.versions.get("lobby") == version
    assert len(bench.outgoing) == num_told
    restores = [entry for entry in bench.store.log("lobby") if entry.change.action == "restore"]
    assert len(restores) == (archived is not None and version != stored)
    assert all(entry.change.reason.startswith("from t.banks/0/7;") for entry in restores)


@pytest.mark.parametrize(("ahead", "refused"), [(MAX_EPOCHS_AHEAD, {}), (MAX_EPOCHS_AHEAD + 1, {"implausible": 1})])
def test_an_archive_may_be_so_many_restores_ahead_and_no_more(
    bench: Bench, ahead: int, refused: dict[str, int]
) -> None:
    bench.create(epoch="00000005-" + "a" * 16)
    kept = replace(INITIAL.as_bank("lobby", f"{5 + ahead:08d}-" + "b" * 16), version=9)
    keeper = bench.keeper({"lobby": kept})
    assert dict(keeper.refused) == refused
    assert keeper.versions == {"lobby": 0 if refused else 9}


@pytest.mark.parametrize(
    ("template", "bank_id", "is_made"),
    [
        ("shared", "shared", True),
        ("shared", "shared2", False),
        ("{camera_id}", "anything", True),
        ("site-{camera_id}-x", "site-7-x", True),
        ("site-{camera_id}-x", "site-7", False),
        ("site-{camera_id}-x", "7-x", False),
    ],
)
def test_an_archive_makes_only_banks_that_the_settings_name(
    bench: Bench, template: str, bank_id: str, is_made: bool
) -> None:
    keeper = bench.keeper({bank_id: INITIAL.as_bank(bank_id, next_epoch())}, bank_id=template)
    assert list(keeper.versions) == ([bank_id] if is_made else [])
    assert dict(keeper.refused) == ({} if is_made else {"unknown_bank": 1})


def test_an_archive_makes_no_more_banks_than_there_is_room_for(bench: Bench) -> None:
    kept = {name: INITIAL.as_bank(name, next_epoch()) for name in "dcab"}
    keeper = bench.keeper(kept, bank_id="{camera_id}", max_banks=2)
    assert sorted(keeper.versions) == ["a", "b"]
    assert dict(keeper.refused) == {"unknown_bank": 2}
    assert not keeper.has_room()


def test_with_many_banks_each_is_looked_at_in_its_turn(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "MAX_LOOKS", 2)
    for name in "abcde":
        bench.create(name)
    keeper = bench.keeper()
    for _ in range(3):
        keeper.renew()
    assert bench.store.looks == list("abcdea")
    bench.create("f")
    assert not keeper.knows("f")
    keeper.find_new()
    assert keeper.knows("f")
    assert bench.store.looks == list("abcdea"), "what is known is not looked for"


@pytest.mark.parametrize("left_alone", ["frozen", "alien", None])
def test_only_a_bank_of_ours_that_may_be_taught_is_healed(
    bench: Bench, left_alone: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    digest = "c" * 64 if left_alone == "alien" else BUNDLE
    ruined = bench.create(version=4, items_MC=-INITIAL.items_MC, bundle_digest=digest)
    if left_alone == "frozen":
        bench.store.freeze("lobby", *FREEZE)
    found = bench.keeper().current("lobby")
    assert found.version == (5 if left_alone is None else 4)
    assert (found.digest == ruined.digest) == (left_alone is not None)
    told = "bank lobby v4 is left alone, what is proposed for it is rejected: made with bundle cccccccccccc"
    assert (told in caplog.text) == (left_alone == "alien")


def test_a_bank_of_an_engram_that_did_not_count_keeps_its_items_and_begins_to(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bench.create()
    monkeypatch.setattr("tests.unit.memory_store.test_keeper.INITIAL", replace(INITIAL, grid=GRID))
    found = bench.keeper().current("lobby")
    assert found.version == made.version + 1
    assert found.items_digest == made.digest
    assert found.normality is not None and found.normality.num_frames == 0
    (*_, entry) = bench.store.log("lobby")
    assert entry.change.action == "restore"
    assert "from here on with counts" in entry.change.reason


def test_counts_of_another_grid_make_a_bank_unfit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.create(normality=Normality.empty(Grid(8, 8)))
    monkeypatch.setattr("tests.unit.memory_store.test_keeper.INITIAL", replace(INITIAL, grid=GRID))
    found = bench.keeper().current("lobby")
    assert found.normality is not None and found.normality.grid == GRID
    assert "the trained bank" in bench.store.log("lobby")[-1].change.reason
