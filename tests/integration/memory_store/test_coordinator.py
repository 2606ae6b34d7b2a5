"""The coordinator on the in-process bus and a real SQLite store: rounds, guards, crashes, standbys, accounts."""

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memory_store.bank import Change, first_broken_link, next_epoch
from memory_store.coordinator import Coordinator, leadership
from memory_store.gate import EventSpan
from memory_store.round import RoundRules
from memory_store.settling import ChangeLimits
from memory_store.sqlite_store import SqliteStore
from memory_store.store import RestoreRequest
from messaging.ports import OutRecord
from schemas.codec import HEADER, encode_message
from tests.integration.memory_store.bench import (
    BANK_ID,
    INITIAL,
    TOPICS,
    Bench,
    event,
    initial_bank,
    options,
    proposal,
    proposals,
)

AT_ONCE = RoundRules(round_s=0)
ROUND_S = 95.0


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store = SqliteStore(tmp_path / "banks.sqlite")
    made = Bench(store)
    yield made
    made.bus.close()
    store.close()


def test_a_round_writes_what_one_process_with_all_queries_would_have_written(bench: Bench) -> None:
    records, expected_MC = proposals(initial_bank(), 5)
    coordinator = bench.coordinator()
    coordinator.step()
    bench.send(*records)
    bench.pass_time(coordinator, 89)
    assert bench.stored().version == 0
    bench.pass_time(coordinator, 6)
    bank = bench.stored()
    assert bank.version == 1
    np.testing.assert_array_equal(bank.items_MC, expected_MC)
    entry = bench.store.log(BANK_ID)[-1]
    assert (entry.change.num_proposals, entry.change.num_frames, entry.change.num_cameras) == (5, 50, 5)


def test_a_committed_bank_is_told_on_the_compacted_topic(bench: Bench) -> None:
    coordinator = bench.coordinator(rules=AT_ONCE)
    coordinator.step()
    bench.send(proposal(initial_bank())[0])
    bench.pass_time(coordinator, 1)
    told = bench.archived()[BANK_ID]
    assert (told.version, told.digest, told.epoch) == (1, bench.stored().digest, bench.stored().epoch)
    snapshot = coordinator.snapshot()
    assert (snapshot.committed, snapshot.commits, snapshot.versions) == (1, 1, {BANK_ID: 1})
    assert snapshot.adds_up()


def test_without_rounds_each_proposal_is_a_version_and_the_next_on_its_base_is_stale(bench: Bench) -> None:
    coordinator = bench.coordinator(rules=AT_ONCE)
    bench.send(proposal(initial_bank(), "cam1")[0], proposal(initial_bank(), "cam2")[0])
    bench.pass_time(coordinator, 1)
    bench.send(proposal(bench.stored(), "cam3")[0])
    bench.pass_time(coordinator, 1)
    assert bench.stored().version == 2
    snapshot = coordinator.snapshot()
    assert (snapshot.committed, snapshot.rejected) == (2, {"stale_base": 1})


def test_an_event_that_opens_in_quarantine_keeps_its_camera_out(bench: Bench) -> None:
    coordinator = bench.coordinator()
    bad, _, _ = proposal(initial_bank(), "cam1", first=100)
    good, sums, _ = proposal(initial_bank(), "cam2", first=100)
    bench.send(bad, good)
    bench.pass_time(coordinator, 80)
    bench.send(event(EventSpan("cam1", "s1", 105, None)))
    bench.pass_time(coordinator, 15)
    np.testing.assert_array_equal(bench.stored().items_MC, sums.updated(INITIAL.items_MC))
    assert coordinator.snapshot().rejected == {"camera_event": 1}
    assert coordinator.snapshot().events == 1


