"""What every memory store promises, held against SQLite and a real Redis."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from memory_store.bank import Bank, first_broken_link, next_epoch
from memory_store.store import BankStore, CommitRequest, RestoreRequest
from schemas.errors import FatalError, OwnershipLostError, SettingsError, StaleVersionError, TransientError
from tests.contract.memory_store.banks import FAR_S, KEPT, NOW, change, commit_next, first_bank, items, leased
from tests.unit.memory_store.counted import counting_bank, counts
from tests.unit.memory_store.proposals import FREEZE, THAW
from tests.unit.memory_store.said import small_exemplar


def same(left: Bank | None, right: Bank) -> bool:
    return left is not None and all(
        getattr(left, name) == getattr(right, name)
        for name in ("bank_id", "version", "epoch", "bundle_digest", "committed_at", "frozen", "digest")
    )


def test_a_store_without_the_bank_says_none(store: BankStore) -> None:
    assert store.read("lobby") is None
    assert store.read_version("lobby", 0) is None
    assert store.read_if_newer(first_bank("lobby")) is None
    assert list(store.log("lobby")) == []
    assert list(store.list_banks()) == []


def test_a_created_bank_reads_back_bit_for_bit_from_another_connection(
    store: BankStore, open_store: Callable[[], BankStore], lobby: Bank
) -> None:
    found = open_store().read("lobby")
    assert same(found, lobby)
    assert found is not None
    np.testing.assert_array_equal(found.items_MC, lobby.items_MC)
    assert not found.items_MC.flags.writeable
    assert list(store.list_banks()) == ["lobby"]


def test_creating_twice_keeps_the_first(store: BankStore, lobby: Bank) -> None:
    assert same(store.create(first_bank("lobby", seed=9), change("other", "create")), lobby)
    assert len(store.log("lobby")) == 1


def test_a_commit_adds_one_version_and_one_entry(store: BankStore, lobby: Bank) -> None:
    bank, outcome = commit_next(store, leased(store, "lobby"), seed=1)
    assert outcome.status == "applied"
    assert same(store.read("lobby"), bank)
    entry = store.log("lobby")[-1]
    assert entry == outcome.entry
    assert (entry.version, entry.digest, entry.previous_digest) == (1, bank.digest, lobby.digest)
    assert entry.change == change("commit-1")
    assert entry.committed_at == NOW


def test_the_log_is_a_chain_over_commits_and_restores(store: BankStore, lobby: Bank) -> None:
    lease = leased(store, "lobby")
    for seed in (1, 2, 3):
        current, _ = commit_next(store, lease, seed)
    back = Bank("lobby", 4, next_epoch(current.epoch), lobby.bundle_digest, lobby.items_MC, NOW)
    store.restore(RestoreRequest(back, current, change("back", "rollback")))
    commit_next(store, lease, 5)
    entries = list(store.log("lobby"))
    assert [entry.version for entry in entries] == [0, 1, 2, 3, 4, 5]
    assert first_broken_link(entries) is None
    assert [entry.version for entry in store.log("lobby", newest=2)] == [4, 5]


def test_read_if_newer_gives_the_same_object_until_something_changes(store: BankStore, lobby: Bank) -> None:
    assert store.read_if_newer(lobby) is lobby
    bank, _ = commit_next(store, leased(store, "lobby"), seed=1)
    assert same(store.read_if_newer(lobby), bank)
    store.freeze("lobby", *FREEZE)
    found = store.read_if_newer(bank)
    assert found is not None
    assert (found.version, found.frozen) == (1, True)


def test_a_repeated_commit_has_no_second_effect(store: BankStore, lobby: Bank) -> None:
    request = CommitRequest(leased(store, "lobby"), lobby.followed_by(items(1), NOW), change("once"))
    first, again = store.commit(request), store.commit(request)
    assert (first.status, again.status) == ("applied", "duplicate")
    assert again.entry == first.entry
    assert len(store.log("lobby")) == 2


@pytest.mark.parametrize("versions_ahead", [0, 2])
def test_a_commit_on_another_version_is_stale(store: BankStore, lobby: Bank, versions_ahead: int) -> None:
    lease = leased(store, "lobby")
    wrong = Bank("lobby", lobby.version + versions_ahead, lobby.epoch, lobby.bundle_digest, items(1), NOW)
    with pytest.raises(StaleVersionError, match="lobby"):
        store.commit(CommitRequest(lease, wrong, change("x")))
    assert same(store.read("lobby"), lobby)


def test_a_commit_of_another_epoch_is_stale(store: BankStore, lobby: Bank) -> None:
    foreign = replace(lobby, version=1, epoch=next_epoch(lobby.epoch))
    with pytest.raises(StaleVersionError):
        store.commit(CommitRequest(leased(store, "lobby"), foreign, change("x")))


def test_a_commit_without_a_bank_is_stale(store: BankStore) -> None:
    bank = first_bank("lobby", version=1)
    with pytest.raises(StaleVersionError):
        store.commit(CommitRequest(leased(store, "lobby"), bank, change("x")))


def test_only_one_holder_has_the_lease(store: BankStore, open_store: Callable[[], BankStore]) -> None:
    other = open_store()
    lease = leased(store, "lobby", "c1")
    assert other.acquire("lobby", "c2", FAR_S) is None
    assert store.acquire("lobby", "c1", FAR_S) == lease
    store.release(lease)
    taken = leased(other, "lobby", "c2")
    assert taken.token > lease.token
    store.release(lease)
    assert store.acquire("lobby", "c3", FAR_S) is None


def test_an_expired_holder_is_fenced_as_soon_as_another_took_over(store: BankStore, lobby: Bank) -> None:
    late = store.acquire("lobby", "c1", 0.05)
    assert late is not None
    deadline = time.monotonic() + 60
    while (fresh := store.acquire("lobby", "c2", FAR_S)) is None:
        assert time.monotonic() < deadline
    with pytest.raises(OwnershipLostError, match="fenced"):
        store.commit(CommitRequest(late, lobby.followed_by(items(1), NOW), change("late")))
    assert store.commit(CommitRequest(fresh, lobby.followed_by(items(2), NOW), change("fresh"))).status == "applied"


def test_a_lost_holder_still_learns_that_its_commit_was_applied(store: BankStore, lobby: Bank) -> None:
    request = CommitRequest(leased(store, "lobby"), lobby.followed_by(items(1), NOW), change("once"))
    store.commit(request)
    store.release(request.lease)
    leased(store, "lobby", "c2")
    assert store.commit(request).status == "duplicate"


def test_old_versions_stay_readable_up_to_the_bound(store: BankStore, lobby: Bank) -> None:
    lease = leased(store, "lobby")
    banks = [lobby] + [commit_next(store, lease, seed)[0] for seed in range(1, KEPT + 2)]
    kept = [store.read_version("lobby", version) for version in range(len(banks))]
    assert kept[: len(banks) - KEPT] == [None, None]
    assert all(same(found, bank) for found, bank in zip(kept[-KEPT:], banks[-KEPT:], strict=True))


def test_a_restore_replaces_what_it_names_under_a_new_epoch(store: BankStore, lobby: Bank) -> None:
    lease = leased(store, "lobby")
    for seed in (1, 2, 3):
        current, _ = commit_next(store, lease, seed)
    restored = Bank("lobby", 2, next_epoch(current.epoch), lobby.bundle_digest, items(7), NOW)
    request = RestoreRequest(restored, current, change("restore", "restore"))
    assert store.restore(request).status == "applied"
    assert store.restore(request).status == "duplicate"
    assert same(store.read("lobby"), restored)
    assert same(store.read_version("lobby", 2), restored)
    assert store.read_version("lobby", 3) is None
    with pytest.raises(StaleVersionError):
        store.commit(CommitRequest(lease, current.followed_by(items(8), NOW), change("old epoch")))
    with pytest.raises(StaleVersionError):
        store.restore(replace(request, change=change("again", "restore")))


def test_a_restore_into_nothing_needs_nothing(store: BankStore) -> None:
    bank = first_bank("lobby", version=41)
    assert store.restore(RestoreRequest(bank, None, change("restore", "restore"))).status == "applied"
    assert same(store.read("lobby"), bank)
    with pytest.raises(StaleVersionError):
        store.restore(RestoreRequest(first_bank("lobby"), None, change("second", "restore")))


def test_a_frozen_bank_refuses_commits_and_takes_restores(store: BankStore, lobby: Bank) -> None:
    lease = leased(store, "lobby")
    store.freeze("lobby", *FREEZE)
    _, outcome = commit_next(store, lease, 1)
    assert (outcome.status, outcome.entry) == ("frozen", None)
    back = Bank("lobby", 1, next_epoch(lobby.epoch), lobby.bundle_digest, items(3), NOW)
    current = store.read("lobby")
    assert store.restore(RestoreRequest(back, current, change("r", "rollback"))).status == "applied"
    found = store.read("lobby")
    assert found is not None
    assert found.frozen
    store.unfreeze("lobby", *THAW)
    assert commit_next(store, lease, 4)[1].status == "applied"


def test_who_froze_and_thawed_a_bank_stands_in_its_chain(store: BankStore, lobby: Bank) -> None:
    lease = leased(store, "lobby")
    first, _ = commit_next(store, lease, 1)
    frozen = store.freeze("lobby", *FREEZE)
    thawed = store.unfreeze("lobby", *THAW)
    commit_next(store, lease, 2)
    entries = list(store.log("lobby"))
    assert [entry.change.action for entry in entries] == ["create", "update", "freeze", "thaw", "update"]
    assert [entry.version for entry in entries] == [0, 1, 1, 1, 2]
    assert entries[2:4] == [frozen, thawed]
    assert (entries[2].change, entries[2].committed_at) == FREEZE
    assert {entry.digest for entry in entries[1:4]} == {first.digest}
    assert not entries[2].writes_items
    assert first_broken_link(entries) is None
    assert store.head("lobby") == entries[-1].digest_of_entry()
    assert list(store.versions("lobby")) == [0, 1, 2]


def test_freezing_what_is_frozen_and_thawing_what_is_not_writes_nothing(store: BankStore, lobby: Bank) -> None:
    assert store.unfreeze("lobby", *THAW) is None
    first = store.freeze("lobby", *FREEZE)
    assert first is not None
    assert store.freeze("lobby", change("another", "freeze"), NOW) is None
    assert store.freeze("lobby", *FREEZE) == first, "repeated because its answer was lost"
    assert [entry.change.action for entry in store.log("lobby")] == ["create", "freeze"]


def test_a_commit_repeated_after_a_freeze_gives_its_own_entry(store: BankStore, lobby: Bank) -> None:
    request = CommitRequest(leased(store, "lobby"), lobby.followed_by(items(1), NOW), change("once"))
    first = store.commit(request)
    store.freeze("lobby", *FREEZE)
    again = store.commit(request)
    assert (again.status, again.entry) == ("duplicate", first.entry)


def test_a_restore_repeated_after_a_freeze_gives_its_own_entry(store: BankStore, lobby: Bank) -> None:
    back = Bank("lobby", 1, next_epoch(lobby.epoch), lobby.bundle_digest, items(3), NOW)
    request = RestoreRequest(back, lobby, change("back", "rollback"))
    first = store.restore(request)
    store.freeze("lobby", *FREEZE)
    again = store.restore(request)
    assert (again.status, again.entry) == ("duplicate", first.entry)


def test_what_is_kept_and_the_head_of_the_log_are_told(store: BankStore, lobby: Bank) -> None:
    assert (list(store.versions("dock")), store.head("dock")) == ([], None)
    assert store.head("lobby") == store.log("lobby")[-1].digest_of_entry()
    lease = leased(store, "lobby")
    for seed in range(1, KEPT + 2):
        commit_next(store, lease, seed)
    assert list(store.versions("lobby")) == list(range(2, KEPT + 2))
    assert store.head("lobby") == store.log("lobby")[-1].digest_of_entry()


def test_freezes_and_commits_of_many_at_once_leave_one_chain(
    open_store: Callable[[], BankStore], store: BankStore, lobby: Bank
) -> None:
    lease, operator = leased(store, "lobby"), open_store()
    stop = threading.Event()

    def freeze_and_thaw() -> None:
        while not stop.is_set():
            operator.freeze("lobby", *FREEZE)
            operator.unfreeze("lobby", *THAW)

    thread = threading.Thread(target=freeze_and_thaw)
    thread.start()
    statuses: Counter[str] = Counter()
    deadline = time.monotonic() + 60
    seed = 0
    while (statuses["applied"] < 10 or statuses["frozen"] < 3) and time.monotonic() < deadline:
        seed += 1
        try:
            statuses[commit_next(store, lease, seed)[1].status] += 1
        except StaleVersionError:  # frozen and thawed between the look and the write
            statuses["stale"] += 1
        except TransientError:
            statuses["busy"] += 1  # the one file of SQLite
    stop.set()
    thread.join(20)
    entries = list(store.log("lobby", newest=20_000))
    assert statuses["applied"] >= 10, statuses
    assert statuses["frozen"] >= 3, statuses
    assert first_broken_link(entries) is None
    assert store.head("lobby") == entries[-1].digest_of_entry()
    assert [entry.version for entry in entries if entry.writes_items] == list(range(statuses["applied"] + 1))


def test_freezing_a_bank_that_is_not_there_fails_with_a_hint(store: BankStore) -> None:
    with pytest.raises(FatalError, match="there is no 'lobby'"):
        store.freeze("lobby", *FREEZE)
    with pytest.raises(FatalError, match="there is no 'lobby'"):
        store.unfreeze("lobby", *THAW)


def test_banks_do_not_touch_each_other(store: BankStore, lobby: Bank) -> None:
    dock = store.create(first_bank("dock", seed=4), change("create", "create"))
    commit_next(store, leased(store, "lobby"), 1)
    store.freeze("dock", *FREEZE)
    found = store.read("lobby")
    assert found is not None
    assert (found.version, found.frozen) == (1, False)
    assert same(store.read("dock"), replace(dock, frozen=True))
    assert list(store.list_banks()) == ["dock", "lobby"]


@pytest.mark.parametrize("bank_id", ["", "a:b", "{x}", "../up", "a b", "x" * 65])
def test_an_id_that_is_not_safe_in_keys_is_refused(store: BankStore, bank_id: str) -> None:
    with pytest.raises(SettingsError, match="bank id"):
        store.read(bank_id)


def test_a_lease_of_the_lead_fences_the_commits_of_whoever_lost_it(store: BankStore, lobby: Bank) -> None:
    lost = leased(store, "leadership.x", "c1")
    store.release(lost)
    taken = leased(store, "leadership.x", "c2")
    with pytest.raises(OwnershipLostError, match="fenced"):
        store.commit(CommitRequest(lost, lobby.followed_by(items(1), NOW), change("late")))
    assert store.commit(CommitRequest(taken, lobby.followed_by(items(2), NOW), change("led"))).status == "applied"


@pytest.mark.parametrize("num_items", [4, 0])
def test_counts_are_kept_with_the_items_bit_for_bit(store: BankStore, num_items: int) -> None:
    first = replace(counting_bank(num_items=num_items), bank_id="dock")
    store.create(first, change("created", "create"))
    counted = first.followed_by(first.items_MC, NOW, counts(9))
    store.commit(CommitRequest(leased(store, "dock"), counted, change("counted")))
    for found in (store.read("dock"), store.read_version("dock", 1)):
        assert found is not None and found.normality is not None
        assert (found.digest, found.kind) == (counted.digest, counted.kind)
        np.testing.assert_array_equal(found.normality.values_N, counts(9).values_N)
    before = store.read_version("dock", 0)
    assert before is not None and before.digest == first.digest


def test_what_operators_said_is_kept_with_every_version_and_undone_by_the_next(
    store: BankStore, open_store: Callable[[], BankStore]
) -> None:
    bank = store.create(replace(counting_bank(), bank_id="lobby", normality=counts(7)), change("create", "create"))
    lease, told = leased(store, "lobby"), (small_exemplar("cam1:s1:5"),)
    taught = replace(bank.followed_by(bank.items_MC, NOW), exemplars=told)
    store.commit(CommitRequest(lease, taught, change("said", "verdict")))
    found = open_store().read("lobby")
    assert found is not None
    assert (found.digest, found.exemplars) == (taught.digest, told)
    undone = replace(found.followed_by(found.items_MC, NOW), exemplars=())
    store.commit(CommitRequest(lease, undone, change("unsaid", "verdict")))
    again, kept = store.read("lobby"), store.read_version("lobby", 1)
    assert again is not None and kept is not None
    assert (again.digest, again.exemplars) == (bank.digest, ())
    assert (kept.digest, kept.exemplars) == (taught.digest, told)
    back = replace(kept, version=3, epoch=next_epoch(again.epoch), committed_at=NOW)
    store.restore(RestoreRequest(back, again, change("back", "rollback")))
    restored = store.read("lobby")
    assert restored is not None
    assert (restored.digest, restored.exemplars) == (taught.digest, told)
    assert first_broken_link(list(store.log("lobby"))) is None
