"""What an operator does to a bank, in every store: nothing is lost, nobody's lease is taken, the chain stays whole."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from memory_store.bank import Bank, Change, first_broken_link, next_epoch
from memory_store.interventions import (
    MAX_AUTHOR,
    MAX_REASON,
    Signature,
    fork,
    kept_version,
    learn_anew,
    make_bank,
    newest_of,
    replace_items,
    roll_back,
)
from memory_store.normality import Normality
from memory_store.store import BankStore, CommitRequest, RestoreRequest
from memory_store.verification import verify
from memory_store.views import BankCache, InitialBank
from schemas.errors import FatalError, OwnershipLostError, SettingsError, StaleVersionError, TransientError
from schemas.messages import MAX_LEARN_S
from tests.contract.memory_store.banks import BUNDLE, KEPT, NOW, change, commit_next, first_bank, items, leased
from tests.unit.memory_store.counted import GRID, counts
from tests.unit.memory_store.proposals import FREEZE
from tests.unit.memory_store.said import a_map, exemplar

BY = Signature("ann@edge7", "a bad week", NOW)


@pytest.fixture
def taught(store: BankStore, lobby: Bank) -> list[Bank]:
    """Bank 'lobby' at version 3, whose items all differ; all its versions."""
    lease = leased(store, "lobby")
    return [lobby, *(commit_next(store, lease, seed)[0] for seed in (1, 2, 3))]


def test_a_rollback_is_a_new_version_with_the_old_items(store: BankStore, taught: list[Bank]) -> None:
    bank = roll_back(store, "lobby", 1, BY)
    found = newest_of(store, "lobby")
    assert (bank.version, bank.digest, bank.frozen) == (4, taught[1].digest, False)
    assert (found.version, found.digest, found.epoch) == (4, taught[1].digest, bank.epoch)
    np.testing.assert_array_equal(found.items_MC, taught[1].items_MC)
    assert found.age_order > taught[-1].age_order
    entry = store.log("lobby")[-1]
    assert (entry.change.action, entry.change.author, entry.change.reason) == (
        "rollback",
        "ann@edge7",
        "to v1: a bad week",
    )
    assert (entry.version, entry.committed_at, entry.previous_digest) == (4, NOW, taught[3].digest)
    distances = np.linalg.norm(taught[3].items_MC - taught[1].items_MC, axis=1)
    assert entry.change.moved == pytest.approx(distances.mean())
    assert entry.change.anchor_distance == change("x").anchor_distance, "as its own entry said of these items"
    assert verify(store, "lobby").faults == ()


def test_a_bank_that_learns_anew_keeps_its_items_and_can_be_brought_back(store: BankStore) -> None:
    said = exemplar([a_map((0, 0, 1, 1, 4.0), grid=GRID)])
    seen = replace(first_bank("yard"), normality=counts(40), exemplars=(said,))
    store.create(seen, change("first", "create"))
    bank = learn_anew(store, "yard", BY)
    found = newest_of(store, "yard")
    assert (found.version, found.digest, found.items_digest) == (1, bank.digest, seen.items_digest)
    assert found.normality is not None
    assert (found.normality.num_frames, found.exemplars, found.kind) == (0, (), seen.kind)
    entry = store.log("yard")[-1].change
    assert (entry.action, entry.author, entry.reason) == ("learn", "ann@edge7", "forgets 40 frames: a bad week")
    with pytest.raises(FatalError, match="has counted nothing yet"):
        learn_anew(store, "yard", BY)
    assert roll_back(store, "yard", 0, BY).digest == seen.digest
    assert verify(store, "yard").faults == ()


def seen_by(store: BankStore, num_frames: int = 40, **more: object) -> Bank:
    """Bank 'yard', which has counted so many frames."""
    normality = counts(num_frames) if num_frames else Normality.empty(GRID)
    yard = replace(first_bank("yard"), normality=normality, **more)  # type: ignore[arg-type]
    return store.create(yard, change("first", "create"))


def committed(store: BankStore, bank_id: str, num_frames: int) -> Bank:
    """The bank after a round in which so many frames were counted."""
    bank = newest_of(store, bank_id).followed_by(newest_of(store, bank_id).items_MC, NOW, counts(num_frames))
    store.commit(CommitRequest(leased(store, bank_id), bank, change(f"round of {num_frames}")))
    return newest_of(store, bank_id)


def said_last(store: BankStore, bank_id: str = "yard") -> str:
    return store.log(bank_id)[-1].change.reason


def test_a_bank_learns_for_as_long_as_an_operator_says_until_the_next_word(store: BankStore) -> None:
    seen = seen_by(store)
    learn_anew(store, "yard", BY, 600.0)
    found = newest_of(store, "yard")
    assert found.normality is not None
    assert (found.version, found.learn_s, found.normality.num_frames) == (1, 600.0, 0)
    assert said_last(store) == "forgets 40 frames, learns for 10 min: a bad week"
    assert store.read_if_newer(seen) != seen, "workers take note of it"
    assert committed(store, "yard", 30).learn_s == 600.0
    store.freeze("yard", *FREEZE)
    assert newest_of(store, "yard").learn_s == 600.0
    learn_anew(store, "yard", BY)
    found = newest_of(store, "yard")
    assert (found.version, found.learn_s, found.frozen) == (3, None, True)
    assert said_last(store) == "forgets 30 frames, learns for as long as memory.learn_s says: a bad week"
    kept = [store.read_version("yard", version) for version in range(4)]
    assert [bank.learn_s for bank in kept if bank is not None] == [None, 600.0, 600.0, None]
    assert verify(store, "yard").faults == ()


def test_a_new_bank_is_only_told_how_long_to_learn(store: BankStore) -> None:
    said = (exemplar([a_map((0, 0, 1, 1, 4.0), grid=GRID)]),)
    seen = seen_by(store, 0, exemplars=said)
    bank = learn_anew(store, "yard", BY, 90.0)
    assert (bank.version, bank.digest, bank.learn_s, bank.exemplars) == (1, seen.digest, 90.0, said)
    assert said_last(store) == "learns for 90 s: a bad week"
    with pytest.raises(FatalError, match="has counted nothing yet and learns for 90 s already"):
        learn_anew(store, "yard", BY, 90.0)
    assert learn_anew(store, "yard", BY, 7200.0).learn_s == 7200.0
    assert said_last(store) == "learns for 2 h: a bad week"
    assert learn_anew(store, "yard", BY).learn_s is None
    with pytest.raises(FatalError, match="has counted nothing yet; is its camera running"):
        learn_anew(store, "yard", BY)
    assert newest_of(store, "yard").version == 3
    assert verify(store, "yard").faults == ()


def test_a_rollback_brings_back_the_counts_and_how_long_they_were_to_be_made(store: BankStore) -> None:
    seen = seen_by(store)
    learn_anew(store, "yard", BY, 600.0)
    committed(store, "yard", 30)
    back = roll_back(store, "yard", 0, BY)
    assert (back.digest, back.learn_s) == (seen.digest, None)
    again = roll_back(store, "yard", 2, BY)
    assert (again.learn_s, again.normality is not None and again.normality.num_frames) == (600.0, 30)
    assert newest_of(store, "yard").learn_s == 600.0


def test_a_rollback_undoes_what_was_only_said_of_the_time(store: BankStore) -> None:
    seen_by(store, 0)
    learn_anew(store, "yard", BY, 600.0)
    assert roll_back(store, "yard", 0, BY).learn_s is None
    with pytest.raises(FatalError, match="has those of v0 already"):
        roll_back(store, "yard", 0, BY)
    assert newest_of(store, "yard").version == 2


def test_the_time_goes_where_the_counts_go(store: BankStore) -> None:
    seen_by(store)
    learn_anew(store, "yard", BY, 600.0)
    source = committed(store, "yard", 30)
    fork(store, source, "gate", BY)
    assert newest_of(store, "gate").learn_s == 600.0
    store.create(replace(first_bank("door"), normality=counts(5), learn_s=90.0), change("made", "create"))
    replace_items(store, "door", source, BY.change("restore", "from a file"), NOW)
    assert newest_of(store, "door").learn_s == 600.0
    lost = newest_of(store, "door")
    store.restore(RestoreRequest(replace(lost, version=9, epoch=next_epoch(lost.epoch)), lost, change("r", "restore")))
    assert newest_of(store, "door").learn_s == 600.0
    assert [verify(store, name).faults for name in ("yard", "gate", "door")] == [()] * 3


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf"), MAX_LEARN_S + 1])
def test_no_camera_learns_for_no_time_or_for_ever(store: BankStore, wrong: float) -> None:
    seen_by(store)
    with pytest.raises(SettingsError, match="must learn for more than nothing and at most 7 d"):
        learn_anew(store, "yard", BY, wrong)
    assert (newest_of(store, "yard").version, newest_of(store, "yard").learn_s) == (0, None)
    assert learn_anew(store, "yard", BY, MAX_LEARN_S).learn_s == MAX_LEARN_S


def test_a_bank_that_is_not_there_is_told_nothing(store: BankStore) -> None:
    with pytest.raises(FatalError, match=r"'yard' must exist, the store has \[\]; 'engram bank create'"):
        learn_anew(store, "yard", BY, 600.0)
    assert store.read("yard") is None


def test_a_bank_that_counts_nothing_has_nothing_to_learn_anew(store: BankStore, taught: list[Bank]) -> None:
    with pytest.raises(FatalError, match="must count what is normal"):
        learn_anew(store, "lobby", BY)
    with pytest.raises(FatalError, match="must count what is normal"):
        learn_anew(store, "lobby", BY, 600.0)
    assert newest_of(store, "lobby").version == taught[-1].version


def test_workers_read_the_old_items_again(store: BankStore, taught: list[Bank]) -> None:
    clock = [0.0]
    cache = BankCache(store, InitialBank(BUNDLE, items(0)), clock=lambda: clock[0])
    assert cache.view("lobby").bank.digest == taught[3].digest
    roll_back(store, "lobby", 1, BY)
    clock[0] += 1.0
    view = cache.view("lobby")
    assert (view.bank.digest, view.bank.version, view.memory_state) == (taught[1].digest, 4, "live")


def test_what_was_left_behind_can_be_gone_back_to_and_so_can_what_lies_before_a_rollback(
    store: BankStore, taught: list[Bank]
) -> None:
    for version, digest in ((1, taught[1].digest), (3, taught[3].digest), (2, taught[2].digest)):
        assert roll_back(store, "lobby", version, BY).digest == digest
    assert newest_of(store, "lobby").version == 6
    assert [entry.version for entry in store.log("lobby")] == list(range(7))
    assert verify(store, "lobby").faults == ()


def test_a_rollback_takes_no_lease_and_makes_stale_what_was_under_way(store: BankStore, taught: list[Bank]) -> None:
    lease = leased(store, "leadership.x", "c1")
    under_way = CommitRequest(lease, taught[3].followed_by(items(9), NOW), change("under way"))
    back = roll_back(store, "lobby", 1, BY)
    assert store.acquire("leadership.x", "c2", 1.0) is None
    with pytest.raises(StaleVersionError):
        store.commit(under_way)
    assert store.commit(CommitRequest(lease, back.followed_by(items(9), NOW), change("next"))).status == "applied"
    assert first_broken_link(store.log("lobby")) is None


def test_a_frozen_bank_can_be_rolled_back_and_stays_frozen(store: BankStore, taught: list[Bank]) -> None:
    store.freeze("lobby", *FREEZE)
    assert roll_back(store, "lobby", 1, BY).frozen
    found = newest_of(store, "lobby")
    assert (found.frozen, found.digest) == (True, taught[1].digest)
    assert commit_next(store, leased(store, "lobby"), 9)[1].status == "frozen"
    assert verify(store, "lobby").faults == ()


def test_a_rollback_to_what_there_is_not_is_refused_and_writes_nothing(store: BankStore, taught: list[Bank]) -> None:
    lease = leased(store, "lobby")
    for seed in range(4, KEPT + 3):
        commit_next(store, lease, seed)
    entries = list(store.log("lobby"))
    with pytest.raises(FatalError, match=r"v99 of bank 'lobby' does not exist yet; it has v3 to v7"):
        roll_back(store, "lobby", 99, BY)
    with pytest.raises(FatalError, match=r"v1 of bank 'lobby' is no longer kept; it has v3 to v7"):
        roll_back(store, "lobby", 1, BY)
    with pytest.raises(FatalError, match=r"has those of v7 already"):
        roll_back(store, "lobby", 7, BY)
    with pytest.raises(FatalError, match=r"bank 'dock' must exist, the store has \['lobby'\]"):
        roll_back(store, "dock", 0, BY)
    assert list(store.log("lobby")) == entries


def test_a_version_of_another_bundle_is_refused(store: BankStore, taught: list[Bank]) -> None:
    newest = taught[-1]
    other = replace(newest, version=4, epoch=next_epoch(newest.epoch), bundle_digest="c" * 64, items_MC=items(7, 3, 6))
    store.restore(RestoreRequest(other, newest, change("moved", "restore")))
    with pytest.raises(FatalError, match=r"v1 of bank 'lobby' is of bbbbbbbbbbbb, \(4, 6\)"):
        roll_back(store, "lobby", 1, BY)
    with pytest.raises(FatalError, match=r"items must be of the bundle of bank 'lobby', cccccccccccc"):
        replace_items(store, "lobby", newest, BY.change("restore"), NOW)
    assert newest_of(store, "lobby").digest == other.digest


def test_gaps_in_what_is_kept_are_told(store: BankStore, lobby: Bank) -> None:
    ahead = replace(lobby, version=3, epoch=next_epoch(lobby.epoch), items_MC=items(5))
    store.restore(RestoreRequest(ahead, lobby, change("ahead", "restore")))
    with pytest.raises(FatalError, match="it has v0, v3"):
        kept_version(store, ahead, 2)


def test_rollbacks_and_commits_of_many_at_once_leave_one_chain(
    open_store: Callable[[], BankStore], store: BankStore, lobby: Bank
) -> None:
    lease, operator = leased(store, "lobby"), open_store()
    stop, done = threading.Event(), [0]

    def roll_back_and_forth() -> None:
        while not stop.is_set():
            newest = newest_of(operator, "lobby").version
            try:
                roll_back(operator, "lobby", max(0, newest - 1), BY)
            except (FatalError, TransientError):  # nothing to change at the start; the one file of SQLite is busy
                continue
            done[0] += 1

    thread = threading.Thread(target=roll_back_and_forth)
    thread.start()
    applied = seed = 0
    deadline = time.monotonic() + 60
    while (applied < 10 or done[0] < 5) and time.monotonic() < deadline:
        seed += 1
        try:
            applied += commit_next(store, lease, seed)[1].status == "applied"
        except OwnershipLostError:
            raise
        except TransientError:  # stale, or the file is busy
            continue
    stop.set()
    thread.join(20)
    assert applied >= 10
    assert done[0] >= 5
    found = verify(store, "lobby")
    assert found.faults == ()
    assert found.num_entries == newest_of(store, "lobby").version + 1 == applied + done[0] + 1


class MovingStore:
    """The store of another process, to which somebody commits whenever the bank was read."""

    def __init__(self, store: BankStore, moves: int) -> None:
        self._store = store
        self.moves = moves
        self._lease = leased(store, "lobby")

    def read(self, bank_id: str) -> Bank | None:
        found = self._store.read(bank_id)
        if self.moves:
            self.moves -= 1
            commit_next(self._store, self._lease, 100 + self.moves)
        return found

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


def test_a_rollback_is_tried_again_when_a_commit_comes_between(store: BankStore, taught: list[Bank]) -> None:
    moving = MovingStore(store, 2)
    bank = roll_back(moving, "lobby", 1, BY)  # type: ignore[arg-type]
    assert (bank.version, bank.digest) == (6, taught[1].digest)
    assert [entry.change.action for entry in store.log("lobby")][-3:] == ["update", "update", "rollback"]


def test_a_bank_that_never_rests_is_given_up_with_what_to_do(store: BankStore, taught: list[Bank]) -> None:
    change_ = BY.change("rollback")
    with pytest.raises(StaleVersionError, match="freeze it first"):
        replace_items(MovingStore(store, 1000), "lobby", taught[1], change_, NOW)  # type: ignore[arg-type]
    assert all(entry.change.action != "rollback" for entry in store.log("lobby"))


class LosingStore(MovingStore):
    """The answer to one restore is lost, and by the next attempt a commit has come after it."""

    def restore(self, request: RestoreRequest) -> object:
        self._store.restore(request)
        commit_next(self._store, self._lease, 77)
        return self._store.restore(request)


def test_a_rollback_whose_answer_was_lost_is_not_written_twice(store: BankStore, taught: list[Bank]) -> None:
    bank = roll_back(LosingStore(store, 0), "lobby", 1, BY)  # type: ignore[arg-type]
    assert (bank.version, bank.digest) == (4, taught[1].digest)
    assert [entry.change.action for entry in store.log("lobby")][-2:] == ["rollback", "update"]


def test_a_fork_begins_with_what_the_other_learned_and_names_it(store: BankStore, taught: list[Bank]) -> None:
    store.freeze("lobby", *FREEZE)
    made = fork(store, newest_of(store, "lobby"), "lobby-night", BY)
    found = newest_of(store, "lobby-night")
    assert (found.version, found.digest, found.bundle_digest) == (0, taught[3].digest, taught[3].bundle_digest)
    assert (found.epoch, found.frozen, made.epoch) == (made.epoch, False, found.epoch)
    entry = store.log("lobby-night")[-1]
    assert (entry.change.action, entry.change.reason) == (
        "create",
        f"fork of 'lobby' v3, items {taught[3].digest[:12]}: a bad week",
    )
    commit_next(store, leased(store, "lobby-night"), 8)
    assert newest_of(store, "lobby").digest == taught[3].digest
    assert verify(store, "lobby-night").faults == ()


def test_a_fork_into_a_name_that_is_taken_changes_nothing(store: BankStore, taught: list[Bank]) -> None:
    fork(store, taught[1], "dock", BY)
    with pytest.raises(FatalError, match="'dock' does; choose another name"):
        fork(store, taught[2], "dock", BY)
    assert (newest_of(store, "dock").digest, len(store.log("dock"))) == (taught[1].digest, 1)
    with pytest.raises(SettingsError, match="bank id"):
        fork(store, taught[2], "dock:2", BY)


def test_items_from_elsewhere_become_the_next_version(store: BankStore, taught: list[Bank]) -> None:
    elsewhere = Bank("dock", 41, "99999999-" + "f" * 16, BUNDLE, items(9), NOW)
    bank = replace_items(store, "lobby", elsewhere, BY.change("restore", "from a file", 0.25), NOW)
    assert (bank.bank_id, bank.version, bank.digest) == ("lobby", 4, elsewhere.digest)
    assert bank.epoch[:8] == "00000002", "its epoch is not believed"
    entry = store.log("lobby")[-1]
    assert (entry.change.action, entry.change.reason, entry.change.anchor_distance) == (
        "restore",
        "from a file: a bad week",
        0.25,
    )
    made = make_bank(store, "copy", elsewhere, BY.change("create", "from a file"), NOW)
    assert (made.bank_id, made.version, made.epoch[:8]) == ("copy", 0, "00000001")


@pytest.mark.parametrize(
    ("author", "reason", "says"),
    [
        ("", "why", "--author must say who"),
        ("  ", "why", "--author must say who"),
        ("a" * (MAX_AUTHOR + 1), "why", "--author must be one line"),
        ("ann\x1b[31m", "why", "--author must be one line"),
        ("ann", "two\nlines", "--reason must be one line"),
        ("ann", "w" * (MAX_REASON + 1), "--reason must be one line"),
    ],
)
def test_who_and_why_must_fit_a_line_of_the_log(author: str, reason: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        Signature(author, reason, NOW)


def test_each_change_has_an_id_of_its_own() -> None:
    one, other = BY.change("freeze"), BY.change("freeze")
    assert one.commit_id != other.commit_id
    assert replace(one, commit_id="") == Change("freeze", "ann@edge7", "a bad week", "")