def test_an_event_still_in_the_log_stops_a_proposal_whose_time_is_up(bench: Bench) -> None:
    coordinator = bench.coordinator(max_records=1)
    bench.send(proposal(initial_bank(), "cam1", first=100)[0])
    coordinator.step()
    coordinator.step()
    noise = [event(EventSpan("cam1", "s0", number, None)) for number in range(30)]
    bench.send(*noise, event(EventSpan("cam1", "s1", 105, None)))
    bench.clock.now += 1000
    for _ in range(10):
        coordinator.step()
    assert coordinator.snapshot().held == 1
    for _ in range(40):
        coordinator.step()
    assert coordinator.snapshot().rejected == {"camera_event": 1}
    assert bench.stored().version == 0


def test_held_proposals_survive_a_crash_and_are_committed_by_the_next(bench: Bench) -> None:
    records, expected_MC = proposals(initial_bank(), 4)
    crashed = bench.coordinator("c1")
    bench.send(*records)
    bench.pass_time(crashed, 40)
    assert crashed.snapshot().held == 4
    crashed._term.parts.subscription.close()  # type: ignore[union-attr]  # as the broker does for a dead member
    bench.clock.now += 20
    with_lease_gone(bench)
    successor = bench.coordinator("c2")
    bench.pass_time(successor, ROUND_S)
    np.testing.assert_array_equal(bench.stored().items_MC, expected_MC)
    assert bench.stored().version == 1


def test_an_open_event_survives_a_crash_too(bench: Bench) -> None:
    first = bench.coordinator("c1")
    bench.send(event(EventSpan("cam1", "s1", 100, None)))
    bench.pass_time(first, 5)
    assert first.snapshot().events_remembered == 1
    first.step_back()
    successor = bench.coordinator("c2")
    bench.send(proposal(initial_bank(), "cam1", first=500)[0])
    bench.pass_time(successor, ROUND_S)
    assert successor.snapshot().rejected == {"camera_event": 1}


def test_decided_proposals_do_not_come_again_after_a_restart(bench: Bench) -> None:
    first = bench.coordinator("c1", rules=AT_ONCE)
    bench.send(proposal(initial_bank())[0])
    bench.pass_time(first, 1)
    first.step_back()
    successor = bench.coordinator("c2", rules=AT_ONCE)
    bench.pass_time(successor, 1)
    assert successor.snapshot().received == 0
    assert bench.stored().version == 1


def test_a_crash_between_commit_and_positions_has_no_second_effect(bench: Bench) -> None:
    records, _ = proposals(initial_bank(), 2)
    coordinator = bench.coordinator("c1")
    bench.send(*records)
    bench.pass_time(coordinator, 40)
    subscription = coordinator._term.parts.subscription  # type: ignore[union-attr]
    subscription.commit = lambda progress: None  # type: ignore[method-assign]  # dies before it gets there
    bench.pass_time(coordinator, 60)
    assert bench.stored().version == 1
    subscription.close()
    with_lease_gone(bench)
    successor = bench.coordinator("c2")
    bench.pass_time(successor, ROUND_S)
    assert bench.stored().version == 1
    assert successor.snapshot().rejected == {"stale_base": 2}
    assert successor.snapshot().adds_up()


def test_only_the_leader_works_and_a_standby_follows(bench: Bench) -> None:
    leader, standby = bench.coordinator("c1", rules=AT_ONCE), bench.coordinator("c2", rules=AT_ONCE)
    assert leader.step()
    assert not standby.step()
    bench.send(proposal(initial_bank())[0])
    bench.pass_time(leader, 1)
    assert (leader.snapshot().is_leader, standby.snapshot().is_leader) == (True, False)
    leader.step_back()
    assert standby.step()
    bench.send(proposal(bench.stored(), "cam2")[0])
    bench.pass_time(standby, 1)
    assert bench.stored().version == 2
    assert [entry.change.author for entry in bench.store.log(BANK_ID)] == ["c1", "c1", "c2"]
    assert first_broken_link(bench.store.log(BANK_ID)) is None


def test_groups_that_share_a_store_have_a_leader_each(bench: Bench) -> None:
    here, there = bench.coordinator("c1", group="site-a"), bench.coordinator("c2", group="site-b")
    assert here.step()
    assert there.step()
    assert leadership("site-a") != leadership("site-b")


