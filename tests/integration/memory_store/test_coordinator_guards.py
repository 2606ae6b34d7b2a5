"""The coordinator's guards, restores, accounts and races on the in-process bus and a real SQLite store."""

import random
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from memory_store.bank import Change, first_broken_link, next_epoch
from memory_store.coordinator.coordinator import Coordinator, leadership
from memory_store.coordinator.options import ChangeLimits, RoundRules
from memory_store.store import RestoreRequest
from memory_store.stores.sqlite import SqliteStore
from messaging.ports import OutRecord
from schemas.codec import HEADER, encode_message
from tests.integration.memory_store.bench import (
    BANK_ID,
    INITIAL,
    TOPICS,
    Bench,
    initial_bank,
    options,
    proposal,
    proposals,
)
from tests.unit.memory_store.proposals import FREEZE, THAW

AT_ONCE = RoundRules(round_s=0)
ROUND_S = 95.0


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
    bench.store.freeze(BANK_ID, *FREEZE)
    bench.pass_time(coordinator, 2)
    bench.send(proposal(bench.stored(), "cam2")[0])
    bench.pass_time(coordinator, 1)
    assert (bench.stored().version, coordinator.snapshot().rejected) == (1, {"frozen": 1})
    bench.store.unfreeze(BANK_ID, *THAW)
    bench.pass_time(coordinator, 2)
    bench.send(proposal(bench.stored(), "cam3")[0])
    bench.pass_time(coordinator, 1)
    assert bench.stored().version == 2


def test_a_freeze_that_comes_between_the_look_and_the_commit_holds_too(bench: Bench) -> None:
    coordinator = bench.coordinator(rules=AT_ONCE, refresh_s=1e9)
    bench.send(proposal(initial_bank())[0])
    bench.pass_time(coordinator, 1)
    bench.store.freeze(BANK_ID, *FREEZE)
    bench.send(proposal(bench.stored(), "cam2")[0])
    bench.pass_time(coordinator, 1)
    assert (bench.stored().version, coordinator.snapshot().rejected) == (1, {"frozen": 1})
    assert coordinator.snapshot().adds_up()


def test_the_budget_is_remembered_across_restarts(bench: Bench) -> None:
    limits = ChangeLimits(moved_per_hour=1.0, anchor_distance=None, moved_per_round=None)
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


def test_no_more_are_held_than_may_are_held(bench: Bench) -> None:
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
        deadline = time.monotonic() + 60
        while coordinator.snapshot().committed == 0 and time.monotonic() < deadline:
            stop.wait(0.01)
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()
    assert coordinator.snapshot().committed == 1
    assert bench.store.acquire(leadership(options().group), "other", 1.0) is not None


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
        thread.join(60)
    for coordinator in coordinators:
        coordinator.step_back()
    entries = list(bench.store.log(BANK_ID))
    assert [entry.version for entry in entries] == list(range(len(entries)))
    assert len(entries) > wanted
    assert first_broken_link(entries) is None
    assert len(authors) > 1, "the lead never changed: the test shows nothing"
    assert all(coordinator.snapshot().adds_up() for coordinator in coordinators)
