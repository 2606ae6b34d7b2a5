"""The coordinator on the in-process bus and a real SQLite store: rounds, guards, crashes, standbys, accounts."""

import threading

import numpy as np
import pytest

from memory_store.bank import first_broken_link
from memory_store.coordinator.coordinator import leadership
from memory_store.coordinator.guards import EventSpan
from memory_store.coordinator.options import RoundRules
from memory_store.stores.sqlite import SqliteStore
from tests.integration.memory_store.bench import (
    BANK_ID,
    INITIAL,
    Bench,
    event,
    initial_bank,
    proposal,
    proposals,
)

AT_ONCE = RoundRules(round_s=0)
ROUND_S = 95.0


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
    crashed._tenure.subscription.close()  # type: ignore[union-attr]  # as the broker does for a dead member
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
    subscription = coordinator._tenure.subscription  # type: ignore[union-attr]
    subscription.commit = lambda progress: None  # type: ignore[method-assign]  # dies before it gets there
    bench.pass_time(coordinator, 60)
    assert bench.stored().version == 1
    subscription.close()
    with_lease_gone(bench)
    successor = bench.coordinator("c2")
    bench.pass_time(successor, ROUND_S)
    assert bench.stored().version == 1
    assert successor.snapshot().rejected == {"duplicate": 2}
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


def with_lease_gone(bench: Bench) -> None:
    """As if the leader's lease had run out."""
    store = bench.store
    assert isinstance(store, SqliteStore)
    with store._transaction() as cursor:
        cursor.execute("UPDATE lease SET expires_at = 0")


def test_who_waits_for_the_rest_is_told_of_it_however_late_it_wakes_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator = bench.coordinator()
    coordinator.step()
    bench.send(proposal(initial_bank())[0])
    coordinator.step()
    assert coordinator.snapshot().held == 1
    bench.clock.now += 1.0
    answers: list[bool] = []
    waiter = threading.Thread(target=lambda: answers.append(coordinator.settle_the_rest(30.0)))
    waiter.start()
    look = coordinator._look

    def look_after_the_waiter_did():
        with coordinator._progress:
            coordinator._progress.notify_all()  # that of the step before, which wakes it only now
        waiter.join(0.1)
        return look()

    monkeypatch.setattr(coordinator, "_look", look_after_the_waiter_did)
    while waiter.is_alive():
        coordinator.step()
    assert answers == [True]
    assert bench.stored().version == 1