def test_a_leader_that_was_paused_past_its_lease_gives_back_what_it_holds(bench: Bench) -> None:
    paused = bench.coordinator("c1")
    bench.send(proposal(initial_bank())[0])
    bench.pass_time(paused, 10)
    with_lease_gone(bench)
    successor = bench.coordinator("c2")
    successor.step()
    assert successor.snapshot().is_leader
    bench.pass_time(paused, 10)
    assert (paused.snapshot().is_leader, paused.snapshot().held, paused.snapshot().returned) == (False, 0, 1)
    assert paused.snapshot().adds_up()
    bench.pass_time(successor, ROUND_S + 10)
    assert bench.stored().version == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"value": b"short"}, "bad_payload"),
        ({"headers": ()}, "missing_header"),
        ({"headers": ((HEADER, b"{}"),)}, "foreign"),
        ({"headers": ((HEADER, b"x" * 20_000),)}, "oversized_header"),
        ({"key": "other"}, "wrong_key"),
    ],
)
def test_what_is_no_proposal_goes_to_the_dead_letters_as_it_came(
    bench: Bench, change: dict[str, object], reason: str
) -> None:
    good = proposal(initial_bank())[0]
    broken = replace(good, **change)  # type: ignore[arg-type]
    coordinator = bench.coordinator(rules=AT_ONCE)
    bench.send(broken, good)
    bench.pass_time(coordinator, 1)
    (letter,) = bench.records(TOPICS.dead_letters)
    assert letter.value == broken.value
    assert letter.header("engram-reason") == reason.encode()
    assert (letter.header("engram-source") or b"").startswith(b"t.memory-updates/")
    snapshot = coordinator.snapshot()
    assert (snapshot.committed, snapshot.rejected, snapshot.dead_lettered) == (1, {reason: 1}, {reason: 1})
    assert snapshot.adds_up()


def test_what_is_no_event_goes_to_the_dead_letters(bench: Bench) -> None:
    coordinator = bench.coordinator()
    bench.send(OutRecord(TOPICS.anomaly_events, "cam1", b"not json"))
    bench.pass_time(coordinator, 1)
    (letter,) = bench.records(TOPICS.dead_letters)
    assert (letter.key, letter.value) == (b"cam1", b"not json")
    assert coordinator.snapshot().dead_lettered == {"foreign": 1}
    assert coordinator.snapshot().adds_up()


def test_each_guard_that_needs_no_bank_has_its_reason(bench: Bench) -> None:
    record, _, header = proposal(initial_bank())
    alien = header.model_copy(update={"bundle_digest": "c" * 64, "proposal_id": "a:1"})
    wide = header.model_copy(update={"num_items": 5, "proposal_id": "a:2"})
    wild = header.model_copy(update={"proposal_id": "a:3"})
    bench.send(
        replace(record, headers=((HEADER, encode_message(alien)),)),
        replace(record, headers=((HEADER, encode_message(wide)),), value=b"\0" * 4 * 5 * 8),
        replace(record, headers=((HEADER, encode_message(wild)),), value=b"\0\0\x80\x40" * (4 * 8)),
        record,
        record,
    )
    coordinator = bench.coordinator()
    bench.pass_time(coordinator, 5)
    snapshot = coordinator.snapshot()
    assert snapshot.rejected == {"foreign_bundle": 1, "bad_shape": 1, "implausible": 1, "duplicate": 1}
    assert (snapshot.received, snapshot.held) == (5, 1)


