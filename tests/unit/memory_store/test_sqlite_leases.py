"""Leases and fencing in one file, to the moment, by a clock of the test."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_store.bank import Bank, Change
from memory_store.store import CommitRequest, Lease
from memory_store.stores.sqlite import SqliteStore
from schemas.errors import OwnershipLostError
from tests.unit.memory_store.proposals import NOW, a_bank, unit_rows

MEMORY = Path(":memory:")


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Bench:
    clock: Clock = field(default_factory=Clock)
    store: SqliteStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = SqliteStore(MEMORY, clock=self.clock)

    def lead(self, holder: str = "c1", ttl_s: float = 10.0) -> Lease:
        lease = self.store.acquire("lead", holder, ttl_s)
        assert lease is not None
        return lease


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.store.close()


def commit(bench: Bench, lease: Lease, bank: Bank, commit_id: str) -> str:
    following = bank.followed_by(unit_rows(len(commit_id), 4, 6), NOW)
    return bench.store.commit(CommitRequest(lease, following, Change("update", "c1", "", commit_id))).status


def test_a_lease_ends_at_its_very_moment(bench: Bench) -> None:
    first = bench.lead()
    bench.clock.now += 9.999
    assert bench.store.acquire("lead", "c2", 10.0) is None
    bench.clock.now = 1010.0
    assert bench.lead("c2") == Lease("lead", "c2", first.token + 1)


def test_who_prolongs_in_time_keeps_its_token_and_who_is_late_gets_another(bench: Bench) -> None:
    first = bench.lead()
    bench.clock.now += 9.0
    assert bench.lead() == first
    bench.clock.now += 9.0
    assert bench.store.acquire("lead", "c2", 10.0) is None, "counted from the second time on"
    bench.clock.now += 1.0
    assert bench.lead().token == first.token + 1


def test_tokens_grow_over_releases_and_an_old_lease_gives_nothing_up(bench: Bench) -> None:
    first = bench.lead()
    bench.store.release(first)
    second = bench.lead()
    assert second.token == first.token + 1, "released and taken again: whatever was under way before is fenced"
    bench.store.release(first)
    bench.store.release(Lease("lead", "c2", second.token))
    assert bench.store.acquire("lead", "c2", 10.0) is None
    assert bench.lead() == second
    bench.store.release(second)
    assert bench.lead("c2").token == second.token + 1


def test_leases_of_two_names_know_nothing_of_each_other(bench: Bench) -> None:
    bench.lead("c1")
    other = bench.store.acquire("other", "c2", 10.0)
    assert other is not None
    assert other.token == 1
    bench.store.release(Lease("other", "c1", 1))
    assert bench.store.acquire("other", "c3", 10.0) is None


def test_a_commit_without_any_lease_is_fenced(bench: Bench) -> None:
    bank = bench.store.create(a_bank(), Change("create", "c1", "", "create"))
    with pytest.raises(OwnershipLostError, match="fenced"):
        commit(bench, Lease("nobody", "c1", 1), bank, "x")


@pytest.mark.parametrize("ahead", [-1, 1])
def test_a_token_must_be_the_very_one(bench: Bench, ahead: int) -> None:
    bank = bench.store.create(a_bank(), Change("create", "c1", "", "create"))
    bench.store.release(bench.lead())
    lease = bench.lead()
    forged = Lease("lead", "c1", lease.token + ahead)
    with pytest.raises(OwnershipLostError, match=f"token {forged.token}"):
        commit(bench, forged, bank, "x")
    assert commit(bench, lease, bank, "y") == "applied"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["take", "release", "wait", "commit"]), st.integers(0, 2)), max_size=30))
def test_whatever_holders_do_only_the_newest_writes(steps: list[tuple[str, int]]) -> None:
    """Each of three holders believes in the lease that it last got; the store believes in one."""
    bench = Bench()
    bench.store.create(a_bank(), Change("create", "c1", "", "create"))
    believed: dict[int, Lease] = {}
    newest = 0
    for number, (what, who) in enumerate(steps):
        if what == "wait":
            bench.clock.now += 4.0 * who
        elif what == "take" and (lease := bench.store.acquire("lead", f"c{who}", 10.0)) is not None:
            assert lease.token in (newest, newest + 1)
            believed[who], newest = lease, lease.token
        elif what == "release" and who in believed:
            bench.store.release(believed[who])
        elif what == "commit" and who in believed:
            bank = bench.store.read("lobby")
            assert bank is not None
            if believed[who].token == newest:
                assert commit(bench, believed[who], bank, f"id{number}") == "applied"
            else:
                with pytest.raises(OwnershipLostError):
                    commit(bench, believed[who], bank, f"id{number}")
    bench.store.close()
