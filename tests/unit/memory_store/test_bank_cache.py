"""What a worker sees of a bank while its store comes, goes, and goes back."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memory_store.bank import Bank, Change, next_epoch
from memory_store.interventions import Signature, roll_back
from memory_store.normality import Grid
from memory_store.store import CommitRequest, RestoreRequest
from memory_store.stores.sqlite import SqliteStore
from memory_store.views import BankCache, InitialBank
from schemas.codec import items_digest
from schemas.errors import BundleError, TransientError
from tests.unit.memory_store.counted import GRID, counting_bank, counts
from tests.unit.memory_store.proposals import BUNDLE, FREEZE, NOW, a_bank, unit_rows

INITIAL = InitialBank(BUNDLE, unit_rows(0, 4, 6))
CHANGE = Change("update", "c1", "round", "one")


class CountingStore(SqliteStore):
    """The real store, that can be taken away, and counts how often it is asked."""

    away = False
    asked = 0

    def read(self, bank_id: str) -> Bank | None:
        self._ask()
        return super().read(bank_id)

    def read_if_newer(self, known: Bank) -> Bank | None:
        self._ask()
        return super().read_if_newer(known)

    def _ask(self) -> None:
        self.asked += 1
        if self.away:
            raise TransientError("away")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CountingStore]:
    opened = CountingStore(tmp_path / "banks.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def cache(store: CountingStore, clock: Clock) -> BankCache:
    return BankCache(store, INITIAL, refresh_s=1.0, clock=clock)


def commit(store: SqliteStore, seed: int) -> Bank:
    lease = store.acquire("lobby", "c1", 60)
    current = SqliteStore.read(store, "lobby")
    assert lease is not None
    assert current is not None
    bank = current.followed_by(unit_rows(seed, 4, 6), NOW)
    store.commit(CommitRequest(lease, bank, replace(CHANGE, commit_id=f"c{seed}")))
    return bank


def test_without_a_bank_the_bundles_own_is_used(cache: BankCache) -> None:
    view = cache.view("lobby")
    assert (view.memory_state, view.bank.version) == ("initial", 0)
    assert view.bank.digest == items_digest(INITIAL.items_MC)
    np.testing.assert_array_equal(view.bank.items_MC, INITIAL.items_MC)


def test_a_copy_is_renewed_once_per_interval(cache: BankCache, store: CountingStore, clock: Clock) -> None:
    store.create(a_bank(), CHANGE)
    asked = store.asked
    first = cache.view("lobby")
    newer = commit(store, 1)
    assert cache.view("lobby") is first
    assert store.asked == asked + 1
    clock.now += 1.0
    assert (cache.view("lobby").bank.digest, cache.view("lobby").memory_state) == (newer.digest, "live")
    assert cache.age_s("lobby") == 0.0


def test_with_the_store_away_the_last_good_copy_goes_on_as_stale(
    cache: BankCache, store: CountingStore, clock: Clock
) -> None:
    store.create(a_bank(), CHANGE)
    good = cache.view("lobby").bank
    store.away = True
    asked = store.asked
    for _ in range(40):
        clock.now += 0.1
        cache.view("lobby")
    assert cache.view("lobby").bank is good
    assert cache.view("lobby").memory_state == "stale"
    assert store.asked - asked <= 4
    assert cache.age_s("lobby") == pytest.approx(4.0)
    store.away = False
    clock.now += 1.0
    assert cache.view("lobby").memory_state == "live"


@pytest.mark.parametrize("was_seen", [True, False])
def test_a_damaged_bank_is_read_over_like_a_store_that_is_away(
    cache: BankCache, store: CountingStore, clock: Clock, was_seen: bool
) -> None:
    store.create(a_bank(), CHANGE)
    store.create(replace(a_bank(), bank_id="dock"), CHANGE)
    good = cache.view("lobby").bank if was_seen else INITIAL.as_bank("lobby")
    newer = commit(store, 1)
    with store._transaction() as cursor:
        cursor.execute("UPDATE bank SET items = x'00' WHERE bank_id = 'lobby'")
    clock.now += 1.0
    view = cache.view("lobby")
    assert (view.memory_state, view.bank.digest) == ("stale", good.digest)
    assert cache.view("dock").memory_state == "live"
    clock.now += 1.0
    cache.refresh()
    cache.refresh()
    assert cache.age_s("dock") == 0.0, "the store is there: the other bank is not kept waiting"
    roll_back(store, "lobby", 1, Signature("ann", "", NOW))
    clock.now += 1.0
    assert (cache.view("lobby").memory_state, cache.view("lobby").bank.digest) == ("live", newer.digest)


def test_a_store_that_was_never_there_leaves_the_bundles_bank_as_stale(cache: BankCache, store: CountingStore) -> None:
    store.away = True
    view = cache.view("lobby")
    assert (view.memory_state, view.bank.version) == ("stale", 0)
    assert cache.age_s("lobby") is None


@pytest.mark.parametrize("was_seen", [True, False])
def test_beyond_the_oldest_age_there_is_no_view(store: CountingStore, clock: Clock, was_seen: bool) -> None:
    cache = BankCache(store, INITIAL, max_age_s=5.0, clock=clock)
    store.create(a_bank(), CHANGE)
    if was_seen:
        cache.view("lobby")
    store.away = True
    clock.now += 5.0
    assert cache.view("lobby").memory_state == "stale"
    clock.now += 0.1
    with pytest.raises(TransientError, match="at most 5"):
        cache.view("lobby")


def test_a_network_without_a_bank_never_asks_the_store(store: CountingStore, clock: Clock) -> None:
    cache = BankCache(store, InitialBank(BUNDLE, np.zeros((0, 0), np.float32)), max_age_s=5.0, clock=clock)
    store.create(a_bank(), CHANGE)
    store.away = True
    for _ in range(3):
        clock.now += 10.0
        view = cache.view("lobby")
    assert (view.memory_state, view.bank.version, view.bank.items_MC.shape) == ("none", 0, (0, 0))
    assert store.asked == 0
    assert cache.age_s("lobby") is None


def test_freezing_is_seen(cache: BankCache, store: CountingStore, clock: Clock) -> None:
    store.create(a_bank(), CHANGE)
    assert cache.view("lobby").memory_state == "live"
    store.freeze("lobby", *FREEZE)
    clock.now += 1.0
    assert cache.view("lobby").memory_state == "frozen"


@pytest.mark.parametrize(
    "alien", [replace(a_bank(), bundle_digest="c" * 64), replace(a_bank(), items_MC=unit_rows(0, 4, 7))]
)
def test_a_bank_that_does_not_fit_names_both_sides(cache: BankCache, store: CountingStore, alien: Bank) -> None:
    store.create(alien, CHANGE)
    with pytest.raises(BundleError) as caught:
        cache.view("lobby")
    assert BUNDLE in str(caught.value)
    assert alien.bundle_digest in str(caught.value)
    assert str(alien.items_MC.shape) in str(caught.value)


def test_a_lower_version_needs_a_new_epoch(
    cache: BankCache, store: CountingStore, clock: Clock, tmp_path: Path
) -> None:
    created = store.create(a_bank(version=5), CHANGE)
    newest = commit(store, 6)
    assert cache.view("lobby").bank.version == 6
    regressed = SqliteStore(tmp_path / "older.sqlite")
    regressed.create(created, CHANGE)
    cache._store = regressed
    clock.now += 1.0
    assert (cache.view("lobby").bank.version, cache.view("lobby").memory_state) == (6, "stale")
    restored = replace(created, version=3, epoch=next_epoch(newest.epoch))
    regressed.restore(RestoreRequest(restored, created, replace(CHANGE, action="restore", commit_id="r")))
    clock.now += 1.0
    assert (cache.view("lobby").bank.version, cache.view("lobby").memory_state) == (3, "live")
    regressed.close()


def test_a_wiped_store_does_not_throw_the_worker_back_to_the_start(
    cache: BankCache, store: CountingStore, clock: Clock, tmp_path: Path
) -> None:
    store.create(a_bank(version=5), CHANGE)
    assert cache.view("lobby").bank.version == 5
    cache._store = SqliteStore(tmp_path / "empty.sqlite")
    clock.now += 1.0
    assert (cache.view("lobby").bank.version, cache.view("lobby").memory_state) == (5, "stale")


def test_names_that_are_made_up_do_not_cost_memory_for_ever(
    cache: BankCache, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memory_store.views.MAX_COPIES", 3)
    for number in range(10):
        clock.now += 0.01
        cache.view(f"made-up-{number}")
    assert sorted(cache._copies) == ["made-up-7", "made-up-8", "made-up-9"]


def test_a_bank_that_does_not_count_yet_is_waited_for_and_the_bundles_own_is_read(
    store: CountingStore, clock: Clock
) -> None:
    store.create(a_bank(bank_id="lobby"), CHANGE)
    view = BankCache(store, replace(INITIAL, grid=GRID), clock=clock).view("lobby")
    assert view.memory_state == "initial"
    assert view.bank.normality is not None and view.bank.normality.num_frames == 0


def test_a_network_without_items_reads_what_was_counted(store: CountingStore, clock: Clock) -> None:
    initial = InitialBank(BUNDLE, np.zeros((0, 0), np.float32), grid=GRID)
    bank = replace(counting_bank(num_items=0), normality=counts(9))
    store.create(bank, CHANGE)
    view = BankCache(store, initial, clock=clock).view("lobby")
    assert view.memory_state == "live"
    assert view.bank.digest == bank.digest


def test_counts_of_another_grid_do_not_fit(store: CountingStore, clock: Clock) -> None:
    store.create(counting_bank(), CHANGE)
    with pytest.raises(BundleError, match="counts of Grid"):
        BankCache(store, replace(INITIAL, grid=Grid(8, 8)), clock=clock).view("lobby")


def test_a_copy_that_nobody_asks_for_is_kept_fresh(cache: BankCache, store: CountingStore, clock: Clock) -> None:
    cache.refresh()
    assert store.asked == 0, "there is no copy yet"
    store.create(a_bank(), CHANGE)
    cache.view("lobby")
    cache.view("yard")
    newest = commit(store, 1)
    clock.now += 60
    cache.refresh()
    cache.refresh()
    assert cache.views()["lobby"].bank.version == newest.version
    assert (cache.age_s("lobby"), cache.age_s("yard")) == (0, 0)
    asked = store.asked
    cache.refresh()
    assert store.asked == asked, "it is not time yet"


def test_a_store_that_is_away_is_asked_once_in_a_while_for_all_of_them(
    cache: BankCache, store: CountingStore, clock: Clock
) -> None:
    cache.view("lobby")
    cache.view("yard")
    store.away, asked = True, store.asked
    clock.now += 60
    for _ in range(5):
        cache.refresh()
    assert store.asked == asked + 1
    assert cache.views()["lobby"].memory_state == "stale"
    clock.now += 1
    cache.refresh()
    assert store.asked == asked + 2