def test_a_frozen_bank_takes_nothing_until_it_is_thawed(bench: Bench) -> None:
    coordinator = bench.coordinator(rules=AT_ONCE)
    bench.send(proposal(initial_bank())[0])
    bench.pass_time(coordinator, 1)
    bench.store.freeze(BANK_ID)
    bench.pass_time(coordinator, 2)
    bench.send(proposal(bench.stored(), "cam2")[0])
    bench.pass_time(coordinator, 1)
    assert (bench.stored().version, coordinator.snapshot().rejected) == (1, {"frozen": 1})
    bench.store.unfreeze(BANK_ID)
    bench.pass_time(coordinator, 2)
    bench.send(proposal(bench.stored(), "cam3")[0])
    bench.pass_time(coordinator, 1)
    assert bench.stored().version == 2


def test_a_freeze_that_comes_between_the_look_and_the_commit_holds_too(bench: Bench) -> None:
    coordinator = bench.coordinator(rules=AT_ONCE, refresh_s=1e9)
    bench.send(proposal(initial_bank())[0])
    bench.pass_time(coordinator, 1)
    bench.store.freeze(BANK_ID)
    bench.send(proposal(bench.stored(), "cam2")[0])
    bench.pass_time(coordinator, 1)
    assert (bench.stored().version, coordinator.snapshot().rejected) == (1, {"frozen": 1})
    assert coordinator.snapshot().adds_up()


def test_the_budget_is_remembered_across_restarts(bench: Bench) -> None:
    limits = ChangeLimits(moved_per_hour=1.0, anchor_distance=None)
    rejected: dict[str, int] = {}
    for number in range(20):
        coordinator = bench.coordinator(f"c{number}", rules=AT_ONCE, limits=limits)
        base = bench.store.read(BANK_ID) or initial_bank()
        bench.send(proposal(base, f"cam{number}", seed=number)[0])
        bench.pass_time(coordinator, 1)
        rejected = dict(coordinator.snapshot().rejected)
        coordinator.step_back()
    assert rejected == {"change_budget": 1}
    assert sum(entry.change.moved for entry in bench.store.log(BANK_ID)) <= 1.0
    bench.clock.now += 3700
    coordinator = bench.coordinator("later", rules=AT_ONCE, limits=limits)
    bench.send(proposal(bench.stored(), "cam-later", seed=5)[0])
    bench.pass_time(coordinator, 1)
    assert coordinator.snapshot().committed == 1


def test_a_wiped_store_gets_its_banks_back_under_a_new_epoch(bench: Bench, tmp_path: Path) -> None:
    first = bench.coordinator("c1", rules=AT_ONCE)
    bench.send(proposal(initial_bank())[0])
    bench.pass_time(first, 1)
    lost = bench.stored()
    first.step_back()
    bench.store = SqliteStore(tmp_path / "fresh.sqlite")
    bench.pass_time(bench.coordinator("c2", rules=AT_ONCE), 1)
    found = bench.stored()
    assert (found.version, found.digest) == (lost.version, lost.digest)
    assert found.epoch > lost.epoch
    assert bench.archived()[BANK_ID].epoch == found.epoch
    assert bench.store.log(BANK_ID)[-1].change.action == "restore"


def test_a_store_that_went_back_is_brought_forward(bench: Bench, tmp_path: Path) -> None:
    first = bench.coordinator("c1", rules=AT_ONCE)
    for number in range(3):
        base = bench.store.read(BANK_ID) or initial_bank()
        bench.send(proposal(base, f"cam{number}", seed=number)[0])
        bench.pass_time(first, 1)
    first.step_back()
    newest = bench.stored()
    older = bench.store.read_version(BANK_ID, 1)
    assert older is not None
    bench.store = SqliteStore(tmp_path / "backup.sqlite")
    bench.store.create(older, Change("create", "backup", "", "x"))
    bench.pass_time(bench.coordinator("c2", rules=AT_ONCE), 1)
    assert (bench.stored().version, bench.stored().digest) == (3, newest.digest)
    assert bench.stored().epoch > newest.epoch


def test_a_topic_that_lags_is_caught_up(bench: Bench) -> None:
    bank = bench.store.create(INITIAL.as_bank(BANK_ID, next_epoch()), Change("create", "x", "", "y"))
    assert BANK_ID not in bench.archived()
    bench.coordinator().step()
    bench.pass_time(bench.coordinator("c2"), 0)
    assert bench.archived()[BANK_ID].epoch == bank.epoch


def test_an_operators_rollback_is_told_and_makes_what_was_under_way_stale(bench: Bench) -> None:
    coordinator = bench.coordinator(rules=AT_ONCE)
    bench.send(proposal(initial_bank())[0])
    bench.pass_time(coordinator, 1)
    current = bench.stored()
    back = replace(initial_bank(), version=2, epoch=next_epoch(current.epoch))
    bench.store.restore(RestoreRequest(back, current, Change("rollback", "ann", "bad week", "z")))
    bench.send(proposal(current, "cam2")[0])
    bench.pass_time(coordinator, 2)
    assert coordinator.snapshot().rejected == {"stale_base": 1}
    assert bench.archived()[BANK_ID].epoch == back.epoch
    bench.send(proposal(bench.stored(), "cam3")[0])
    bench.pass_time(coordinator, 1)
    assert bench.stored().version == 3


def test_the_oldest_leaves_when_too_many_are_held(bench: Bench) -> None:
    records, _ = proposals(initial_bank(), 5)
    coordinator = bench.coordinator(rules=RoundRules(60, 30, max_held=3))
    bench.send(*records)
    bench.pass_time(coordinator, 1)
    snapshot = coordinator.snapshot()
    assert (snapshot.held, snapshot.rejected) == (3, {"overflow": 2})
    assert snapshot.adds_up()


def test_run_works_until_it_is_told_to_stop_and_hands_over_at_once(bench: Bench) -> None:
    coordinator = bench.coordinator(rules=AT_ONCE, receive_s=0.05)
    stop = threading.Event()
    thread = threading.Thread(target=coordinator.run, args=(stop,))
    thread.start()
    try:
        bench.send(proposal(initial_bank())[0])
        deadline = time.monotonic() + 20
        while coordinator.snapshot().committed == 0 and time.monotonic() < deadline:
            stop.wait(0.01)
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive()
    assert coordinator.snapshot().committed == 1
    assert bench.store.acquire(leadership(options().group), "other", 1.0) is not None


def with_lease_gone(bench: Bench) -> None:
    """As if the leader's lease had run out."""
    store = bench.store
    assert isinstance(store, SqliteStore)
    with store._transaction() as cursor:
        cursor.execute("UPDATE lease SET expires_at = 0")


def test_three_coordinators_with_short_leases_and_pauses_write_one_chain(bench: Bench) -> None:
    wanted, lease_s = 15, 0.05
    coordinators = [
        Coordinator(bench.bus, bench.store, INITIAL, options(f"c{n}", AT_ONCE, lease_s=lease_s)) for n in range(3)
    ]
    stop = threading.Event()

    def lead(number: int) -> None:
        rng = random.Random(number)
        while not stop.is_set():
            coordinators[number].step()
            stop.wait(3 * lease_s if rng.random() < 0.1 else 0.002)

    threads = [threading.Thread(target=lead, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    bank, sent, authors = initial_bank(), 0, set[str]()
    while (bank.version < wanted or len(authors) < 2) and time.monotonic() < deadline:
        bench.send(proposal(bank, f"cam{sent}", first=sent, seed=sent)[0])
        sent += 1
        stop.wait(0.01)
        bank = bench.store.read(BANK_ID) or bank
        authors |= {entry.change.author for entry in bench.store.log(BANK_ID, newest=3)}
    stop.set()
    for thread in threads:
        thread.join(20)
    for coordinator in coordinators:
        coordinator.step_back()
    entries = list(bench.store.log(BANK_ID))
    assert [entry.version for entry in entries] == list(range(len(entries)))
    assert len(entries) > wanted
    assert first_broken_link(entries) is None
    assert len(authors) > 1, "the lead never changed: the test shows nothing"
    assert all(coordinator.snapshot().adds_up() for coordinator in coordinators)
